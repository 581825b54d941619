"""PortOne's own ways: what its simulator says is what PortOne publishes, and its keys' rules."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.base.money import Money
from invoices.gateways import portone_wire
from invoices.gateways.conformance import Card
from invoices.gateways.conformance.hearing import heard
from invoices.gateways.conformance.purchases import AMOUNT, purchase, won
from invoices.gateways.port import (
    DeclineClass,
    Declined,
    EventKind,
    Refunded,
    RegistrationRefused,
    Succeeded,
    Unknown,
    WebhookRefused,
)
from invoices.gateways.portone import SCRIPT_ORIGINS
from tests.fakes.portone.book import CHANNELS
from tests.fakes.portone.running import PortOneTill, RunningPortOne, adapter, running
from tests.fakes.portone.shapes import faults
from tests.sandbox.running import Ear, eventually


@dataclass
class Stage:
    portone: RunningPortOne
    ear: Ear
    till: PortOneTill

    def charge(self, token: str, payment_id: str, **changed: Any) -> Any:
        headers = {"Idempotency-Key": f'"{uuid.uuid4().hex}"'} | changed.pop("headers", {})
        body = {
            "billingKey": token,
            "orderName": "Tenantry 2026-11",
            "amount": {"total": 110_000},
            "currency": "KRW",
        }
        path = f"/payments/{payment_id}/billing-key"
        return self.portone.ask("POST", path, json=body | changed, headers=headers)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    ear = Ear()
    directory: Path = tmp_path_factory.mktemp("portone")
    with running(directory=directory, webhook_url=ear.url) as portone:
        till = PortOneTill(portone, ear, "kakaopay")
        yield Stage(portone, ear, till)
        till.close()
    ear.close()


def payment_id() -> str:
    return f"payment-{uuid.uuid4().hex}"


class TestWhatTheSimulatorSays:
    @pytest.mark.parametrize("channel", CHANNELS)
    def test_of_keys_payments_and_cancellations_is_what_portone_publishes(
        self, stage: Stage, channel: str
    ) -> None:
        till = PortOneTill(stage.portone, stage.ear, channel)
        token = purchase(till).method.token
        told: list[tuple[str, Any]] = []
        ask = stage.portone.ask
        told.append(("IssuedBillingKeyInfo", ask("GET", f"/billing-keys/{token}").json()))
        one = payment_id()
        told.append(("PayWithBillingKeyResponse", stage.charge(token, one).json()))
        told.append(("PaidPayment", ask("GET", f"/payments/{one}").json()))
        cancelling = {"reason": "The customer left", "amount": 10_000}
        path = f"/payments/{one}/cancel"
        told.append(("CancelPaymentResponse", ask("POST", path, json=cancelling).json()))
        told.append(("PartialCancelledPayment", ask("GET", f"/payments/{one}").json()))
        ask("POST", path, json={"reason": "All of it"})
        told.append(("CancelledPayment", ask("GET", f"/payments/{one}").json()))
        told.append(("DeleteBillingKeyResponse", ask("DELETE", f"/billing-keys/{token}").json()))
        told.append(("DeletedBillingKeyInfo", ask("GET", f"/billing-keys/{token}").json()))
        refused = purchase(till, Card.STOLEN).method.token
        two = payment_id()
        told.append(("PgProviderError", stage.charge(refused, two).json()))
        told.append(("FailedPayment", ask("GET", f"/payments/{two}").json()))
        listed = ask("GET", "/payments-by-cursor", params=portone_wire.query_of({"size": 3}))
        told.append(("GetAllPaymentsByCursorResponse", listed.json()))
        till.close()
        assert sorted({wrong for name, value in told for wrong in faults(name, value)}) == []

    def test_when_it_refuses_is_what_portone_publishes(self, stage: Stage) -> None:
        token = purchase(stage.till).method.token
        one, ask = payment_id(), stage.portone.ask
        stage.charge(token, one)
        answers = [
            (stage.charge(token, one), 409, "ALREADY_PAID"),
            (stage.charge("billing-key-none", payment_id()), 404, "BILLING_KEY_NOT_FOUND"),
            (stage.charge(token, payment_id(), amount={"total": 0}), 400, "INVALID_REQUEST"),
            (stage.charge(token, payment_id(), unheard_of=1), 400, "INVALID_REQUEST"),
            (
                stage.charge(token, payment_id(), amount={"total": 100, "vat": 101}),
                409,
                "SUM_OF_PARTS_EXCEEDS_TOTAL_AMOUNT",
            ),
            (stage.charge(token, payment_id(), channelKey="another"), 404, "CHANNEL_NOT_FOUND"),
            (stage.charge(token, payment_id(), storeId="another"), 403, "FORBIDDEN"),
            (ask("GET", "/payments/none"), 404, "PAYMENT_NOT_FOUND"),
            (ask("GET", "/payments/x", headers={"Authorization": "x"}), 401, "UNAUTHORIZED"),
        ]
        for answer, status, kind in answers:
            assert (answer.status_code, answer.json()["type"]) == (status, kind)
            assert list(faults("Error", answer.json())) == []

    def test_by_webhook_is_what_portone_publishes(self, stage: Stage) -> None:
        payment = purchase(stage.till).at(stage.till.gateway)
        assert isinstance(payment, Succeeded)
        stage.till.dispute(payment.order_id)
        stage.till.reverse(payment.order_id)
        eventually(lambda: len(stage.ear.of_kind(payment.order_id)) >= 3)
        bodies = [json.loads(body) for _headers, body in stage.ear.heard]
        assert {body["type"] for body in bodies} >= {
            "BillingKey.Issued",
            "Transaction.Paid",
            "Transaction.DisputeCreated",
            "Transaction.Cancelled",
        }
        assert [wrong for body in bodies for wrong in faults("Webhook", body)] == []


class TestIdempotencyKeys:
    @pytest.mark.parametrize("key", ["no-quotes-around-it", '"short"', '"a b c d e f g h i"', '""'])
    def test_of_another_form_are_not_taken(self, stage: Stage, key: str) -> None:
        token = purchase(stage.till).method.token
        answer = stage.charge(token, payment_id(), headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["type"]) == (400, "INVALID_REQUEST")

    @pytest.mark.parametrize(
        "key", ["short", "x" * 257, "with a space in it", "한글로 쓴 열쇠 열여섯"]
    )
    def test_that_portone_would_not_take_are_sent_as_their_hash(self, key: str) -> None:
        sent = portone_wire.quoted(key)
        assert sent == portone_wire.quoted(key)
        assert sent.isascii()
        assert 16 <= len(sent) - 2 <= 256
        assert portone_wire.quoted("a-key-of-ours-123") == '"a-key-of-ours-123"'

    def test_are_forgotten_and_the_payment_is_still_made_once(self, stage: Stage) -> None:
        buying = purchase(stage.till)
        first = buying.at(stage.till.gateway)
        stage.till.forget_keys()
        assert buying.at(stage.till.gateway) == first
        assert stage.till.captured(buying.order_id) == [AMOUNT]


class TestAnAnswerThatIsNotTheWholeTruth:
    def test_a_decline_is_looked_at_twice(self, stage: Stage) -> None:
        """The company behind failed to answer PortOne in time, and took the money."""
        buying = purchase(stage.till)
        paid = buying.at(stage.till.gateway)
        stage.till.forget_keys()
        refusal = portone_wire.Refused({"type": "PG_PROVIDER", "pgCode": "-780"})
        found = stage.till.gateway._refused(refusal, order_id=buying.order_id, amount=buying.amount)
        assert found == paid

    @pytest.mark.parametrize("why", ["PAYMENT_NOT_FOUND", "INVALID_REQUEST", "FORBIDDEN"])
    def test_money_that_went_back_is_never_called_refused(self, stage: Stage, why: str) -> None:
        """The cancellation was taken, and the payment can't be read at once afterwards."""
        paid = purchase(stage.till).at(stage.till.gateway)
        assert isinstance(paid, Succeeded)
        asked = {
            "gateway_payment_id": paid.gateway_payment_id,
            "amount": Money(1_000, paid.amount.currency),
            "reason": "a test",
            "idempotency_key": f"refund-{uuid.uuid4().hex}",
        }
        stage.portone.tell("next-lookup", type=why)
        assert isinstance(stage.till.gateway.refund(**asked), Unknown)
        given = stage.till.gateway.refund(**asked)
        assert isinstance(given, Refunded)
        assert given.remaining == paid.amount - given.amount
        found = stage.till.gateway.lookup(gateway_payment_id=paid.gateway_payment_id)
        assert isinstance(found, Succeeded)
        assert found.refunded == given.amount

    @pytest.mark.parametrize(("tax", "untaxed"), [(10_000, 0), (0, 110_000), (5_000, 55_000)])
    def test_what_bears_no_tax_is_told_of_a_charge_and_of_what_goes_back(
        self, stage: Stage, tax: int, untaxed: int
    ) -> None:
        buying = purchase(stage.till)
        paid = stage.till.gateway.charge(
            token=buying.method.token,
            customer_key=buying.method.customer_key,
            order_id=buying.order_id,
            amount=AMOUNT,
            tax_minor=tax,
            name="A bill",
            idempotency_key=buying.idempotency_key,
            attempt_id="a",
        )
        assert isinstance(paid, Succeeded)
        given = stage.till.gateway.refund(
            gateway_payment_id=paid.gateway_payment_id,
            amount=won(11_000),
            reason="a part",
            idempotency_key=f"refund-{uuid.uuid4().hex}",
            tax_minor=tax // 10,
        )
        assert isinstance(given, Refunded)
        told = stage.portone.ask("GET", f"/payments/{buying.order_id}").json()
        assert (told["amount"]["taxFree"], told["amount"]["vat"]) == (untaxed, tax)
        (gone,) = told["cancellations"]
        assert (gone["taxFreeAmount"], gone["vatAmount"]) == (untaxed // 10, tax // 10)

    def test_a_wrong_secret_says_nothing_about_a_charge(self, stage: Stage) -> None:
        buying = purchase(stage.till)
        assert isinstance(buying.at(stage.till.stranger), Unknown)

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("-725", DeclineClass.NEW_METHOD_NEEDED),
            ("REJECT_CARD_PAYMENT", DeclineClass.RETRY_LATER),
            ("a-word-of-tomorrow", DeclineClass.PERSON_MUST_LOOK),
            ("-701", DeclineClass.OUR_FAULT),
        ],
    )
    def test_each_word_of_refusal_has_its_class(
        self, stage: Stage, code: str, expected: DeclineClass
    ) -> None:
        buying = purchase(stage.till)
        stage.portone.tell("next-charge", pgCode=code)
        result = buying.at(stage.till.gateway)
        assert isinstance(result, Declined)
        assert (result.decline_class, result.code) == (expected, code)

    def test_dollars_are_asked_for_in_cents(self, stage: Stage) -> None:
        till = PortOneTill(stage.portone, stage.ear, "paypal")
        buying = purchase(till)
        result = type(buying)(
            method=buying.method,
            order_id=buying.order_id,
            idempotency_key=buying.idempotency_key,
            amount=Money(1_250, "USD"),
        ).at(till.gateway)
        assert isinstance(result, Succeeded)
        assert result.amount == Money(1_250, "USD")
        assert buying.method.masked == "PayPal"
        till.close()


