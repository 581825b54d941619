"""A process whose children, one after the other, send back what is due and die where it is told.

`argv[1]` is a JSON list of boundaries by number, null for a child that lives; `argv[2]` may name a
bug to plant. Before each child the lease of the one before has run out. The answer on standard
output is how they ended, as `waitpid` tells it.
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
from invoices import refunds
from jobs import refunds as job

BOUNDARIES = (
    "begun, not committed",
    "committed, not sent",
    "sent, not recorded",
    "recorded, not committed",
    "recorded and committed",
)


def _watch(boundary: int) -> None:
    """The boundaries lie between what the job calls."""

    def passing(number: int | None) -> None:
        if number == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(room: Any, name: str, before: int | None, after: int) -> None:
        real: Callable[..., Any] = getattr(room, name)

        def watched(*given: Any, **named: Any) -> Any:
            passing(before)
            result = real(*given, **named)
            passing(after)
            return result

        setattr(room, name, watched)

    between(refunds, "begin", None, 0)
    between(refunds, "perform", 1, 2)
    between(refunds, "record", None, 3)
    between(job, "_send", None, 4)


def _new_key_on_retry() -> None:
    perform = refunds.perform

    def mistaken(*, order: refunds.RefundOrder, real_now: Any) -> Any:
        fresh = replace(order, idempotency_key=str(ids.uuid7()))
        return perform(order=fresh, real_now=real_now)

    refunds.perform = mistaken


_BUGS = {"new key on retry": _new_key_on_retry}


def _work(boundary: int | None) -> None:
    with control_session() as session:
        session.execute(text("UPDATE refund SET lease_until = NULL, retry_at = NULL, attempts = 0"))
    if boundary is not None:
        _watch(boundary)
    while job.work():
        pass


def _child(boundary: int | None) -> int:
    child = os.fork()
    if child == 0:
        try:
            _work(boundary)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for bug in sys.argv[2:]:
        _BUGS[bug]()
    print(json.dumps([_child(boundary) for boundary in json.loads(sys.argv[1])]))  # noqa: T201
