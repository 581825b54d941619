"""The Stripe adapter against a Stripe that somebody else wrote: the server `localstripe`.

It knows an older wire, forgets keys at once and lists and searches nothing by order, so only what
it shares with Stripe is asked of it: `_OlderWire` leaves out the words that it does not know.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from app.base.money import Money
from invoices.gateways.conformance import Card, Delivery
from invoices.gateways.conformance.charging import ChargeCases
from invoices.gateways.conformance.hearing import heard
from invoices.gateways.conformance.purchases import paid, purchase, won
from invoices.gateways.conformance.refunding import RefundCases
from invoices.gateways.connections import Connections
from invoices.gateways.port import (
    Capability,
    DeclineClass,
    Declined,
    EventKind,
    Prepared,
    RegisteredMethod,
    Succeeded,
    Trust,
    Unknown,
)
from invoices.gateways.stripe import StripeGateway, registered
from invoices.gateways.stripe_client import Transport
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import WAIT_SECONDS, Ear, eventually

SECRET_KEY = "sk_test_12345"
WEBHOOK_SECRET = "whsec_second_opinion"
_NUMBERS: dict[str, str] = {Card.PAYS: "4242424242424242", Card.ASKS_HOLDER: "4000002500003155"}
# It takes the card, and refuses to charge it.
_REFUSED_LATER = "4000000000000341"
_UNKNOWN_WORDS = ("description", "allowed_payment_method_types", "reason")


class _OlderWire(Transport):
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        **usage: Any,
    ) -> tuple[Any, int, Mapping[str, str]]:
        said = parse_qsl(post_data or "")
        kept = [(name, value) for name, value in said if not name.startswith(_UNKNOWN_WORDS)]
        if url.endswith("/confirm"):
            kept = [(name, value) for name, value in kept if name != "off_session"]
        return super().request(method, url, headers, urlencode(kept) if kept else None, **usage)


class _Narrower(StripeGateway):
    """Registers by a SetupIntent of its own: there is no Checkout over there."""

    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.PREPARE,
            Capability.CHARGE,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
            Capability.LOOKUP_BY_PAYMENT,
            Capability.WEBHOOKS,
        }
    )

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> RegisteredMethod:
        expand = {"expand": ["payment_method"]}
        intent = self._stripe.setup_intents.retrieve(params["setup_intent"], expand).to_dict()
        return registered(intent, customer_key=customer_key, session={})


class SecondTill:
    def __init__(self, url: str, ear: Ear) -> None:
        self.url = url
        self._ear = ear
        self.gateway = self._adapter(SECRET_KEY)
        self.stranger = self._adapter("not-a-key")

    def _adapter(self, secret_key: str) -> _Narrower:
        return _Narrower(
            secret_key=secret_key,
            base_url=self.url,
            transport=_OlderWire(
                Connections(
                    base_url=self.url, connect_timeout_seconds=5, read_timeout_seconds=WAIT_SECONDS
                )
            ),
            webhook_secret=WEBHOOK_SECRET,
        )

    def ask(self, method: str, path: str, **form: str) -> dict[str, Any]:
        answer = httpx.request(
            method,
            self.url + path,
            data=form,
            auth=(SECRET_KEY, ""),
            verify=NO_AUTHORITIES,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def browser_returns(self, *, customer_key: str, card: str) -> dict[str, str]:
        """What Stripe's script does with a card that is typed into it."""
        method = self.ask(
            "POST",
            "/v1/payment_methods",
            type="card",
            **{
                "card[number]": _NUMBERS.get(card, card),
                "card[exp_month]": "12",
                "card[exp_year]": "2040",
                "card[cvc]": "123",
            },
        )
        customer = self.ask("POST", "/v1/customers", **{"metadata[customer_key]": customer_key})
        self.ask("POST", f"/v1/payment_methods/{method['id']}/attach", customer=customer["id"])
        intent = self.ask("POST", "/v1/setup_intents", customer=customer["id"])
        confirm = f"/v1/setup_intents/{intent['id']}/confirm"
        self.ask("POST", confirm, payment_method=method["id"])
        return {"setup_intent": intent["id"]}

    def captured(self, order_id: str) -> list[Money]:
        listed = self.ask("GET", "/v1/payment_intents?limit=100")["data"]
        return [
            Money(row["amount"], row["currency"].upper())
            for row in listed
            if row["metadata"].get("order_id") == order_id and row["status"] == "succeeded"
        ]

    def webhooks_about(self, gateway_payment_id: str) -> list[Delivery]:
        told = eventually(lambda: self._ear.of_kind(gateway_payment_id))
        return [Delivery(headers, body) for headers, body in told]

    def close(self) -> None:
        self.gateway.close()
        self.stranger.close()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return httpx.get(
            f"{url}/v1/balance", auth=(SECRET_KEY, ""), verify=NO_AUTHORITIES, trust_env=False
        ).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondTill]:
    url, ear = f"http://127.0.0.1:{(port := _free_port())}", Ear()
    process = subprocess.Popen(
        [sys.executable, "-m", "localstripe", "--port", str(port), "--from-scratch"],
        cwd=tmp_path_factory.mktemp("localstripe"),
        env={**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("store"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: _answers(url))
        till = SecondTill(url, ear)
        hook = {"url": ear.url, "secret": WEBHOOK_SECRET}
        assert httpx.post(
            f"{url}/_config/webhooks/ours", json=hook, verify=NO_AUTHORITIES, trust_env=False
        ).is_success
        yield till
        till.close()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=WAIT_SECONDS)
        ear.close()


class TestTheCommonPart:
    """Cases of the kit that need nothing which the other server lacks."""

    test_charge_tells_what_was_captured = ChargeCases.test_that_succeeds_tells_what_was_captured
    test_charge_is_told_the_same_when_it_is_looked_up = (
        ChargeCases.test_that_succeeded_is_told_the_same_when_it_is_looked_up
    )
    test_charge_of_another_customers_method_takes_nothing = (
        ChargeCases.test_of_another_customers_method_takes_nothing
    )
    test_charge_of_another_merchants_method_takes_nothing = (
        ChargeCases.test_of_another_merchants_method_takes_nothing
    )
    test_refund_of_the_whole_leaves_nothing = RefundCases.test_of_the_whole_leaves_nothing


class TestWhatItDoesInItsOwnWay:
    def test_prepared_takes_nothing_until_it_is_charged(self, till: SecondTill) -> None:
        buying = purchase(till)
        known = buying.prepare(till.gateway)
        assert isinstance(known, Prepared)
        assert till.captured(buying.order_id) == []
        found = till.gateway.lookup(gateway_payment_id=known.gateway_payment_id)
        assert not isinstance(found, Succeeded | Unknown)

    @pytest.mark.parametrize("amount", [won(1_000), Money(1_999, "USD"), Money(50_050, "JPY")])
    def test_amounts_of_every_currency_come_back_as_they_went(
        self, till: SecondTill, amount: Money
    ) -> None:
        buying = purchase(till)
        result = type(buying)(buying.method, buying.order_id, "key", amount).at(till.gateway)
        assert isinstance(result, Succeeded)
        assert result.amount == amount

    def test_a_card_that_is_refused_later_is_declined(self, till: SecondTill) -> None:
        buying = purchase(till, _REFUSED_LATER)
        result = buying.at(till.gateway)
        assert isinstance(result, Declined)
        assert result.code == "card_declined"
        assert till.captured(buying.order_id) == []

    def test_a_card_that_wants_its_holder_asks_for_them(self, till: SecondTill) -> None:
        buying = purchase(till, Card.ASKS_HOLDER)
        result = buying.at(till.gateway)
        assert isinstance(result, Declined)
        assert result.decline_class is DeclineClass.NEW_METHOD_NEEDED

    def test_a_payment_is_told_by_a_signed_webhook(self, till: SecondTill) -> None:
        payment = paid(till)
        delivery = till.webhooks_about(payment.gateway_payment_id)[0]
        event = heard(till.gateway, delivery, now=datetime.now(UTC))
        assert event.trust is Trust.SIGNED
        assert event.kind is EventKind.PAYMENT_SUCCEEDED
        assert event.gateway_payment_id == payment.gateway_payment_id
        assert event.order_id == payment.order_id
