"""PostgreSQL and Valkey for one run of the tests."""

from __future__ import annotations

from pathlib import Path

from app.embedded.servers import Hold, hold


def start_test_servers(directory: Path) -> Hold:
    """Start both, without fsync and with ports of their own, until the result is released.

    Called once a run, in the controller of xdist: `database_url` is the administrator's address
    of the (not yet made) control database, `redis_url` has 64 numbered databases. A killed run
    leaves no server behind, because the kernel releases for it.
    """
    return hold(directory, scratch=True)
