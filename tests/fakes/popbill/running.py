"""A popbill in this process, on a real socket, with this process's settings pointed at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.base.config import settings
from app.base.loopback import LoopbackServer
from invoices.tax_papers import registry
from tests.fakes.popbill.__main__ import LINK_ID, SECRET_KEY
from tests.fakes.popbill.desk import Desk
from tests.fakes.popbill.server import Popbill


class RunningPopbill(Popbill):
    """The simulator and where it is."""

    url = ""


@contextmanager
def running(*, timeout_seconds: float = 2) -> Iterator[RunningPopbill]:
    """Runs popbill; tax invoices and cash receipts that are drawn up meanwhile go to it."""
    popbill = RunningPopbill(desk=Desk(), link_id=LINK_ID, secret_key=SECRET_KEY, hang_seconds=5)
    server = LoopbackServer(application=popbill, port=0)
    popbill.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (
            ("TAX_ISSUER", "popbill"),
            ("CASH_RECEIPT_ISSUER", "popbill"),
            ("POPBILL_URL", popbill.url),
            ("POPBILL_AUTH_URL", popbill.url),
            ("POPBILL_LINK_ID", LINK_ID),
            ("POPBILL_SECRET_KEY", SECRET_KEY),
            ("TAX_ISSUER_TIMEOUT_SECONDS", str(timeout_seconds)),
        ):
            environment.setenv(f"TENANTRY_{name}", value)
        _read_settings_anew()
        yield popbill
    _read_settings_anew()
    server.shutdown()
    server.server_close()


def _read_settings_anew() -> None:
    settings.cache_clear()
    registry._opened.cache_clear()
