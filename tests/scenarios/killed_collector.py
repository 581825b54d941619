"""A process that collects in children of its own, each killed where the schedule says.

Each line of standard input is a schedule in JSON: a list of rounds; a round is a list of workers
that run side by side, each `{"boundary": n | null, "passes": n, "delay_ms": x | null}`. A child
dies by SIGKILL when it passes a boundary for the n-th time, or after the delay, or runs to its end.
With "hears", a seed, it is told of the gateway's latest events, duplicated and in any order.
Before each round the leases of the dead are let run out. `argv[1]` may name a bug to plant. Each
line is answered by how the children ended, as `waitpid` tells it. An empty schedule is worked off
here, undisturbed: the children then know its statements, which take longer to put into words than
to run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import structlog
from sqlalchemy import select, text

from app.base import clock, ids
from app.base.config import settings
from app.base.db import control_engine, control_session
from app.base.money import Money
from invoices import gateway_events, payment, settlement
from invoices.gateways.port import EventKind, Succeeded, Trust
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import GatewayEvent, PaymentAttempt
from jobs import charging, collection, evidence
from jobs import gateway_events as listening
from jobs import payment as reaper
from jobs import reconciliation as reconciling
from jobs import refunds as refunding
from tests.plain_http import NO_AUTHORITIES

BOUNDARIES = (
    "begun, not committed",
    "committed, not charged",
    "charged, not recorded",
    "recorded, not committed",
    "recorded and committed",
)
LEASED = ("invoice", "payment_attempt", "refund", "gateway_event", "reconciliation_day")
# Passed only where the gateway knows a payment before it is charged.
PREPARED_BOUNDARIES = ("prepared, not stored", "stored, not committed")


def _let_leases_run_out() -> None:
    with control_session() as session:
        for table in LEASED:
            session.execute(
                text(
                    f"UPDATE {table} SET lease_until = NULL, retry_at = NULL, attempts = 0"
                    " WHERE lease_until IS NOT NULL OR retry_at IS NOT NULL"
                )
            )


def _watch(boundary: int, passes: int) -> None:
    """The boundaries lie between what the job calls; the child dies at the n-th it passes."""
    left = [passes]

    def passing(number: int) -> None:
        if number == boundary:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def between(name: str, before: int | None, after: int) -> None:
        real: Callable[..., Any] = getattr(payment, name)

        def watched(**given: Any) -> Any:
            if before is not None:
                passing(before)
            result = real(**given)
            passing(after)
            return result

        setattr(payment, name, watched)

    between("begin", None, 0)
    between("prepare", None, len(BOUNDARIES))
    between("keep_prepared", None, len(BOUNDARIES) + 1)
    between("perform", 1, 2)
    between("record", None, 3)
    settle = collection._collect

    def settled(invoice_id: Any) -> None:
        settle(invoice_id)
        passing(4)

    collection._collect = settled


def _new_key_on_retry() -> None:
    find_out = payment.find_out

    def mistaken(*, order: payment.Order, real_now: Any) -> Any:
        fresh = replace(order, idempotency_key=str(ids.uuid7()))
        return find_out(order=fresh, real_now=real_now)

    payment.find_out = mistaken


def _stored_id_ignored() -> None:
    reopen = payment.reopen

    def forgetful(**given: Any) -> payment.Order:
        return replace(reopen(**given), prepared_id=None, idempotency_key=str(ids.uuid7()))

    def careless(*, order: payment.Order, prepared: Any, **_given: Any) -> payment.Order:
        return replace(order, prepared_id=prepared.gateway_payment_id)

    payment.reopen, payment.keep_prepared = forgetful, careless


def _commit_before_call() -> None:
    charge = charging.charge

    def hasty(order: payment.Order) -> Any:
        early = Succeeded(
            gateway_payment_id=f"early-{order.order_id}",
            order_id=order.order_id,
            amount=order.amount,
            refunded=Money(0, order.amount.currency),
            approved_at=clock.now(),
            masked="",
        )
        with control_session() as session:
            payment.record(
                control_session=session,
                attempt_id=order.attempt_id,
                result=early,
                now=clock.now(),
            )
        return charge(order)

    charging.charge = hasty


def _no_reaper() -> None:
    reaper.work = lambda: 0


def _webhook_applied_twice() -> None:
    """Neither the event's id, nor the attempt's state, nor the payment's keeps a second one out."""
    store, begin, record = gateway_events.store, gateway_events.begin, payment.record

    def forgetful(*, event: Heard, **given: Any) -> bool:
        return store(event=replace(event, event_id=str(ids.uuid7())), **given)

    def blind(*, control_session: Any, event_id: Any) -> Any:
        event = control_session.get_one(GatewayEvent, event_id)
        attempt = control_session.scalar(
            select(PaymentAttempt).where(PaymentAttempt.order_id == event.order_id)
        )
        if attempt is None:
            return begin(control_session=control_session, event_id=event_id)
        order = payment.reopen(control_session=control_session, attempt_id=attempt.id)
        return gateway_events.Question(order=order, gateway=attempt.gateway)

    def twice(*, control_session: Any, attempt_id: Any, result: Any, now: Any, **given: Any) -> Any:
        attempt = control_session.get_one(PaymentAttempt, attempt_id)
        if attempt.state == "succeeded" and isinstance(result, Succeeded):
            settlement.receive(
                control_session=control_session,
                invoice_id=attempt.invoice_id,
                arrival=settlement.Arrival(
                    kind="virtual_account",
                    gateway=attempt.gateway,
                    gateway_payment_id=str(ids.uuid7()),
                    amount=result.amount,
                    received_on=now.date(),
                ),
                actor=gateway_events.LISTENER,
                now=now,
            )
        return record(
            control_session=control_session,
            attempt_id=attempt_id,
            result=result,
            now=now,
            **given,
        )

    gateway_events.store, gateway_events.begin, payment.record = forgetful, blind, twice


