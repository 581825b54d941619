"""Bundles: the papers of a filtered list as one ZIP, made by a job while finance works on."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import audit, clock, files, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Invalid, NotFound, Unavailable
from app.base.money import Money
from app.base.spreadsheets import disarmed
from invoices import listing, paper_files
from invoices.listing import InvoiceFilters
from invoices.models import BUNDLE, Document, DocumentBundle, Invoice, Payment, TaxInvoice
from invoices.paper_files import OpenPaper
from tenants.models import Tenant

PREFIX = "bundles"
PACKER = Actor.job("bundles")
ERASER = Actor.job("destruction")
LIFETIME = timedelta(days=1)
LANGUAGES = ("ko", "en")
PAPERS_A_REPORT = 25
_INDEX_COLUMNS = (
    "file", "kind", "language", "invoice", "tenant", "issued_on", "state", "currency", "total",
    "sha256",
)  # fmt: skip


class NothingToBundle(Invalid):
    """The filter picks no invoice that was issued."""


class TooMuchToBundle(Invalid):
    """The filter picks more invoices than one ZIP may hold."""


class BundleNotReady(Unavailable):
    """The ZIP is still being made."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One paper of a bundle; without `sha256` it is named in the index but not rendered yet."""

    tenant_id: UUID
    file_name: str
    kind: str
    language: str
    number_text: str
    tenant_name: str
    issued_on: date
    state: str
    total: Money
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """What the making needs, read before the transaction ended."""

    bundle_id: UUID
    entries: tuple[Entry, ...]


def request(
    *,
    control_session: Session,
    filters: InvoiceFilters,
    staff_id: UUID,
    now: datetime,
    language: str | None = None,
) -> DocumentBundle:
    """This function will ask for the papers of the invoices that a filter picks.

    `language`: `ko` or `en`, or both without it; tax invoices are always Korean.

    Raises: NothingToBundle, TooMuchToBundle; Invalid for an unknown state or language.
    """
    if language is not None and language not in LANGUAGES:
        raise Invalid("Choose a language from the list.", field="language")
    picked = listing.ids(control_session=control_session, filters=filters, now=now)
    if not picked:
        raise NothingToBundle("There is no invoice in this list.")
    most = settings().bulk_documents_max
    if len(picked) > most:
        raise TooMuchToBundle(f"Choose a shorter period: one ZIP holds up to {most} invoices.")
    bundle = DocumentBundle(
        requested_by=staff_id,
        requested_at=now,
        filters=_to_json(filters) | {"language": language},
    )
    control_session.add(bundle)
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action="document_bundle.requested",
        subject_kind="document_bundle",
        subject_id=bundle.id,
        details={"invoices": len(picked)},
        now=now,
    )
    notify(control_session, "bundles")
    return bundle


def _to_json(filters: InvoiceFilters) -> dict[str, Any]:
    return {
        name: str(value) if value is not None else None for name, value in asdict(filters).items()
    }


def _from_json(stored: dict[str, Any]) -> InvoiceFilters:
    days = ("period_start", "period_end", "issued_from", "issued_until")
    values: dict[str, Any] = {name: stored.get(name) for name in InvoiceFilters.__slots__}
    for name in days:
        values[name] = values[name] and date.fromisoformat(values[name])
    values["tenant_id"] = values["tenant_id"] and UUID(values["tenant_id"])
    return InvoiceFilters(**values)


def due() -> ColumnElement[bool]:
    """This function will return the condition that a bundle is to be made."""
    return DocumentBundle.state == "due"


def begin(*, control_session: Session, bundle_id: UUID, now: datetime) -> Order | None:
    """This function will list the papers to pack and note how many there are."""
    bundle = control_session.get_one(DocumentBundle, bundle_id, populate_existing=True)
    if bundle.state != "due":
        return None
    picked = listing.ids(
        control_session=control_session, filters=_from_json(bundle.filters), now=now
    )
    language = bundle.filters.get("language")
    entries = tuple(
        _entry(row)
        for row in _papers(control_session, picked[: settings().bulk_documents_max])
        if language in (None, row.language) or row.kind.startswith("tax_invoice")
    )
    bundle.total_count, bundle.done_count = len(entries), 0
    return Order(bundle_id, entries)


