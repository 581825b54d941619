"""python -m tests.fakes.portone: the simulator in a process of its own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tests.fakes.portone.server import open_simulator, serve

API_SECRET = "portone_secret_for_tests"
WEBHOOK_SECRET = "whsec_cG9ydG9uZS1zaW11bGF0b3I="
STORE_ID = "store-00000000-0000-4000-8000-000000000001"


def main() -> None:
    """This function will run the simulator until SIGTERM."""
    parser = argparse.ArgumentParser(prog="tests.fakes.portone", description=__doc__)
    parser.add_argument("--port", type=int, default=8022, help="0 takes a free one")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-retry-seconds", type=float, default=60.0)
    parser.add_argument("--hang-seconds", type=float, default=90.0)
    given = parser.parse_args()
    serve(
        port=given.port,
        simulator=open_simulator(
            directory=given.directory,
            api_secret=os.environ.get("PORTONE_API_SECRET", API_SECRET),
            store_id=STORE_ID,
            hang_seconds=given.hang_seconds,
        ),
        webhook_url=given.webhook_url,
        webhook_secret=os.environ.get("PORTONE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        retry_seconds=given.webhook_retry_seconds,
    )


if __name__ == "__main__":
    main()
