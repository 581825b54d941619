"""Which gateways there are, by name: ours, and those that other packages add.

A package adds one by an entry point in the group `tenantry.gateways`: a function that takes the
account's credentials, a mapping of texts, and returns a `Gateway`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points

from app.base.config import settings
from app.base.errors import NotFound
from invoices.gateways.manual import ManualGateway
from invoices.gateways.port import Gateway
from invoices.gateways.sandbox import SandboxGateway

ENTRY_POINT_GROUP = "tenantry.gateways"

Opener = Callable[[Mapping[str, str]], Gateway]


class NoSuchGateway(NotFound):
    """No gateway goes by this name here: neither ours nor a package's."""


def gateway(name: str) -> Gateway:
    """This function will return the gateway of that name, opened with this machine's settings.

    Raises: NoSuchGateway.
    """
    # Connections do not survive a fork, and workers fork.
    return _opened(name, os.getpid())


def names() -> frozenset[str]:
    """This function will return every name that `gateway` knows."""
    return frozenset(_OURS) | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}


def opener(name: str) -> Opener:
    """This function will return what opens the gateway of that name from credentials.

    Raises: NoSuchGateway.
    """
    if name in _OURS:
        return _OURS[name]
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found: Opener = point.load()
        return found
    raise NoSuchGateway(f"There is no payment gateway called {name!r}.")


@lru_cache(maxsize=16)
def _opened(name: str, _process_id: int) -> Gateway:
    return opener(name)(_credentials(name))


def _credentials(name: str) -> dict[str, str]:
    match name:
        case "sandbox":
            return {
                "base_url": settings().sandbox_gateway_url,
                "secret_key": settings().sandbox_gateway_secret.get_secret_value(),
                "webhook_secret": settings().sandbox_webhook_secret.get_secret_value(),
            }
        case "manual":
            return {"account": settings().seller_bank_account}
    return {}


def _open_sandbox(credentials: Mapping[str, str]) -> Gateway:
    return SandboxGateway(
        base_url=credentials["base_url"],
        secret_key=credentials["secret_key"],
        webhook_secret=credentials["webhook_secret"],
        connect_timeout_seconds=settings().gateway_connect_timeout_seconds,
        read_timeout_seconds=settings().gateway_read_timeout_seconds,
    )


def _open_manual(credentials: Mapping[str, str]) -> Gateway:
    return ManualGateway(account=credentials["account"])


_OURS: dict[str, Opener] = {"sandbox": _open_sandbox, "manual": _open_manual}
