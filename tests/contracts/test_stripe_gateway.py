"""The Stripe adapter against the Stripe simulator, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from app.base.money import Money
from invoices.gateways.conformance import Card, Delivery, GatewayCases, Till
from tests.fakes.stripe.running import RunningStripe, returned, running, type_card
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import RETURN_URL, Ear, eventually

BEHAVIOURS = {
    Card.INSUFFICIENT: "declines:insufficient_funds",
    Card.STOLEN: "declines:stolen_card",
    Card.EXPIRED: "declines:expired_card",
}


class StripeTill:
    def __init__(self, stripe: RunningStripe, ear: Ear) -> None:
        self._stripe = stripe
        self._ear = ear
        self.gateway = stripe.adapter()
        self.impatient = stripe.adapter(read_timeout_seconds=0.2)
        self.stranger = stripe.adapter(secret_key="sk_test_other", webhook_secret="whsec_other")

    def _page(self, customer_key: str) -> str:
        started = self.gateway.begin_registration(
            customer_key=customer_key, return_url=RETURN_URL, language="ko"
        )
        assert started.redirect_url is not None
        return started.redirect_url

    def browser_returns(self, *, customer_key: str, card: Card) -> dict[str, str]:
        answer = type_card(self._page(customer_key), BEHAVIOURS.get(card, str(card)))
        return returned(answer)

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return returned(
            httpx.post(f"{self._page(customer_key)}/cancel", verify=NO_AUTHORITIES, trust_env=False)
        )

    def captured(self, order_id: str) -> list[Money]:
        found: list[Money] = []
        query = {"limit": "100"}
        while True:
            listed = self._stripe.ask("GET", "/v1/charges", params=query)
            found += [
                Money(row["amount_captured"], row["currency"].upper())
                for row in listed["data"]
                if row["metadata"].get("order_id") == order_id and row["captured"]
            ]
            if not listed["has_more"]:
                return found
            query["starting_after"] = listed["data"][-1]["id"]

    def reverse(self, gateway_payment_id: str) -> None:
        self._stripe.tell(f"payments/{gateway_payment_id}/reverse")

    def dispute(self, gateway_payment_id: str) -> None:
        self._stripe.tell(f"payments/{gateway_payment_id}/dispute")

    def forget_keys(self) -> None:
        self._stripe.tell("keys/forget")

    def close_day(self) -> None:
        """Stripe books at once."""

    def webhooks_about(self, gateway_payment_id: str) -> list[Delivery]:
        heard = eventually(lambda: self._ear.of_kind(gateway_payment_id))
        return [Delivery(headers, body) for headers, body in heard]

    def deliver_again(self, gateway_payment_id: str) -> None:
        event_id = json.loads(self.webhooks_about(gateway_payment_id)[-1].body)["id"]
        assert self._stripe.tell("events/deliver", ids=[event_id]) == {"taken": 1}

    def kill_and_restart(self) -> None:
        self._stripe.kill()
        self._stripe.start()


@contextmanager
def open_till() -> Iterator[Till]:
    ear = Ear()
    with (
        TemporaryDirectory() as directory,
        running(directory=Path(directory), webhook_url=ear.url) as stripe,
    ):
        till = StripeTill(stripe, ear)
        yield till
        for gateway in (till.gateway, till.impatient, till.stranger):
            gateway.close()
    ear.close()


@pytest.fixture(scope="module")
def till() -> Iterator[Till]:
    with open_till() as opened:
        yield opened


class TestTheStripeGateway(GatewayCases):
    pass
