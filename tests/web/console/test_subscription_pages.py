"""A customer's subscription in the console: who may act, what it costs, what is written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.base.audit import SYSTEM, AuditEvent, append
from app.base.db import control_session
from app.web.subscription_story import EVENTS_A_PAGE
from invoices import invoicing
from invoices.models import CouponRedemption, Plan, Subscription
from tenants.models import Consent, Tenant
from tests.factories import NOW, make_tenant
from tests.naughty import naughty
from tests.web.forms import csrf_token, sign_in_staff
from tests.web.portal.parts import committed, customer, make_coupon, sign_in
from tests.web.portal.test_changes import confirmation, items_of, subscriber, subscription_of

WHY = {"why": "agreed by mail"}
# What costs more is changed with a consent that our staff holds.
GIVEN = {"given_by": "Their director, by mail", "given_on": "2026-03-10"}
VERBS = {
    "plan": {"plan": "large", "when": "now"},
    "quantity": {"charge": "licences", "quantity": "4", "when": "now"},
    "add": {"charge": "support"},
    "pause": {},
    "cancel": {"when": "now", "credit": "no"},
    "billing-day": {"billing_day": "25"},
}
MORE = {"charge": "licences", "quantity": "4", "when": "now"}
CONVERSION = {"plan": "team", "starts_on": "2026-03-10", "method": "transfer"}
CONSENT = {"accept": "y", "given_by": "Their director, by mail of 9 March"}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def place(tenant: Tenant, rest: str = "") -> str:
    return f"/console/tenants/{tenant.id}/subscription{rest}"


def seen(client: Any, tenant: Tenant, verb: str, **answers: str) -> Any:
    return client.get(
        place(tenant, f"/change/{verb}/preview"), query_string={"lang": "en", **answers}
    )


def change(client: Any, tenant: Tenant, verb: str, **answers: str) -> Any:
    """Preview, then confirm what was seen with a reason."""
    page = seen(client, tenant, verb, **answers)
    assert page.status_code == 200, page.text
    return client.post(place(tenant, f"/change/{verb}"), data=confirmation(page) | WHY | GIVEN)


def events(action: str) -> list[AuditEvent]:
    with control_session() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action == action)))


class TestAHistoryOfYears:
    def test_is_paged(self, client: Any) -> None:
        tenant = committed(make_tenant, state="active")
        with control_session() as session:
            for number in range(EVENTS_A_PAGE + 1):
                append(
                    control_session=session,
                    actor=SYSTEM,
                    action="subscription.active",
                    subject_kind="subscription",
                    subject_id=tenant.id,
                    tenant_id=tenant.id,
                    why=f"change {number:03}",
                    now=NOW + timedelta(minutes=number),
                )
        sign_in_staff(client, "sales")
        pages = [client.get(place(tenant), query_string={"page": page}).text for page in "12"]
        assert ["change 000" in page for page in pages] == [False, True]
        assert ["change 001" in page for page in pages] == [True, False]
        assert ["change 100" in page for page in pages] == [True, False]
        assert "page=2" in pages[0]


class TestThePage:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_charges_bills_to_come_and_history(
        self, client: Any, language: str, set_clock: Callable[..., None]
    ) -> None:
        tenant = subscriber()
        set_clock(NOW + timedelta(days=1))
        sign_in_staff(client, "sales")
        change(client, tenant, "quantity", charge="licences", quantity="4", when="period_end")
        page = client.get(place(tenant), query_string={"lang": language}).text
        assert "licences" in page
        assert "2027-03-01" in page
        assert "₩47,740" in page  # 31,000 and 4 times 3,100, with tax
        assert "agreed by mail" in page
        assert "The sales" in page
        assert f'href="{place(tenant)}"' in client.get(f"/console/tenants/{tenant.id}").text

    def test_offers_a_viewer_nothing_to_do(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "viewer")
        page = client.get(place(tenant))
        assert page.status_code == 200
        assert "/subscription/change/" not in page.text
        assert "/subscription/currency" not in page.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_of_a_trial_says_how_a_subscription_begins(self, client: Any, language: str) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        page = client.get(place(tenant), query_string={"lang": language}).text
        assert f'href="{place(tenant, "/convert")}"' in page

    def test_of_nobody_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        assert client.get(f"/console/tenants/{UUID(int=7)}/subscription").status_code == 404


class TestEveryVerb:
    @pytest.mark.parametrize("verb", VERBS)
    def test_is_previewed_and_done_with_its_reason(self, client: Any, verb: str) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        assert client.get(place(tenant, f"/change/{verb}")).status_code == 200
        assert change(client, tenant, verb, **VERBS[verb]).status_code == 303
        with control_session() as session:
            whys = session.scalars(
                select(AuditEvent.why).where(AuditEvent.actor_kind == "staff")
            ).all()
        assert "agreed by mail" in whys

    def test_that_ends_another_is_previewed_and_done_too(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        for begun, ended, answers in (
            ("plan", "take-back", {"plan": "large", "when": "period_end"}),
            ("add", "remove", {"charge": "support", "when": "now"}),
            ("pause", "resume", {}),
        ):
            assert change(client, tenant, begun, **answers).status_code == 303
            assert change(client, tenant, ended, **answers).status_code == 303
        found = subscription_of(tenant)
        assert (found.state, found.next_plan_version_id) == ("active", None)
        assert ("support", Decimal(1), True) not in items_of(tenant)

    @pytest.mark.parametrize("verb", VERBS)
    def test_is_refused_without_a_reason(self, client: Any, verb: str) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        before = items_of(tenant)
        page = seen(client, tenant, verb, **VERBS[verb])
        answer = client.post(
            place(tenant, f"/change/{verb}"), data=confirmation(page) | {"why": " \t"}
        )
        assert (answer.status_code, 'id="why-error"' in answer.text) == (422, True)
        assert items_of(tenant) == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_is_not_a_viewer_s(self, client: Any, verb: str) -> None:
        tenant = subscriber()
        sign_in_staff(client, "viewer")
        token = csrf_token(client, "/console/staff")
        assert client.get(place(tenant, f"/change/{verb}")).status_code == 403
        assert seen(client, tenant, verb, **VERBS[verb]).status_code == 403
        answer = client.post(
            place(tenant, f"/change/{verb}"),
            data=VERBS[verb] | WHY | {"csrf_token": token},
        )
        assert answer.status_code == 403

    def test_needs_its_token(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "sales")
        for path in ("/change/plan", "/convert", "/currency"):
            assert client.post(place(tenant, path), data=WHY).status_code == 400


class TestWhatCostsMore:
    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"given_by": "  "}, "given_by"),
            ({"given_on": ""}, "given_on"),
            ({"given_on": "yesterday"}, "given_on"),
            ({"given_on": "2026-03-11"}, "given_on"),
            ({"given_on": "2026-02-07"}, "given_on"),
        ],
    )
    def test_needs_who_agreed_and_on_which_day(
        self, client: Any, changed: dict[str, str], field: str
    ) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        before = items_of(tenant)
        page = seen(client, tenant, "quantity", **MORE)
        answer = client.post(
            place(tenant, "/change/quantity"), data=confirmation(page) | WHY | GIVEN | changed
        )
        assert (answer.status_code, f'id="{field}-error"' in answer.text) == (422, True)
        assert items_of(tenant) == before

    def test_keeps_the_consent_with_the_words_of_the_change(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        assert change(client, tenant, "quantity", **MORE).status_code == 303
        with control_session() as session:
            kept = session.scalars(
                select(Consent).where(
                    Consent.subject_id == tenant.id, Consent.kind == "price_change"
                )
            ).one()
        assert (kept.channel, kept.details["given_by"]) == ("staff", GIVEN["given_by"])
        assert "4" in kept.details["text"]

    def test_asks_nothing_of_the_kind_for_less(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        assert 'name="given_by"' in seen(client, tenant, "quantity", **MORE).text
        less = MORE | {"quantity": "1"}
        assert 'name="given_by"' not in seen(client, tenant, "quantity", **less).text


class TestTheEnd:
    @pytest.mark.parametrize(("credit", "back"), [("yes", True), ("no", False)])
    def test_gives_back_what_was_paid_ahead_or_keeps_it(
        self, client: Any, credit: str, back: bool
    ) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        page = seen(client, tenant, "cancel", when="now", credit=credit).text
        assert ("is carried over" in page) == back
        assert change(client, tenant, "cancel", when="now", credit=credit).status_code == 303
        assert str(subscription_of(tenant).ends_on) == "2026-03-10"

    def test_of_a_pause_can_be_set_too(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        change(client, tenant, "pause")
        assert client.get(place(tenant, "/change/cancel")).status_code == 200
        assert change(client, tenant, "cancel").status_code == 303


class TestTheBillingDay:
    @pytest.mark.parametrize("day", ["0", "32", "-3", "x", "", "1.5"])
    def test_must_be_a_day(self, client: Any, day: str) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        page = seen(client, tenant, "billing-day", billing_day=day)
        assert (page.status_code, 'id="billing_day-error"' in page.text) == (422, True)


class TestSubscribingForSomebody:
    def page(self, client: Any, tenant: Tenant, **answers: str) -> Any:
        return client.get(
            place(tenant, "/convert/preview"),
            query_string={"lang": "en", **CONVERSION, **answers},
        )

    def send(self, client: Any, tenant: Tenant, page: Any, **fields: str) -> Any:
        return client.post(place(tenant, "/convert"), data=confirmation(page) | CONSENT | fields)

    @pytest.mark.parametrize(
        ("starts_on", "state"), [("2026-03-10", "active"), ("2026-04-05", "scheduled")]
    )
    def test_begins_on_the_day_agreed_on(self, client: Any, starts_on: str, state: str) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        assert client.get(place(tenant, "/convert")).status_code == 200
        page = self.page(client, tenant, starts_on=starts_on)
        assert page.status_code == 200, page.text
        assert self.send(client, tenant, page).status_code == 303
        subscription = subscription_of(tenant)
        assert (str(subscription.starts_on), subscription.state) == (starts_on, state)
        assert client.get(place(tenant)).status_code == 200

    def test_keeps_who_gave_the_consent_and_through_whom(self, client: Any) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        self.send(client, tenant, self.page(client, tenant))
        with control_session() as session:
            consent = session.scalars(select(Consent).where(Consent.kind == "conversion")).one()
        assert consent.channel == "staff"
        assert consent.details["given_by"] == CONSENT["given_by"]
        assert consent.details["language"] == tenant.language

    def test_shows_what_a_coupon_takes_off_and_takes_it_along(self, client: Any) -> None:
        tenant = customer()
        make_coupon("SALES20")
        sign_in_staff(client, "sales")
        page = self.page(client, tenant, coupon="sales20")
        assert "Discount: Offer" in page.text
        assert self.send(client, tenant, page).status_code == 303
        with control_session() as session:
            assert session.scalars(select(CouponRedemption.tenant_id)).all() == [tenant.id]

    @pytest.mark.parametrize("field", ["accept", "given_by"])
    def test_needs_the_consent_and_its_giver(self, client: Any, field: str) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        answer = self.send(client, tenant, self.page(client, tenant), **{field: " "})
        assert (answer.status_code, f'id="{field}-error"' in answer.text) == (422, True)
        with control_session() as session:
            assert session.scalars(select(Subscription)).all() == []
            assert session.get_one(Tenant, tenant.id).state == "trialing"

    @pytest.mark.parametrize(
        ("answers", "field"),
        [
            ({"starts_on": "2026-03-09"}, "starts_on"),
            ({"starts_on": "2027-04-01"}, "starts_on"),
            ({"starts_on": "tomorrow"}, "starts_on"),
            ({"starts_on": ""}, "starts_on"),
            ({"plan": "moon"}, "plan"),
            ({"method": "shells"}, "method"),
            ({"method": "card"}, "method"),
            ({"coupon": "NOBODY-KNOWS"}, "coupon"),
        ],
    )
    def test_tells_what_is_wrong_at_its_field(
        self, client: Any, answers: dict[str, str], field: str
    ) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        page = self.page(client, tenant, **answers)
        assert (page.status_code, f'id="{field}-error"' in page.text) == (422, True)

    def test_on_days_that_an_earlier_contract_billed_is_refused(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "sales")
        assert change(client, tenant, "cancel", when="now", credit="no").status_code == 303
        with control_session() as session:
            invoicing.bill(
                control_session=session,
                subscription_ids=[session.scalars(select(Subscription.id)).one()],
                now=NOW,
            )
        page = self.page(client, tenant, starts_on="2026-03-05")
        assert (page.status_code, 'id="starts_on-error"' in page.text) == (422, True)
        assert "Start between 2026-03-10 and" in page.text
        assert self.page(client, tenant, starts_on="2026-03-10").status_code == 200

    def test_on_a_plan_that_is_retired_is_refused(self, client: Any) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        before = self.page(client, tenant)
        with control_session() as session:
            session.execute(update(Plan).where(Plan.code == "team").values(retired_at=NOW))
        for answer in (self.page(client, tenant), self.send(client, tenant, before)):
            assert (answer.status_code, 'id="plan-error"' in answer.text) == (422, True)
            assert "offered to nobody new" in answer.text
        # The trial on it shows what it allows all the same.
        sign_in(client, tenant)
        assert "190,000" in client.get("/portal/plan").text

    @pytest.mark.parametrize("field", [*CONVERSION, "text_sha256", "fingerprint"])
    def test_takes_no_naughty_string(self, client: Any, field: str) -> None:
        tenant = customer()
        sign_in_staff(client, "sales")
        form = confirmation(self.page(client, tenant)) | CONSENT
        for text in naughty(field):
            answer = client.post(place(tenant, "/convert"), data=form | {field: text})
            assert answer.status_code in (409, 422), text
            assert "<script>alert" not in answer.text

    def test_is_nothing_for_one_who_pays(self, client: Any) -> None:
        tenant = subscriber()
        sign_in_staff(client, "sales")
        assert client.get(place(tenant, "/convert")).status_code == 409

    def test_is_not_a_viewer_s(self, client: Any) -> None:
        tenant = customer()
        sign_in_staff(client, "viewer")
        assert client.get(place(tenant, "/convert")).status_code == 403
        assert self.page(client, tenant).status_code == 403


class TestTheCurrency:
    def send(self, client: Any, tenant: Tenant, **fields: str) -> Any:
        token = csrf_token(client, place(tenant, "/currency"))
        return client.post(
            place(tenant, "/currency"),
            data={"csrf_token": token, "currency": "USD", **WHY, **fields},
        )

    def test_changes_while_no_money_is_open(self, client: Any) -> None:
        tenant = customer()
        sign_in_staff(client, "finance")
        assert "USD · " in client.get(place(tenant, "/currency")).text
        assert self.send(client, tenant).status_code == 303
        with control_session() as session:
            assert session.get_one(Tenant, tenant.id).currency == "USD"
        (event,) = events("tenant.currency_changed")
        assert event.why == "agreed by mail"

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_says_what_is_in_the_way(self, client: Any, language: str) -> None:
        tenant = subscriber()
        sign_in_staff(client, "finance")
        page = client.get(place(tenant, "/currency"), query_string={"lang": language}).text
        assert page.count("<li>") > 0
        assert 'id="currency-form"' not in page
        token = csrf_token(client, "/console/staff")
        answer = client.post(
            place(tenant, "/currency"), data={"csrf_token": token, "currency": "USD", **WHY}
        )
        assert answer.status_code == 409

    @pytest.mark.parametrize(
        ("fields", "field"), [({"why": ""}, "why"), ({"currency": "XXX"}, "currency")]
    )
    def test_needs_a_reason_and_a_currency(
        self, client: Any, fields: dict[str, str], field: str
    ) -> None:
        tenant = customer()
        sign_in_staff(client, "finance")
        answer = self.send(client, tenant, **fields)
        assert (answer.status_code, f'id="{field}-error"' in answer.text) == (422, True)

    def test_is_not_a_viewer_s(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        with control_session() as session:
            tenant = make_tenant(session)
            session.flush()
            session.refresh(tenant)
        assert client.get(place(tenant, "/currency")).status_code == 403
