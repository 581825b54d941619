"""python -m tests.fakes.odcloud: the simulator in a process of its own, until SIGTERM."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

from app.base.loopback import LoopbackServer, wait_for_stop
from tests.fakes.odcloud.server import Register

SERVICE_KEY = "c2VydmljZS1rZXk+L3NpbXVsYXRvcg=="


def main() -> None:
    """This function will run the simulator."""
    parser = argparse.ArgumentParser(prog="tests.fakes.odcloud", description=__doc__)
    parser.add_argument("--port", type=int, default=8025, help="0 takes a free one")
    parser.add_argument("--directory", type=Path, help="where it keeps what it was told")
    parser.add_argument("--everyone", default="", help="the status of whoever was not written in")
    parser.add_argument("--hang-seconds", type=float, default=90.0)
    given = parser.parse_args()
    register = Register(
        service_key=SERVICE_KEY, everyone=given.everyone, hang_seconds=given.hang_seconds
    )
    book = given.directory / "odcloud.json" if given.directory else None
    if book is not None and book.exists():
        register.businesses |= json.loads(book.read_text())
    server = LoopbackServer(application=register, port=given.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"odcloud on http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    wait_for_stop()
    server.shutdown()
    if book is not None:
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(json.dumps(register.businesses, ensure_ascii=False))


if __name__ == "__main__":
    main()
