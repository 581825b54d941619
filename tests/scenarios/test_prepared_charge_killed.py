"""Collectors die while they charge at a gateway that knows each payment before it moves money."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import gateway_accounts, payment_methods
from invoices.checks import INVARIANTS
from invoices.gateway_accounts import NewAccount
from invoices.gateways import registry
from invoices.models import Invoice, Payment, PaymentAttempt
from tests.conftest import Scenario
from tests.factories import NOW, make_invoice, make_tenant
from tests.fakes.stripe.running import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    RunningStripe,
    returned,
    running,
    type_card,
)
from tests.scenarios.charge_crashes import CARDS, Collectors, collectors, whole
from tests.scenarios.killed_collector import BOUNDARIES, PREPARED_BOUNDARIES

ACCOUNT = "stripe-seoul"
SCHEDULES = 20
# How many of the rounds die around what is stored between preparing and charging.
AROUND_PREPARING = 0.6


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStripe]:
    with (
        running(directory=tmp_path_factory.mktemp("stripe")) as simulator,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("TENANTRY_GATEWAY_READ_TIMEOUT_SECONDS", "2")
        settings.cache_clear()
        yield simulator
    settings.cache_clear()


def add_account(session: Session, stripe: RunningStripe) -> None:
    """An account at that Stripe, where cards are registered from now on."""
    added = gateway_accounts.add(
        control_session=session,
        account=NewAccount(
            code=ACCOUNT,
            gateway="stripe",
            title_ko="카드",
            title_en="Card",
            credentials={
                "base_url": stripe.url,
                "secret_key": SECRET_KEY,
                "webhook_secret": WEBHOOK_SECRET,
            },
        ),
        actor=SYSTEM,
        now=NOW,
    )
    added.is_default = True


@pytest.fixture
def account(scenario: Scenario, stripe: RunningStripe) -> Iterator[str]:
    registry.forget()
    with transaction() as session:
        add_account(session, stripe)
    yield ACCOUNT
    registry.forget()


def owing(session: Session, behaviour: str) -> Invoice:
    """An issued invoice of a tenant whose card at Stripe misbehaves so."""
    debtor = make_tenant(session, state="active", converted_at=NOW)
    registration = payment_methods.begin_registration(
        control_session=session, tenant_id=debtor.id, now=NOW
    )
    assert registration.gateway == ACCOUNT
    page = payment_methods.registration_page(registration=registration, language="ko")
    params = returned(type_card(page, behaviour), settings().public_url)
    payment_methods.complete_registration(
        control_session=session,
        registration_id=registration.id,
        registered=payment_methods.exchange(registration=registration, params=params),
        actor=SYSTEM,
        now=NOW,
    )
    return make_invoice(session, tenant=debtor)


def debtors(seed: int) -> list[UUID]:
    dice = random.Random(seed)
    with transaction() as session:
        chosen = dice.choices(CARDS, k=dice.choice((1, 2)))
        return [owing(session, card).id for card in chosen]


def schedule(seed: int) -> list[list[dict[str, Any]]]:
    """A few rounds of workers that die, most of them around what is stored before the charge."""
    dice = random.Random(seed)
    return [[_doomed(dice)] for _ in range(dice.choice((2, 3)))]


def _doomed(dice: random.Random) -> dict[str, Any]:
    if dice.random() < AROUND_PREPARING:
        boundary = len(BOUNDARIES) + dice.randrange(len(PREPARED_BOUNDARIES))
    else:
        boundary = dice.randrange(len(BOUNDARIES))
    return whole() | {"boundary": boundary}


def run_all(crew: Collectors, seeds: range) -> tuple[list[UUID], int]:
    invoices = debtors(seeds.stop)
    crew.warm_up()
    killed = 0
    for seed in seeds:
        invoices += debtors(seed)
        killed += crew.run(schedule(seed)).count(-signal.SIGKILL)
    return invoices, killed


def charged(stripe: RunningStripe, invoices: list[UUID]) -> Counter[UUID]:
    """How often the money was taken for each invoice, by Stripe's own books."""
    ours, query = set(invoices), {"limit": "100"}
    found: Counter[UUID] = Counter()
    while True:
        listed = stripe.ask("GET", "/v1/charges", params=query)
        owners = (UUID(row["metadata"]["order_id"][:32]) for row in listed["data"] if row["paid"])
        found.update(owner for owner in owners if owner in ours)
        if not listed["has_more"]:
            return found
        query["starting_after"] = listed["data"][-1]["id"]


class TestCollectorsThatAreKilledAroundPreparing:
    def test_charge_every_invoice_exactly_once(
        self,
        account: str,
        stripe: RunningStripe,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
    ) -> None:
        set_clock(NOW)
        with collectors(tmp_path) as crew:
            invoices, killed = run_all(crew, range(SCHEDULES))
            crew.to_the_end(set_clock)

        assert killed >= SCHEDULES
        assert charged(stripe, invoices) == dict.fromkeys(invoices, 1)
        with transaction() as session:
            states = session.scalars(select(Invoice.state).where(Invoice.id.in_(invoices))).all()
            assert Counter(states) == {"paid": len(invoices)}
            assert session.scalar(select(func.count()).select_from(Payment)) == len(invoices)
            nameless = select(func.count()).where(PaymentAttempt.gateway_payment_id.is_(None))
            assert session.scalar(nameless) == 0
            for invariant in INVARIANTS:
                assert offences(control_session=session, invariant=invariant, now=NOW) == []
        assert clock.now() > NOW

    def test_charge_nobody_twice_even_under_a_new_key(
        self,
        account: str,
        stripe: RunningStripe,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
    ) -> None:
        """One payment is paid once whatever the key, and the stored id names the one."""
        set_clock(NOW)
        with collectors(tmp_path, "new key on retry") as crew:
            invoices, _killed = run_all(crew, range(100, 106))
            crew.to_the_end(set_clock)
        assert charged(stripe, invoices) == dict.fromkeys(invoices, 1)

    def test_are_caught_if_they_ignore_the_stored_id(
        self,
        account: str,
        stripe: RunningStripe,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
    ) -> None:
        set_clock(NOW)
        with collectors(tmp_path, "stored id ignored") as crew:
            invoices, _killed = run_all(crew, range(200, 206))
            crew.to_the_end(set_clock)
        assert max(charged(stripe, invoices).values()) > 1
