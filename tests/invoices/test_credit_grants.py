"""Credits: recorded with a note, used in order, revoked for a reason, rolled over at expiry."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.errors import NotFound
from app.base.ids import uuid7
from app.base.invariants import offences
from app.base.money import Money
from invoices import credit_grants, invoicing
from invoices.checks import INVARIANTS
from invoices.credit_grants import GrantUnsound, NothingLeft, ReasonMissing, Rollover
from invoices.models import CreditGrant, Invoice, Subscription
from tenants.models import Tenant
from tests.factories import make_readings, make_subscription, make_tenant

FINANCE = Actor("staff", "finance")
START = date(2026, 3, 1)
BASE = 190_000  # the team plan's fee


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    started = make_subscription(control_session, starts_on=START, now=seoul(START))
    make_readings(
        control_session, tenant_id=started.tenant_id, start=START, end=date(2026, 7, 1), seats=3
    )
    return started


@pytest.fixture
def tenant(control_session: Session, subscription: Subscription) -> Tenant:
    return control_session.get_one(Tenant, subscription.tenant_id)


def grant(
    session: Session, tenant: Tenant, minor: int, *, on: date = START, **more: Any
) -> CreditGrant:
    values: dict[str, Any] = {"source": "purchase", "note": "paid by transfer on 1 March"}
    return credit_grants.grant(
        control_session=session,
        tenant_id=tenant.id,
        amount=Money(minor, more.pop("currency", "KRW")),
        actor=FINANCE,
        now=seoul(on, 8),
        **values | more,
    )


def bill(session: Session, subscription: Subscription, on: date) -> Invoice:
    (*_, issued) = invoicing.bill(
        control_session=session, subscription_ids=[subscription.id], now=seoul(on)
    ).issued
    session.expire_all()
    return session.get_one(Invoice, issued)


def lapse(session: Session, on: date) -> int:
    ended = credit_grants.lapse(control_session=session, now=seoul(on, 1))
    session.expire_all()
    return ended


def rolled(session: Session) -> list[CreditGrant]:
    return list(session.scalars(select(CreditGrant).where(CreditGrant.source == "rollover")))


def assert_in_order(session: Session) -> None:
    session.flush()
    assert not [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=seoul(START))
    ]


class TestAGrant:
    def test_is_used_up_by_bills_before_tax(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        row = grant(control_session, tenant, 50_000)
        invoice = bill(control_session, subscription, START)
        assert invoice.subtotal_minor == BASE - 50_000
        assert invoice.tax_minor == (BASE - 50_000) // 10
        (used,) = credit_grants.uses(control_session=control_session, tenant_id=tenant.id)[row.id]
        assert (used.number, used.amount) == (invoice.number_text, Money(50_000, "KRW"))
        assert_in_order(control_session)

    def test_goes_by_priority_then_by_what_expires_first(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        lasting = grant(control_session, tenant, BASE)
        late = grant(control_session, tenant, BASE, expires_on=date(2026, 9, 1))
        soon = grant(control_session, tenant, 10_000, expires_on=date(2026, 6, 1))
        first = grant(control_session, tenant, 20_000, priority=1)
        order = credit_grants.of_tenant(control_session=control_session, tenant_id=tenant.id)
        assert order == [first, soon, late, lasting]
        bill(control_session, subscription, START)
        uses = credit_grants.uses(control_session=control_session, tenant_id=tenant.id)
        used = {id_: sum(use.amount.amount_minor for use in of_it) for id_, of_it in uses.items()}
        assert used == {first.id: 20_000, soon.id: 10_000, late.id: BASE - 30_000}

    def test_shows_as_the_tenants_balance_until_it_expires(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        grant(control_session, tenant, 10_000)
        grant(control_session, tenant, 5_000, expires_on=date(2026, 4, 1))

        def balance(on: date) -> int:
            return credit_grants.balance(
                control_session=control_session, tenant=tenant, now=seoul(on)
            ).amount_minor

        assert [balance(date(2026, 3, 31)), balance(date(2026, 4, 1))] == [15_000, 10_000]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"minor": 0}, "amount"),
            ({"minor": -1}, "amount"),
            ({"currency": "USD"}, "currency"),
            ({"source": "change"}, "source"),
            ({"note": "  "}, "note"),
            ({"note": "x" * 501}, "note"),
            ({"priority": 1001}, "priority"),
            ({"expires_on": START}, "expires_on"),
            ({"expires_on": date(2040, 1, 1)}, "expires_on"),
            ({"rollover": Rollover()}, "expires_on"),
            (
                {"expires_on": date(2026, 4, 1), "rollover": Rollover(percent=Decimal(101))},
                "rollover_percent",
            ),
            (
                {"expires_on": date(2026, 4, 1), "rollover": Rollover(most_minor=0)},
                "rollover_max",
            ),
            ({"expires_on": date(2026, 4, 1), "rollover": Rollover(days=0)}, "rollover_days"),
        ],
    )
    def test_that_cannot_be_recorded_names_its_field(
        self, control_session: Session, tenant: Tenant, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(GrantUnsound) as refusal:
            grant(control_session, tenant, **{"minor": 1000} | fields)
        assert refusal.value.field == field

    def test_is_for_a_tenant_there_is(self, control_session: Session) -> None:
        with pytest.raises(NotFound):
            credit_grants.grant(
                control_session=control_session,
                tenant_id=uuid7(),
                amount=Money(1, "KRW"),
                source="purchase",
                note="-",
                actor=FINANCE,
                now=seoul(START),
            )


class TestRevoking:
    def test_takes_what_is_left_and_says_why(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        row = grant(control_session, tenant, BASE + 1_000, source="promotion")
        bill(control_session, subscription, START)
        revoke(control_session, row)
        assert (row.left_minor, row.lapsed_minor) == (0, 1_000)
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "credit.revoked")
        ).one()
        assert (event.why, event.tenant_id) == ("granted twice", tenant.id)
        assert_in_order(control_session)
        with pytest.raises(NothingLeft):
            revoke(control_session, row)

    def test_asks_for_a_reason(self, control_session: Session, tenant: Tenant) -> None:
        row = grant(control_session, tenant, 1_000)
        with pytest.raises(ReasonMissing):
            revoke(control_session, row, reason="")

    def test_finds_what_a_void_gave_back(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        row = grant(control_session, tenant, 80_000, source="promotion")
        invoice = bill(control_session, subscription, START)
        with pytest.raises(NothingLeft):
            revoke(control_session, row)
        void(control_session, invoice)
        revoke(control_session, row)
        assert bill(control_session, subscription, START).subtotal_minor == BASE
        assert_in_order(control_session)


def revoke(session: Session, row: CreditGrant, reason: str = "granted twice") -> None:
    credit_grants.revoke(
        control_session=session, grant_id=row.id, reason=reason, actor=FINANCE, now=seoul(START)
    )


def void(session: Session, invoice: Invoice) -> None:
    invoicing.void(
        control_session=session,
        invoice_id=invoice.id,
        reason="wrong plan",
        actor=FINANCE,
        now=seoul(START, 10),
    )
    session.expire_all()


class TestExpiry:
    def test_without_a_rollover_ends_what_is_left(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        row = grant(control_session, tenant, BASE + 9_000, expires_on=date(2026, 3, 20))
        bill(control_session, subscription, START)
        assert lapse(control_session, date(2026, 3, 19)) == 0
        assert lapse(control_session, date(2026, 3, 20)) == 1
        assert (row.lapsed_minor, rolled(control_session)) == (9_000, [])
        assert lapse(control_session, date(2026, 3, 20)) == 0
        assert_in_order(control_session)

    def test_carries_the_agreed_share_into_a_new_grant_once(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        rollover = Rollover(percent=Decimal("33.3"), days=90)
        row = grant(
            control_session,
            tenant,
            BASE + 10_001,
            expires_on=date(2026, 3, 20),
            rollover=rollover,
            priority=7,
        )
        bill(control_session, subscription, START)
        for _ in range(2):
            lapse(control_session, date(2026, 3, 20))
        (new,) = rolled(control_session)
        assert (new.amount_minor, new.expires_on, new.priority) == (3330, date(2026, 6, 18), 7)
        assert (new.rolled_from, row.left_minor) == (row.id, 0)
        assert lapse(control_session, date(2026, 6, 18)) == 0  # bills of before are to come
        assert_in_order(control_session)

    def test_carries_no_more_than_agreed(self, control_session: Session) -> None:
        alone = make_tenant(control_session)
        rollover = Rollover(most_minor=2_000)
        grant(control_session, alone, 10_000, expires_on=date(2026, 3, 20), rollover=rollover)
        lapse(control_session, date(2026, 3, 20))
        (new,) = rolled(control_session)
        assert (new.amount_minor, new.expires_on) == (2_000, None)

    def test_waits_for_a_bill_of_before_that_is_late(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        rollover = Rollover()
        row = grant(
            control_session, tenant, 50_000, expires_on=date(2026, 3, 20), rollover=rollover
        )
        assert lapse(control_session, date(2026, 3, 25)) == 0
        invoice = bill(control_session, subscription, date(2026, 3, 25))
        assert (invoice.supplied_on, row.used_minor) == (START, 50_000)

    def test_rolls_over_what_a_void_gave_back_after_it(
        self, control_session: Session, subscription: Subscription, tenant: Tenant
    ) -> None:
        row = grant(
            control_session, tenant, 50_000, expires_on=date(2026, 3, 20), rollover=Rollover()
        )
        first = bill(control_session, subscription, START)
        assert lapse(control_session, date(2026, 3, 21)) == 0
        void(control_session, first)
        assert lapse(control_session, date(2026, 3, 21)) == 0
        again = bill(control_session, subscription, date(2026, 3, 21))
        assert again.subtotal_minor == BASE - 50_000
        assert (row.used_minor, rolled(control_session)) == (50_000, [])
        assert_in_order(control_session)