def _papers(control_session: Session, invoice_ids: Sequence[UUID]) -> list[Row[Any]]:
    """This function will read the papers of invoices, of their payments and tax invoices."""
    return list(
        control_session.execute(
            select(
                Document.tenant_id,
                Document.file_name,
                Document.kind,
                Document.language,
                Document.sha256,
                Invoice.number_text,
                Invoice.issued_at,
                Invoice.state,
                Invoice.total_minor,
                Invoice.currency,
                Tenant.name.label("tenant_name"),
            )
            .select_from(Invoice)
            .join(Tenant, Tenant.id == Invoice.tenant_id)
            .outerjoin(Payment, Payment.invoice_id == Invoice.id)
            .outerjoin(TaxInvoice, TaxInvoice.invoice_id == Invoice.id)
            .join(
                Document,
                or_(
                    and_(Document.kind == "invoice", Document.subject_id == Invoice.id),
                    and_(Document.kind == "receipt", Document.subject_id == Payment.id),
                    and_(
                        Document.kind.startswith("tax_invoice_"),
                        Document.subject_id == TaxInvoice.id,
                    ),
                )
                & (Document.tenant_id == Invoice.tenant_id),
            )
            .where(Invoice.id.in_(invoice_ids))
            # An invoice may have several payments and tax invoices: each paper is there once.
            .distinct()
            .order_by(Invoice.number_text, Document.kind, Document.language)
        )
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        tenant_id=row.tenant_id,
        file_name=row.file_name,
        kind=row.kind,
        language=row.language,
        number_text=row.number_text,
        tenant_name=row.tenant_name,
        issued_on=clock.today(row.issued_at, settings().contract_timezone),
        state=row.state,
        total=Money(row.total_minor, row.currency),
        sha256=row.sha256,
    )


def perform(*, order: Order, report: Callable[[int], None]) -> files.StoredFile:
    """This function will write the ZIP straight to disk, paper by paper; in no transaction.

    `report(done)` is called now and then, so that finance sees it grow.

    Raises: FileMissing, StoreUnavailable.
    """
    return files.put(prefix=PREFIX, chunks=_zipped(order, report))


