"""A dearer price: asked for, reminded of, agreed to within 30 days, and never silently there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.messages import Message
from invoices import catalogue, changes, invoicing, plan_moves, price_consents, price_rises
from invoices.models import InvoiceLine, PriceConsent, Subscription
from invoices.plan_moves import Move, Moves
from invoices.plan_terms import PlanTerms
from invoices.price_consents import Answer
from tenants.models import Consent
from tests.factories import make_readings, make_subscription
from tests.invoices.plans import EVERYTHING, TEAM, dearer

START = date(2026, 3, 10)
MOVES_ON = date(2026, 5, 10)
MOVE = Move(
    plan_code="team",
    currency="KRW",
    from_version=1,
    to_version=2,
    on=date(2026, 4, 20),
    notice_days=30,
)
DAY = timedelta(days=1)


@pytest.fixture
def subscriber(control_session: Session, now: datetime) -> Subscription:
    """A subscriber of the team plan from 10 March, on its first version."""
    return make_subscription(control_session, starts_on=START)


def move(session: Session, now: datetime) -> Moves:
    """Publish a dearer version and move everybody to it."""
    catalogue.publish(control_session=session, terms=dearer(TEAM), actor=SYSTEM, now=now)
    found = Moves()
    for tenant_id in plan_moves.subscribers(control_session=session, move=MOVE, now=now):
        plan_moves.schedule(
            control_session=session,
            move=MOVE,
            tenant_id=tenant_id,
            actor=SYSTEM,
            now=now,
            found=found,
        )
    session.expire_all()
    return found


def asked(session: Session) -> PriceConsent:
    return session.scalars(select(PriceConsent)).one()


def at(day: date) -> datetime:
    return datetime.fromisoformat(f"{day}T03:00:00+00:00")


def follow(session: Session, now: datetime) -> list[str]:
    """What the job does at that moment, until nothing is due."""
    states = []
    while ids := session.scalars(select(PriceConsent.id).where(price_consents.due(now))).all():
        for each in ids:
            states.append(
                price_consents.follow_up(control_session=session, consent_id=each, now=now)
            )
    return states


def mails(session: Session, kind: str = "price_consent") -> list[Message]:
    return list(
        session.scalars(select(Message).where(Message.kind == kind).order_by(Message.created_at))
    )


def give(session: Session, subscription: Subscription, now: datetime, **changed: Any) -> None:
    shown = price_consents.terms(control_session=session, asked=asked(session), language="ko")
    answer = {"accepted": True, "text_sha256": shown.sha256, "language": "ko"} | changed
    price_consents.give(
        control_session=session,
        tenant_id=subscription.tenant_id,
        answer=Answer(**answer),
        actor=SYSTEM,
        now=now,
    )


def base_fees(session: Session, subscription: Subscription, now: datetime) -> list[int]:
    """What the billing run asks for the base fee, period by period, up to June."""
    make_readings(session, tenant_id=subscription.tenant_id, start=START, end=date(2026, 6, 10))
    invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=now + 92 * DAY)
    rows = session.scalars(
        select(InvoiceLine.amount_minor)
        .where(InvoiceLine.charge == "base")
        .order_by(InvoiceLine.period)
    )
    return list(rows)


class TestAMoveToADearerVersion:
    def test_changes_nothing_and_asks(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        found = move(control_session, now)
        assert [(each.moves_on, each.asked) for each in found.moved] == [(MOVES_ON, True)]
        assert subscriber.next_change_at is None
        assert base_fees(control_session, subscriber, now) == [190_000] * 4

    def test_again_asks_nobody_twice(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        assert move(control_session, now).moved == []
        assert len(mails(control_session)) == 1

    def test_says_what_the_law_wants_said(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        (mail,) = mails(control_session)
        for words in ("2026-05-10", "월 ₩190,000", "월 ₩210,000", "계좌이체", "해지", "2026-04-10"):
            assert words in mail.text
        text = price_consents.terms(
            control_session=control_session, asked=asked(control_session), language="en"
        ).text
        for words in (
            "2026-05-10",
            "₩190,000",
            "₩210,000",
            "bank transfer",
            "Cancel by 2026-05-09",
        ):
            assert words in text


class TestReminders:
    def test_come_as_the_day_draws_near_each_once(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        told = []
        for left in range(61, 0, -1):
            day = MOVES_ON - left * DAY
            if follow(control_session, at(day)):
                told.append(left)
        assert told == [30, 14, 7, 3, 1]
        assert len(mails(control_session)) == 6

    def test_stop_once_somebody_has_answered(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        price_consents.refuse(
            control_session=control_session,
            tenant_id=subscriber.tenant_id,
            actor=SYSTEM,
            now=at(MOVES_ON - 20 * DAY),
        )
        assert follow(control_session, at(MOVES_ON - DAY)) == []
        assert asked(control_session).state == "refused"


class TestConsent:
    def test_within_thirty_days_brings_the_price_on_its_day(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        give(control_session, subscriber, at(MOVES_ON - 30 * DAY))
        consent = control_session.scalars(
            select(Consent).where(Consent.kind == "price_change")
        ).one()
        assert consent.details["price_before"] != consent.details["price"]
        assert (asked(control_session).state, asked(control_session).consent_id) == (
            "given",
            consent.id,
        )
        assert base_fees(control_session, subscriber, now) == [190_000, 190_000, 210_000, 210_000]

    @pytest.mark.parametrize("days_before", [31, 0])
    def test_too_early_or_too_late_does_not_count(
        self,
        control_session: Session,
        subscriber: Subscription,
        now: datetime,
        days_before: int,
    ) -> None:
        move(control_session, now)
        with pytest.raises(price_consents.TooEarly):
            give(control_session, subscriber, at(MOVES_ON - days_before * DAY))
        assert asked(control_session).state == "asked"

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"accepted": False}, price_consents.ConsentMissing),
            ({"text_sha256": "0" * 64}, price_consents.TermsChanged),
        ],
    )
    def test_needs_the_tick_and_the_text_that_was_shown(
        self,
        control_session: Session,
        subscriber: Subscription,
        now: datetime,
        changed: dict[str, Any],
        error: type[Exception],
    ) -> None:
        move(control_session, now)
        with pytest.raises(error):
            give(control_session, subscriber, at(MOVES_ON - DAY), **changed)

    def test_may_still_be_given_after_a_no(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        day = at(MOVES_ON - 5 * DAY)
        by = {"control_session": control_session, "actor": SYSTEM, "now": day}
        price_consents.refuse(tenant_id=subscriber.tenant_id, **by)
        give(control_session, subscriber, day)
        assert asked(control_session).state == "given"


class TestNoAnswer:
    def test_leaves_the_price_as_it_is_and_says_so(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        assert follow(control_session, at(MOVES_ON)) == ["lapsed"]
        (mail,) = mails(control_session, "price_kept")
        assert "그대로 유지" in mail.text
        assert base_fees(control_session, subscriber, now) == [190_000] * 4
        with pytest.raises(price_consents.NothingAsked):
            give(control_session, subscriber, at(MOVES_ON))

    def test_ends_the_subscription_where_that_is_set(
        self,
        control_session: Session,
        subscriber: Subscription,
        now: datetime,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        move(control_session, now)
        monkeypatch.setenv("TENANTRY_PRICE_RISE_UNANSWERED", "end")
        settings.cache_clear()
        last_day = MOVES_ON - DAY
        assert follow(control_session, at(last_day)) == ["lapsed"]
        assert subscriber.ends_on == MOVES_ON
        (mail,) = mails(control_session, "price_kept")
        assert "2026-05-09" in mail.subject
        monkeypatch.undo()
        settings.cache_clear()

    def test_of_whoever_cancelled_is_asked_for_no_more(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        move(control_session, now)
        changes.cancel(
            control_session=control_session,
            tenant_id=subscriber.tenant_id,
            when="period_end",
            actor=SYSTEM,
            now=now,
        )
        assert follow(control_session, at(MOVES_ON - 14 * DAY)) == ["withdrawn"]


class TestARise:
    def test_is_any_amount_that_is_higher_and_no_amount_that_is_not(self) -> None:
        assert not price_rises.rises(EVERYTHING, EVERYTHING)
        assert price_rises.rises(TEAM, dearer(TEAM, 190_001))
        assert not price_rises.rises(TEAM, dearer(TEAM, 189_999))

    @pytest.mark.parametrize("place", range(len(EVERYTHING.charges)))
    def test_is_found_in_every_kind_of_charge(self, place: int) -> None:
        one = EVERYTHING.charges[place]
        if one.pricing.tiers:
            tiers = tuple(
                replace(tier, unit_amount=tier.unit_amount + 1) for tier in one.pricing.tiers
            )
            pricing = replace(one.pricing, tiers=tiers)
        else:
            pricing = replace(one.pricing, unit_amount=one.pricing.unit_amount + 1)
        assert price_rises.rises(EVERYTHING, self.with_charge(place, replace(one, pricing=pricing)))

    def test_is_less_that_is_included_and_another_way_of_pricing(self) -> None:
        place = next(
            place for place, each in enumerate(EVERYTHING.charges) if each.pricing.included
        )
        one = EVERYTHING.charges[place]
        fewer = replace(one.pricing, included=one.pricing.included - Decimal(1))
        assert price_rises.rises(EVERYTHING, self.with_charge(place, replace(one, pricing=fewer)))
        assert price_rises.rises(
            EVERYTHING, self.with_charge(0, replace(EVERYTHING.charges[0], proration="none"))
        )

    def test_is_a_new_charge_that_nobody_chose(self) -> None:
        fewer = replace(EVERYTHING, charges=EVERYTHING.charges[:1])
        assert price_rises.rises(fewer, EVERYTHING)
        assert not price_rises.rises(EVERYTHING, fewer)

    def with_charge(self, place: int, charge: Any) -> PlanTerms:
        charges = list(EVERYTHING.charges)
        charges[place] = charge
        return replace(EVERYTHING, charges=tuple(charges))


class TestTheDayOfAChange:
    def test_lies_within_the_days_for_which_anybody_can_agree(self) -> None:
        price_rises.check_day(begins_on=START + 30 * DAY, today=START)
        with pytest.raises(price_rises.TooFarAhead) as refused:
            price_rises.check_day(begins_on=START + 31 * DAY, today=START)
        assert refused.value.field == "when"
