"""What runs in bin/dev, on one screen: stages start in this order and stop in the reverse one.

PostgreSQL and Valkey come before all of these and end after them (servers.py).
"""

from __future__ import annotations

import http.client
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.embedded import ports
from app.embedded.children import Process
from app.embedded.servers import CODE
from app.embedded.simulators import WITH_ACCOUNTS, write_accounts
from app.embedded.simulators import command as simulator_command

SETUP_SECONDS_MAX = 300.0
WEB_THREADS = 8
# Workers finish the job in hand; what they can't finish is a row that the next sweep finds.
WORKER_LADDER = ((signal.SIGTERM, 4.0),)
WEB_LADDER = ((signal.SIGTERM, 3.0), (signal.SIGQUIT, 0.5))


def stages(
    *,
    environment: dict[str, str],
    chosen: dict[str, int],
    directory: Path,
    seed: bool,
    simulated: tuple[str, ...] = (),
    forked: bool = False,
) -> list[list[Process]]:
    """List the processes of the whole system, stage by stage; `simulated`: vendors beside it."""

    def python(name: str, *arguments: str, **more: Any) -> Process:
        command = (sys.executable, "-m", *arguments)
        return Process(name, command, environment, CODE, forked=forked, **more)

    health = f"http://{ports.LOOPBACK}:{chosen['web']}/healthz"
    public_url = environment["TENANTRY_PUBLIC_URL"]
    webhook = f"{public_url}/hooks/sandbox"
    simulators = [
        python(
            name,
            *simulator_command(name, port=chosen[name], directory=directory, public_url=public_url),
            ready=_listens(chosen[name]),
        )
        for name in simulated
    ]
    opening = []
    if WITH_ACCOUNTS.intersection(simulated):
        accounts = write_accounts(
            simulated, chosen=chosen, directory=directory, public_url=public_url
        )
        opening = [python("accounts", "flask", "gateways", "add", str(accounts), once=True)]
    seeding = [python("seed", "flask", "seed", once=True, ready_seconds=SETUP_SECONDS_MAX)]
    return [
        [
            python(
                "setup",
                *("flask", "setup", "--tenants"),
                once=True,
                ready_seconds=SETUP_SECONDS_MAX,
            ),
            *simulators,
            python(
                "gateway",
                *("app.sandbox", "--port", str(chosen["gateway"]), "--webhook-url", webhook),
                ready=_listens(chosen["gateway"]),
            ),
            python(
                "mailbox",
                *("app.mailbox", "--smtp-port", str(chosen["smtp"])),
                *("--http-port", str(chosen["mailbox"])),
                ready=_listens(chosen["smtp"], chosen["mailbox"]),
            ),
            # Needs the database for pages only, and takes the longest to load: begin at once.
            python(
                "web",
                *("gunicorn", "wsgi:app", "--no-control-socket", "--worker-class", "gthread"),
                *("--workers", "1", "--threads", str(WEB_THREADS), "--graceful-timeout", "2"),
                *("--bind", f"{ports.LOOPBACK}:{chosen['web']}", "--chdir", str(CODE)),
                *("--worker-tmp-dir", str(directory / "run"), "--log-level", "warning"),
                ready=_healthy(health),
                asked=f"of asking for {health}",
                ladder=WEB_LADDER,
            ),
        ],
        # A past is played before anybody works in the present, and once.
        *([opening] if opening else []),
        *([seeding] if seed and not _seeded(directory, environment) else []),
        [
            python("worker", "flask", "worker", ladder=WORKER_LADDER),
            python("documents", "flask", "worker", "--queue", "documents", ladder=WORKER_LADDER),
            python("scheduler", "flask", "scheduler"),
        ],
    ]


def _seeded(directory: Path, environment: dict[str, str]) -> bool:
    """The demo's logins are there and lead to where the system listens today."""
    try:
        logins = (directory / "demo_logins.json").read_text()
    except FileNotFoundError:
        return False
    return environment["TENANTRY_PUBLIC_URL"] in logins


def _listens(*wanted: int) -> Callable[[int], bool]:
    return lambda _pid: all(ports.answers(port) for port in wanted)


def _healthy(url: str) -> Callable[[int], bool]:
    parts = urlsplit(url)

    def answers_well(_pid: int) -> bool:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=1)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answers_well
