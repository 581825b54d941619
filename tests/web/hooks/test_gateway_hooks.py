"""Webhooks at the door: genuine ones stored once, all others turned away with nothing stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.db import control_session as transaction
from invoices import payment
from invoices.models import GatewayEvent, Invoice, Payment, PaymentAttempt
from jobs import gateway_events
from tests.factories import NOW
from tests.invoices.collecting import charges, gateway_at, owing
from tests.sandbox.running import WEBHOOK_SECRET, RunningSandbox


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def post(sandbox: RunningSandbox, client: Any) -> Any:
    """Posts a body to the sandbox gateway's hook, signed unless told otherwise."""

    def send(body: bytes, *, at: str = "sandbox", **changed: str) -> Any:
        headers = signed(body) | changed
        return client.post(f"/hooks/{at}", data=body, headers=headers)

    return send


def signed(body: bytes, *, event_id: str = "evt_1", age: timedelta = timedelta()) -> dict[str, str]:
    stamp = str(int((clock.real_now() - age).timestamp()))
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    content = f"{event_id}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{signature}",
        "content-type": "application/json",
    }


def told(order_id: str = "order-1", kind: str = "payment.succeeded") -> bytes:
    return json.dumps(
        {
            "type": kind,
            "created_at": clock.real_now().isoformat(),
            "data": {"order_id": order_id, "payment_id": "pay_1"},
        }
    ).encode()


def stored() -> int:
    with transaction() as session:
        return session.scalar(select(func.count()).select_from(GatewayEvent)) or 0


class TestAGenuineWebhook:
    def test_is_stored_and_answered_without_a_session_or_a_token(self, post: Any) -> None:
        answer = post(told())
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        with transaction() as session:
            event = session.scalars(select(GatewayEvent)).one()
        assert (event.gateway, event.event_id, event.trust) == ("sandbox", "evt_1", "signed")
        assert (event.order_id, event.applied_at) == ("order-1", None)

    def test_delivered_twice_is_stored_once_and_answered_alike(self, post: Any) -> None:
        body = told()
        assert [post(body).status_code for _ in range(3)] == [200, 200, 200]
        assert stored() == 1


class TestAWebhookTurnedAway:
    def assert_refused(self, answer: Any, status: int) -> None:
        assert answer.status_code == status
        assert answer.mimetype == "application/problem+json"
        assert answer.json["status"] == status
        assert stored() == 0

    def test_is_one_that_is_forged(self, post: Any) -> None:
        forged = base64.b64encode(b"0" * 32).decode()
        self.assert_refused(post(told(), **{"webhook-signature": f"v1,{forged}"}), 403)

    def test_is_one_whose_body_was_changed(self, post: Any, client: Any) -> None:
        body = told()
        changed = body.replace(b"order-1", b"order-2")
        self.assert_refused(client.post("/hooks/sandbox", data=changed, headers=signed(body)), 403)

    @pytest.mark.parametrize("minutes", [-60, -6, 6, 60 * 24 * 10])
    def test_is_one_from_another_time(self, post: Any, minutes: int) -> None:
        body = told()
        self.assert_refused(post(body, **signed(body, age=timedelta(minutes=minutes))), 403)

    def test_is_one_without_any_proof(self, sandbox: RunningSandbox, client: Any) -> None:
        self.assert_refused(client.post("/hooks/sandbox", data=told()), 403)

    @pytest.mark.parametrize("body", [b" ", b"[]", b"{", b'{"data": 1}', b"\xff\xfe"])
    def test_is_one_that_cannot_be_read(self, post: Any, body: bytes) -> None:
        self.assert_refused(post(body), 400)

    def test_is_one_that_is_too_large(self, post: Any) -> None:
        self.assert_refused(post(b" " * (256 * 1024 + 1)), 413)

    @pytest.mark.parametrize("name", ["nobody", "manual", "Sandbox", "sandbox%00"])
    def test_is_one_for_no_gateway_of_ours(self, post: Any, name: str) -> None:
        self.assert_refused(post(told(), at=name), 404)

    def test_is_anything_but_a_post(self, sandbox: RunningSandbox, client: Any) -> None:
        assert client.get("/hooks/sandbox").status_code == 405


class TestAStoredEvent:
    def begun(self) -> payment.Order:
        with transaction() as session:
            invoice = owing(session)
        with transaction() as session:
            order = payment.begin(
                control_session=session,
                invoice_id=invoice.id,
                now=NOW,
                real_now=clock.real_now(),
            )
        assert order is not None
        return order

    def work(self) -> None:
        while gateway_events.work():
            continue

    def assert_applied(self) -> None:
        with transaction() as session:
            waiting = select(GatewayEvent).where(GatewayEvent.applied_at.is_(None))
            assert session.scalars(waiting).all() == []

    def test_before_the_charge_is_recorded_pays_once_when_the_gateway_confirms(
        self, post: Any, sandbox: RunningSandbox
    ) -> None:
        order = self.begun()
        result = payment.perform(order=order)
        post(told(order.order_id))
        self.work()
        with transaction() as session:
            payment.record(
                control_session=session, attempt_id=order.attempt_id, result=result, now=NOW
            )
            assert session.scalar(select(func.count()).select_from(Payment)) == 1
            assert session.scalars(select(Invoice.state)).all() == ["paid"]
        self.assert_applied()
        assert len(charges(sandbox)) == 1

    def test_that_lies_about_a_payment_changes_nothing(self, post: Any) -> None:
        order = self.begun()
        post(told(order.order_id))
        self.work()
        with transaction() as session:
            assert session.scalars(select(PaymentAttempt.state)).all() == ["open"]
            assert session.scalars(select(Invoice.state)).all() == ["issued"]
        self.assert_applied()

    def test_waits_while_the_gateway_cannot_confirm_it(
        self, post: Any, sandbox: RunningSandbox
    ) -> None:
        order = self.begun()
        payment.perform(order=order)
        post(told(order.order_id))
        sandbox.kill()
        try:
            gateway_events.work()
        finally:
            sandbox.start()
        with transaction() as session:
            event = session.scalars(select(GatewayEvent)).one()
            assert event.applied_at is None
            assert "NotConfirmed" in str(event.last_error)
            event.retry_at = None
        self.work()
        self.assert_applied()
        with transaction() as session:
            assert session.scalars(select(Invoice.state)).all() == ["paid"]

    def test_in_any_order_and_number_ends_the_same(
        self, post: Any, sandbox: RunningSandbox
    ) -> None:
        kinds = ("payment.succeeded", "payment.declined", "payment.refunded")
        for order_of_kinds in permutations(kinds):
            order = self.begun()
            payment.perform(order=order)
            for kind in (*order_of_kinds, order_of_kinds[0]):
                body = told(order.order_id, kind)
                post(body, **signed(body, event_id=f"{order.order_id}-{kind}"))
                self.work()
        with transaction() as session:
            assert set(session.scalars(select(Invoice.state))) == {"paid"}
            assert session.scalar(select(func.count()).select_from(GatewayEvent)) == 18
            assert session.scalar(select(func.count()).select_from(Payment)) == 6
        self.assert_applied()
