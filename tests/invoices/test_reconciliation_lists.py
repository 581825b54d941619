"""A gateway that shows no settlements is held against our books by the payments that it lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.invariants import offences
from app.base.money import Money
from invoices import credit_notes, reconciliation
from invoices.checks import INVARIANTS
from invoices.gateways import registry
from invoices.gateways.conformance import Card
from invoices.gateways.port import RegisteredMethod
from invoices.models import (
    ReconciliationDay,
    Refund,
    SettlementLine,
)
from jobs import reconciliation as reconciling
from jobs import refunds as refunding
from tests.factories import make_staff
from tests.fakes.portone.__main__ import API_SECRET, STORE_ID, WEBHOOK_SECRET
from tests.fakes.portone.book import CHANNELS
from tests.fakes.portone.running import PortOneTill, RunningPortOne
from tests.sandbox.running import Ear
from tests.web.forms import sign_in_staff
from tests.web.hooks.test_vendors_hooks import charged, ended, open_account, owing


@pytest.fixture
def portone(
    app: Any, set_clock: Callable[[datetime], None], tmp_path: Path
) -> Iterator[RunningPortOne]:
    set_clock(clock.real_now())
    registry.forget()
    with ended(RunningPortOne(directory=tmp_path)) as running:
        yield running
    registry.forget()


@pytest.fixture
def till(portone: RunningPortOne) -> Iterator[PortOneTill]:
    ear = Ear()
    opened = PortOneTill(portone, ear, "kakaopay")
    yield opened
    opened.close()
    ear.close()


def account(portone: RunningPortOne, channel: str = "kakaopay") -> str:
    return open_account(
        "portone",
        code=f"portone-{channel}",
        base_url=portone.url,
        channel=channel,
        store_id=STORE_ID,
        channel_key=CHANNELS[channel][1],
        api_secret=API_SECRET,
        webhook_secret=WEBHOOK_SECRET,
    )


def registering(till: PortOneTill) -> Callable[[str], RegisteredMethod]:
    def register(customer_key: str) -> RegisteredMethod:
        params = till.browser_returns(customer_key=customer_key, card=Card.PAYS)
        return till.gateway.complete_registration(customer_key=customer_key, params=params)

    return register


def reconcile(at: str) -> None:
    day = clock.today(clock.now(), settings().contract_timezone)
    with transaction() as session:
        reconciliation.ask(control_session=session, gateway=at, day=day, now=clock.now())
    while reconciling.work():
        continue
    with transaction() as session:
        waiting = select(func.count()).where(ReconciliationDay.done_at.is_(None))
        assert session.scalar(waiting) == 0


def shown() -> list[tuple[str, str, int]]:
    with transaction() as session:
        found = reconciliation.work_list(control_session=session, limit=50)
        return [(each.kind, each.gateway, each.amount_minor) for each in found]


def lines_of(at: str) -> list[tuple[UUID | None, int, int]]:
    with transaction() as session:
        rows = session.execute(
            select(
                SettlementLine.payment_id, SettlementLine.gross_minor, SettlementLine.fee_minor
            ).where(SettlementLine.gateway == at)
        )
        return [tuple(row) for row in rows]


def assert_sound() -> None:
    with transaction() as session:
        for rule in INVARIANTS:
            found = offences(control_session=session, invariant=rule, now=clock.now())
            assert found == [], rule.code


class TestAnAccountThatListsItsPayments:
    def test_has_each_of_them_held_against_ours_once(
        self, portone: RunningPortOne, till: PortOneTill
    ) -> None:
        at, other = account(portone), account(portone, "naverpay")
        paid = charged(owing(at, registering(till)), recorded=True)
        for _ in range(2):
            reconcile(at)
        # Another channel of the same store has its own payments, and none of these.
        reconcile(other)
        ((payment_id, gross, fee),) = lines_of(at)
        assert (payment_id is not None, gross, fee) == (True, paid.amount.amount_minor, 0)
        assert lines_of(other) == []
        assert shown() == []
        assert_sound()

    def test_shows_a_payment_that_is_not_ours_until_it_is(
        self, portone: RunningPortOne, till: PortOneTill
    ) -> None:
        at = account(portone)
        paid = charged(owing(at, registering(till)))
        reconcile(at)
        assert shown() == [("missing_here", at, paid.amount.amount_minor)]
        assert_sound()

    def test_shows_what_was_given_back_there_and_not_by_us(
        self, portone: RunningPortOne, till: PortOneTill
    ) -> None:
        at = account(portone)
        paid = charged(owing(at, registering(till)), recorded=True)
        portone.tell(f"payments/{paid.gateway_payment_id}/cancel", amount=3_000)
        for _ in range(2):
            reconcile(at)
        assert shown() == [("refunded_there", at, -3_000)]
        assert_sound()

    def test_knows_our_own_refunds_and_misses_those_that_never_came(
        self, portone: RunningPortOne, till: PortOneTill
    ) -> None:
        at = account(portone)
        invoice_id = owing(at, registering(till))
        charged(invoice_id, recorded=True)
        with transaction() as session:
            credit_notes.issue(
                control_session=session,
                invoice_id=invoice_id,
                amount=Money(5_500, "KRW"),
                keep=False,
                reason="a part",
                staff_id=make_staff(session, role="finance").id,
                now=clock.now(),
            )
        while refunding.work():
            continue
        with transaction() as session:
            assert session.scalars(select(Refund.state)).all() == ["succeeded"]
        reconcile(at)
        assert shown() == []
        # Of one that left days ago nothing is known there.
        told = next(
            iter(
                registry.gateway(at).list_payments(
                    start=clock.now() - timedelta(days=2), end=clock.now() + timedelta(days=2)
                )
            )
        )
        nothing_went = replace(told, refunded=Money(0, "KRW"))
        half = replace(told, refunded=Money(2_500, "KRW"))
        for each, missing in ((nothing_went, 5_500), (half, 3_000), (told, 0), (told, 0)):
            with transaction() as session:
                reconciliation.take(
                    control_session=session,
                    gateway=at,
                    told=each,
                    now=clock.now() + timedelta(days=3),
                )
            # One over what is missing, and none once it is told.
            assert shown() == ([("missing_there", at, missing)] if missing else [])
        assert_sound()

    def test_is_named_on_the_page_with_what_stays_unknown(
        self, client: Any, portone: RunningPortOne, till: PortOneTill
    ) -> None:
        at = account(portone)
        with transaction() as session:
            assert reconciliation.coverage(control_session=session)[at] == "payments"
            assert at in reconciliation.accounts(control_session=session)
        sign_in_staff(client, role="finance")
        page = client.get("/console/reconciliation").text
        assert "수수료와 지급 내역" in page
