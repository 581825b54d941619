"""The step `tax_papers`: has tax invoices issued and asked after, and lets credit notes follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from app.base import clock, leases
from app.base.db import control_session
from app.base.errors import TenantryError, Unavailable
from invoices import tax_following, tax_issuing
from invoices.models import CreditNote, TaxInvoice
from invoices.tax_papers.port import BULK_MAX
from jobs.steps import Step, anything_due, settle_each
from tenants import business_status

log = structlog.get_logger(__name__)


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a tax invoice is to be issued or looked after."""
    wanted = or_(tax_issuing.due(), tax_issuing.look_due(now))
    return anything_due(session, TaxInvoice, wanted) or bool(
        session.scalar(select(exists().where(tax_following.due())))
    )


def work() -> int:
    """This function will amend for credit notes, issue a chunk in one call, and ask after one."""
    followed = _follow_credit_notes()
    with control_session() as session:
        keys = leases.claim(
            control_session=session,
            model=TaxInvoice,
            due=tax_issuing.due(),
            limit=BULK_MAX,
            order_by=TaxInvoice.written_on,
        )
    if keys:
        _issue(keys)
    return (
        followed
        + len(keys)
        + settle_each(
            step="tax_papers",
            model=TaxInvoice,
            due=tax_issuing.look_due(clock.now()),
            perform_one=_look,
            limit=BULK_MAX,
            order_by=TaxInvoice.look_at,
        )
    )


def _follow_credit_notes() -> int:
    with control_session() as session:
        waiting = session.scalars(
            select(CreditNote.id)
            .where(tax_following.due())
            .order_by(CreditNote.issued_at)
            .limit(BULK_MAX)
        ).all()
    followed = 0
    for credit_note_id in waiting:
        try:
            followed += _follow(credit_note_id)
        except TenantryError as error:
            log.warning(
                "credit_note.without_paper",
                credit_note_id=str(credit_note_id),
                error=f"{type(error).__name__}: {error}",
            )
            if not isinstance(error, Unavailable):
                _leave_to_person(credit_note_id, error)
    return followed


def _follow(credit_note_id: UUID) -> bool:
    with control_session() as session:
        credit_note = session.get(CreditNote, credit_note_id, with_for_update={"skip_locked": True})
        return credit_note is not None and tax_following.after_credit_note(
            control_session=session, credit_note=credit_note, now=clock.now()
        )


def _leave_to_person(credit_note_id: UUID, error: TenantryError) -> None:
    with control_session() as session:
        tax_following.give_up(control_session=session, credit_note_id=credit_note_id, error=error)


def _issue(keys: Sequence[UUID]) -> None:
    try:
        with control_session() as session:
            orders = tax_issuing.begin(
                control_session=session, row_ids=keys, now=clock.now(), real_now=clock.real_now()
            )
    except TenantryError as error:
        _park(keys, error)
        return
    orders = _to_open_businesses(orders)
    for batch in tax_issuing.batches(orders):
        try:
            answers = tax_issuing.perform(orders=batch)
        except TenantryError as error:
            _park([order.row_id for order in batch], error)
            continue
        for order in batch:
            _record(order, answers[order.row_id])


def _to_open_businesses(orders: list[tax_issuing.Order]) -> list[tax_issuing.Order]:
    """Asks about the buyers, and leaves out whose business is closed: those wait for finance.

    Who can't be asked about is not closed. A person who tries one again has looked.
    """
    if not business_status.offered():
        return orders
    question = business_status.fresh_question(
        numbers=[order.sheet.paper.buyer.registration_number for order in orders]
    )
    with control_session() as session:
        for number in question.numbers:
            business_status.ask(
                control_session=session, number=number, country="KR", now=clock.now()
            )
    answer = business_status.look(question=question)
    with control_session() as session:
        business_status.record(
            control_session=session, question=question, answer=answer, now=clock.now()
        )
        known = business_status.of(control_session=session, numbers=question.numbers)
    closed = {number for number, row in known.items() if row.status == "closed"}
    for order in orders:
        if tax_issuing.goes_to_closed(order, closed):
            _record(order, tax_issuing.BUYER_CLOSED)
    return [order for order in orders if not tax_issuing.goes_to_closed(order, closed)]


def _record(order: tax_issuing.Order, answer: tax_issuing.Answer) -> None:
    """Each on its own: one that can't be written down stops no other."""
    try:
        with control_session() as session:
            tax_issuing.record(control_session=session, order=order, answer=answer, now=clock.now())
            leases.release(control_session=session, model=TaxInvoice, keys=[order.row_id])
    except TenantryError as error:
        _park([order.row_id], error)


def _park(keys: Sequence[UUID], error: TenantryError) -> None:
    log.warning("tax_papers.parked", rows=len(keys), error=type(error).__name__)
    with control_session() as session:
        for key in keys:
            words = f"tax_papers: {type(error).__name__}: {error}"
            leases.fail(control_session=session, model=TaxInvoice, key=key, error=words)


def _look(row_id: UUID) -> None:
    with control_session() as session:
        question = tax_issuing.begin_look(control_session=session, row_id=row_id, now=clock.now())
    if question is None:
        return
    answer = tax_issuing.look(question=question)
    with control_session() as session:
        tax_issuing.record_look(
            control_session=session, question=question, answer=answer, now=clock.now()
        )


STEP = Step("tax_papers", "default", due, work)
