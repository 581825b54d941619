"""The daily run against Stripe's and Toss Payments' books: fees, payouts, and what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.invariants import offences
from app.base.money import Money
from invoices import gateway_accounts, reconciliation, reconciliation_missing, settlement
from invoices.checks import INVARIANTS
from invoices.gateways import registry
from invoices.gateways.conformance import Till
from invoices.gateways.conformance.purchases import AMOUNT, paid
from invoices.models import LedgerEntry, LedgerLine, Payment
from invoices.settlement import Arrival
from jobs import reconciliation as reconciling
from tests.conftest import Scenario
from tests.contracts.test_stripe_gateway import StripeTill
from tests.factories import make_invoice, make_tenant
from tests.fakes.stripe import running as stripe_running
from tests.fakes.toss.till import SECURITY_KEY, RunningToss, TossTill
from tests.sandbox.running import Ear

ACCOUNT = "cards"


@dataclass
class Vendor:
    """One vendor's simulator, with how its books are told to be wrong."""

    till: Till
    twice: Any
    pay_out: Any


@pytest.fixture(params=["stripe", "toss"])
def vendor(request: pytest.FixtureRequest, scenario: Scenario, tmp_path: Path) -> Iterator[Vendor]:
    registry.forget()
    yield from {"stripe": _stripe, "toss": _toss}[request.param](tmp_path)
    registry.forget()


def _stripe(directory: Path) -> Iterator[Vendor]:
    ear = Ear()
    with stripe_running.running(directory=directory, webhook_url=ear.url) as stripe:
        till = StripeTill(stripe, ear)
        _open(
            "stripe",
            base_url=stripe.url,
            secret_key=stripe_running.SECRET_KEY,
            webhook_secret=stripe_running.WEBHOOK_SECRET,
        )
        yield Vendor(
            till,
            lambda named: stripe.tell(f"payments/{named}/book-twice"),
            lambda: stripe.tell("payouts"),
        )
        for gateway in (till.gateway, till.impatient, till.stranger):
            gateway.close()
    ear.close()


def _toss(directory: Path) -> Iterator[Vendor]:
    ear = Ear()
    running = RunningToss(directory=directory, webhook_url=ear.url)
    till = TossTill(running, ear)
    _open(
        "toss",
        base_url=running.url,
        script_url=f"{running.url}/v2/standard",
        secret_key="test_sk_tenantry",
        client_key="test_ck_tenantry",
        security_key=SECURITY_KEY,
    )

    # Toss has no line of its own for a payout: each says when it is paid out.
    yield Vendor(till, lambda named: running.steer(f"payments/{named}/settle-twice"), lambda: None)
    for gateway in (till.gateway, till.impatient, till.stranger):
        gateway.close()
    running.end()
    ear.close()


def _open(gateway: str, **credentials: str) -> None:
    with transaction() as session:
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code=ACCOUNT,
                gateway=gateway,
                title_ko="카드",
                title_en="Card",
                credentials=credentials,
            ),
            actor=SYSTEM,
            now=clock.now(),
        )


def today() -> date:
    return clock.today(clock.now(), settings().contract_timezone)


def ours(named: str, amount: Money, on: date) -> Payment:
    """A payment at the account, as our books have it."""
    with transaction() as session:
        invoice = make_invoice(session, tenant=make_tenant(session, state="active"))
        return settlement.receive(
            control_session=session,
            invoice_id=invoice.id,
            arrival=Arrival(
                kind="virtual_account",
                gateway=ACCOUNT,
                gateway_payment_id=named,
                amount=amount,
                received_on=on,
            ),
            actor=SYSTEM,
            now=clock.now(),
        )


def daily(day: date) -> list[tuple[str, str, int]]:
    """The job of one day; what is open then."""
    with transaction() as session:
        reconciliation.ask(control_session=session, gateway=ACCOUNT, day=day, now=clock.now())
    while reconciling.work():
        continue
    with transaction() as session:
        assert not reconciling.due(session, clock.now())
        found = reconciliation.work_list(control_session=session, limit=50)
        # The vendors go by the real clock, and midnight may pass in between.
        told = (each for each in found if each.kind != "other_day")
        return sorted((each.kind, each.cause, each.amount_minor) for each in told)


def cash() -> int:
    """What our ledger has at the account."""
    with transaction() as session:
        net = func.coalesce(func.sum(LedgerLine.debit_minor - LedgerLine.credit_minor), 0)
        return int(session.scalar(select(net).where(LedgerLine.place == ACCOUNT)) or 0)


def assert_the_books_hold() -> None:
    with transaction() as session:
        for rule in INVARIANTS:
            if rule.sql:
                found = offences(control_session=session, invariant=rule, now=clock.now())
                assert found == [], rule.code


class TestADay:
    def test_without_a_difference_books_fees_and_payouts(self, vendor: Vendor) -> None:
        for _ in range(2):
            named = paid(vendor.till).gateway_payment_id
            ours(named, AMOUNT, today())
        vendor.till.close_day()
        vendor.pay_out()
        assert daily(today()) == []
        assert daily(today()) == []
        with transaction() as session:
            kinds = session.execute(
                select(LedgerEntry.kind, func.count())
                .where(LedgerEntry.kind.in_(("fee", "payout", "difference")))
                .group_by(LedgerEntry.kind)
            ).all()
        booked = dict(tuple(row) for row in kinds)
        assert booked["fee"] == 2
        assert "difference" not in booked
        if "payout" in booked:
            # All that was left after the fees is in our bank.
            assert cash() == 0
        else:
            assert 0 < cash() < 2 * AMOUNT.amount_minor
        assert_the_books_hold()

    def test_shows_each_difference_with_its_cause(self, vendor: Vendor) -> None:
        week = timedelta(days=reconciliation_missing.DAYS_BACK)
        ours("pay_that_never_was", Money(7_000, "KRW"), today() - week)
        assert daily(today() - week) == []
        wrong = paid(vendor.till).gateway_payment_id
        ours(wrong, AMOUNT + Money(1_000, "KRW"), today())
        doubled = paid(vendor.till).gateway_payment_id
        ours(doubled, AMOUNT, today())
        paid(vendor.till)
        vendor.till.close_day()
        vendor.twice(doubled)
        expected = sorted(
            [
                ("duplicate", "told_twice", AMOUNT.amount_minor),
                ("missing_here", "not_ours", AMOUNT.amount_minor),
                ("missing_there", "never_told", -7_000),
                ("other_amount", "other_sum", -1_000),
            ]
        )
        assert daily(today()) == expected
        assert daily(today()) == expected
        assert_the_books_hold()


class TestTheCommand:
    def test_tells_the_same_of_a_vendors_day(self, vendor: Vendor, scenario: Scenario) -> None:
        wrong = paid(vendor.till).gateway_payment_id
        ours(wrong, AMOUNT - Money(500, "KRW"), today())
        vendor.till.close_day()
        ended = scenario.flask(
            *("reconcile", "--date", today().isoformat(), "--account", ACCOUNT, "--json")
        )
        assert ended.returncode == 1, ended.stdout + ended.stderr
        told = json.loads(ended.stdout)
        assert (told["account"], told["new_lines"]) == (ACCOUNT, 1)
        (found,) = told["differences"]
        assert (found["kind"], found["cause"], found["amount_minor"]) == (
            "other_amount",
            "other_sum",
            500,
        )
