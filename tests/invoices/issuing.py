"""What the tests of tax papers share: a step's three functions in the test's own transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from invoices import cash_receipt_issuing, tax_issuing
from invoices.models import CashReceipt, TaxInvoice
from tests.factories import NOW


def issue(session: Session, *rows: TaxInvoice, now: datetime = NOW) -> None:
    """Has tax invoices that are due issued, together if there are several."""
    session.flush()
    orders = tax_issuing.begin(
        control_session=session, row_ids=[row.id for row in rows], now=now, real_now=now
    )
    for batch in tax_issuing.batches(orders):
        answers = tax_issuing.perform(orders=batch)
        for order in batch:
            tax_issuing.record(
                control_session=session, order=order, answer=answers[order.row_id], now=now
            )


def look(session: Session, row: TaxInvoice, *, now: datetime) -> None:
    """Asks the issuer about a tax invoice, or to take it back."""
    session.flush()
    question = tax_issuing.begin_look(control_session=session, row_id=row.id, now=now)
    assert question is not None, "there is nothing to ask"
    tax_issuing.record_look(
        control_session=session,
        question=question,
        answer=tax_issuing.look(question=question),
        now=now,
    )


def issue_cash_receipt(session: Session, row: CashReceipt, *, now: datetime = NOW) -> None:
    """Has a cash receipt issued, cancelled, or asked after."""
    session.flush()
    order = cash_receipt_issuing.begin(
        control_session=session, row_id=row.id, now=now, real_now=now
    )
    assert order is not None, "it is not due"
    cash_receipt_issuing.record(
        control_session=session,
        order=order,
        answer=cash_receipt_issuing.perform(order=order),
        now=now,
    )