class TestRegistration:
    def test_of_another_channel_of_the_same_store_is_refused(self, stage: Stage) -> None:
        params = stage.till.browser_returns(customer_key="customer-1", card=Card.PAYS)
        other = adapter(stage.portone.url, "naverpay")
        with pytest.raises(RegistrationRefused):
            other.complete_registration(customer_key="customer-1", params=params)
        other.close()

    def test_at_portone_itself_names_whom_its_script_speaks_with(self) -> None:
        at = adapter(portone_wire.API, script_url="https://cdn.portone.io/v2/browser-sdk.js")
        started = at.begin_registration(
            customer_key="customer-1", return_url="https://tenantry.example/back", language="en"
        )
        assert started.script is not None
        assert started.script.origins == SCRIPT_ORIGINS
        assert "secret" not in json.dumps(dict(started.browser_parameters))
        at.close()


class TestWebhooks:
    def test_kept_back_come_in_any_order_and_forged_ones_are_refused(self, stage: Stage) -> None:
        stage.portone.tell("webhooks/hold")
        payment = purchase(stage.till).at(stage.till.gateway)
        assert isinstance(payment, Succeeded)
        stage.till.reverse(payment.order_id)
        stage.portone.tell(
            "webhooks/forge", data={"paymentId": payment.order_id, "transactionId": "x"}
        )
        stage.portone.tell("webhooks/release", order="reversed")
        eventually(lambda: len(stage.ear.of_kind(payment.order_id)) >= 3)
        kinds, refused = [], 0
        for delivery in stage.till.webhooks_about(payment.order_id):
            try:
                kinds.append(heard(stage.till.gateway, delivery).kind)
            except WebhookRefused:
                refused += 1
        assert kinds == [EventKind.PAYMENT_REFUNDED, EventKind.PAYMENT_SUCCEEDED]
        assert refused == 1
        stage.portone.tell("webhooks/release")

    def test_about_another_store_are_refused(self, stage: Stage) -> None:
        payment = purchase(stage.till).at(stage.till.gateway)
        assert isinstance(payment, Succeeded)
        other = adapter(stage.portone.url, store_id="store-of-somebody-else")
        with pytest.raises(WebhookRefused):
            heard(other, stage.till.webhooks_about(payment.order_id)[0])
        other.close()


def test_the_list_begins_and_ends_with_the_moment(stage: Stage) -> None:
    payment = purchase(stage.till).at(stage.till.gateway)
    assert isinstance(payment, Succeeded)
    moment = payment.approved_at
    listed = stage.till.gateway.list_payments(start=moment, end=moment + timedelta(microseconds=1))
    assert list(listed) == [payment]
    assert payment.amount == won(110_000)
    assert moment.astimezone(UTC) <= datetime.now(UTC)
