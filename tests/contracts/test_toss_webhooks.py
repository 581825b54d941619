"""Toss Payments' webhooks: the few that are signed, the one with a secret, and the hints."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from app.base.errors import Invalid
from invoices.gateways import port, toss_webhooks
from invoices.gateways.conformance.purchases import paid, won
from tests.fakes.toss.till import SECURITY_KEY, TossTill, open_till
from tests.sandbox.running import eventually


@pytest.fixture(scope="module")
def till() -> Iterator[Any]:
    with open_till() as opened:
        yield opened


class TestAWebhook:
    NOW = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)

    def parse(self, body: bytes, headers: dict[str, str] | None = None) -> port.GatewayEvent:
        return toss_webhooks.parse(
            security_key=SECURITY_KEY, headers=headers or {}, raw_body=body, now=self.NOW
        )

    def signed(self, body: bytes, *, at: str = "2026-11-20T14:00:00+09:00") -> dict[str, str]:
        made = toss_webhooks.signature(security_key=SECURITY_KEY, raw_body=body, sent_at=at)
        return {
            "ToSSPayments-Webhook-Signature": f"v1:{made.decode()},b2xk",
            "tosspayments-webhook-transmission-time": at,
        }

    PAYOUT = b'{"eventType":"payout.changed","createdAt":"2026-11-20T14:00:00","data":{}}'

    def test_about_a_payout_is_signed_and_comes_so(self, till: TossTill) -> None:
        till.running.steer("payouts/tenantry")
        headers, body = eventually(lambda: till.ear.of_kind("payout.changed"))[-1]
        event = till.gateway.parse_webhook(headers=headers, raw_body=body, now=datetime.now(UTC))
        assert (event.trust, event.kind) == (port.Trust.SIGNED, port.EventKind.PAYOUT_CHANGED)

    def test_about_a_payout_is_refused_under_anything_but_its_signature(self) -> None:
        good = self.signed(self.PAYOUT)
        assert self.parse(self.PAYOUT, good).trust is port.Trust.SIGNED
        name = "ToSSPayments-Webhook-Signature"
        for headers, body in (
            ({}, self.PAYOUT),
            (good, self.PAYOUT + b" "),
            ({**good, name: "v1:AAAA"}, self.PAYOUT),
            ({**good, "tosspayments-webhook-transmission-time": "2026-11-20"}, self.PAYOUT),
            (self.signed(self.PAYOUT, at="2026-11-20T14:06:00+09:00"), self.PAYOUT),
            (self.signed(self.PAYOUT, at="2026-11-20T13:54:00+09:00"), self.PAYOUT),
            (self.signed(self.PAYOUT, at="not a time"), self.PAYOUT),
        ):
            with pytest.raises(port.WebhookRefused):
                self.parse(body, headers)

    def test_is_refused_where_the_account_has_no_security_key(self) -> None:
        with pytest.raises(port.WebhookRefused):
            toss_webhooks.parse(
                security_key="",
                headers=self.signed(self.PAYOUT),
                raw_body=self.PAYOUT,
                now=self.NOW,
            )

    def test_about_a_payment_stays_a_hint_even_with_a_signature_on_it(self) -> None:
        body = json.dumps(
            {
                "eventType": "PAYMENT_STATUS_CHANGED",
                "createdAt": "2026-11-20T14:00:00.000000",
                "data": {"paymentKey": "p1", "orderId": "order-1", "status": "DONE"},
            }
        ).encode()
        event = self.parse(body, self.signed(body))
        assert event.trust is port.Trust.UNSIGNED
        assert (event.gateway_payment_id, event.order_id) == ("p1", "order-1")
        assert event.occurred_at == datetime(2026, 11, 20, 5, 0, tzinfo=UTC)

    def test_about_a_deposit_carries_the_secret_of_its_payment(self) -> None:
        body = (
            b'{"createdAt":"2026-11-20T14:00:00","secret":"ps_1","status":"WAITING_FOR_DEPOSIT",'
            b'"transactionKey":"t","orderId":"order-1"}'
        )
        event = self.parse(body)
        assert (event.trust, event.secret, event.order_id) == (
            port.Trust.SECRET,
            "ps_1",
            "order-1",
        )
        with pytest.raises(Invalid):
            self.parse(body.replace(b'"ps_1"', b"null"))

    def test_forged_by_a_stranger_moves_nothing(self, till: TossTill) -> None:
        data = {"paymentKey": "tpay_forged", "orderId": "order-forged", "status": "DONE"}
        till.running.steer("webhooks/forge", eventType="PAYMENT_STATUS_CHANGED", data=data)
        headers, body = eventually(lambda: till.ear.of_kind("tpay_forged"))[-1]
        event = till.gateway.parse_webhook(headers=headers, raw_body=body, now=datetime.now(UTC))
        assert event.trust is port.Trust.UNSIGNED
        assert till.gateway.lookup(gateway_payment_id="tpay_forged") == port.Absent()

    def test_that_nobody_takes_is_sent_eight_times(self, till: TossTill) -> None:
        payment = paid(till)
        till.ear.refuse_next = 7
        till.reverse(payment.gateway_payment_id)
        heard = eventually(
            lambda: [
                delivery
                for delivery in [till.ear.of_kind(payment.gateway_payment_id)]
                if len(delivery) == 8
            ]
        )[0]
        assert len({body for _headers, body in heard}) == 1

    def test_that_was_held_back_comes_in_the_wrong_order(self, till: TossTill) -> None:
        payment = paid(till)
        till.running.steer("webhooks", hold=True)
        for key in ("a", "b"):
            till.gateway.refund(
                gateway_payment_id=payment.gateway_payment_id,
                amount=won(10_000),
                reason=key,
                idempotency_key=uuid.uuid4().hex,
            )
        till.running.steer("webhooks", hold=False, newest_first=True)
        eventually(lambda: len(till.ear.of_kind(payment.gateway_payment_id)) == 2)
        told = [json.loads(body) for _h, body in till.ear.of_kind(payment.gateway_payment_id)]
        assert [len(event["data"]["cancels"]) for event in told] == [2, 1]
        till.running.steer("webhooks", hold=False)
