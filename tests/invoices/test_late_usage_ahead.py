"""Late usage on bills that are not made yet: what is shown of them is what is billed then."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.config import settings
from invoices import changes, forecast, items, upcoming
from invoices.models import Invoice, Subscription
from invoices.upcoming import Upcoming
from tenants.models import Tenant
from tests.invoices.couponed import offer, redeem, terms
from tests.invoices.metered import FINANCE, bill, push, seoul, subscribe

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


def so_far(session: Session, subscription: Subscription, now: datetime) -> Upcoming:
    found = upcoming.upcoming(
        control_session=session, usage_session=session, subscription=subscription, now=now
    )
    assert found is not None
    return found


def ahead(session: Session, subscription: Subscription, now: datetime) -> Any:
    """The first bill to come, as the timeline has it."""
    found, prices = items.of_subscriptions(
        control_session=session, subscription_ids=[subscription.id]
    )
    first, *_ = forecast.bills_of_items(
        control_session=session,
        usage_session=session,
        subscription=subscription,
        in_force=found[subscription.id],
        prices=prices,
        until=date(2026, 7, 1),
        now=now,
    )
    return first


def made(session: Session, on: date) -> Invoice:
    session.expire_all()
    return session.scalars(
        select(Invoice).where(Invoice.supplied_on == on, Invoice.state != "void")
    ).one()


def told(lines: Any) -> list[tuple[Any, ...]]:
    return [(line.kind, line.charge, line.quantity, line.amount_minor, line.evidence)
            for line in lines]  # fmt: skip


class TestTheNextBillSoFar:
    @pytest.mark.parametrize("minimum", [0, 20_000])
    def test_has_what_came_late_as_the_bill_has(
        self, control_session: Session, minimum: int
    ) -> None:
        def before(subscription: Subscription) -> None:
            offer(control_session, terms(duration="forever"))
            tenant = control_session.get_one(Tenant, subscription.tenant_id)
            redeem(control_session, tenant, starts_on=date(2026, 2, 1), now=seoul(date(2026, 2, 1)))

        subscription = subscribe(control_session, minimum=minimum, before=before)
        push(control_session, subscription, date(2026, 2, 11), 30)
        push(control_session, subscription, date(2026, 3, 5), 4)
        found = so_far(control_session, subscription, seoul(APRIL))
        assert [line.charge for line in found.lines if line.kind == "adjustment"]
        bill(control_session, subscription, APRIL)
        invoice = made(control_session, APRIL)
        assert told(found.lines) == told(invoice.lines)
        assert (found.tax_minor, found.total_minor) == (invoice.tax_minor, invoice.total_minor)

    def test_has_it_from_when_it_came(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        now = seoul(date(2026, 3, 7))
        assert so_far(control_session, subscription, now).subtotal_minor == 0
        push(control_session, subscription, date(2026, 2, 11), 5)
        found = so_far(control_session, subscription, now)
        assert (found.bill_on, found.subtotal_minor) == (APRIL, 500)
        assert control_session.scalars(select(Invoice.supplied_on)).all() == [MARCH]

    def test_is_one_of_that_alone_where_no_other_is_to_come(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        who: dict[str, Any] = {"tenant_id": subscription.tenant_id, "actor": FINANCE}
        changes.pause(control_session=control_session, now=seoul(MARCH), why="a quiet month", **who)
        bill(control_session, subscription, MARCH)
        now = seoul(date(2026, 3, 7))
        assert (
            upcoming.upcoming(control_session=control_session, subscription=subscription, now=now)
            is None
        )
        push(control_session, subscription, date(2026, 2, 11), 5)
        found = so_far(control_session, subscription, now)
        assert [(line.kind, line.amount_minor) for line in found.lines] == [("adjustment", 500)]
        assert found.bill_on == subscription.next_correction_on
        bill(control_session, subscription, found.bill_on)
        assert told(made(control_session, found.bill_on).lines) == told(found.lines)

    def test_leaves_to_a_draft_what_the_draft_will_have(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subscription = subscribe(control_session)
        monkeypatch.setenv("TENANTRY_INVOICE_GRACE_HOURS", "72")
        settings.cache_clear()
        push(control_session, subscription, date(2026, 3, 5), 4)
        bill(control_session, subscription, APRIL)
        assert made(control_session, APRIL).state == "draft"
        push(control_session, subscription, date(2026, 3, 6), 3)
        found = so_far(control_session, subscription, seoul(APRIL + timedelta(days=1)))
        assert [line.kind for line in found.lines] == ["charge"]
        monkeypatch.undo()
        settings.cache_clear()


class TestTheTimeline:
    def test_has_what_came_late_on_the_first_bill(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        push(control_session, subscription, date(2026, 2, 11), 5)
        found = ahead(control_session, subscription, seoul(date(2026, 3, 7)))
        assert [(line.kind, line.amount_minor) for line in found.lines] == [("adjustment", 500)]
        assert (found.bill_on, found.total_minor) == (APRIL, 550)
        assert [each.names[1] for each in found.by_usage] == ["Calls"]

    def test_has_a_bill_of_it_alone_before_the_others(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        changes.cancel(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            when="now",
            actor=FINANCE,
            now=seoul(date(2026, 3, 10), 0),
        )
        bill(control_session, subscription, date(2026, 3, 10))
        push(control_session, subscription, date(2026, 2, 11), 5)
        now = seoul(date(2026, 3, 12))
        found = ahead(control_session, subscription, now)
        assert (found.bill_on, found.subtotal_minor) == (subscription.next_correction_on, 500)
