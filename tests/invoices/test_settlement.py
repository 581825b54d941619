"""Settlement: partial, over- and double payments, and the credit that is left of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.audit import SYSTEM
from app.base.money import Money
from invoices import credits, invoicing, ledger, payment, settlement
from invoices.models import (
    CreditGrant,
    Document,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentMethod,
)
from invoices.settlement import Arrival
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_invoice, make_readings

TOTAL = 209_000


def receive(session: Session, invoice: Invoice, amount_minor: int, **changed: Any) -> Payment:
    values: dict[str, Any] = {
        "kind": "transfer",
        "gateway": "manual",
        "gateway_payment_id": str(ids.uuid7()),
        "amount": Money(amount_minor, "KRW"),
        "received_on": NOW.date(),
        "payer": "대한설계",
    }
    return settlement.receive(
        control_session=session,
        invoice_id=invoice.id,
        arrival=Arrival(**(values | changed)),
        actor=SYSTEM,
        now=NOW,
    )


def balance(session: Session, account: str) -> int:
    return sum(
        each.debit_minor - each.credit_minor
        for each in ledger.trial_balance(control_session=session)
        if each.account == account
    )


def kept(session: Session) -> list[int]:
    return list(session.scalars(select(CreditGrant.amount_minor).order_by(CreditGrant.id)))


class TestMoneyThatComesInParts:
    def test_leaves_the_rest_open_and_the_last_part_pays(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, 100_000)
        assert (invoice.state, invoice.open_minor) == ("issued", TOTAL - 100_000)
        assert balance(control_session, "receivable") == TOTAL - 100_000
        receive(control_session, invoice, TOTAL - 100_000)
        assert (invoice.state, invoice.open_minor, invoice.paid_minor) == ("paid", 0, TOTAL)
        assert balance(control_session, "receivable") == 0

    def test_has_a_receipt_for_each_part(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, 1)
        receive(control_session, invoice, 2)
        numbers = control_session.scalars(
            select(Document.data["number"].astext)
            .where(Document.kind == "receipt", Document.language == "en")
            .order_by(Document.id)
        ).all()
        assert numbers == ["RCT-2026-000001", "RCT-2026-000001-2"]

    def test_keeps_the_invoice_from_being_voided(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, 1)
        with pytest.raises(invoicing.MoneyCame):
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="wrong",
                actor=SYSTEM,
                now=NOW,
            )

    def test_in_another_currency_is_refused(self, control_session: Session) -> None:
        with pytest.raises(settlement.OtherCurrency):
            receive(control_session, make_invoice(control_session), 0, amount=Money(1, "USD"))


class TestMoneyThatIsTooMuch:
    def test_settles_the_invoice_and_is_kept(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, TOTAL + 1_000)
        assert invoice.state == "paid"
        assert kept(control_session) == [1_000]
        assert balance(control_session, "credits") == -1_000
        assert balance(control_session, "cash") == TOTAL + 1_000

    def test_or_comes_twice_is_kept_whole(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        for _ in range(2):
            receive(control_session, invoice, TOTAL)
        assert (invoice.paid_minor, kept(control_session)) == (TOTAL, [TOTAL])

    def test_counts_once_by_the_gateways_id(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, 1, gateway_payment_id="one")
        with pytest.raises(IntegrityError), control_session.begin_nested():
            receive(control_session, invoice, 1, gateway_payment_id="one")

    def test_makes_no_supply_smaller(self, control_session: Session) -> None:
        """It has its tax in it, so bills do not use it before tax."""
        invoice = make_invoice(control_session)
        receive(control_session, invoice, TOTAL + 1_000)
        found = credits.open_grants(control_session=control_session, tenant_ids=[invoice.tenant_id])
        assert not found


class TestCreditThatIsLeft:
    def test_pays_the_next_invoice_as_far_as_it_goes(self, control_session: Session) -> None:
        first, second = self._two(control_session, over=9_000)
        used = settlement.use_credits(control_session=control_session, now=NOW, limit=10)
        control_session.refresh(second)
        assert used == 1
        assert (second.state, second.paid_minor) == ("issued", 9_000)
        assert balance(control_session, "credits") == 0
        assert first.state == "paid"

    def test_is_used_before_a_card_is_charged(self, control_session: Session) -> None:
        _, second = self._two(control_session, over=TOTAL)
        order = payment.begin(
            control_session=control_session,
            invoice_id=second.id,
            now=NOW + timedelta(days=31),
            real_now=clock.real_now(),
        )
        assert order is None
        assert second.state == "paid"
        assert control_session.scalars(
            select(Payment.kind).where(Payment.invoice_id == second.id)
        ).all() == ["credit"]

    def test_is_used_once(self, control_session: Session) -> None:
        self._two(control_session, over=9_000)
        for _ in range(2):
            settlement.use_credits(control_session=control_session, now=NOW, limit=10)
        assert balance(control_session, "credits") == 0

    def test_is_not_used_beside_a_charge_of_unknown_outcome(self, control_session: Session) -> None:
        _, second = self._two(control_session, over=9_000)
        make_card(control_session, tenant=control_session.get_one(Tenant, second.tenant_id))
        control_session.add(
            PaymentAttempt(
                tenant_id=second.tenant_id,
                invoice_id=second.id,
                attempt_number=1,
                method_id=control_session.scalars(select(PaymentMethod.id)).one(),
                gateway="sandbox",
                idempotency_key="key",
                order_id="order",
                amount_minor=second.total_minor,
                currency="KRW",
                key_expires_at=NOW,
                begun_at=NOW,
            )
        )
        control_session.flush()
        assert settlement.use_credits(control_session=control_session, now=NOW, limit=10) == 0

    def _two(self, session: Session, *, over: int) -> tuple[Invoice, Invoice]:
        """A first invoice paid beyond, and the next month's."""
        first = make_invoice(session)
        receive(session, first, TOTAL + over)
        day = NOW.date()
        make_readings(
            session, tenant_id=first.tenant_id, start=day, end=day + timedelta(days=31), seats=1
        )
        outcome = invoicing.bill(
            control_session=session,
            subscription_ids=[first.subscription_id],
            now=NOW + timedelta(days=31),
        )
        session.expire_all()
        return first, session.get_one(Invoice, outcome.issued[0])
