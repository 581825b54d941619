"""Ports on the loopback address: the first free one, remembered for the next start."""

from __future__ import annotations

import fcntl
import json
import secrets
import socket
from pathlib import Path

from app.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"
PORTS_TRIED_MAX = 200
# Below the range the kernel hands to outgoing connections, so that none of those sits on it.
SCRATCH_PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT must not make a port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Return whether something accepts connections on `port` of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def first_free(start: int, *, apart_from: frozenset[int] = frozenset()) -> int:
    """Return the first port from `start` upwards that nobody listens on."""
    for port in range(start, min(start + PORTS_TRIED_MAX, 65_536)):
        if port not in apart_from and is_free(port):
            return port
    raise EmbeddedError(f"No free port between {start} and {start + PORTS_TRIED_MAX}.")


def scratch_start() -> int:
    """Return where a scratch server begins to look, so that two seldom look at the same place."""
    return SCRATCH_PORTS[secrets.randbelow(len(SCRATCH_PORTS))]


def remembered(path: Path) -> dict[str, int]:
    """Return the ports an earlier start chose, by name; empty where there was none."""
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        return {}  # A half-written list only costs us the memory of the last choice.


def choose(path: Path, name: str, default: int) -> tuple[int, bool]:
    """Choose the port for `name`: the remembered one, else from `default`; remember it.

    Returns the port, and whether it is another one than people would expect.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = remembered(path)
        others = frozenset(port for other, port in known.items() if other != name)
        wanted = known.get(name, default)
        port = first_free(wanted, apart_from=others)
        if known.get(name) != port:
            known[name] = port
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(known, indent=1, sort_keys=True))
            fresh.replace(path)
    return port, port != wanted