class _Outlet(io.RawIOBase):
    """Where zipfile writes to and we read from: nothing is kept but what was not read yet."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        """This function will return what was written since it was last asked."""
        taken, self._waiting = bytes(self._waiting), bytearray()
        return taken


def _zipped(order: Order, report: Callable[[int], None]) -> Iterator[bytes]:
    outlet = _Outlet()
    # PDFs are compressed already.
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        # Two bundles of the same papers are two files: one may expire before the other.
        archive.comment = str(order.bundle_id).encode()
        for done, entry in enumerate(order.entries, start=1):
            if entry.sha256 is not None:
                yield from _packed(archive, outlet, entry)
            if done % PAPERS_A_REPORT == 0:
                report(done)
        archive.writestr("index.csv", _index(order.entries).encode("utf-8-sig"))
    yield outlet.take()


def _packed(archive: zipfile.ZipFile, outlet: _Outlet, entry: Entry) -> Iterator[bytes]:
    moment = (entry.issued_on.year, entry.issued_on.month, entry.issued_on.day, 0, 0, 0)
    member = zipfile.ZipInfo(entry.file_name, date_time=moment)
    prefix = paper_files.prefix_of(entry.tenant_id)
    with (
        files.open_stored(prefix=prefix, sha256=str(entry.sha256)) as stream,
        archive.open(member, "w") as packed,
    ):
        for chunk in files.chunks_of(stream):
            packed.write(chunk)
            yield outlet.take()


def _index(entries: Sequence[Entry]) -> str:
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(_INDEX_COLUMNS)
    for entry in entries:
        rows.writerow(
            disarmed(str(cell))
            for cell in (
                entry.file_name,
                entry.kind,
                entry.language,
                entry.number_text,
                entry.tenant_name,
                entry.issued_on,
                entry.state,
                entry.total.currency,
                entry.total.units,
                entry.sha256 or "not rendered yet",
            )
        )
    return table.getvalue()


def report(*, control_session: Session, bundle_id: UUID, done: int) -> None:
    """This function will note how far the making has come."""
    control_session.execute(
        update(DocumentBundle)
        .where(DocumentBundle.id == bundle_id, DocumentBundle.state == "due")
        .values(done_count=done)
        .execution_options(synchronize_session=False)
    )


def record(
    *, control_session: Session, order: Order, stored: files.StoredFile, now: datetime
) -> None:
    """This function will mark a bundle ready to download, until its term is over.

    One that may not be had any more leaves no file.
    """
    bundle = control_session.get_one(
        DocumentBundle, order.bundle_id, with_for_update=True, populate_existing=True
    )
    if bundle.state == "expired":
        files.delete(prefix=PREFIX, sha256=stored.sha256)
    if bundle.state != "due":
        return
    states.move(
        control_session=control_session,
        machine=BUNDLE,
        row=bundle,
        to="ready",
        actor=PACKER,
        now=now,
        values={
            "done_count": len(order.entries),
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
            "ready_at": now,
            "expires_at": now + LIFETIME,
        },
    )


def forget(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will let nobody have a ZIP that may hold papers of a customer any more.

    Which ones do is not written down: a list of all customers may. Whoever needs one asks anew.
    Nor is it kept whom lists were searched for.
    """
    about = DocumentBundle.filters["tenant_id"].astext
    may_hold = or_(about.is_(None), about == str(tenant_id))
    gone = control_session.execute(
        select(DocumentBundle.id, DocumentBundle.sha256)
        .where(DocumentBundle.state != "expired", may_hold)
        .order_by(DocumentBundle.id)
        .with_for_update()
    ).all()
    states.move_many(
        control_session=control_session,
        machine=BUNDLE,
        model=DocumentBundle,
        ids=[row.id for row in gone],
        to="expired",
        actor=ERASER,
        now=now,
    )
    for row in gone:
        if row.sha256 is not None:
            files.delete(prefix=PREFIX, sha256=row.sha256)
    control_session.execute(
        update(DocumentBundle)
        .where(DocumentBundle.state != "due", DocumentBundle.filters["text"].astext.is_not(None))
        .values(filters=DocumentBundle.filters.op("-")(postgresql.array(["text"])))
        .execution_options(synchronize_session=False)
    )
    control_session.expire_all()


def recent(*, control_session: Session, limit: int = 20) -> list[DocumentBundle]:
    """This function will list the bundles asked for last, newest first."""
    return list(
        control_session.scalars(
            select(DocumentBundle).order_by(DocumentBundle.requested_at.desc()).limit(limit)
        )
    )


def open_bundle(*, control_session: Session, bundle_id: UUID) -> OpenPaper:
    """This function will open a finished ZIP for download, for staff.

    Raises: NotFound for no such bundle, or one whose term is over; BundleNotReady; FileMissing.
    """
    bundle = control_session.get(DocumentBundle, bundle_id)
    if bundle is None or bundle.state == "expired":
        raise NotFound("This ZIP is not kept any more. Please ask for a new one.")
    if bundle.state != "ready" or bundle.sha256 is None:
        raise BundleNotReady("The ZIP is still being made. Please come back in a moment.")
    day = clock.today(bundle.requested_at, settings().contract_timezone)
    return OpenPaper(
        files.open_stored(prefix=PREFIX, sha256=bundle.sha256),
        f"papers-{day:%Y%m%d}.zip",
        bundle.size_bytes or 0,
        "application/zip",
    )
