"""Which gateways there are, and the merchant accounts at them, opened and ready to be asked.

An account is known by its code. `sandbox` and `manual` are opened from the settings; all others
are rows of `gateway_account`, which name their gateway and keep its credentials encrypted.

A package adds a gateway by an entry point in the group `tenantry.gateways`: a function that takes
an account's credentials, a mapping of texts, and returns a `Gateway`. Its attribute `credentials`,
a tuple of `Credential`, says what the console asks for.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points

from sqlalchemy import select

from app.base import secrets
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import NotFound
from invoices.gateways import toss
from invoices.gateways.manual import ManualGateway
from invoices.gateways.port import Gateway
from invoices.gateways.portone import SCRIPT, PortOneGateway
from invoices.gateways.portone_wire import API
from invoices.gateways.sandbox import SandboxGateway
from invoices.gateways.toss import TossGateway
from invoices.models.gateways import GatewayAccount

ENTRY_POINT_GROUP = "tenantry.gateways"
# The codes of the accounts that are opened from the settings.
BUILT_IN = ("sandbox", "manual")
CODE = re.compile(r"[a-z][a-z0-9-]{1,39}")

Opener = Callable[[Mapping[str, str]], Gateway]


class NoSuchGateway(NotFound):
    """No gateway, or no account at one, goes by this name here."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One thing that a gateway must be told about an account before it can be opened."""

    name: str
    secret: bool = True
    required: bool = True
    default: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A gateway: what opens an account at it, and with what."""

    open: Opener
    credentials: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    gateway: Gateway
    sealed: str
    read_at: float


# By process, for connections do not survive a fork, and workers fork.
_held: dict[tuple[int, str], _Held] = {}


def gateway(code: str) -> Gateway:
    """This function will return the account of that code, opened; a disabled one, too.

    Credentials that were changed are seen within `gateway_account_seconds`. They are read in a
    transaction of their own, so it may be called inside or outside of any other.
    Raises: NoSuchGateway.
    """
    if code in BUILT_IN:
        return _built_in(code, os.getpid())
    if not CODE.fullmatch(code):  # it may come from an address, and must not reach the database
        raise NoSuchGateway(f"There is no payment account called {code!r}.")
    place = (os.getpid(), code)
    held, now = _held.get(place), time.monotonic()
    if held is not None and now - held.read_at < settings().gateway_account_seconds:
        return held.gateway
    name, sealed = _stored(code)
    if held is not None and held.sealed == sealed:
        opened = held.gateway  # and its connections
    else:
        opened = opener(name)(json.loads(secrets.decrypt(sealed)))
    _held[place] = _Held(gateway=opened, sealed=sealed, read_at=now)
    return opened


def forget() -> None:
    """This function will make the next use of every account open it anew."""
    _held.clear()
    _built_in.cache_clear()


def _stored(code: str) -> tuple[str, str]:
    with control_session() as session:
        row = session.execute(
            select(GatewayAccount.gateway, GatewayAccount.credentials_sealed).where(
                GatewayAccount.code == code
            )
        ).one_or_none()
    if row is None:
        raise NoSuchGateway(f"There is no payment account called {code!r}.")
    return row.gateway, row.credentials_sealed


def names() -> frozenset[str]:
    """This function will return the name of every gateway that an account may be at."""
    return frozenset(_OURS) | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}


def kind(name: str) -> Kind:
    """This function will return the gateway of that name.

    Raises: NoSuchGateway.
    """
    if name in _OURS:
        return _OURS[name]
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found: Opener = point.load()
        return Kind(open=found, credentials=tuple(getattr(found, "credentials", ())))
    raise NoSuchGateway(f"There is no payment gateway called {name!r}.")


def opener(name: str) -> Opener:
    """This function will return what opens an account at the gateway of that name.

    Raises: NoSuchGateway.
    """
    return kind(name).open


@lru_cache(maxsize=8)
def _built_in(code: str, _process_id: int) -> Gateway:
    if code == "manual":
        return _open_manual({"account": settings().seller_bank_account})
    return _open_sandbox(
        {
            "base_url": settings().sandbox_gateway_url,
            "secret_key": settings().sandbox_gateway_secret.get_secret_value(),
            "webhook_secret": settings().sandbox_webhook_secret.get_secret_value(),
        }
    )


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


def _open_stripe(credentials: Mapping[str, str]) -> Gateway:
    # Here and not above: the SDK takes longer to load than the rest of a command.
    from invoices.gateways import stripe  # noqa: PLC0415

    return stripe.open_account(
        credentials,
        connect_timeout_seconds=settings().gateway_connect_timeout_seconds,
        read_timeout_seconds=settings().gateway_read_timeout_seconds,
        timezone=settings().contract_timezone,
    )


def _open_toss(credentials: Mapping[str, str]) -> Gateway:
    return TossGateway(
        base_url=credentials.get("base_url") or toss.API_URL,
        script_url=credentials.get("script_url") or toss.SCRIPT_URL,
        secret_key=credentials["secret_key"],
        client_key=credentials["client_key"],
        security_key=credentials.get("security_key", ""),
        connect_timeout_seconds=settings().gateway_connect_timeout_seconds,
        read_timeout_seconds=settings().gateway_read_timeout_seconds,
    )


def _open_portone(credentials: Mapping[str, str]) -> Gateway:
    # Elsewhere than at PortOne there is a simulator, which brings its own script.
    base_url = credentials["base_url"]
    return PortOneGateway(
        store_id=credentials["store_id"],
        channel_key=credentials["channel_key"],
        channel=credentials["channel"],
        api_secret=credentials["api_secret"],
        webhook_secret=credentials["webhook_secret"],
        base_url=base_url,
        script_url=SCRIPT if base_url == API else f"{base_url}/v2/browser-sdk.js",
        notice_url=credentials.get("notice_url", ""),
        connect_timeout_seconds=settings().gateway_connect_timeout_seconds,
        read_timeout_seconds=settings().gateway_read_timeout_seconds,
    )


_OURS: dict[str, Kind] = {
    "manual": Kind(open=_open_manual, credentials=(Credential("account", secret=False),)),
    "portone": Kind(
        open=_open_portone,
        credentials=(
            Credential("base_url", secret=False, default=API),
            Credential("channel", secret=False, default="kakaopay"),
            Credential("store_id", secret=False),
            Credential("channel_key", secret=False),
            Credential("api_secret"),
            Credential("webhook_secret"),
            # Where payments of this account report to, when the store's own webhook goes elsewhere.
            Credential("notice_url", secret=False, required=False),
        ),
    ),
    "sandbox": Kind(
        open=_open_sandbox,
        credentials=(
            Credential("base_url", secret=False, default="http://127.0.0.1:8010"),
            Credential("secret_key"),
            Credential("webhook_secret"),
        ),
    ),
    "stripe": Kind(
        open=_open_stripe,
        credentials=(
            Credential("base_url", secret=False, default="https://api.stripe.com"),
            Credential("secret_key"),
            Credential("webhook_secret"),
        ),
    ),
    "toss": Kind(
        open=_open_toss,
        credentials=(
            Credential("base_url", secret=False, default=toss.API_URL),
            Credential("script_url", secret=False, default=toss.SCRIPT_URL),
            Credential("client_key", secret=False),
            Credential("secret_key"),
            # Checks payout.changed, the one thing that Toss signs.
            Credential("security_key", required=False),
        ),
    ),
}
