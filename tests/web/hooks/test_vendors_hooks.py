"""Each vendor's own webhook, as its simulator sends it, comes in by our door and is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base import clock
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from invoices import gateway_accounts, payment, payment_methods
from invoices.gateways import registry
from invoices.gateways.conformance import Card
from invoices.gateways.port import Prepared, RegisteredMethod, Succeeded, Unknown
from invoices.models import GatewayEvent, Invoice, PaymentMethod, ReconciliationDifference
from jobs import gateway_events
from tests.factories import NOW, make_invoice, make_tenant
from tests.fakes.portone.__main__ import API_SECRET, STORE_ID
from tests.fakes.portone.__main__ import WEBHOOK_SECRET as PORTONE_SECRET
from tests.fakes.portone.book import CHANNELS
from tests.fakes.portone.running import PortOneTill, RunningPortOne
from tests.fakes.stripe.running import SECRET_KEY, RunningStripe, returned, type_card
from tests.fakes.stripe.running import WEBHOOK_SECRET as STRIPE_SECRET
from tests.fakes.toss.till import SECURITY_KEY, RunningToss, TossTill
from tests.sandbox.running import RETURN_URL, Ear, eventually


@pytest.fixture
def ear(app: Any, set_clock: Callable[[datetime], None]) -> Iterator[Ear]:
    set_clock(clock.real_now())
    registry.forget()
    hearing = Ear()
    yield hearing
    hearing.close()
    registry.forget()


@contextmanager
def ended(running: Any) -> Iterator[Any]:
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=60)
        running.process.stdout.close()


@pytest.fixture
def stripe(ear: Ear, tmp_path: Path) -> Iterator[RunningStripe]:
    with ended(RunningStripe(directory=tmp_path, webhook_url=ear.url)) as running:
        yield running


@pytest.fixture
def toss(ear: Ear, tmp_path: Path) -> Iterator[RunningToss]:
    with ended(RunningToss(directory=tmp_path, webhook_url=ear.url)) as running:
        yield running


@pytest.fixture
def portone(ear: Ear, tmp_path: Path) -> Iterator[RunningPortOne]:
    with ended(RunningPortOne(directory=tmp_path, webhook_url=ear.url)) as running:
        yield running


def open_account(gateway: str, *, code: str = "", **credentials: str) -> str:
    code = code or f"{gateway}-main"
    with transaction() as session:
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code=code,
                gateway=gateway,
                title_ko="카드",
                title_en="Card",
                credentials=credentials,
            ),
            actor=SYSTEM,
            now=NOW,
        )
    return code


def owing(account: str, register: Callable[[str], RegisteredMethod]) -> UUID:
    """An invoice of a customer whose card is registered there; its number, to be found again."""
    with transaction() as session:
        tenant = make_tenant(session, state="active", converted_at=NOW)
        registration = payment_methods.begin_registration(
            control_session=session, tenant_id=tenant.id, now=NOW, account=account
        )
        payment_methods.complete_registration(
            control_session=session,
            registration_id=registration.id,
            registered=register(registration.customer_key),
            actor=SYSTEM,
            now=NOW,
        )
        return make_invoice(session, tenant=tenant).id


def charged(invoice_id: UUID, *, recorded: bool = False) -> Succeeded:
    """The charge as its job runs it, killed before the outcome is written down or not."""
    with transaction() as session:
        order = payment.begin(
            control_session=session,
            invoice_id=invoice_id,
            now=clock.now(),
            real_now=clock.real_now(),
        )
    assert order is not None
    if payment.is_to_prepare(order=order):
        prepared = payment.prepare(order=order)
        assert isinstance(prepared, Prepared)
        with transaction() as session:
            kept = payment.keep_prepared(control_session=session, order=order, prepared=prepared)
        assert not isinstance(kept, Unknown)
        order = kept
    result = payment.perform(order=order)
    assert isinstance(result, Succeeded), result
    if recorded:
        with transaction() as session:
            payment.record(
                control_session=session, attempt_id=order.attempt_id, result=result, now=clock.now()
            )
    return result


def passed_on(client: Any, ear: Ear, account: str, about: str) -> None:
    """Every message about that is posted to our door as it came, and its job runs."""
    for headers, body in list(eventually(lambda: ear.of_kind(about))):
        answer = client.post(
            f"/hooks/{account}",
            data=body,
            headers={name: value for name, value in headers.items() if name != "HOST"},
        )
        assert answer.status_code == 200
    while gateway_events.work():
        continue
    with transaction() as session:
        assert session.scalars(select(GatewayEvent)).all()
        waiting = select(GatewayEvent).where(GatewayEvent.applied_at.is_(None))
        assert session.scalars(waiting).all() == []


def state_of(invoice_id: UUID) -> str:
    with transaction() as session:
        return session.get_one(Invoice, invoice_id).state


class TestAWebhookOfStripe:
    def test_settles_an_invoice_whose_charge_nobody_wrote_down(
        self, client: Any, ear: Ear, stripe: RunningStripe
    ) -> None:
        account = open_account(
            "stripe", base_url=stripe.url, secret_key=SECRET_KEY, webhook_secret=STRIPE_SECRET
        )

        def register(customer_key: str) -> RegisteredMethod:
            at = registry.gateway(account)
            started = at.begin_registration(
                customer_key=customer_key, return_url=RETURN_URL, language="ko"
            )
            params = returned(type_card(str(started.redirect_url), "pays"))
            return at.complete_registration(customer_key=customer_key, params=params)

        invoice_id = owing(account, register)
        paid = charged(invoice_id)
        assert state_of(invoice_id) == "issued"
        eventually(lambda: ear.of_kind("payment_intent.succeeded"))
        passed_on(client, ear, account, paid.gateway_payment_id)
        assert state_of(invoice_id) == "paid"


class TestAWebhookOfPortOne:
    def test_settles_an_invoice_and_ends_a_deleted_billing_key(
        self, client: Any, ear: Ear, portone: RunningPortOne
    ) -> None:
        account = open_account(
            "portone",
            base_url=portone.url,
            channel="kakaopay",
            store_id=STORE_ID,
            channel_key=CHANNELS["kakaopay"][1],
            api_secret=API_SECRET,
            webhook_secret=PORTONE_SECRET,
        )
        till = PortOneTill(portone, ear, "kakaopay")

        def register(customer_key: str) -> RegisteredMethod:
            params = till.browser_returns(customer_key=customer_key, card=Card.PAYS)
            return till.gateway.complete_registration(customer_key=customer_key, params=params)

        invoice_id = owing(account, register)
        paid = charged(invoice_id)
        assert state_of(invoice_id) == "issued"
        passed_on(client, ear, account, paid.gateway_payment_id)
        assert state_of(invoice_id) == "paid"
        with transaction() as session:
            method = session.scalars(select(PaymentMethod)).one()
            session.expunge(method)
        payment_methods.forget_at_gateway(method=method)  # as its holder does in the wallet
        passed_on(client, ear, account, "BillingKey.Deleted")
        with transaction() as session:
            assert session.scalars(select(PaymentMethod)).one().revoked_at is not None
        till.close()


class TestAWebhookOfTossPayments:
    def test_tells_of_money_given_back_and_of_a_billing_key_deleted(
        self, client: Any, ear: Ear, toss: RunningToss
    ) -> None:
        account = open_account(
            "toss",
            base_url=toss.url,
            script_url=f"{toss.url}/v2/standard",
            client_key="test_ck_tenantry",
            secret_key="test_sk_tenantry",
            security_key=SECURITY_KEY,
        )
        till = TossTill(toss, ear)

        def register(customer_key: str) -> RegisteredMethod:
            params = till.browser_returns(customer_key=customer_key, card=Card.PAYS)
            return till.gateway.complete_registration(customer_key=customer_key, params=params)

        invoice_id = owing(account, register)
        paid = charged(invoice_id, recorded=True)
        till.reverse(paid.gateway_payment_id)
        passed_on(client, ear, account, paid.gateway_payment_id)
        with transaction() as session:
            found = session.scalars(select(ReconciliationDifference)).one()
            assert (found.kind, found.amount_minor) == (
                "refunded_there",
                -paid.amount.amount_minor,
            )
            method = session.scalars(select(PaymentMethod)).one()
            session.expunge(method)
        payment_methods.forget_at_gateway(method=method)
        passed_on(client, ear, account, "BILLING_DELETED")
        with transaction() as session:
            assert session.scalars(select(PaymentMethod)).one().revoked_at is not None
