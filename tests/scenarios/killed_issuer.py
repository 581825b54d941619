"""A process that has tax papers issued in children of its own, each killed at one boundary.

Each line of standard input is JSON: `{"step": "tax_papers" | "cash_receipts", "boundary": n}`, null
for none. A child does the step once; it dies by SIGKILL when it passes the boundary, or runs to
its end. Before it starts the leases of the dead are let run out. Each line is answered by how the
child ended, as `waitpid` tells it. `argv[1]` may name a bug to plant.
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
from invoices import cash_receipt_issuing, tax_issuing
from jobs import cash_receipts, tax_papers

BOUNDARIES = (
    "begun, not committed",
    "committed, not asked",
    "asked, not recorded",
    "recorded, not committed",
)
# Passed by tax invoices that are asked about, or asked to be taken back.
LOOK_BOUNDARIES = ("asked about, not recorded", "answer recorded, not committed")
_STEPS: dict[str, tuple[Any, Any]] = {
    "tax_papers": (tax_papers, tax_issuing),
    "cash_receipts": (cash_receipts, cash_receipt_issuing),
}


def _let_leases_run_out() -> None:
    with control_session() as session:
        for table in ("tax_invoice", "cash_receipt"):
            session.execute(
                text(f"UPDATE {table} SET lease_until = NULL, retry_at = NULL, attempts = 0")
            )


def _watch(module: Any, boundary: int) -> None:
    """The boundaries lie between what the step calls."""

    def passing(number: int) -> None:
        if number == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(name: str, before: int | None, after: int) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def watched(**given: Any) -> Any:
            if before is not None:
                passing(before)
            result = real(**given)
            passing(after)
            return result

        setattr(module, name, watched)

    between("begin", None, 0)
    between("perform", 1, 2)
    between("record", None, 3)
    if module is tax_issuing:
        between("look", None, len(BOUNDARIES))
        between("record_look", None, len(BOUNDARIES) + 1)


def _asks_again_under_a_new_key() -> None:
    """What a step would do that did not write down what it asked for before it asked."""

    def forgetful(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def begin(**given: Any) -> Any:
            found = real(**given)
            orders = found if isinstance(found, list) else [found] if found else []
            mistaken = [
                replace(
                    order,
                    asked_before=False,
                    sheet=replace(order.sheet, **{name: f"N{ids.uuid7().hex[-22:]}"}),
                )
                for order in orders
            ]
            return mistaken if isinstance(found, list) else (mistaken or [None])[0]

        return begin

    tax_issuing.begin = forgetful(tax_issuing.begin, "management_key")
    cash_receipt_issuing.begin = forgetful(cash_receipt_issuing.begin, "key")


_BUGS = {"new key on retry": _asks_again_under_a_new_key}


def _work(told: dict[str, Any]) -> None:
    _let_leases_run_out()
    step, module = _STEPS[told["step"]]
    if told["boundary"] is not None:
        _watch(module, told["boundary"])
    step.work()


def _ending(told: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        try:
            _work(told)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _BUGS[sys.argv[1]]()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        print(json.dumps(_ending(json.loads(line))), flush=True)  # noqa: T201
