"""Conversion is an act with a consent behind it; cancelling ends with the period."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor, AuditEvent
from app.base.errors import Conflict, Invalid
from invoices import catalogue, changes, invoicing, subscriptions
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.models import Invoice, PaymentAttempt, Subscription, SubscriptionItem
from invoices.periods import Period
from invoices.subscriptions import AlreadySubscribed, ConversionConsent
from tenants import lifecycle
from tenants.models import Consent, Tenant
from tests.factories import (
    make_card,
    make_catalogue,
    make_readings,
    make_subscription,
    make_tenant,
)
from tests.invoices.plans import EVERYTHING

TODAY = date(2026, 3, 10)
ADMIN = Actor("admin", "somebody")


@pytest.fixture
def tenant(control_session: Session, now: datetime) -> Tenant:
    """A tenant on trial, and a price list."""
    make_catalogue(control_session, now=now)
    return make_tenant(control_session, now=now)


def agreed(
    session: Session, *, method: str = "transfer", language: str = "ko"
) -> ConversionConsent:
    """The consent of somebody who was shown today's terms for the team plan."""
    version = catalogue.current(control_session=session, plan_code="team", currency="KRW")
    shown = subscriptions.conversion_terms(
        version=version, language=language, method=method, starts_on=TODAY
    )
    return ConversionConsent(
        accepted=True, text_sha256=shown.sha256, language=language, method=method
    )


def convert(
    session: Session, tenant: Tenant, consent: ConversionConsent, now: datetime
) -> Subscription:
    return subscriptions.convert(
        control_session=session,
        tenant_id=tenant.id,
        plan_code="team",
        currency="KRW",
        consent=consent,
        actor=ADMIN,
        now=now,
    )


