"""A register of businesses in this process, with this process's settings pointed at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.base.config import settings
from app.base.loopback import LoopbackServer
from tenants.business_checkers import registry
from tests.fakes.odcloud.__main__ import SERVICE_KEY
from tests.fakes.odcloud.server import Register


@contextmanager
def running(*, timeout_seconds: float = 2) -> Iterator[Register]:
    """Runs the register; whoever is asked about meanwhile is asked about there."""
    register = Register(service_key=SERVICE_KEY, hang_seconds=5)
    server = LoopbackServer(application=register, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api/nts-businessman/v1"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TENANTRY_BUSINESS_SERVICE_KEY", SERVICE_KEY)
        environment.setenv("TENANTRY_BUSINESS_STATUS_URL", url)
        environment.setenv("TENANTRY_BUSINESS_STATUS_TIMEOUT_SECONDS", str(timeout_seconds))
        _read_settings_anew()
        yield register
    _read_settings_anew()
    server.shutdown()
    server.server_close()


def _read_settings_anew() -> None:
    settings.cache_clear()
    registry.checker.cache_clear()
