"""A process that provisions in children of its own, each killed where the test says.

Called with JSON on standard input: a list of attempts, each `[tenant id, boundary, delay ms]`. A
child dies by SIGKILL at the first boundary at or after the named one, or after the delay, or (both
null) runs to its end. Prints the list of how each child ended, as `waitpid` tells it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from uuid import UUID

from app.base import clock
from app.base.db import control_session
from tenants import provisioning

BOUNDARIES = [("reserve", "recorded")] + [
    (step, what)
    for step in provisioning.STEPS[1:]
    for what in ("performed", "recorded")
    if what == "performed" or step in provisioning.NOTED
]


def _provision(tenant_id: str, boundary: int | None) -> None:
    def die_at(step: str, what: str) -> None:
        if boundary is not None and BOUNDARIES.index((step, what)) >= boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    provisioning.advance(
        transaction=control_session,
        tenant_id=UUID(tenant_id),
        now=clock.now,
        after_step=die_at,
    )


def _attempt(tenant_id: str, boundary: int | None, delay_ms: float | None) -> int:
    while signal.sigtimedwait({signal.SIGCHLD}, 0):
        continue  # deaths of earlier children
    child = os.fork()
    if child == 0:
        try:
            _provision(tenant_id, boundary)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if delay_ms is not None:
        signal.sigtimedwait({signal.SIGCHLD}, delay_ms / 1000)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    attempts = json.load(sys.stdin)
    json.dump([_attempt(*attempt) for attempt in attempts], sys.stdout)