class TestTheTerms:
    @pytest.mark.parametrize(
        ("language", "said"),
        [
            ("ko", ["2026-03-10", "₩190,000", "₩0", "₩15,000", "10명", "계좌이체", "해지", "10%"]),
            ("en", ["2026-03-10", "₩190,000", "₩0", "₩15,000", "bank transfer", "cancel", "10%"]),
        ],
    )
    def test_name_date_prices_method_and_how_to_cancel(
        self, control_session: Session, tenant: Tenant, language: str, said: list[str]
    ) -> None:
        version = catalogue.current(
            control_session=control_session, plan_code="team", currency="KRW"
        )
        terms = subscriptions.conversion_terms(
            version=version, language=language, method="transfer", starts_on=TODAY
        )
        assert [words for words in said if words not in terms.text] == []
        assert "$" not in terms.text
        assert {kind for kind, _ in terms.blocks} == {"title", "heading", "item", "text"}

    def test_keep_every_decimal_of_a_small_price(self, control_session: Session) -> None:
        versions = make_catalogue(control_session)
        studio = next(
            each for each in versions if (each.plan_code, each.currency) == ("studio", "USD")
        )
        terms = subscriptions.conversion_terms(
            version=studio, language="en", method="card", starts_on=TODAY
        )
        assert "Studio plan, $449.00 a month" in terms.text
        assert "then $0.10 a month for each GB" in terms.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_list_every_charge_of_any_plan_and_when_it_is_billed(
        self, control_session: Session, tenant: Tenant, now: datetime, language: str
    ) -> None:
        version = catalogue.publish(
            control_session=control_session, terms=EVERYTHING, actor=SYSTEM, now=now
        )
        terms = subscriptions.conversion_terms(
            version=version, language=language, method="card", starts_on=TODAY
        )
        for charge in EVERYTHING.charges:
            assert (charge.name_ko if language == "ko" else charge.name_en) in terms.text
        for figure in ("1,200,000", "9,000", "7,000.5", "0.0015", "2.5%", "300,000", "500,000"):
            assert figure in terms.text
        days = {
            "ko": "매년 3월 10일, 매월 10일, 2주마다 화요일",
            "en": "each year on 10 March, each month on day 10, every 2 weeks on Tuesday",
        }
        assert days[language] in terms.text

    def test_refuse_a_method_that_does_not_exist(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        with pytest.raises(Invalid, match="card or bank transfer"):
            agreed(control_session, method="barter")


class TestConverting:
    def test_opens_a_subscription_from_today_in_seoul_and_records_the_consent(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        subscription = convert(control_session, tenant, agreed(control_session), now)
        assert (subscription.state, subscription.starts_on) == ("active", TODAY)
        assert subscription.next_bill_on == TODAY
        assert tenant.state == "active"
        assert tenant.limits == {"seats": 50, "storage_bytes": 500_000_000_000}
        consent = control_session.get_one(Consent, subscription.consent_id)
        assert (consent.kind, consent.granted, consent.subject_id) == (
            "conversion",
            True,
            tenant.id,
        )
        assert consent.details["starts_on"] == "2026-03-10"
        assert consent.details["price"] == "₩190,000 a month"
        assert consent.details["price_before"] == "₩0"
        assert consent.details["method"] == "transfer"
        assert consent.details["how_to_cancel"].endswith("/portal/plan")
        assert consent.text_sha256 == agreed(control_session).text_sha256

    def test_after_midnight_in_seoul_starts_on_the_new_day(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        evening_in_utc = datetime.fromisoformat("2026-03-09T15:30:00+00:00")
        subscription = convert(control_session, tenant, agreed(control_session), evening_in_utc)
        assert subscription.starts_on == TODAY

    def test_never_happens_without_consent(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        silent = replace(agreed(control_session), accepted=False)
        with pytest.raises(subscriptions.ConsentMissing):
            convert(control_session, tenant, silent, now)
        assert tenant.state == "trialing"
        assert control_session.scalar(select(func.count()).select_from(Subscription)) == 0

    def test_never_comes_of_a_trial_that_runs_out_though_a_card_is_there(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        make_card(control_session, tenant=tenant)
        assert tenant.trial_ends_at is not None
        ended = tenant.trial_ends_at
        assert lifecycle.suspend_due(
            control_session=control_session, tenant_id=tenant.id, now=ended
        )
        for later in (ended, ended + timedelta(days=31)):
            assert invoicing.claim(control_session=control_session, now=later) == []
        for table in (Subscription, Invoice, PaymentAttempt):
            assert control_session.scalar(select(func.count()).select_from(table)) == 0

    def test_is_refused_when_the_terms_were_others(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        seen = agreed(control_session)
        with pytest.raises(subscriptions.TermsChanged):
            convert(control_session, tenant, replace(seen, language="en"), now)
        with pytest.raises(subscriptions.TermsChanged):
            convert(control_session, tenant, seen, now + timedelta(days=1))
        team = next(
            each for each in DEFAULT_PLANS if (each.plan_code, each.currency) == ("team", "KRW")
        )
        base, *rest = team.charges
        pricing = replace(base.pricing, unit_amount=Decimal(250_000))
        dearer = replace(base, pricing=pricing)
        catalogue.publish(
            control_session=control_session,
            terms=replace(team, charges=(dearer, *rest)),
            actor=SYSTEM,
            now=now,
        )
        with pytest.raises(subscriptions.TermsChanged):
            convert(control_session, tenant, seen, now)

    def test_by_card_needs_a_card(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        by_card = agreed(control_session, method="card")
        with pytest.raises(subscriptions.NoCardRegistered) as refused:
            convert(control_session, tenant, by_card, now)
        assert refused.value.field == "method"
        make_card(control_session, tenant=tenant)
        assert convert(control_session, tenant, by_card, now).state == "active"

    def test_happens_once(self, control_session: Session, tenant: Tenant, now: datetime) -> None:
        convert(control_session, tenant, agreed(control_session), now)
        with pytest.raises(subscriptions.AlreadySubscribed):
            convert(control_session, tenant, agreed(control_session), now)
        with pytest.raises(IntegrityError, match="uq_subscription_tenant_current"):
            make_subscription(control_session, tenant=tenant)

    def test_in_another_currency_is_refused(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        with pytest.raises(Invalid, match="KRW"):
            subscriptions.convert(
                control_session=control_session,
                tenant_id=tenant.id,
                plan_code="team",
                currency="USD",
                consent=agreed(control_session),
                actor=ADMIN,
                now=now,
            )

    def test_brings_back_a_trial_that_had_ended(
        self, control_session: Session, now: datetime
    ) -> None:
        make_catalogue(control_session)
        ended = make_tenant(control_session, state="suspended", destroy_after=now)
        convert(control_session, ended, agreed(control_session), now)
        assert (ended.state, ended.destroy_after) == ("active", None)

    def test_does_not_bring_back_a_debtor(self, control_session: Session, now: datetime) -> None:
        make_catalogue(control_session)
        debtor = make_tenant(control_session, state="suspended", suspend_reason="unpaid")
        with pytest.raises(Conflict):
            convert(control_session, debtor, agreed(control_session), now)


class TestAnotherFirstDay:
    def agreed_for(self, session: Session, day: date) -> ConversionConsent:
        version = catalogue.current(control_session=session, plan_code="team", currency="KRW")
        shown = subscriptions.conversion_terms(
            version=version, language="ko", method="transfer", starts_on=day
        )
        return ConversionConsent(
            accepted=True, text_sha256=shown.sha256, language="ko", method="transfer"
        )

    def convert(self, session: Session, tenant: Tenant, day: date, now: datetime) -> Subscription:
        return subscriptions.convert(
            control_session=session,
            tenant_id=tenant.id,
            plan_code="team",
            currency="KRW",
            consent=self.agreed_for(session, day),
            actor=Actor("staff", "somebody"),
            now=now,
            starts_on=day,
        )

    def test_later_leaves_the_trial_until_then(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        later = TODAY + timedelta(days=5)
        started = self.convert(control_session, tenant, later, now)
        assert (started.state, tenant.state) == ("scheduled", "trialing")
        for day, state in ((4, "scheduled"), (5, "active")):
            invoicing.bill(
                control_session=control_session,
                subscription_ids=[started.id],
                now=now + timedelta(days=day),
            )
            control_session.refresh(started)
            assert started.state == state
        assert tenant.state == "active"
        (invoice,) = control_session.scalars(select(Invoice))
        assert invoice.supplied_on == later

    def test_earlier_is_billed_from_then(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        tenant.trial_starts_at = now - timedelta(days=9)
        earlier = TODAY - timedelta(days=9)
        started = self.convert(control_session, tenant, earlier, now)
        assert (started.state, started.starts_on) == ("active", earlier)
        with pytest.raises(AlreadySubscribed):
            self.convert(control_session, tenant, earlier, now)

    @pytest.mark.parametrize("days", [-10, 400])
    def test_out_of_reach_is_refused(
        self, control_session: Session, tenant: Tenant, now: datetime, days: int
    ) -> None:
        tenant.trial_starts_at = now - timedelta(days=9)
        with pytest.raises(subscriptions.StartUnsound) as refused:
            self.convert(control_session, tenant, TODAY + timedelta(days=days), now)
        assert refused.value.field == "starts_on"

    def ended(self, session: Session, tenant: Tenant, now: datetime, days: int) -> Subscription:
        """A contract that began with the trial, nine days ago, and was ended after some days."""
        tenant.trial_starts_at = now - timedelta(days=9)
        started = self.convert(session, tenant, TODAY - timedelta(days=9), now)
        at = now - timedelta(days=9 - days)
        changes.cancel(
            control_session=session, tenant_id=tenant.id, when="now", actor=ADMIN, now=at
        )
        make_readings(session, tenant_id=tenant.id, start=TODAY - timedelta(days=9), end=TODAY)
        invoicing.bill(control_session=session, subscription_ids=[started.id], now=now)
        session.refresh(started)
        assert (started.state, tenant.suspend_reason) == ("cancelled", "cancelled")
        return started

    def test_within_what_an_earlier_contract_billed_is_refused(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        self.ended(control_session, tenant, now, days=4)
        for days in (9, 6):
            with pytest.raises(subscriptions.StartUnsound) as refused:
                self.convert(control_session, tenant, TODAY - timedelta(days=days), now)
            assert refused.value.field == "starts_on"
        again = self.convert(control_session, tenant, TODAY - timedelta(days=5), now)
        assert again.state == "active"

    def test_is_the_rest_of_a_day_on_which_another_ended(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        first = self.ended(control_session, tenant, now, days=9)
        again = self.convert(control_session, tenant, TODAY, now)
        assert again.starts_on == first.ends_on == TODAY
        begun = control_session.scalars(
            select(SubscriptionItem.starts_at).where(SubscriptionItem.subscription_id == again.id)
        )
        assert set(begun) == {now}

    def test_of_one_that_never_began_leaves_its_days_free(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        tenant.trial_starts_at = now - timedelta(days=9)
        later = self.convert(control_session, tenant, TODAY + timedelta(days=5), now)
        changes.cancel(
            control_session=control_session, tenant_id=tenant.id, when="now", actor=ADMIN, now=now
        )
        invoicing.bill(control_session=control_session, subscription_ids=[later.id], now=now)
        control_session.refresh(later)
        assert later.state == "cancelled"
        tenant.state, tenant.suspended_at, tenant.suspend_reason = "trialing", None, None
        tenant.destroy_after = None
        again = self.convert(control_session, tenant, TODAY - timedelta(days=9), now)
        assert again.state == "active"

    def test_is_held_by_the_database_too(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        first = self.ended(control_session, tenant, now, days=4)
        again = self.convert(control_session, tenant, TODAY, now)
        control_session.flush()
        with pytest.raises(IntegrityError, match="ex_subscription_one_at_a_time"):
            control_session.execute(
                update(Subscription)
                .where(Subscription.id == again.id)
                .values(starts_on=first.ends_on - timedelta(days=1))  # type: ignore[operator]
            )

    def test_is_not_for_the_customer_to_choose(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        with pytest.raises(subscriptions.StartUnsound):
            subscriptions.convert(
                control_session=control_session,
                tenant_id=tenant.id,
                plan_code="team",
                currency="KRW",
                consent=self.agreed_for(control_session, TODAY),
                actor=ADMIN,
                now=now,
                starts_on=TODAY + timedelta(days=1),
            )


class TestCancelling:
    def test_ends_with_the_period_that_runs(self, control_session: Session, now: datetime) -> None:
        started = make_subscription(control_session, starts_on=date(2026, 1, 31), now=now)

        def cancel() -> date | None:
            return changes.cancel(
                control_session=control_session,
                when="period_end",
                tenant_id=started.tenant_id,
                actor=ADMIN,
                now=now,
                why="moving on",
            ).ends_on

        assert cancel() == date(2026, 3, 31)
        assert cancel() == date(2026, 3, 31)
        events = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "subscription.cancellation_set")
        ).all()
        assert [(event.why, event.actor_id) for event in events] == [("moving on", "somebody")]
        assert started.state == "active"

    def test_needs_a_subscription(self, control_session: Session, tenant: Tenant) -> None:
        with pytest.raises(subscriptions.NoSubscription):
            changes.cancel(
                control_session=control_session,
                when="period_end",
                tenant_id=tenant.id,
                actor=ADMIN,
                now=datetime.fromisoformat("2026-03-10T03:00:00+00:00"),
            )

    def test_at_once_is_for_a_tenant_that_is_destroyed(
        self, control_session: Session, now: datetime
    ) -> None:
        started = make_subscription(control_session, starts_on=date(2026, 1, 31))
        for _ in range(2):
            subscriptions.close(
                control_session=control_session,
                tenant_id=started.tenant_id,
                actor=SYSTEM,
                now=now,
                why="the tenant is destroyed",
            )
        assert (started.state, started.ends_on) == ("cancelled", TODAY)


class TestTheRunningPeriod:
    def test_is_the_one_that_holds_today(self, control_session: Session, now: datetime) -> None:
        started = make_subscription(control_session, starts_on=date(2026, 1, 31))
        assert subscriptions.current_period(subscription=started, now=now) == Period(
            date(2026, 2, 28), date(2026, 3, 31)
        )

    def test_is_the_last_one_after_the_end(self, control_session: Session, now: datetime) -> None:
        started = make_subscription(
            control_session, starts_on=date(2025, 11, 30), ends_on=date(2026, 1, 30)
        )
        assert subscriptions.current_period(subscription=started, now=now) == Period(
            date(2025, 12, 30), date(2026, 1, 30)
        )