_BUGS = {
    "new key on retry": _new_key_on_retry,
    "stored id ignored": _stored_id_ignored,
    "commit before call": _commit_before_call,
    "no reaper": _no_reaper,
    "webhook applied twice": _webhook_applied_twice,
}


def _hear(seed: int) -> None:
    """The gateway's latest messages, each perhaps twice, in any order."""
    dice = random.Random(seed)
    gateway = settings().sandbox_gateway_url
    secret = settings().sandbox_gateway_secret.get_secret_value()
    answer = httpx.get(
        f"{gateway}/v1/events",
        auth=(secret, ""),
        trust_env=False,
        timeout=20,
        verify=NO_AUTHORITIES,
    )
    told = answer.json()["events"]
    told = dice.choices(told, k=min(len(told), 12)) if told else []
    for event in told:
        heard = Heard(
            event_id=event["id"],
            kind=_KINDS.get(event["type"], EventKind.OTHER),
            trust=Trust.SIGNED,
            occurred_at=clock.now(),
            gateway_payment_id=event["data"].get("payment_id"),
            order_id=event["data"].get("order_id"),
        )
        with control_session() as session:
            gateway_events.store(
                control_session=session, gateway="sandbox", event=heard, now=clock.now()
            )


_KINDS = {
    "payment.succeeded": EventKind.PAYMENT_SUCCEEDED,
    "payment.declined": EventKind.PAYMENT_DECLINED,
    "payment.refunded": EventKind.PAYMENT_REFUNDED,
}


def _collect() -> None:
    for step in (collection, reaper, refunding):
        step.work()


def _work(worker: dict[str, Any]) -> None:
    if worker["boundary"] is not None:
        _watch(worker["boundary"], worker["passes"])
    _collect()
    if worker.get("hears") is not None:
        _hear(worker["hears"])
        listening.work()
    if worker["boundary"] is None and worker["delay_ms"] is None:
        evidence.work()
        reconciling.work()


def _start(worker: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        try:
            _work(worker)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def _round(workers: list[dict[str, Any]]) -> list[int]:
    keeper = os.fork()
    if keeper == 0:
        _let_leases_run_out()
        os._exit(0)
    assert os.waitpid(keeper, 0)[1] == 0
    while signal.sigtimedwait({signal.SIGCHLD}, 0):
        continue  # deaths of earlier children
    children = [_start(worker) for worker in workers]
    for child, worker in zip(children, workers, strict=True):
        if worker["delay_ms"] is not None:
            signal.sigtimedwait({signal.SIGCHLD}, worker["delay_ms"] / 1000)
            os.kill(child, signal.SIGKILL)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    if len(sys.argv) > 1:
        _BUGS[sys.argv[1]]()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        rounds = json.loads(line)
        if not rounds:
            _collect()
            control_engine().dispose()  # no child shares a connection of ours
        endings = [_round(workers) for workers in rounds]
        print(json.dumps([each for together in endings for each in together]), flush=True)  # noqa: T201
