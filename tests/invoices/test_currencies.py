"""Another currency: only while nothing is billed, owed or prepaid in the one so far."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.base.money import Money
from invoices import changes, currencies, invoicing, transfers
from invoices.currencies import MoneyOpen, NotSoldIn
from invoices.models import CreditGrant, Invoice
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import NOW, make_catalogue, make_staff, make_subscription, make_tenant
from tests.invoices.metered import FINANCE, push, seoul, subscribe
from tests.invoices.metered import bill as bill_calls
from tests.invoices.test_changes import ADMIN


@pytest.fixture
def tenant(control_session: Session) -> Tenant:
    make_catalogue(control_session)
    return make_tenant(control_session)


def change(session: Session, tenant: Tenant, currency: str = "USD") -> Tenant:
    return currencies.change_currency(
        control_session=session,
        tenant_id=tenant.id,
        currency=currency,
        actor=ADMIN,
        now=NOW,
        why="their head office pays",
    )


class TestAnotherCurrency:
    def test_is_written_down_with_who_and_why(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        assert change(control_session, tenant).currency == "USD"
        (event,) = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "tenant.currency_changed")
        )
        assert (event.why, event.details) == (
            "their head office pays",
            {"before": "KRW", "currency": "USD"},
        )

    @pytest.mark.parametrize("currency", ["KRW", "XXX", "", "usd"])
    def test_must_be_another_in_which_plans_are_sold(
        self, control_session: Session, tenant: Tenant, currency: str
    ) -> None:
        with pytest.raises(NotSoldIn) as refused:
            change(control_session, tenant, currency)
        assert refused.value.field == "currency"

    def test_is_refused_to_a_tenant_that_is_gone(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        tenant.state = "destroying"
        with pytest.raises(lifecycle.TenantGone):
            change(control_session, tenant)

    def test_waits_for_the_subscription_its_invoice_and_its_credit(
        self, control_session: Session
    ) -> None:
        tenant = make_tenant(control_session, state="active", converted_at=NOW)
        subscription = make_subscription(
            control_session, tenant=tenant, starts_on=date(2026, 3, 1), now=NOW
        )

        def bill() -> None:
            invoicing.bill(
                control_session=control_session, subscription_ids=[subscription.id], now=NOW
            )
            control_session.expire_all()

        bill()
        assert refusal(control_session, tenant).startswith("A subscription")
        verb: dict[str, Any] = {"tenant_id": tenant.id, "actor": ADMIN, "now": NOW}
        changes.cancel(control_session=control_session, when="now", credit=False, **verb)
        make_all_read(control_session, tenant)
        bill()
        assert subscription.state == "cancelled"
        assert refusal(control_session, tenant).startswith("An invoice")
        for invoice in control_session.scalars(select(Invoice).where(Invoice.state == "issued")):
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="a mistake",
                actor=ADMIN,
                now=NOW,
            )
        # What was voided is billed anew, in the currency that it was agreed on in.
        assert refusal(control_session, tenant).startswith("A bill of the last subscription")
        bill()
        assert refusal(control_session, tenant).startswith("An invoice")
        pay_all(control_session, NOW)
        grant = CreditGrant(
            tenant_id=tenant.id,
            currency="KRW",
            amount_minor=1_000,
            source="promotion",
            granted_at=NOW,
        )
        control_session.add(grant)
        control_session.flush()
        assert refusal(control_session, tenant).startswith("Credit")
        grant.revoked_at = NOW
        control_session.flush()
        assert change(control_session, tenant).currency == "USD"

    def test_waits_for_what_late_usage_may_still_change(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        tenant = control_session.get_one(Tenant, subscription.tenant_id)
        push(control_session, subscription, date(2026, 3, 5), 10)
        changes.cancel(
            control_session=control_session,
            tenant_id=tenant.id,
            when="now",
            actor=FINANCE,
            now=seoul(date(2026, 3, 10), 0),
        )
        bill_calls(control_session, subscription, date(2026, 3, 10))
        pay_all(control_session, seoul(date(2026, 3, 10), 12))
        # A hundred days after the end of what was used, as the setting says.
        told = "Late usage may still change what was billed, up to 2026-06-18. Wait until then."
        for look in (date(2026, 4, 10), date(2026, 5, 10), date(2026, 6, 10)):
            assert subscription.next_correction_on == look
            assert refusal(control_session, tenant) == told
            bill_calls(control_session, subscription, look)
        assert subscription.next_correction_on is None
        assert change(control_session, tenant).currency == "USD"


def pay_all(session: Session, now: datetime) -> None:
    """Everything that is owed comes by bank transfer."""
    for invoice in session.scalars(select(Invoice).where(Invoice.state == "issued")).all():
        transfers.record_transfer(
            control_session=session,
            invoice_id=invoice.id,
            amount=Money(invoice.total_minor, invoice.currency),
            payer="Hanbit",
            paid_on=now.date(),
            staff_id=make_staff(session).id,
            now=now,
        )
    session.expire_all()


def refusal(session: Session, tenant: Tenant) -> str:
    with pytest.raises(MoneyOpen) as refused:
        change(session, tenant)
    assert tenant.currency == "KRW"
    return refused.value.message


def make_all_read(session: Session, tenant: Tenant) -> None:
    """Readings up to the end, so that the last bill can be made."""
    from tests.factories import make_readings

    make_readings(session, tenant_id=tenant.id, start=date(2026, 3, 1), end=date(2026, 3, 11))
