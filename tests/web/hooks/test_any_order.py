"""Whatever order a gateway's messages come in, and however often: the end is the same.

Two customers live through the same at the gateway, by the gateway's own doing: a charge that is
paid or refused, money given back, a dispute, a card that ends, a deposit that comes and may go. Of
one the messages come once and in turn; of the other shuffled, repeated, with work done in between,
and with the charge's own answer written down anywhere among them. All that is left is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from app.base import clock, secrets
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import payment, virtual_accounts
from invoices.checks import INVARIANTS
from invoices.models import (
    CreditGrant,
    GatewayEvent,
    Invoice,
    LedgerEntry,
    LedgerLine,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    PaymentReversal,
    ReconciliationDifference,
    VirtualAccount,
)
from jobs import gateway_events, transfers
from tenants.models import Tenant
from tests.factories import NOW, make_admin, make_invoice, make_tenant
from tests.invoices.collecting import gateway_at, register_card
from tests.sandbox.running import RunningSandbox
from tests.web.hooks.test_gateway_hooks import signed

# Each look at an account that a message was about is a claim; more than any order of them needs.
ROUNDS_MAX = 20


@dataclass(frozen=True)
class Life:
    """What happens to one customer at the gateway."""

    card: str = "pays"
    another_card: bool = False
    refunds: tuple[int, ...] = ()  # percent of what was paid
    disputed: bool = False
    revoked: bool = False
    deposit: str = ""  # "" | "deposit" | "take-back"


LIVES = st.builds(
    Life,
    card=st.sampled_from(("pays", "pays", "insufficient", "stolen")),
    another_card=st.booleans(),
    refunds=st.sampled_from(((), (30,), (30, 20), (100,), (40, 60))),
    disputed=st.booleans(),
    revoked=st.booleans(),
    deposit=st.sampled_from(("", "deposit", "take-back")),
)


@dataclass
class World:
    """One customer who lived so: what is still to be heard of it, and where it is found."""

    tenant_ids: list[UUID]
    order: payment.Order
    result: Any
    names: set[str]


@pytest.fixture
def sandbox(
    app: Any, set_clock: Callable[[datetime], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSandbox]:
    set_clock(NOW)
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


class TestMessagesOfAGateway:
    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(life=LIVES, backwards=st.booleans(), dice=st.randoms(use_true_random=False))
    @example(
        life=Life(refunds=(30, 20), disputed=True, revoked=True, deposit="deposit"),
        backwards=True,
        dice=Random(1),
    )
    @example(
        life=Life(card="insufficient", another_card=True, revoked=True),
        backwards=True,
        dice=Random(2),
    )
    @example(
        life=Life(refunds=(40, 60), another_card=True, deposit="take-back"),
        backwards=False,
        dice=Random(3),
    )
    def test_lead_to_the_same_end_in_any_order_and_number(
        self, client: Any, sandbox: RunningSandbox, life: Life, backwards: bool, dice: Random
    ) -> None:
        in_turn, shuffled = (lived(sandbox, life) for _ in range(2))
        hear(client, in_turn, [None, *told_of(sandbox, in_turn)])
        told = told_of(sandbox, shuffled)
        repeated = [None, *told, *dice.choices([None, *told], k=len(told) + 1)]
        if backwards:
            repeated = [*reversed(told), *reversed(told), None]
        else:
            dice.shuffle(repeated)
        hear(client, shuffled, repeated, dice)
        for here, there in zip(shuffled.tenant_ids, in_turn.tenant_ids, strict=True):
            assert end_of(here) == end_of(there)
        with transaction() as session:
            assert session.scalar(still_to_apply()) == 0
            broken = {
                invariant.code: offences(
                    control_session=session, invariant=invariant, now=NOW, limit=5
                )
                for invariant in INVARIANTS
            }
        assert not any(broken.values()), broken


def lived(sandbox: RunningSandbox, life: Life) -> World:
    """All of it happens at the gateway, before anything of it is heard or written down here."""
    with transaction() as session:
        tenant = make_tenant(session, state="active", converted_at=NOW)
        make_admin(session, tenant=tenant)
        if life.another_card:
            register_card(session, tenant)
        method = register_card(session, tenant, life.card)
        invoice = make_invoice(session, tenant=tenant)
        session.flush()
        order = payment.begin(
            control_session=session, invoice_id=invoice.id, now=NOW, real_now=clock.real_now()
        )
        assert order is not None
        tenant_id, token, key = tenant.id, secrets.decrypt(method.token_sealed), method.customer_key
    world = World([tenant_id], order, payment.perform(order=order), {order.order_id, token})
    paid = getattr(world.result, "amount", None)
    if paid is not None:
        there = f"/v1/payments/{world.result.gateway_payment_id}"
        for number, percent in enumerate(life.refunds):
            body = {"amount": paid.amount_minor * percent // 100, "reason": "at the gateway"}
            once = {"Idempotency-Key": f"{order.order_id}-{number}"}
            assert sandbox.ask("POST", f"{there}/refunds", json=body, headers=once).is_success
        if life.disputed:
            assert sandbox.ask("POST", f"{there}/disputes").is_success
    if life.revoked:
        body = {"token": token, "customer_key": key}
        assert sandbox.ask("POST", "/v1/methods/revoke", json=body).is_success
    if life.deposit:
        deposited(sandbox, world, life.deposit)
    return world


def deposited(sandbox: RunningSandbox, world: World, end: str) -> None:
    """Somebody of the same house pays another invoice into a virtual account."""
    with transaction() as session:
        invoice = make_invoice(session)
        world.tenant_ids.append(invoice.tenant_id)
        opening = virtual_accounts.begin(
            control_session=session,
            invoice_id=invoice.id,
            bank="088",
            actor=SYSTEM,
            now=NOW,
            real_now=clock.real_now(),
        )
    result = virtual_accounts.perform(opening=opening)
    with transaction() as session:
        virtual_accounts.record(
            control_session=session, account_id=opening.account_id, result=result, now=NOW
        )
    for act in dict.fromkeys(("deposit", end)):
        assert sandbox.ask("POST", f"/v1/virtual-accounts/{opening.order_id}/{act}").is_success
    world.names.add(opening.order_id)


def told_of(sandbox: RunningSandbox, world: World) -> list[dict[str, Any]]:
    """What the gateway has to tell of a customer, in the order in which it happened."""
    events = sandbox.ask("GET", "/v1/events").json()["events"]
    return [
        {name: row[name] for name in ("id", "type", "created_at", "data")}
        for row in events
        if world.names & {row["data"].get("order_id"), row["data"].get("method")}
    ]


def hear(
    client: Any, world: World, steps: list[dict[str, Any] | None], dice: Random | None = None
) -> None:
    """`None` among the steps is the charge's own answer, written down by whoever asked for it."""
    for told in steps:
        if told is None:
            answered(world)
        else:
            body = json.dumps(told).encode()
            headers = signed(body, event_id=told["id"])
            assert client.post("/hooks/sandbox", data=body, headers=headers).status_code == 200
        if dice is None or dice.random() < 0.5:
            work()
    for _ in range(ROUNDS_MAX):
        with transaction() as session:
            session.execute(update(GatewayEvent).values(retry_at=None))
            session.execute(update(VirtualAccount).values(retry_at=None))
        if not work():
            return
    raise AssertionError("there is no end to the work")


