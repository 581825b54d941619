"""A process that collects in children of its own, each killed where the schedule says.

Each line of standard input is a schedule in JSON: a list of rounds; a round is a list of workers
that run side by side, each `{"boundary": n | null, "passes": n, "delay_ms": x | null}`. A child
dies by SIGKILL when it passes a boundary for the n-th time, or after the delay, or runs to its end.
Before each round the leases of the dead are let run out. `argv[1]` may name a bug to plant. Each
line is answered by how the children ended, as `waitpid` tells it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import text

from app.base import ids
from app.base.db import control_session
from invoices import payment
from jobs import collection, evidence
from jobs import payment as reaper

BOUNDARIES = (
    "begun, not committed",
    "committed, not charged",
    "charged, not recorded",
    "recorded, not committed",
    "recorded and committed",
)
# Passed only where the gateway knows a payment before it is charged.
PREPARED_BOUNDARIES = ("prepared, not stored", "stored, not committed")


def _let_leases_run_out() -> None:
    with control_session() as session:
        for table in ("invoice", "payment_attempt"):
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


_BUGS = {"new key on retry": _new_key_on_retry, "stored id ignored": _stored_id_ignored}


def _work(worker: dict[str, Any]) -> None:
    if worker["boundary"] is not None:
        _watch(worker["boundary"], worker["passes"])
    for step in (collection, reaper):
        step.work()
    if worker["boundary"] is None and worker["delay_ms"] is None:
        evidence.work()


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
        endings = [_round(workers) for workers in json.loads(line)]
        print(json.dumps([each for together in endings for each in together]), flush=True)  # noqa: T201
