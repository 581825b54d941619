"""The step `documents`: renders issued papers, each once, in the workers that hold the press."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Unavailable
from invoices import paper_files
from invoices.documents import press
from invoices.documents.limits import PressUnavailable
from invoices.models import Document
from jobs.steps import Step, anything_due, settle_each

log = structlog.get_logger(__name__)

CHUNK = 20


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether a paper waits to be rendered."""
    return anything_due(session, Document, paper_files.due())


def work() -> int:
    """This function will render a chunk of papers and return how many it took up."""
    try:
        press.start()
    except PressUnavailable as error:
        with control_session() as session:
            held = paper_files.hold_back(control_session=session, reason=error.message)
        log.warning("documents.held_back", documents=held, remedy=error.message)
        return 0
    return settle_each(
        step="documents",
        model=Document,
        due=paper_files.due(),
        perform_one=_render,
        limit=CHUNK,
        order_by=Document.created_at,
        # More than twice the longest rendering: one slow paper must not cost the next its lease.
        lease=timedelta(seconds=3 * settings().document_timeout_seconds),
    )


def _render(document_id: UUID) -> None:
    with control_session() as session:
        order = paper_files.begin(control_session=session, document_id=document_id)
    if order is None:
        return
    try:
        printed = paper_files.perform(order=order)
    except Unavailable:
        with control_session() as session:
            paper_files.forgive(control_session=session, document_id=document_id)
        raise
    if printed.missing_characters:
        log.warning(
            "documents.characters_missing",
            document_id=str(document_id),
            characters=[f"U+{ord(each):04X}" for each in printed.missing_characters[:20]],
        )
    with control_session() as session:
        paper_files.record(control_session=session, order=order, printed=printed, now=clock.now())


STEP = Step("documents", "documents", due, work)
