"""Events corrected before and after their bill: the draft changes, or the next bill says both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor
from app.base.config import settings
from app.base.invariants import offences
from invoices import catalogue, invoicing, upcoming, verifying
from invoices.charges import Charge
from invoices.checks import INVARIANTS
from invoices.models import Invoice, Subscription, UsageTotal
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import corrections, events, meters
from tests.factories import make_subscription
from tests.tenants.counting import meter

START = date(2026, 2, 1)
USED_ON = date(2026, 2, 10)
FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
FINANCE = Actor("staff", "finance")
FIRST_NUMBER = "INV-2026-000001"


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def push(session: Session, subscription: Subscription, on: date, count: int) -> None:
    sent = [
        {
            "id": f"{on}-{number}",
            "tenant": str(subscription.tenant_id),
            "type": "api.call",
            "time": seoul(on, 12).isoformat(),
        }
        for number in range(count)
    ]
    outcomes = events.accept(
        usage_session=session, control_session=session, events=sent, now=seoul(on, 13)
    )
    assert {each.outcome for each in outcomes} == {"accepted"}


def correct(session: Session, subscription: Subscription, number: int, **changes: Any) -> None:
    """Voids one of February's events, or amends it when something is to change."""
    act: Any = corrections.amend if changes else corrections.void
    act(
        usage_session=session,
        control_session=session,
        tenant_id=subscription.tenant_id,
        event_id=f"{USED_ON}-{number}",
        at=seoul(USED_ON, 12).isoformat(),
        reason="counted wrongly",
        actor=FINANCE,
        now=seoul(date(2026, 3, 5)),
        **({"changes": changes} if changes else {}),
    )


def bill(session: Session, subscription: Subscription, on: date, hour: int = 9) -> None:
    invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=seoul(on, hour))


def bills(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id, Invoice.state != "void")
            .order_by(Invoice.supplied_on)
        )
    )


def lines(invoice: Invoice) -> list[tuple[Any, ...]]:
    return [(line.kind, line.quantity, line.amount_minor) for line in invoice.lines]


def wrong(session: Session) -> list[Any]:
    """What the invariants and the verifying of every invoice name."""
    session.flush()
    session.expire_all()
    broken: list[Any] = [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]
    issued = session.scalars(select(Invoice.id).where(Invoice.issued_at.is_not(None))).all()
    for verdict in verifying.verify(control_session=session, invoice_ids=issued):
        broken += [(verdict.number, each) for each in verdict.differences]
    return broken


@pytest.fixture
def grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    def change(hours: int) -> None:
        monkeypatch.setenv("TENANTRY_INVOICE_GRACE_HOURS", str(hours))
        settings.cache_clear()

    yield change
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """Units in two tiers, the first hundred ₩100 each and those beyond ₩10; 90 in February."""
    meters.declare(
        control_session=control_session,
        definitions=[meter("units", aggregation="sum")],
        actor=SYSTEM,
        now=seoul(START),
    )
    tiers = (
        Tier(up_to=Decimal(100), unit_amount=Decimal(100)),
        Tier(up_to=None, unit_amount=Decimal(10)),
    )
    units = Charge(
        code="units",
        name_ko="사용량",
        name_en="Units",
        meter="units",
        timing="arrears",
        pricing=Pricing(model="graduated", tiers=tiers),
    )
    catalogue.publish(
        control_session=control_session,
        terms=PlanTerms(
            plan_code="units",
            position=8,
            currency="KRW",
            name_ko="사용량",
            name_en="Units",
            seats_max=5,
            storage_bytes_max=10**9,
            charges=(units,),
        ),
        actor=SYSTEM,
        now=seoul(START),
    )
    made = make_subscription(control_session, starts_on=START, plan_code="units", now=seoul(START))
    push(control_session, made, USED_ON, 90)
    return made


