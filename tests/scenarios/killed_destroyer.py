"""A process that destroys tenants in children of its own, each killed where the test says.

Called with JSON on standard input: a list of `[tenant id, boundary, before]`. A child dies by
SIGKILL at the first boundary at or after the named one (null: it runs to its end); with `before`
it dies inside the transaction that would record the step, before its commit. Prints the list of
how each child ended, as `waitpid` tells it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session, usage_session
from jobs.destruction import PAPERS
from tenants import destruction

BOUNDARIES = [(step, what) for step in destruction.STEPS for what in ("performed", "recorded")]


def _destroy(tenant_id: str, boundary: int | None, before: bool) -> None:
    reached = 0

    def die_at(step: str, what: str) -> None:
        nonlocal reached
        reached = BOUNDARIES.index((step, what))
        if boundary is not None and reached >= boundary and not before:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def dying() -> Iterator[Session]:
        with control_session() as session:
            yield session
            if before and boundary is not None and reached >= boundary:
                session.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    destruction.advance(
        transaction=dying,
        usage_transaction=usage_session,
        tenant_id=UUID(tenant_id),
        now=clock.now,
        papers=PAPERS,
        after_step=die_at,
    )


def _attempt(tenant_id: str, boundary: int | None, before: bool) -> int:
    child = os.fork()
    if child == 0:
        try:
            _destroy(tenant_id, boundary, before)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    json.dump([_attempt(*attempt) for attempt in json.load(sys.stdin)], sys.stdout)
