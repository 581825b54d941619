"""What a web process holds in memory once it has served every page there is."""

from __future__ import annotations

import os
from collections.abc import Sequence

import httpx
import psutil

from app.cli.bench_ingest import web_server
from app.embedded import ports

LIMIT_MB = 160.0
ROUNDS = 2
MB = 10**6
PATIENCE_SECONDS = 60.0


def web_process_mb(*, addresses: Sequence[str], cookie: str) -> float:
    """This function will have the deployed web server serve pages and return its largest process.

    All are asked over one connection, so that one process has served each of them several times.
    The first round tells which of the addresses are pages that open.
    """
    # As the unit starts it: workers that share their code would seem to hold less.
    with web_server(("-m", "gunicorn")) as port:
        headers = {"Cookie": cookie}
        address = f"http://{ports.LOOPBACK}:{port}"
        with httpx.Client(
            base_url=address, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False
        ) as reader:
            pages = [each for each in addresses if reader.get(each).status_code == httpx.codes.OK]
            if not pages:
                raise RuntimeError("no page opens at the web server")
            for path in pages * (ROUNDS - 1):
                if reader.get(path).status_code != httpx.codes.OK:
                    raise RuntimeError(f"{path} does not open at the web server again")
        # The servers of this checkout may be children of ours, too.
        children = psutil.Process(os.getpid()).children(recursive=True)
        serving = [each for each in children if "wsgi:app" in each.cmdline()]
        return max(float(each.memory_info().rss) for each in serving) / MB
