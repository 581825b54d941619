"""The Stripe simulator, held to what Stripe publishes: shapes, keys, errors, webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.base.errors import Invalid
from invoices.gateways.conformance.purchases import Purchase, paid, purchase
from invoices.gateways.port import Declined, Prepared, Succeeded, Unknown, WebhookRefused
from tests.contracts.test_stripe_gateway import StripeTill
from tests.fakes.stripe.running import SECRET_KEY, RunningStripe, running
from tests.fakes.stripe.shapes import FIXTURES
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import WAIT_SECONDS, Ear, eventually


@pytest.fixture(scope="module")
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.close()


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory, ear: Ear) -> Iterator[RunningStripe]:
    with running(directory=tmp_path_factory.mktemp("stripe"), webhook_url=ear.url) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def till(stripe: RunningStripe, ear: Ear) -> Iterator[StripeTill]:
    till = StripeTill(stripe, ear)
    yield till
    for gateway in (till.gateway, till.impatient, till.stranger):
        gateway.close()


def post(stripe: RunningStripe, path: str, key: str, **form: str) -> httpx.Response:
    return httpx.post(
        stripe.url + path,
        data=form,
        headers={"Authorization": f"Bearer {SECRET_KEY}", "Idempotency-Key": key},
        timeout=WAIT_SECONDS,
        verify=NO_AUTHORITIES,
        trust_env=False,
    )


def differs(shown: Any, published: Any, at: str = "") -> list[str]:
    """What an object has too much, too little, or of another kind than the published one.

    Nothing in a fixture says that a field may be empty, so an absent value fits everywhere. What
    stands in metadata is the merchant's own, and of errors the fixtures show the kind alone.
    """
    if shown is None or published is None or at.endswith((".metadata", ".last_payment_error")):
        return []
    if isinstance(published, dict) and isinstance(shown, dict):
        found = [f"{at}.{name} is missing" for name in published if name not in shown]
        found += [f"{at}.{name} is not published" for name in shown if name not in published]
        for name in published.keys() & shown.keys():
            found += differs(shown[name], published[name], f"{at}.{name}")
        return found
    return [] if type(shown) is type(published) else [f"{at} is a {type(shown).__name__}"]


class TestItsShapes:
    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            ("payment_intent", "/v1/payment_intents?limit=100"),
            ("charge", "/v1/charges?limit=100"),
            ("refund", "/v1/refunds?limit=100"),
            ("balance_transaction", "/v1/balance_transactions?limit=100"),
        ],
    )
    def test_of_each_list_are_the_published_ones(
        self, stripe: RunningStripe, till: StripeTill, kind: str, path: str
    ) -> None:
        self.business(till)
        rows = stripe.ask("GET", path)["data"]
        assert rows
        for row in rows:
            assert row["object"] == kind
            stated = row.get("last_payment_error")
            assert stated is None or {"code", "message", "type"} <= stated.keys()
            assert differs(row, FIXTURES[kind]) == []

    def test_of_every_event_are_the_published_ones(
        self, stripe: RunningStripe, till: StripeTill
    ) -> None:
        payment = self.business(till)
        till.dispute(payment.gateway_payment_id)
        stripe.tell("payouts")
        events = stripe.ask("GET", "/_simulator/events")["events"]
        kinds = {event["type"] for event in events}
        assert {"payment_intent.succeeded", "charge.dispute.created", "payout.paid"} <= kinds
        for event in events:
            subject = event["data"]["object"]
            bare = {**event, "data": FIXTURES["event"]["data"]}
            assert differs(bare, FIXTURES["event"]) == []
            assert differs(subject, FIXTURES[subject["object"]]) == []

    @staticmethod
    def business(till: StripeTill) -> Succeeded:
        """Of everything a little: a payment, a refund in part, a decline."""
        payment = paid(till)
        till.gateway.refund(
            gateway_payment_id=payment.gateway_payment_id,
            amount=payment.amount - type(payment.amount)(1_000, "KRW"),
            reason="The customer left",
            idempotency_key=f"{payment.gateway_payment_id}-refund",
        )
        assert isinstance(purchase(till, "declines:lost_card").at(till.gateway), Declined)
        return paid(till)


class TestItsKeys:
    def test_replay_the_first_answer_and_say_so(self, stripe: RunningStripe) -> None:
        form = {"amount": "5000", "currency": "krw"}
        first = post(stripe, "/v1/payment_intents", "key-1", **form)
        again = post(stripe, "/v1/payment_intents", "key-1", **form)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"

    def test_replay_a_500_for_as_long_as_they_are_known(self, stripe: RunningStripe) -> None:
        stripe.tell("faults", kind="fail_before", path="/v1/customers")
        first = post(stripe, "/v1/customers", "key-2", email="a@tenantry.example")
        again = post(stripe, "/v1/customers", "key-2", email="a@tenantry.example")
        assert (first.status_code, again.status_code) == (500, 500)
        assert again.headers["idempotent-replayed"] == "true"
        assert post(stripe, "/v1/customers", "key-3").status_code == 200
        stripe.tell("keys/forget")
        forgiven = post(stripe, "/v1/customers", "key-2", email="a@tenantry.example")
        assert forgiven.status_code == 200

    @pytest.mark.parametrize(
        ("path", "form"),
        [
            ("/v1/payment_intents", {"amount": "6000", "currency": "krw"}),
            ("/v1/customers", {}),
        ],
    )
    def test_with_other_words_or_elsewhere_are_an_error(
        self, stripe: RunningStripe, path: str, form: dict[str, str]
    ) -> None:
        post(stripe, "/v1/payment_intents", "key-4", amount="5000", currency="krw")
        answer = post(stripe, path, "key-4", **form)
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "idempotency_error"

    def test_remember_nothing_that_was_turned_away_before_it_ran(
        self, stripe: RunningStripe
    ) -> None:
        wrong = post(stripe, "/v1/payment_intents", "key-5", amount="5000")
        assert wrong.json()["error"]["code"] == "parameter_missing"
        right = post(stripe, "/v1/payment_intents", "key-5", amount="5000", currency="krw")
        assert right.status_code == 200

    def test_in_use_are_a_conflict(self, stripe: RunningStripe) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda _: post(
                        stripe, "/v1/payment_intents", "key-6", amount="5000", currency="krw"
                    ),
                    range(16),
                )
            )
        assert {answer.status_code for answer in answers} <= {200, 409}
        made = {answer.json()["id"] for answer in answers if answer.is_success}
        assert len(made) == 1


class TestItsErrors:
    def test_a_wrong_key_is_turned_away(self, stripe: RunningStripe) -> None:
        answer = httpx.get(f"{stripe.url}/v1/charges", verify=NO_AUTHORITIES, trust_env=False)
        assert answer.status_code == 401

    def test_a_parameter_that_is_not_published_is_turned_away(self, stripe: RunningStripe) -> None:
        answer = post(
            stripe,
            "/v1/payment_intents",
            "key-7",
            amount="5000",
            currency="krw",
            payment_method_types="card",
        )
        assert answer.json()["error"]["code"] == "parameter_unknown"

    @pytest.mark.parametrize(
        ("named", "code", "decline_code"),
        [
            ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
            (
                "pm_card_visa_chargeDeclinedInsufficientFunds",
                "card_declined",
                "insufficient_funds",
            ),
            ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
            ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
            (
                "pm_card_authenticationRequired",
                "authentication_required",
                "authentication_required",
            ),
        ],
    )
    def test_follow_the_named_test_method(
        self, stripe: RunningStripe, named: str, code: str, decline_code: str
    ) -> None:
        answer = post(
            stripe,
            "/v1/payment_intents",
            f"key-{named}",
            amount="5000",
            currency="krw",
            confirm="true",
            payment_method=named,
        )
        error = answer.json()["error"]
        assert answer.status_code == 402
        assert (error["type"], error["code"]) == ("card_error", code)
        assert error["decline_code"] == decline_code
        assert error["payment_intent"]["status"] == "requires_payment_method"


class TestItsWebhooks:
    def test_are_held_back_reordered_and_doubled_when_it_is_told_so(
        self, stripe: RunningStripe, till: StripeTill, ear: Ear
    ) -> None:
        stripe.tell("webhooks", paused=True)
        payment = paid(till)
        told = [
            event
            for event in stripe.ask("GET", "/_simulator/events")["events"]
            if payment.gateway_payment_id in json.dumps(event)
        ]
        assert ear.of_kind(payment.gateway_payment_id) == []
        backwards = [event["id"] for event in reversed(told)] * 2
        assert stripe.tell("events/deliver", ids=backwards) == {"taken": len(backwards)}
        heard = [json.loads(body)["id"] for _, body in ear.of_kind(payment.gateway_payment_id)]
        assert heard == backwards
        stripe.tell("webhooks", paused=False)
        eventually(lambda: len(ear.of_kind(payment.gateway_payment_id)) > len(backwards))

    @pytest.mark.parametrize("how", ["wrong_key", "stale", "future"])
    def test_that_are_forged_are_refused_by_the_adapter(
        self, stripe: RunningStripe, till: StripeTill, ear: Ear, how: str
    ) -> None:
        event = {"id": f"evt_{how}", "type": "payment_intent.succeeded", "data": {"object": {}}}
        stripe.tell("events/forge", how=how, event=event)
        headers, body = eventually(lambda: ear.of_kind(f"evt_{how}"))[0]
        with pytest.raises(WebhookRefused):
            till.gateway.parse_webhook(headers=headers, raw_body=body, now=datetime.now(UTC))


class TestWhatTheAdapterFinds:
    def test_an_order_is_found_while_the_search_is_behind_and_after(
        self, stripe: RunningStripe, till: StripeTill
    ) -> None:
        buying: Purchase = purchase(till)
        result = buying.at(till.gateway)
        assert till.gateway.lookup(order_id=buying.order_id) == result
        stripe.tell("search", lag_seconds=0)
        assert till.gateway.lookup(order_id=buying.order_id) == result
        stripe.tell("search", lag_seconds=60)

    def test_a_payment_that_was_paid_is_told_as_paid_under_a_forgotten_key(
        self, stripe: RunningStripe, till: StripeTill
    ) -> None:
        buying = purchase(till)
        known = buying.prepare(till.gateway)
        first = buying.at(till.gateway)
        stripe.tell("keys/forget")
        again = till.gateway.charge(
            token=buying.method.token,
            customer_key=buying.method.customer_key,
            order_id=buying.order_id,
            amount=buying.amount,
            tax_minor=10_000,
            name="Tenantry 2026-11",
            idempotency_key=buying.idempotency_key,
            attempt_id=buying.idempotency_key,
            prepared_id=known.gateway_payment_id,
        )
        assert again == first
        assert list(till.captured(buying.order_id)) == [buying.amount]

    def test_a_payment_that_may_not_be_cancelled_is_not_said_to_be_gone(
        self, stripe: RunningStripe, till: StripeTill
    ) -> None:
        buying = purchase(till)
        known = buying.prepare(till.gateway)
        assert isinstance(known, Prepared)
        stripe.tell("faults", kind="forbidden", path=f"{known.gateway_payment_id}/cancel")
        refused = buying.given_up(till.gateway, known)
        assert isinstance(refused, Unknown)
        assert "would not cancel" in refused.reason
        # It stood all the while: whoever held its id could have charged it.
        assert isinstance(buying.at(till.gateway), Succeeded)
        assert isinstance(buying.given_up(till.gateway, known), Succeeded)

    def test_an_unreadable_event_is_invalid_though_it_is_signed(
        self, stripe: RunningStripe, till: StripeTill, ear: Ear
    ) -> None:
        stripe.tell("events/forge", how="signed", event={"id": "evt_without_a_subject"})
        headers, body = eventually(lambda: ear.of_kind("evt_without_a_subject"))[0]
        with pytest.raises(Invalid):
            till.gateway.parse_webhook(headers=headers, raw_body=body, now=datetime.now(UTC))
