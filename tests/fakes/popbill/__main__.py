"""python -m tests.fakes.popbill: the simulator in a process of its own, until SIGTERM."""

from __future__ import annotations

import argparse
import threading

from app.base.loopback import LoopbackServer, wait_for_stop
from tests.fakes.popbill.desk import Desk
from tests.fakes.popbill.server import Popbill

LINK_ID, SECRET_KEY = "TENANTRY", "cG9wYmlsbC1zaW11bGF0b3I="


def main() -> None:
    """This function will run the simulator."""
    parser = argparse.ArgumentParser(prog="tests.fakes.popbill", description=__doc__)
    parser.add_argument("--port", type=int, default=8024, help="0 takes a free one")
    parser.add_argument("--hang-seconds", type=float, default=90.0)
    given = parser.parse_args()
    popbill = Popbill(
        desk=Desk(), link_id=LINK_ID, secret_key=SECRET_KEY, hang_seconds=given.hang_seconds
    )
    server = LoopbackServer(application=popbill, port=given.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"popbill on http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    wait_for_stop()
    server.shutdown()


if __name__ == "__main__":
    main()
