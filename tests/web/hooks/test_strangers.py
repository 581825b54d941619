"""What anybody can send: it is bounded, it is never stored for nothing, and it breaks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.base import clock, secrets
from app.base.audit import Actor
from app.base.db import control_session as transaction
from app.base.errors import Invalid
from app.web.hooks import strangers
from invoices import gateway_accounts, gateway_events
from invoices.gateways import registry
from invoices.gateways.port import EventKind, Trust
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import GatewayEvent, PaymentAttempt, PaymentMethod, VirtualAccount
from jobs import gateway_events as step
from tests.factories import NOW, make_invoice, make_tenant
from tests.web.hooks.test_gateway_hooks import signed

SECRET = "ps_known_to_toss_and_us"
BILLING_KEY = "a-billing-key-of-ours"
KEYS = {
    "toss": {"client_key": "test_ck_x", "secret_key": "test_sk_x"},
    "sandbox": {"secret_key": "sk", "webhook_secret": "whsec_dGVuYW50cnktd2ViaG9vay10ZXN0cw=="},
    "stripe": {"secret_key": "sk_test_x", "webhook_secret": "whsec_x"},
    "portone": {
        "store_id": "store-x",
        "channel_key": "channel-x",
        "api_secret": "x",
        "webhook_secret": "whsec_dGVuYW50cnktd2ViaG9vay10ZXN0cw==",
        "channel": "kakaopay",
    },
}


@pytest.fixture
def toss(app: Any) -> Iterator[Any]:
    """An account at Toss Payments, an order of ours at it and a virtual account with a secret."""
    registry.forget()
    with transaction() as session:
        open_account(session, "toss")
        tenant = make_tenant(session)
        method = PaymentMethod(
            tenant_id=tenant.id,
            gateway="toss-main",
            customer_key="c",
            token_sealed=secrets.encrypt(BILLING_KEY),
            named_digest=secrets.hash_token(BILLING_KEY),
            masked="**** 4242",
            brand="현대",
            registered_at=NOW,
        )
        session.add(method)
        invoice = make_invoice(session, tenant=tenant)
        session.flush()
        session.add(
            PaymentAttempt(
                tenant_id=tenant.id,
                invoice_id=invoice.id,
                attempt_number=1,
                method_id=method.id,
                gateway="toss-main",
                idempotency_key="key-1",
                order_id="order-of-ours",
                amount_minor=invoice.total_minor,
                currency="KRW",
                key_expires_at=NOW + timedelta(days=15),
                begun_at=NOW,
                state="declined",
                finished_at=NOW,
            )
        )
        session.add(
            VirtualAccount(
                tenant_id=tenant.id,
                invoice_id=invoice.id,
                gateway="toss-main",
                order_id="account-of-ours",
                gateway_payment_id="tpay_va",
                bank_asked="088",
                bank="088",
                number="1",
                holder="Tenantry",
                amount_minor=invoice.total_minor,
                currency="KRW",
                state="waiting",
                asked_at=NOW,
                key_expires_at=NOW,
                idempotency_key="va-1",
                expires_at=NOW + timedelta(days=7),
                secret_sealed=secrets.encrypt(SECRET),
            )
        )
    yield
    registry.forget()


def open_account(session: Any, gateway: str) -> None:
    given = {one.name: one.default for one in registry.kind(gateway).credentials if one.default}
    gateway_accounts.add(
        control_session=session,
        account=gateway_accounts.NewAccount(
            code=f"{gateway}-main",
            gateway=gateway,
            title_ko="카드",
            title_en="Card",
            credentials={**given, **KEYS[gateway]},
        ),
        actor=Actor.job("test"),
        now=NOW,
    )


def hint(number: int = 0, **data: Any) -> bytes:
    created = (clock.real_now() + timedelta(seconds=number)).isoformat()
    told = {"eventType": "PAYMENT_STATUS_CHANGED", "createdAt": created, "data": data}
    return json.dumps(told).encode()


def deposit(order_id: str, secret: str, number: int = 0) -> bytes:
    created = (clock.real_now() + timedelta(seconds=number)).isoformat()
    told = {"createdAt": created, "secret": secret, "status": "DONE", "transactionKey": "t"}
    return json.dumps({**told, "orderId": order_id}).encode()


def post(client: Any, body: bytes, at: str = "toss-main", **headers: str) -> Any:
    return client.post(f"/hooks/{at}", data=body, headers=headers)


def stored() -> int:
    with transaction() as session:
        return session.scalar(select(func.count()).select_from(GatewayEvent)) or 0


@pytest.mark.usefixtures("toss")
class TestAnUnsignedMessage:
    def test_about_nothing_of_ours_is_answered_and_leaves_no_row(self, client: Any) -> None:
        for body in (
            hint(paymentKey="tpay_1", orderId="nobodys-order", status="DONE"),
            hint(status="DONE"),
            json.dumps({"eventType": "x", "createdAt": NOW.isoformat(), "data": {}}).encode(),
            deposit("nobodys-order", "guessed"),
        ):
            assert post(client, body).status_code == 200
        assert stored() == 0

    def test_about_an_order_of_ours_is_kept_once_until_it_was_looked_at(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        for number in range(3):
            body = hint(number, paymentKey="tpay_1", orderId="order-of-ours", status="DONE")
            assert post(client, body).status_code == 200
        assert stored() == 1
        while step.work():
            continue
        assert post(client, hint(9, orderId="order-of-ours", status="DONE")).status_code == 200
        assert stored() == 2

    def test_is_counted_by_address_and_turned_away_above_the_bound(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strangers, "UNSIGNED_PER_MINUTE_MAX", 3)
        monkeypatch.setattr(strangers, "_minute", lambda: 1)
        strangers.forget()
        bodies = [hint(number, orderId="nobodys-order") for number in range(5)]
        answers = [post(client, body) for body in bodies]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        # Whoever knows the account's secret is none of them, nor is another address.
        assert post(client, deposit("account-of-ours", SECRET)).status_code == 200
        assert post(client, deposit("account-of-ours", "guessed", 1)).status_code == 429
        elsewhere = client.post(
            "/hooks/toss-main", data=bodies[0], environ_base={"REMOTE_ADDR": "192.0.2.7"}
        )
        assert elsewhere.status_code == 200
        monkeypatch.setattr(strangers, "_minute", lambda: 2)
        assert post(client, bodies[4]).status_code == 200

    def test_that_names_a_billing_key_ends_it(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strangers, "UNSIGNED_PER_MINUTE_MAX", 0)
        for key, answer in (("guessed", 429), (BILLING_KEY, 200)):
            told = {"eventType": "BILLING_DELETED", "createdAt": NOW.isoformat()}
            body = json.dumps({**told, "data": {"billingKey": key}}).encode()
            assert post(client, body).status_code == answer
        while step.work():
            continue
        with transaction() as session:
            method = session.scalars(select(PaymentMethod)).one()
            assert method.revoked_at is not None
            event = session.scalars(select(GatewayEvent)).one()
            assert BILLING_KEY not in repr(vars(event))

    def test_with_the_accounts_secret_has_it_looked_at(self, client: Any) -> None:
        assert post(client, deposit("account-of-ours", "guessed")).status_code == 404
        assert stored() == 0
        assert post(client, deposit("account-of-ours", SECRET, 1)).status_code == 200
        with transaction() as session:
            account = session.scalars(select(VirtualAccount)).one()
            assert account.heard_at is not None

    @pytest.mark.parametrize(
        "body",
        [
            deposit("\ud800", SECRET),
            deposit("account-of-ours", "\ud800"),
            deposit("account-of-ours\0", SECRET),
            deposit("account-of-ours", SECRET + "\0"),
            deposit("x" * 100_000, SECRET),
            hint(paymentKey="\ud800"),
            hint(orderId="order-of-ours\0"),
            json.dumps({"eventType": [], "createdAt": NOW.isoformat(), "data": {}}).encode(),
            json.dumps({"eventType": {}, "createdAt": NOW.isoformat(), "data": {}}).encode(),
        ],
    )
    def test_with_what_no_database_takes_is_not_readable(self, client: Any, body: bytes) -> None:
        assert post(client, body).status_code == 400
        assert stored() == 0


class TestASignedMessage:
    @pytest.mark.parametrize("bad", ["\0", "\ud800", "x" * 3000])
    @pytest.mark.parametrize("name", ["order_id", "payment_id", "secret"])
    def test_with_what_no_database_takes_is_not_readable(
        self, client: Any, name: str, bad: str
    ) -> None:
        with transaction() as session:
            open_account(session, "sandbox")
        data = {"order_id": "o", "payment_id": "p", "secret": "s", name: bad}
        told = {"type": "payment.succeeded", "created_at": NOW.isoformat(), "data": data}
        body = json.dumps(told).encode()
        assert post(client, body, "sandbox-main", **signed(body)).status_code == 400
        assert stored() == 0

    def test_is_never_turned_away_for_what_strangers_do(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strangers, "FORGED_PER_MINUTE_MAX", 2)
        monkeypatch.setattr(strangers, "_minute", lambda: 1)
        strangers.forget()
        with transaction() as session:
            open_account(session, "sandbox")
        data = {"order_id": "o", "payment_id": "p"}
        told = {"type": "payment.succeeded", "created_at": NOW.isoformat(), "data": data}
        body = json.dumps(told).encode()
        forged = {"webhook-signature": "v1,AAAA"}
        answers = [
            post(client, body, "sandbox-main", **(signed(body) | forged)).status_code
            for _ in range(4)
        ]
        assert answers == [403, 403, 429, 429]
        assert post(client, body, "sandbox-main", **signed(body)).status_code == 200
        assert stored() == 1


class TestWhatStrangersAreCountedBy:
    def test_is_bounded_however_many_addresses_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(strangers, "ADDRESSES_MAX", 2)
        monkeypatch.setattr(strangers, "_minute", lambda: 1)
        strangers.forget()
        assert [strangers.admits(f"192.0.2.{n}", most=1) for n in range(5)] == [
            *(True, True),
            *(False, False, False),
        ]
        assert [strangers.admits("192.0.2.0", most=1)] == [False]

    def test_holds_a_network_of_the_longer_addresses_for_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strangers, "_minute", lambda: 1)
        strangers.forget()
        assert strangers.admits("2001:db8::1", most=1)
        assert not strangers.admits("2001:db8::ffff", most=1)
        assert strangers.admits("2001:db8:0:1::1", most=1)


class TestAnEvent:
    @pytest.mark.parametrize("name", ["gateway_payment_id", "order_id", "secret", "method"])
    def test_holds_only_what_a_database_takes(self, name: str) -> None:
        for bad in ("\0", "\udfff", "x" * 256, 7):
            values: dict[str, Any] = {name: bad}
            with pytest.raises(Invalid):
                Heard(
                    event_id="e",
                    kind=EventKind.OTHER,
                    trust=Trust.UNSIGNED,
                    occurred_at=NOW,
                    **values,
                )
        for bad_id in ("", "\0", "x" * 256):
            with pytest.raises(Invalid):
                Heard(bad_id, EventKind.OTHER, Trust.UNSIGNED, NOW)


def test_gateway_events_tells_whom_to_believe() -> None:
    """The door asks before it counts; an event by a signature is nobody's to count."""
    proven = Heard("e", EventKind.OTHER, Trust.SIGNED, NOW)
    with transaction() as session:
        assert gateway_events.proven(control_session=session, gateway="x", event=proven)