def answered(world: World) -> None:
    with transaction() as session:
        payment.record(
            control_session=session,
            attempt_id=world.order.attempt_id,
            result=world.result,
            now=NOW,
        )


def work() -> int:
    return gateway_events.work() + transfers.work()


def still_to_apply() -> Any:
    return select(func.count()).where(GatewayEvent.applied_at.is_(None))


def end_of(of: UUID) -> dict[str, Any]:
    """Everything that is left of a customer's life, without the names that differ by nature."""
    with transaction() as session:
        invoices = {
            row.id: place
            for place, row in enumerate(
                session.scalars(select(Invoice).where(Invoice.tenant_id == of).order_by(Invoice.id))
            )
        }

        def rows(model: Any, *columns: Any, where: Any = None) -> list[tuple[Any, ...]]:
            query = select(*columns).where(model.tenant_id == of if where is None else where)
            found = [
                tuple(_plain(invoices.get(value, value)) for value in row)
                for row in session.execute(query)
            ]
            return sorted(found, key=repr)

        return {
            "tenant": rows(
                Tenant,
                *(Tenant.state, Tenant.suspend_reason, Tenant.past_due_at, Tenant.suspend_after),
                where=Tenant.id == of,
            ),
            "invoices": rows(
                Invoice,
                *(Invoice.id, Invoice.state, Invoice.total_minor, Invoice.paid_minor),
                *(Invoice.credited_minor, Invoice.written_off_minor),
                *(Invoice.collect_at, Invoice.paid_at),
            ),
            "attempts": rows(
                PaymentAttempt,
                *(PaymentAttempt.invoice_id, PaymentAttempt.attempt_number, PaymentAttempt.state),
                *(PaymentAttempt.decline_class, PaymentAttempt.decline_code),
            ),
            "payments": rows(
                Payment,
                *(Payment.invoice_id, Payment.kind, Payment.arrival, Payment.amount_minor),
                *(Payment.settled_minor, Payment.currency, Payment.received_on),
            ),
            "reversals": rows(
                PaymentReversal, PaymentReversal.source, PaymentReversal.amount_minor
            ),
            "credit": rows(CreditGrant, CreditGrant.amount_minor, CreditGrant.used_minor),
            "methods": rows(
                PaymentMethod,
                *(PaymentMethod.is_default, PaymentMethod.revoked_at, PaymentMethod.forgotten_at),
            ),
            "accounts": rows(VirtualAccount, VirtualAccount.invoice_id, VirtualAccount.state),
            "differences": rows(
                ReconciliationDifference,
                *(ReconciliationDifference.kind, ReconciliationDifference.cause),
                *(ReconciliationDifference.amount_minor, ReconciliationDifference.is_booked),
            ),
            "ledger": [
                tuple(row)
                for row in session.execute(
                    select(
                        *(LedgerEntry.kind, LedgerEntry.currency),
                        *(LedgerLine.account, LedgerLine.place),
                        *(func.sum(LedgerLine.debit_minor), func.sum(LedgerLine.credit_minor)),
                    )
                    .join(LedgerEntry, LedgerEntry.id == LedgerLine.entry_id)
                    .where(LedgerEntry.tenant_id == of)
                    .group_by(
                        *(LedgerEntry.kind, LedgerEntry.currency),
                        *(LedgerLine.account, LedgerLine.place),
                    )
                    .order_by(
                        *(LedgerEntry.kind, LedgerEntry.currency),
                        *(LedgerLine.account, LedgerLine.place),
                    )
                )
            ],
        }


def _plain(value: Any) -> Any:
    """The clock goes on while the two live; what matters is the day."""
    return value.date() if isinstance(value, datetime) else value
