"""The ledger: balanced, appended once, never changed."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.base import ids
from invoices import bookings, ledger
from invoices.ledger import Booking
from invoices.models import LedgerEntry, LedgerLine, Payment
from tests.factories import make_invoice


def balances(session: Session) -> dict[str, int]:
    return {
        each.account: each.debit_minor - each.credit_minor
        for each in ledger.trial_balance(control_session=session)
    }


def pay(session: Session, now: datetime) -> Payment:
    invoice = make_invoice(session, now=now)
    payment = Payment(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        kind="transfer",
        gateway="manual",
        gateway_payment_id=str(ids.uuid7()),
        amount_minor=invoice.total_minor,
        settled_minor=invoice.total_minor,
        currency=invoice.currency,
        paid_at=now,
        received_on=now.date(),
    )
    session.add(payment)
    session.flush()
    ledger.book_payment(control_session=session, payment=payment, now=now)
    return payment


class TestBookings:
    def test_of_a_payment_settle_what_is_owed(
        self, control_session: Session, now: datetime
    ) -> None:
        pay(control_session, now)
        assert balances(control_session) == {
            "cash": 209_000,
            "receivable": 0,
            "deferred_revenue": -190_000,
            "vat_payable": -19_000,
        }

    def test_of_the_same_cause_are_made_once(self, control_session: Session, now: datetime) -> None:
        payment = pay(control_session, now)
        for _ in range(2):
            ledger.book_payment(control_session=control_session, payment=payment, now=now)
        assert balances(control_session)["cash"] == 209_000

    def test_of_a_void_undo_those_of_the_issue(
        self, control_session: Session, now: datetime
    ) -> None:
        invoice = make_invoice(control_session, now=now)
        bookings.book_void(control_session=control_session, invoice=invoice, now=now)
        assert set(balances(control_session).values()) == {0}

    def test_that_do_not_balance_are_refused_at_commit(
        self, control_session: Session, now: datetime
    ) -> None:
        invoice = make_invoice(control_session, now=now)
        crooked = Booking(
            kind="void",
            cause_id=invoice.id,
            tenant_id=invoice.tenant_id,
            currency="KRW",
            sides=(ledger.credit("receivable", 100), ledger.debit("revenue", 99)),
        )
        ledger.post(control_session=control_session, bookings=[crooked], now=now)
        with pytest.raises(IntegrityError, match="does not balance"):
            control_session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))

    @pytest.mark.parametrize("model", [LedgerEntry, LedgerLine])
    def test_cannot_be_changed_or_deleted(
        self, control_session: Session, now: datetime, model: type[LedgerEntry] | type[LedgerLine]
    ) -> None:
        make_invoice(control_session, now=now)
        for statement in (update(model).values(id=model.id), delete(model)):
            with (
                pytest.raises(DBAPIError, match=r"never changed|permission denied"),
                control_session.begin_nested(),
            ):
                control_session.execute(statement)

    def test_are_made_on_the_sellers_day(self, control_session: Session) -> None:
        late_in_utc = datetime.fromisoformat("2026-03-31T15:30:00+00:00")
        make_invoice(control_session, now=late_in_utc, starts_on=date(2026, 4, 1))
        assert control_session.scalars(select(LedgerEntry.booked_on)).all() == [date(2026, 4, 1)]
        earlier = ledger.trial_balance(control_session=control_session, until=date(2026, 3, 31))
        assert earlier == []
