"""Our accounts at payment gateways: which there are, which one is used, and whether they answer.

New payment methods go to the default account, or to another that is offered beside it; the
fallback is offered while the one asked for does not answer. A charge always goes to the account
that its method was registered at: no outcome that is still unknown can be overtaken elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.audit import Actor, append
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from invoices.gateways import registry
from invoices.gateways.port import Absent, Capability, Unknown
from invoices.models import GatewayAccount

log = structlog.get_logger(__name__)

_CURRENCY = re.compile(r"[A-Z]{3}")
_TITLE_LENGTH_MAX = 60
_CREDENTIAL_LENGTH_MAX = 8_000
_BUILT_IN_TITLES = {"sandbox": ("카드", "Card"), "manual": ("계좌이체", "Bank transfer")}


class AccountUnsound(Invalid):
    """Something about the account is missing or can't be so."""


class NoSuchAccount(NotFound):
    """No merchant account goes by this code."""


class AccountTaken(Conflict):
    """An account of this code exists; codes are never used again."""


class AccountDisabled(Conflict):
    """The account is disabled and takes nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """What is said of an account when it is added."""

    code: str
    gateway: str
    title_ko: str
    title_en: str
    credentials: Mapping[str, str]
    currencies: tuple[str, ...] = ()
    is_offered: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """An account that a customer may register a payment method at."""

    code: str
    title_ko: str
    title_en: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to a harmless question."""

    well: bool
    said: str


def listed(*, control_session: Session) -> list[GatewayAccount]:
    """This function will list every stored account: the default, the fallback, then by code."""
    return list(
        control_session.scalars(
            select(GatewayAccount).order_by(
                GatewayAccount.is_default.desc(),
                GatewayAccount.is_fallback.desc(),
                GatewayAccount.disabled_at.is_not(None),
                GatewayAccount.code,
            )
        )
    )


def found(*, control_session: Session, code: str, for_change: bool = False) -> GatewayAccount:
    """This function will return the account of that code.

    Raises: NoSuchAccount.
    """
    query = select(GatewayAccount).where(GatewayAccount.code == code)
    account = control_session.scalar(query.with_for_update() if for_change else query)
    if account is None:
        raise NoSuchAccount("There is no such payment account.")
    return account


def add(
    *, control_session: Session, account: NewAccount, actor: Actor, now: datetime
) -> GatewayAccount:
    """This function will store a new account; it is used once it is offered or the default.

    Raises: AccountUnsound, AccountTaken.
    """
    if not registry.CODE.fullmatch(account.code):
        raise AccountUnsound(
            "The code is 2-40 small letters, digits or hyphens, a letter first.", field="code"
        )
    if account.code in registry.BUILT_IN or control_session.scalar(
        select(GatewayAccount.id).where(GatewayAccount.code == account.code)
    ):
        raise AccountTaken("There is an account of this code already.", field="code")
    for field in ("title_ko", "title_en"):
        if not 0 < len(getattr(account, field)) <= _TITLE_LENGTH_MAX:
            raise AccountUnsound("Say in a few words what customers see.", field=field)
    if not all(_CURRENCY.fullmatch(each) for each in account.currencies):
        raise AccountUnsound("Name currencies by their codes: KRW, USD.", field="currencies")
    row = GatewayAccount(
        code=account.code,
        gateway=account.gateway,
        title_ko=account.title_ko,
        title_en=account.title_en,
        credentials_sealed=_sealed(account.gateway, account.credentials),
        currencies=list(account.currencies),
        is_default=False,
        is_fallback=False,
        is_offered=account.is_offered,
        created_at=now,
        credentials_set_at=now,
    )
    control_session.add(row)
    control_session.flush()
    _note(control_session, row, "added", actor=actor, now=now)
    return row