class TestBeforeTheBillIsIssued:
    def test_the_next_bill_so_far_changes_at_once(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        def so_far() -> int:
            found = upcoming.of_tenant(
                control_session=control_session,
                tenant_id=subscription.tenant_id,
                now=seoul(date(2026, 2, 20)),
            )
            assert found is not None
            return found.subtotal_minor

        assert so_far() == 9_000
        correct(control_session, subscription, 1)
        assert so_far() == 8_900

    def test_the_draft_is_issued_with_what_is_right_by_then(
        self,
        control_session: Session,
        subscription: Subscription,
        grace: Callable[[int], None],
    ) -> None:
        grace(24 * 7)
        bill(control_session, subscription, FIRST)
        (draft,) = bills(control_session, subscription)
        assert (draft.state, lines(draft)) == ("draft", [("charge", 90, 9_000)])
        for number in range(5):
            correct(control_session, subscription, number)
        correct(control_session, subscription, 5, quantity=3)
        bill(control_session, subscription, FIRST + timedelta(days=7))
        (issued,) = bills(control_session, subscription)
        assert (issued.id, issued.state) == (draft.id, "issued")
        assert lines(issued) == [("charge", 87, 8_700)]
        bill(control_session, subscription, SECOND + timedelta(days=7))
        assert lines(bills(control_session, subscription)[1]) == [("charge", 0, 0)]
        assert wrong(control_session) == []


class TestAfterTheBillIsIssued:
    def test_voided_events_are_given_back_by_the_next_bill_with_both_numbers(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, FIRST)
        for number in range(5):
            correct(control_session, subscription, number)
        push(control_session, subscription, date(2026, 3, 10), 12)
        assert wrong(control_session) == []
        bill(control_session, subscription, SECOND)
        first, second = bills(control_session, subscription)
        assert lines(first) == [("charge", 90, 9_000)]
        assert lines(second) == [("charge", 12, 1_200), ("adjustment", -5, -500)]
        evidence = second.lines[1].evidence
        assert (evidence["was"]["measured"], evidence["is"]["measured"]) == ("90", "85")
        assert (evidence["was"]["amount_minor"], evidence["is"]["amount_minor"]) == (9_000, 8_500)
        assert evidence["invoice"] == first.number_text == FIRST_NUMBER
        assert wrong(control_session) == []

    def test_an_amended_event_is_charged_by_the_next_bill(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, FIRST)
        correct(control_session, subscription, 0, quantity=Decimal("31.5"))
        bill(control_session, subscription, SECOND)
        # 100 at ₩100 and 20.5 at ₩10, less the 90 that were billed.
        assert lines(bills(control_session, subscription)[1]) == [
            ("charge", 0, 0),
            ("adjustment", Decimal("30.5"), 1_205),
        ]
        assert wrong(control_session) == []

    def test_a_moved_event_is_taken_out_of_one_month_and_billed_in_the_other(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, FIRST)
        moved = seoul(date(2026, 3, 3), 12)
        correct(control_session, subscription, 0, time=moved.isoformat(), quantity=4)
        bill(control_session, subscription, SECOND)
        assert lines(bills(control_session, subscription)[1]) == [
            ("charge", 4, 400),
            ("adjustment", -1, -100),
        ]
        assert wrong(control_session) == []

    def test_corrections_of_corrections_come_out_the_same_when_they_are_verified(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, FIRST)
        correct(control_session, subscription, 0, quantity=11)
        bill(control_session, subscription, SECOND)
        invoicing.void(
            control_session=control_session,
            invoice_id=bills(control_session, subscription)[1].id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(SECOND, 10),
        )
        correct(control_session, subscription, 1)
        bill(control_session, subscription, SECOND, 11)
        correct(control_session, subscription, 2)
        bill(control_session, subscription, THIRD)
        assert [lines(each)[1:2] for each in bills(control_session, subscription)] == [
            [],
            [("adjustment", 9, 900)],
            [("adjustment", -1, -100)],
        ]
        assert wrong(control_session) == []

    @pytest.mark.parametrize(("revision", "named"), [(0, "usage was"), (1, "usage is")])
    def test_a_kept_total_that_was_changed_is_named(
        self, control_session: Session, subscription: Subscription, revision: int, named: str
    ) -> None:
        bill(control_session, subscription, FIRST)
        correct(control_session, subscription, 0, quantity=11)
        bill(control_session, subscription, SECOND)
        (kept,) = (
            control_session.execute(
                select(UsageTotal.__table__).where(
                    UsageTotal.starts_at == seoul(START, 0), UsageTotal.revision == revision
                )
            )
            .mappings()
            .all()
        )
        control_session.execute(delete(UsageTotal).where(UsageTotal.id == kept["id"]))
        control_session.execute(insert(UsageTotal), {**kept, "quantity": kept["quantity"] + 1})
        number = bills(control_session, subscription)[1].number_text
        found = [each for each in wrong(control_session) if isinstance(each, tuple)]
        assert (number, 2, named) in [(of, each.line, each.what) for of, each in found]
