"""The bytes of papers: rendered once, kept by digest under their tenant, handed out by id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.base import files, leases, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import NotFound, Unavailable
from invoices.documents import shelf
from invoices.documents.limits import RenderLimits
from invoices.documents.papers import Language
from invoices.documents.rendering import Rendered, render_document
from invoices.models import DOCUMENT, Document

PRINTER = Actor.job("documents")
MEDIA_TYPE = "application/pdf"
# A machine without pango, or with a full disk, is asked again this often; no paper is to blame.
MACHINE_PAUSE = timedelta(seconds=60)
_BLAMELESS_ATTEMPTS = 4


class PaperNotReady(Unavailable):
    """The paper is issued, but its file is not rendered yet."""


@dataclass(frozen=True, slots=True)
class Order:
    """What rendering needs, read before the transaction ended."""

    document_id: UUID
    tenant_id: UUID
    language: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Printed:
    """A rendered paper, stored."""

    sha256: str
    size_bytes: int
    template_version: str
    missing_characters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenPaper:
    """A paper to be sent: close the stream when it is."""

    stream: BinaryIO
    file_name: str
    size_bytes: int
    media_type: str = MEDIA_TYPE


def prefix_of(tenant_id: UUID) -> str:
    """This function will return where a tenant's papers are stored; it goes when the tenant goes.

    What the law keeps longer is copied elsewhere before that.
    """
    return f"tenants/{tenant_id}/papers"


def due() -> ColumnElement[bool]:
    """This function will return the condition that a paper is to be rendered."""
    return Document.state == "due"


def begin(*, control_session: Session, document_id: UUID) -> Order | None:
    """This function will read a paper to render; None when it is ready already or gone."""
    document = control_session.get(Document, document_id)
    if document is None or document.state != "due":
        return None
    return Order(document.id, document.tenant_id, document.language, document.data)


def perform(*, order: Order) -> Printed:
    """This function will render a paper and store its bytes. Call it in no transaction.

    Raises: DocumentRefused, DocumentTooCostly, UnreadablePaper (the paper's fault);
    DocumentOverdue, PressUnavailable, StoreUnavailable (the machine's).
    """
    rendered: Rendered = render_document(
        paper=shelf.from_json(order.data),
        language=Language(order.language),
        limits=RenderLimits(
            cpu_seconds=settings().document_cpu_seconds,
            wall_seconds=settings().document_timeout_seconds,
            memory_bytes=settings().document_memory_bytes,
        ),
    )
    stored = files.put(prefix=prefix_of(order.tenant_id), chunks=[rendered.pdf])
    return Printed(
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        template_version=rendered.template_version,
        missing_characters=rendered.missing_characters,
    )


def record(*, control_session: Session, order: Order, printed: Printed, now: datetime) -> bool:
    """This function will mark a paper ready; False when somebody else had it ready before.

    The first bytes stay for good: a paper is never rendered again.
    """
    document = control_session.get(
        Document, order.document_id, with_for_update=True, populate_existing=True
    )
    if document is None or document.state != "due":
        return False
    states.move(
        control_session=control_session,
        machine=DOCUMENT,
        row=document,
        to="ready",
        actor=PRINTER,
        now=now,
        values={
            "sha256": printed.sha256,
            "size_bytes": printed.size_bytes,
            "template_version": printed.template_version,
            "rendered_at": now,
        },
    )
    return True


def forgive(*, control_session: Session, document_id: UUID) -> None:
    """This function will not count a failure of the machine's: the paper is tried for ever."""
    control_session.execute(
        update(Document)
        .where(Document.id == document_id)
        .values(attempts=func.least(Document.attempts, _BLAMELESS_ATTEMPTS))
        .execution_options(synchronize_session=False)
    )


def hold_back(*, control_session: Session, reason: str) -> int:
    """This function will let every due paper wait a while for a machine that can't print at all.

    The pages say why. It returns how many papers wait.
    """
    held = control_session.execute(
        update(Document)
        .where(due(), leases.free(Document))
        .values(retry_at=func.clock_timestamp() + MACHINE_PAUSE, last_error=reason[:2000])
        .returning(Document.id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(held)


def try_again(*, control_session: Session, document_id: UUID) -> None:
    """This function will have a paper that failed rendered again at once: somebody saw to it.

    Raises: NotFound.
    """
    if control_session.get(Document, document_id) is None:
        raise NotFound("There is no such paper.")
    leases.release(control_session=control_session, model=Document, keys=[document_id])
    notify(control_session, "documents")


def failing(*, control_session: Session, limit: int) -> list[Document]:
    """This function will list the papers that are due and failed at least once, oldest first."""
    return list(
        control_session.scalars(
            select(Document)
            .where(due(), Document.last_error.is_not(None))
            .order_by(Document.created_at, Document.id)
            .limit(limit)
        )
    )


def open_paper(*, control_session: Session, document_id: UUID, tenant_id: UUID | None) -> OpenPaper:
    """This function will open a paper for download.

    `tenant_id`: whose papers the person may see; None for staff, who also hear why a paper is not
    there yet.

    Raises: NotFound for no such paper, or another tenant's; PaperNotReady; FileMissing.
    """
    document = control_session.get(Document, document_id)
    if document is None or (tenant_id is not None and document.tenant_id != tenant_id):
        raise NotFound("There is no such paper.")
    if document.state != "ready" or document.sha256 is None:
        raise PaperNotReady(_why_not(document, for_staff=tenant_id is None))
    stream = files.open_stored(prefix=prefix_of(document.tenant_id), sha256=document.sha256)
    return OpenPaper(stream, document.file_name, document.size_bytes or 0)


def _why_not(document: Document, *, for_staff: bool) -> str:
    if for_staff and document.last_error:
        return f"This paper could not be rendered yet. {document.last_error}"
    return "This paper is being prepared. Please try again in a moment."
