"""What the tests of payments share: a real gateway on a socket, cards of every behaviour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.sandbox.cards import CARDS
from invoices import payment, payment_methods
from invoices.gateways import registry
from invoices.models import Invoice, PaymentAttempt, PaymentMethod
from tenants.models import Tenant
from tests.factories import NOW, make_invoice, make_tenant
from tests.sandbox.running import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    RunningSandbox,
    running,
    type_card,
)

NUMBERS = {str(card.behaviour): card.number for card in CARDS}


@contextmanager
def gateway_at(directory: Path, *, read_timeout_seconds: float = 2) -> Iterator[RunningSandbox]:
    """Runs the sandbox gateway and points this process, and those it starts, at it."""
    with running(directory=directory) as sandbox, pytest.MonkeyPatch.context() as environment:
        environment.setenv("TENANTRY_SANDBOX_GATEWAY_URL", sandbox.url)
        environment.setenv("TENANTRY_SANDBOX_GATEWAY_SECRET", SECRET_KEY)
        environment.setenv("TENANTRY_SANDBOX_WEBHOOK_SECRET", WEBHOOK_SECRET)
        environment.setenv("TENANTRY_GATEWAY_READ_TIMEOUT_SECONDS", str(read_timeout_seconds))
        _read_settings_anew()
        yield sandbox
    _read_settings_anew()


def _read_settings_anew() -> None:
    settings.cache_clear()
    registry.forget()


def register_card(
    session: Session, tenant: Tenant, behaviour: str = "pays", now: datetime = NOW
) -> PaymentMethod:
    """A tenant's admin registers the card of that behaviour on the gateway's own page."""
    registration = payment_methods.begin_registration(
        control_session=session, tenant_id=tenant.id, now=now
    )
    page = payment_methods.registration_page(registration=registration, language="ko")
    sent_back = type_card(page, NUMBERS[behaviour])
    assert sent_back.status_code == 303, sent_back.text
    params = dict(parse_qsl(urlsplit(sent_back.headers["location"]).query))
    return payment_methods.complete_registration(
        control_session=session,
        registration_id=registration.id,
        registered=payment_methods.exchange(registration=registration, params=params),
        actor=SYSTEM,
        now=now,
    )


def owing(session: Session, card: str | None = "pays", **tenant: Any) -> Invoice:
    """An issued invoice of a tenant with a card of that behaviour, or with none."""
    debtor = make_tenant(session, state="active", converted_at=NOW, **tenant)
    if card is not None:
        register_card(session, debtor, card)
    return make_invoice(session, tenant=debtor)


def collect(session: Session, invoice: Invoice, now: datetime = NOW) -> PaymentAttempt | None:
    """The charge protocol, once, as the job runs it."""
    order = payment.begin(
        control_session=session, invoice_id=invoice.id, now=now, real_now=clock.real_now()
    )
    if order is None:
        return None
    result = payment.perform(order=order)
    return payment.record(
        control_session=session, attempt_id=order.attempt_id, result=result, now=now
    )


def clear_up(session: Session, attempt: PaymentAttempt, now: datetime = NOW) -> PaymentAttempt:
    """What the reaper does to an attempt, once."""
    order = payment.reopen(control_session=session, attempt_id=attempt.id)
    result = payment.find_out(order=order, real_now=clock.real_now())
    return payment.record(control_session=session, attempt_id=attempt.id, result=result, now=now)


def attempts_of(session: Session, invoice: Invoice) -> list[PaymentAttempt]:
    session.expire_all()
    return list(
        session.scalars(
            select(PaymentAttempt)
            .where(PaymentAttempt.invoice_id == invoice.id)
            .order_by(PaymentAttempt.attempt_number)
        )
    )


def charges(sandbox: RunningSandbox, invoice: Invoice | None = None) -> list[dict[str, Any]]:
    """Every charge that moved money, by the gateway's own book; of one invoice, or of all."""
    found: list[dict[str, Any]] = []
    query = {"status": "succeeded", "limit": "100"}
    while True:
        answer = sandbox.ask("GET", "/v1/payments", params=query).json()
        found += answer["payments"]
        if not answer["more"]:
            break
        query["after"] = found[-1]["id"]
    if invoice is None:
        return found
    return [row for row in found if row["order_id"].startswith(invoice.id.hex)]
