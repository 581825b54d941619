"""`python -m tests.fakes.toss --port 8021`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.fakes.toss.server import serve

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=8021, help="0 takes a free one")
parser.add_argument("--directory", type=Path, help="where it remembers; else in a new one")
parser.add_argument("--webhook-url", default="", help="where events are sent")
parser.add_argument("--security-key", default="toss-security-key", help="signs payout.changed")
parser.add_argument("--minute-seconds", type=float, default=60.0, help="how long a minute lasts")
parser.add_argument("--hang-seconds", type=float, default=90.0)

if __name__ == "__main__":
    given = parser.parse_args()
    serve(
        port=given.port,
        directory=given.directory or Path(tempfile.mkdtemp(prefix="toss-")),
        webhook_url=given.webhook_url,
        security_key=given.security_key,
        minute_seconds=given.minute_seconds,
        hang_seconds=given.hang_seconds,
    )
