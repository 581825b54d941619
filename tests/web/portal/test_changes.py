"""What customers change by themselves: seen first, confirmed as seen, and only what they may."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session
from invoices import catalogue, invoicing
from invoices.models import Invoice, Plan, Subscription, SubscriptionItem
from tenants.models import Tenant
from tests.factories import NOW, make_readings, make_subscription, make_tenant
from tests.invoices.test_changes import LARGE, SMALL, TINY
from tests.naughty import naughty
from tests.web.forms import csrf_token
from tests.web.portal.parts import customer, sign_in

PLAN = "/portal/plan"
CHANGE = f"{PLAN}/change"
# Another price list's plans beside the default ones, with everything that can be changed.
PLANS = (SMALL, replace(LARGE, position=10), replace(TINY, position=11))


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def subscriber(plan_code: str = "small", *, billed: bool = True) -> Tenant:
    """A tenant on one of PLANS since the first of the month, with that month's bill made."""
    with control_session() as session:
        for terms in PLANS:
            catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=NOW)
        tenant = make_tenant(session, state="active", converted_at=NOW)
        start = NOW.date().replace(day=1)
        subscription = make_subscription(
            session, tenant=tenant, plan_code=plan_code, starts_on=start
        )
        if billed:
            invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=NOW)
        session.refresh(tenant)
    return tenant


def subscription_of(tenant: Tenant) -> Subscription:
    with control_session() as session:
        return session.scalars(
            select(Subscription)
            .where(Subscription.tenant_id == tenant.id)
            .order_by(Subscription.created_at.desc())
        ).one()


def items_of(tenant: Tenant) -> list[tuple[str, Decimal, bool]]:
    """What is in force or to come: code, quantity, whether it goes on."""
    with control_session() as session:
        rows = session.scalars(
            select(SubscriptionItem)
            .join(Subscription, Subscription.id == SubscriptionItem.subscription_id)
            .where(Subscription.tenant_id == tenant.id)
            .order_by(SubscriptionItem.created_at, SubscriptionItem.charge)
        )
        return [(row.charge, row.quantity, row.ends_at is None) for row in rows]


def confirmation(page: Any) -> dict[str, str]:
    """The hidden fields of the form that confirms, as a browser sends them."""
    form = page.text.partition('id="confirm"')[2].partition("</form>")[0]
    assert form, page.text
    found = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def seen(client: Any, verb: str, **answers: str) -> Any:
    return client.get(f"{CHANGE}/{verb}/preview", query_string={"lang": "en", **answers})


def change(client: Any, verb: str, **answers: str) -> Any:
    """Preview, then confirm what was seen."""
    page = seen(client, verb, **answers)
    assert page.status_code == 200, page.text
    return client.post(f"{CHANGE}/{verb}", data=confirmation(page))


class TestThePlanPage:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_offers_what_can_be_changed(self, client: Any, language: str) -> None:
        sign_in(client, subscriber())
        page = client.get(PLAN, query_string={"lang": language}).text
        for verb in ("plan", "quantity?charge=licences", "add?charge=support", "cancel"):
            assert f'href="{CHANGE}/{verb}"' in page
        for verb in ("pause", "resume", "take-back", "remove", "billing-day"):
            assert f"{CHANGE}/{verb}" not in page

    def test_offers_nothing_on_trial(self, client: Any) -> None:
        sign_in(client, customer())
        assert CHANGE not in client.get(PLAN).text
        assert client.get(f"{CHANGE}/cancel").status_code == 404