def _sealed(gateway: str, credentials: Mapping[str, str]) -> str:
    """Encrypts credentials that the gateway can be opened with; what they are is told to nobody."""
    if gateway not in registry.names():
        raise AccountUnsound("There is no such gateway.", field="gateway")
    kind = registry.kind(gateway)
    given = {name: value.strip() for name, value in credentials.items() if value.strip()}
    for wanted in kind.credentials:
        value = given.setdefault(wanted.name, wanted.default)
        if not value:
            if wanted.required:
                raise AccountUnsound("The gateway needs this.", field=wanted.name)
            del given[wanted.name]
        elif len(value) > _CREDENTIAL_LENGTH_MAX:
            raise AccountUnsound("This is too long.", field=wanted.name)
        elif wanted.name.endswith("_url"):
            _check_address(value, wanted.name)
    try:
        opened = kind.open(given)
    except TenantryError as error:
        raise AccountUnsound(error.message, field=error.field) from error
    except (KeyError, ValueError) as error:
        raise AccountUnsound("The gateway can't be opened with these credentials.") from error
    if callable(close := getattr(opened, "close", None)):
        close()
    return secrets.encrypt(json.dumps(given))


def shown(account: GatewayAccount) -> dict[str, str]:
    """This function will return those credentials of an account that are no secrets."""
    stored = json.loads(secrets.decrypt(account.credentials_sealed))
    open_ones = (
        each.name for each in registry.kind(account.gateway).credentials if not each.secret
    )
    return {name: stored[name] for name in open_ones if name in stored}


def _check_address(value: str, field: str) -> None:
    """Keys travel to this address: over TLS, or to this very machine."""
    parts = urlsplit(value)
    safe = parts.scheme == "https" and bool(parts.hostname)
    near = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not safe and not near:
        raise AccountUnsound("The address begins with https://.", field=field)


def rotate(
    *,
    control_session: Session,
    code: str,
    credentials: Mapping[str, str],
    actor: Actor,
    now: datetime,
) -> GatewayAccount:
    """This function will replace credentials; what is left empty stays as it was.

    Every process uses them within `gateway_account_seconds`.
    Raises: NoSuchAccount, AccountUnsound.
    """
    account = found(control_session=control_session, code=code, for_change=True)
    before = json.loads(secrets.decrypt(account.credentials_sealed))
    given = {name: value for name, value in credentials.items() if value.strip()}
    if not given:
        raise AccountUnsound("Type in what has changed.")
    account.credentials_sealed = _sealed(account.gateway, {**before, **given})
    account.credentials_set_at = now
    _note(
        control_session, account, "credentials_rotated", actor=actor, now=now, fields=sorted(given)
    )
    return account


def use(
    *,
    control_session: Session,
    code: str,
    place: str,
    actor: Actor,
    now: datetime,
) -> GatewayAccount:
    """This function will say when an account is used; `place`: default, fallback, offered or none.

    Whichever held the place before is offered beside it from now on.
    Raises: NoSuchAccount, AccountDisabled, AccountUnsound.
    """
    if place not in ("default", "fallback", "offered", "none"):
        raise AccountUnsound("Choose when the account is used.", field="place")
    account = found(control_session=control_session, code=code, for_change=True)
    if account.disabled_at is not None:
        raise AccountDisabled("This account is disabled. Enable it first.")
    if place in ("default", "fallback"):
        held = GatewayAccount.is_default if place == "default" else GatewayAccount.is_fallback
        control_session.execute(
            update(GatewayAccount)
            .where(held, GatewayAccount.id != account.id)
            .values({held: False, GatewayAccount.is_offered: place == "default"})
        )
    account.is_default, account.is_fallback = place == "default", place == "fallback"
    account.is_offered = place == "offered"
    control_session.flush()
    _note(control_session, account, "used_as", actor=actor, now=now, place=place)
    return account


def disable(
    *, control_session: Session, code: str, reason: str, actor: Actor, now: datetime
) -> GatewayAccount:
    """This function will take an account out of use; what was paid there is still looked after.

    Raises: NoSuchAccount, AccountUnsound without a reason.
    """
    if not reason.strip():
        raise AccountUnsound("Say why, in a few words.", field="reason")
    account = found(control_session=control_session, code=code, for_change=True)
    if account.disabled_at is None:
        account.is_default = account.is_fallback = account.is_offered = False
        account.disabled_at = now
        _note(control_session, account, "disabled", actor=actor, now=now, why=reason.strip())
    return account


