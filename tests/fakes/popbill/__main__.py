"""python -m tests.fakes.popbill: the simulator in a process of its own, until SIGTERM."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

from app.base.loopback import LoopbackServer, wait_for_stop
from tests.fakes.popbill.desk import Desk
from tests.fakes.popbill.server import Popbill

LINK_ID, SECRET_KEY = "TENANTRY", "cG9wYmlsbC1zaW11bGF0b3I="


def main() -> None:
    """This function will run the simulator."""
    parser = argparse.ArgumentParser(prog="tests.fakes.popbill", description=__doc__)
    parser.add_argument("--port", type=int, default=8024, help="0 takes a free one")
    parser.add_argument("--directory", type=Path, help="where it keeps what it was told")
    parser.add_argument("--transmit-seconds", type=float, help="the tax service accepts after it")
    parser.add_argument("--hang-seconds", type=float, default=90.0)
    given = parser.parse_args()
    desk = Desk(transmit_seconds=given.transmit_seconds)
    book = given.directory / "popbill.json" if given.directory else None
    if book is not None and book.exists():
        desk.remember(json.loads(book.read_text()))
    popbill = Popbill(
        desk=desk, link_id=LINK_ID, secret_key=SECRET_KEY, hang_seconds=given.hang_seconds
    )
    server = LoopbackServer(application=popbill, port=given.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"popbill on http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    wait_for_stop()
    server.shutdown()
    if book is not None:
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(json.dumps(desk.memory(), ensure_ascii=False))


if __name__ == "__main__":
    main()