class TestThePreview:
    def test_shows_today_s_bill_and_the_next_both_ways(self, client: Any) -> None:
        sign_in(client, subscriber())
        page = seen(client, "plan", plan="large", when="now").text
        # 22 of 31 days are left of March.
        assert "−₩22,000" in page
        assert "₩66,000" in page
        assert "₩34,100" in page  # the next bill as it is: 31,000 and 3,100
        assert "₩99,200" in page
        assert "2026-04-01" in page

    def test_says_what_is_carried_over(self, client: Any) -> None:
        sign_in(client, subscriber("large"))
        page = seen(client, "plan", plan="tiny", when="now").text
        assert "is carried over" in page

    def test_names_what_usage_decides(self, client: Any) -> None:
        sign_in(client, subscriber("team"))
        page = seen(client, "plan", plan="studio", when="period_end").text
        assert "because usage decides" in page

    def test_changes_nothing(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        before = items_of(tenant)
        for verb, answers in (
            ("plan", {"plan": "large", "when": "now"}),
            ("quantity", {"charge": "licences", "quantity": "9", "when": "now"}),
            ("add", {"charge": "support"}),
            ("cancel", {}),
        ):
            assert seen(client, verb, **answers).status_code == 200
        assert items_of(tenant) == before
        with control_session() as session:
            assert session.scalar(select(func.count()).select_from(Invoice)) == 1

    @pytest.mark.parametrize("language", ["ko", "en"])
    @pytest.mark.parametrize("verb", ["plan", "quantity", "add", "cancel"])
    def test_is_asked_for_in_both_languages(self, client: Any, verb: str, language: str) -> None:
        sign_in(client, subscriber())
        assert client.get(f"{CHANGE}/{verb}", query_string={"lang": language}).status_code == 200


class TestChanging:
    def test_the_plan_at_once(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        assert change(client, "plan", plan="large", when="now").status_code == 303
        with control_session() as session:
            assert session.get_one(Tenant, tenant.id).plan_code == "large"
            event = session.scalars(
                select(AuditEvent).where(AuditEvent.action == "subscription.plan_changed")
            ).one()
        assert event.actor_kind == "admin"

    def test_the_plan_at_the_end_and_taking_it_back(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        assert change(client, "plan", plan="large", when="period_end").status_code == 303
        assert subscription_of(tenant).next_plan_version_id is not None
        assert f"{CHANGE}/take-back" in client.get(PLAN).text
        assert change(client, "take-back").status_code == 303
        assert subscription_of(tenant).next_plan_version_id is None
        assert seen(client, "take-back").status_code == 409

    def test_a_quantity(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        answer = change(client, "quantity", charge="licences", quantity="1,200", when="now")
        assert answer.status_code == 303
        assert ("licences", Decimal(1200), True) in items_of(tenant)

    def test_add_ons(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        assert change(client, "add", charge="support").status_code == 303
        assert ("support", Decimal(1), True) in items_of(tenant)
        assert f"{CHANGE}/remove?charge=support" in client.get(PLAN).text
        assert change(client, "remove", charge="support", when="now").status_code == 303
        assert ("support", Decimal(1), False) in items_of(tenant)

    def test_the_end(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        page = client.get(f"{CHANGE}/cancel", query_string={"lang": "en"})
        answer = client.post(f"{CHANGE}/cancel", data={**confirmation(page), "why": "\x00too dear"})
        assert answer.status_code == 303
        assert str(subscription_of(tenant).ends_on) == "2026-04-01"
        with control_session() as session:
            event = session.scalars(
                select(AuditEvent).where(AuditEvent.action == "subscription.cancellation_set")
            ).one()
        assert event.why == "too dear"
        assert seen(client, "cancel").status_code == 409


class TestConfirming:
    def test_twice_changes_once(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        form = confirmation(seen(client, "add", charge="training"))
        answers = [client.post(f"{CHANGE}/add", data=form).status_code for _ in range(2)]
        assert answers == [303, 303]
        assert [code for code, _, _ in items_of(tenant)].count("training") == 1

    def test_is_refused_when_the_money_has_changed(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        old = confirmation(seen(client, "plan", plan="large", when="now"))
        assert (
            change(client, "quantity", charge="licences", quantity="5", when="now").status_code
            == 303
        )
        before = items_of(tenant)
        answer = client.post(f"{CHANGE}/plan?lang=en", data=old)
        assert answer.status_code == 409
        assert "Nothing was done" in answer.text
        assert items_of(tenant) == before
        assert client.post(f"{CHANGE}/plan", data=confirmation(answer)).status_code == 303

    def test_is_refused_on_another_day_that_costs_another_sum(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        sign_in(client, subscriber())
        form = confirmation(seen(client, "plan", plan="large", when="now"))
        set_clock(NOW + timedelta(hours=14))
        assert client.post(f"{CHANGE}/plan", data=form).status_code == 409

    def test_costs_what_was_shown_where_seconds_count(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        by_second = tuple(replace(each, proration="second") for each in LARGE.charges)
        with control_session() as session:
            catalogue.publish(
                control_session=session,
                terms=replace(LARGE, plan_code="exact", name_en="exact", charges=by_second),
                actor=SYSTEM,
                now=NOW,
            )
        tenant = subscriber()
        sign_in(client, tenant)
        form = confirmation(seen(client, "plan", plan="exact", when="now"))
        set_clock(NOW + timedelta(minutes=5))
        assert client.post(f"{CHANGE}/plan", data=form).status_code == 303
        with control_session() as session:
            begun = session.scalars(
                select(SubscriptionItem.starts_at).order_by(SubscriptionItem.starts_at.desc())
            ).first()
        assert begun is not None
        assert begun.isoformat() == form["at"]

    @pytest.mark.parametrize("field", ["fingerprint", "at"])
    def test_takes_no_forged_field(self, client: Any, field: str) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        form = confirmation(seen(client, "plan", plan="large", when="now"))
        before = items_of(tenant)
        for text in [*naughty(field), "2026-03-10T03:00:00+00:00x"]:
            answer = client.post(f"{CHANGE}/plan", data=form | {field: text})
            if field == "fingerprint":
                assert answer.status_code == 409, text
                assert items_of(tenant) == before
            else:
                # Without a moment it is made as of now, which costs the same today.
                assert answer.status_code in (303, 409), text


class TestWhatIsTyped:
    @pytest.mark.parametrize(
        ("verb", "answers", "field"),
        [
            ("quantity", {"charge": "licences", "quantity": "-1", "when": "now"}, "quantity"),
            ("quantity", {"charge": "licences", "quantity": "1.5", "when": "now"}, "quantity"),
            ("quantity", {"charge": "licences", "quantity": "²", "when": "now"}, "quantity"),
            ("quantity", {"charge": "licences", "quantity": "9" * 30, "when": "now"}, "quantity"),
            ("quantity", {"charge": "licences", "quantity": "", "when": "now"}, "quantity"),
            ("quantity", {"charge": "licences", "quantity": "4", "when": "soon"}, "when"),
            ("plan", {"plan": "moon", "when": "now"}, "plan"),
            ("plan", {"plan": "", "when": "now"}, "plan"),
            ("plan", {"plan": "large"}, "when"),
        ],
    )
    def test_wrongly_is_told_at_its_field_and_kept(
        self, client: Any, verb: str, answers: dict[str, str], field: str
    ) -> None:
        sign_in(client, subscriber())
        page = seen(client, verb, **answers)
        assert page.status_code == 422
        assert f'id="{field}-error"' in page.text
        if answers.get("quantity"):
            assert f'value="{answers["quantity"]}"' in page.text

    def test_that_changes_nothing_or_does_not_fit_is_told_at_its_field(self, client: Any) -> None:
        tenant = subscriber()
        with control_session() as session:
            make_readings(
                session,
                tenant_id=tenant.id,
                start=NOW.date() - timedelta(days=1),
                end=NOW.date(),
                seats=9,
            )
        sign_in(client, tenant)
        same = seen(client, "quantity", charge="licences", quantity="1", when="now")
        assert (same.status_code, 'id="quantity-error"' in same.text) == (409, True)
        again = seen(client, "plan", plan="small", when="now")
        assert (again.status_code, 'id="plan-error"' in again.text) == (409, True)
        small = seen(client, "plan", plan="tiny", when="now")
        assert small.status_code == 409
        assert "3 people and 9 are active" in small.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_of_a_plan_that_is_retired_is_refused(self, client: Any, language: str) -> None:
        sign_in(client, subscriber())
        before = confirmation(seen(client, "plan", plan="large", when="now"))
        with control_session() as session:
            session.execute(update(Plan).where(Plan.code == "large").values(retired_at=NOW))
        page = seen(client, "plan", plan="large", when="now", lang=language)
        assert (page.status_code, 'id="plan-error"' in page.text) == (422, True)
        words = "offered to nobody new" if language == "en" else "더 이상 새로 신청할 수 없어요"
        assert words in page.text
        # Also for whoever had the preview open already.
        answer = client.post(f"{CHANGE}/plan", data=before)
        assert (answer.status_code, 'id="plan-error"' in answer.text) == (422, True)

    @pytest.mark.parametrize("field", ["plan", "when", "charge", "quantity", "why"])
    def test_naughtily_does_no_harm(self, client: Any, field: str) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        verb = "plan" if field in ("plan", "when") else "quantity"
        answers = {"plan": "large", "when": "now", "charge": "licences", "quantity": "3"}
        token = csrf_token(client, "/portal/account")
        for text in naughty(field):
            typed = answers | {field: text, "csrf_token": token}
            page = seen(client, verb, **{k: v for k, v in typed.items() if k != "why"})
            assert page.status_code in (200, 409, 422), text
            assert "<script>alert" not in page.text
            answer = client.post(f"{CHANGE}/{verb}", data=typed)
            assert answer.status_code in (409, 422), text
        assert len(items_of(tenant)) == 3