def enable(*, control_session: Session, code: str, actor: Actor, now: datetime) -> GatewayAccount:
    """This function will put a disabled account back, offered to nobody yet.

    Raises: NoSuchAccount.
    """
    account = found(control_session=control_session, code=code, for_change=True)
    if account.disabled_at is not None:
        account.disabled_at = None
        _note(control_session, account, "enabled", actor=actor, now=now)
    return account


def default_code(*, control_session: Session) -> str:
    """This function will return the account that is used when nobody chose one."""
    stored = control_session.scalar(select(GatewayAccount.code).where(GatewayAccount.is_default))
    return stored or settings().gateway


def choices(*, control_session: Session, currency: str, instead_of: str = "") -> list[Choice]:
    """This function will list where a customer who pays in `currency` may register a method.

    The default comes first. `instead_of`: an account that did not answer; it comes last then, and
    the fallback stands in.
    """
    rows = listed(control_session=control_session)
    stands_in = [row for row in rows if row.is_fallback and instead_of]
    beside = [row for row in rows if row.is_default or row.is_offered]
    offered = [
        Choice(row.code, row.title_ko, row.title_en)
        for row in (*stands_in, *beside)
        if not row.currencies or currency in row.currencies
    ]
    if not any(row.is_default for row in rows):
        offered.insert(0, built_in(settings().gateway))
    offered.sort(key=lambda choice: choice.code == instead_of)
    return [choice for choice in offered if _registers(choice.code)]


def chosen(*, control_session: Session, currency: str, code: str = "") -> str:
    """This function will return the account that a customer chose, or the one used without that.

    Raises: NoSuchAccount when it is not open to them, or when none is.
    """
    # Whoever asks for the fallback was shown it while another did not answer.
    instead_of = code or "nothing"
    offered = choices(control_session=control_session, currency=currency)
    if not code and offered:
        return offered[0].code
    stands_in = choices(control_session=control_session, currency=currency, instead_of=instead_of)
    if code not in {choice.code for choice in (*offered, *stands_in)}:
        raise NoSuchAccount("This way to pay is not open. Please choose another.")
    return code


def built_in(code: str) -> Choice:
    """This function will name an account that is opened from the settings."""
    return Choice(code, *_BUILT_IN_TITLES.get(code, (code, code)))


def titles(*, control_session: Session) -> dict[str, Choice]:
    """This function will name every account there is, by its code."""
    stored = (
        Choice(row.code, row.title_ko, row.title_en)
        for row in listed(control_session=control_session)
    )
    return {
        choice.code: choice for choice in (*(built_in(each) for each in registry.BUILT_IN), *stored)
    }


def _registers(code: str) -> bool:
    try:
        return Capability.REGISTER in registry.gateway(code).capabilities
    except TenantryError as error:
        # One account that can't be opened must not keep customers from the others.
        log.warning("gateway_account.unusable", account=code, error=error.message)
        return False


def ask(*, code: str) -> Answer:
    """This function will ask an account's gateway about a payment that never was; it moves nothing.

    Call it in no transaction. Raises: NoSuchGateway.
    """
    at = registry.gateway(code)
    try:
        if Capability.LOOKUP_BY_ORDER in at.capabilities:
            told = at.lookup(order_id=f"check-{ids.opaque()}")
        elif Capability.LOOKUP_BY_PAYMENT in at.capabilities:
            told = at.lookup(gateway_payment_id=f"check_{ids.opaque()}")
        else:
            return Answer(well=True, said="There is nothing to ask: no program answers here.")
    except TenantryError as error:
        return Answer(well=False, said=error.message)
    if isinstance(told, Absent):
        return Answer(well=True, said="The gateway answered, and takes our credentials.")
    reason = told.reason if isinstance(told, Unknown) else "The gateway's answer made no sense."
    return Answer(well=False, said=reason)


def _note(
    control_session: Session,
    account: GatewayAccount,
    what: str,
    *,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    **details: object,
) -> None:
    append(
        control_session=control_session,
        actor=actor,
        action=f"gateway_account.{what}",
        subject_kind="gateway_account",
        subject_id=account.id,
        why=why,
        details={"code": account.code, "gateway": account.gateway, **details},
        now=now,
    )
