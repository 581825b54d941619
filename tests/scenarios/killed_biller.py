"""A process that bills in children of its own, each killed where the test says.

Reads JSON lines: a list with what kills each child: a whole number is the statement before which it
dies (a commit and a COPY are statements), a fraction the seconds after which it does, wherever it
is; null: nothing. The children run at the same time until nothing is due. Answers
each line with the list of how they ended, as `waitpid` tells it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from typing import Any

import psycopg
from sqlalchemy import event

from app.base import clock, logs
from app.base.db import control_engine, control_session
from invoices import invoicing
from jobs import invoicing as step

DEADLINE_SECONDS = 60


def _bill_until_done() -> None:
    give_up = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < give_up:
        with control_session() as session:
            if not invoicing.due(session, clock.now()):
                return
        step.work()
    raise TimeoutError("there is still something to bill")


def _die_before(number: int) -> None:
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(control_engine(), "before_cursor_execute", count)
    event.listen(control_engine(), "commit", count)
    copy = psycopg.Cursor.copy

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        count()
        return copy(self, *arguments, **options)

    # SQLAlchemy tells nobody of a COPY.
    psycopg.Cursor.copy = counted  # type: ignore[method-assign]


def _start(death: float | None) -> int:
    child = os.fork()
    if child == 0:
        try:
            if isinstance(death, int):
                _die_before(death)
            elif death is not None:
                # The signal's own default: no line of Python is run before the end.
                signal.setitimer(signal.ITIMER_REAL, death)
            _bill_until_done()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


if __name__ == "__main__":
    logs.configure()
    for line in sys.stdin:
        children = [_start(death) for death in json.loads(line)]
        endings = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(endings), flush=True)  # noqa: T201 - the answer to the test
