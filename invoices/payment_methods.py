"""How a tenant's admin registers a card at the gateway's own page; no card data comes here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, exists, select, update
from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.audit import Actor, append
from app.base.config import settings
from app.base.db import notify
from app.base.errors import NotFound
from invoices import gateway_accounts
from invoices.gateways.port import RegisteredMethod, RegistrationStart
from invoices.gateways.registry import gateway
from invoices.invoice_locks import lock_owed
from invoices.models import (
    CardRegistration,
    DunningWaiver,
    GatewayAccount,
    Invoice,
    PaymentMethod,
)
from tenants.models import LIVE_STATES, Tenant

# Its merchant account is disabled.
_CLOSED = exists().where(
    GatewayAccount.code == PaymentMethod.gateway, GatewayAccount.disabled_at.is_not(None)
)
_FIRST = (
    select(PaymentMethod)
    .where(PaymentMethod.revoked_at.is_(None), ~_CLOSED)
    .order_by(
        PaymentMethod.is_default.desc(),
        PaymentMethod.is_fallback.desc(),
        PaymentMethod.registered_at.desc(),
    )
    .limit(1)
)
_DEFAULT = _FIRST.where(PaymentMethod.tenant_id == bindparam("tenant"))
# How a statement about tenants names the method that charges go to.
MASKED_DEFAULT = (
    _FIRST.with_only_columns(PaymentMethod.masked)
    .where(PaymentMethod.tenant_id == Tenant.id)
    .correlate(Tenant)
    .scalar_subquery()
)
_FALLBACK = select(PaymentMethod).where(
    PaymentMethod.tenant_id == bindparam("tenant"),
    PaymentMethod.revoked_at.is_(None),
    PaymentMethod.is_fallback,
    ~_CLOSED,
)


class NoSuchRegistration(NotFound):
    """The browser came back for a registration that this tenant never began."""


class NoSuchMethod(NotFound):
    """The tenant has no such payment method, or it is revoked already."""


def begin_registration(
    *, control_session: Session, tenant_id: UUID, now: datetime, account: str | None = None
) -> CardRegistration:
    """This function will write down that a registration begins, before the gateway is asked.

    `account`: the code of the merchant account, by default the one used when nobody chose. The
    customer's key stays the same for all methods of a tenant there and can't be guessed.
    """
    account = account or gateway_accounts.default_code(control_session=control_session)
    known = control_session.scalar(
        select(CardRegistration.customer_key)
        .where(
            CardRegistration.tenant_id == tenant_id,
            CardRegistration.gateway == account,
        )
        .limit(1)
    )
    registration = CardRegistration(
        tenant_id=tenant_id,
        gateway=account,
        customer_key=known or f"tenant-{ids.opaque()}",
        begun_at=now,
    )
    control_session.add(registration)
    control_session.flush()
    return registration


def start_registration(*, registration: CardRegistration, language: str) -> RegistrationStart:
    """This function will ask the gateway where the method is registered; in no transaction.

    Either at an address of the gateway's own, or by its script on our registration page.
    Raises: GatewayUnavailable.
    """
    return gateway(registration.gateway).begin_registration(
        customer_key=registration.customer_key,
        return_url=f"{settings().public_url}/portal/payment/registered/{registration.id}",
        language=language,
    )


def registration_page(*, registration: CardRegistration, language: str) -> str:
    """This function will return the address at which the gateway registers the method itself.

    Raises: GatewayUnavailable.
    """
    started = start_registration(registration=registration, language=language)
    if started.redirect_url is None:
        raise NoSuchRegistration("This gateway has no page of its own to register a card.")
    return started.redirect_url


def begun(*, control_session: Session, tenant_id: UUID, registration_id: UUID) -> CardRegistration:
    """This function will find the tenant's own registration that the browser came back for.

    Raises: NoSuchRegistration.
    """
    registration = control_session.get(CardRegistration, registration_id)
    if registration is None or registration.tenant_id != tenant_id:
        raise NoSuchRegistration("This card registration was not begun here. Please start again.")
    return registration


def exchange(*, registration: CardRegistration, params: Mapping[str, str]) -> RegisteredMethod:
    """This function will exchange what the browser brought for a method; in no transaction.

    Raises: RegistrationRefused, GatewayUnavailable.
    """
    return gateway(registration.gateway).complete_registration(
        customer_key=registration.customer_key, params=params
    )


def complete_registration(
    *,
    control_session: Session,
    registration_id: UUID,
    registered: RegisteredMethod,
    actor: Actor,
    now: datetime,
) -> PaymentMethod:
    """This function will store the method as the tenant's default and try open invoices with it.

    A browser that comes back twice finds the method that the first time stored.
    """
    registration = _locked(control_session, registration_id)
    if registration.completed_at is not None:
        stored = default_method(control_session=control_session, tenant_id=registration.tenant_id)
        if stored is not None:
            return stored
    locked(control_session, registration.tenant_id)
    registration.completed_at = now
    control_session.execute(
        update(PaymentMethod)
        .where(PaymentMethod.tenant_id == registration.tenant_id, PaymentMethod.is_default)
        .values(is_default=False)
    )
    method = PaymentMethod(
        tenant_id=registration.tenant_id,
        gateway=registration.gateway,
        customer_key=registration.customer_key,
        token_sealed=secrets.encrypt(registered.token),
        named_digest=secrets.hash_token(registered.named or registered.token),
        masked=registered.masked,
        brand=registered.brand,
        is_default=True,
        registered_at=now,
    )
    control_session.add(method)
    control_session.flush()
    note(control_session, method, "payment_method.registered", actor, now)
    collect_now(control_session=control_session, tenant_id=registration.tenant_id, now=now)
    return method


def _locked(control_session: Session, registration_id: UUID) -> CardRegistration:
    """All of the tenant's registrations are locked: of two at once, one becomes the default."""
    tenant_id = control_session.get_one(CardRegistration, registration_id).tenant_id
    control_session.execute(
        select(CardRegistration.id)
        .where(CardRegistration.tenant_id == tenant_id)
        .order_by(CardRegistration.id)
        .with_for_update()
    )
    return control_session.get_one(CardRegistration, registration_id, populate_existing=True)


def locked(control_session: Session, tenant_id: UUID) -> list[PaymentMethod]:
    """This function will return a tenant's methods, read anew, for whoever changes which is which.

    What the tenant owes is locked before them, as `lock_owed` says. A method that was registered
    while we waited for the others is there as well: whoever stored it held those.
    """
    lock_owed(control_session=control_session, tenant_id=tenant_id)
    control_session.execute(
        select(PaymentMethod.id)
        .where(PaymentMethod.tenant_id == tenant_id, PaymentMethod.revoked_at.is_(None))
        .order_by(PaymentMethod.id)
        .with_for_update(key_share=True)
    )
    return methods(control_session=control_session, tenant_id=tenant_id)


def collect_now(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will make every open invoice of a tenant due for collection at once.

    One that finance let go of rests: it is paid only when somebody asks for that.
    """
    control_session.execute(
        update(Invoice)
        .where(
            Invoice.tenant_id == tenant_id,
            Invoice.state == "issued",
            Invoice.total_minor > 0,
            ~exists().where(DunningWaiver.invoice_id == Invoice.id),
        )
        .values(collect_at=now, attempts=0, retry_at=None)
        .execution_options(synchronize_session=False)
    )
    notify(control_session, "collection")


def default_method(*, control_session: Session, tenant_id: UUID) -> PaymentMethod | None:
    """This function will return the method that charges go to, or nothing.

    While its merchant account is disabled, the one that may stand in for it does, or the newest
    method at another account.
    """
    return control_session.scalar(_DEFAULT, {"tenant": tenant_id})


def fallback_method(*, control_session: Session, tenant_id: UUID) -> PaymentMethod | None:
    """This function will return the method that may stand in for a declined one, or nothing."""
    return control_session.scalar(_FALLBACK, {"tenant": tenant_id})


def is_in_use(*, control_session: Session, method: PaymentMethod) -> bool:
    """This function will tell whether charges can go to a method's merchant account."""
    open_one = select(PaymentMethod.id).where(PaymentMethod.id == method.id, ~_CLOSED)
    return control_session.scalar(open_one) is not None


def stranded() -> ColumnElement[bool]:
    """This function will return the condition that a tenant's only methods are at accounts that
    are disabled: nothing can be charged until they register another."""
    own = (PaymentMethod.tenant_id == Tenant.id) & PaymentMethod.revoked_at.is_(None)
    return and_(
        Tenant.state.in_(LIVE_STATES),
        exists().where(own, _CLOSED).correlate(Tenant),
        ~exists().where(own, ~_CLOSED).correlate(Tenant),
    )


def stranded_tenants(*, control_session: Session, limit: int) -> list[Tenant]:
    """This function will list the tenants that no charge can reach, for somebody to know of."""
    return list(
        control_session.scalars(
            select(Tenant).where(stranded()).order_by(Tenant.name, Tenant.id).limit(limit)
        )
    )


def methods(*, control_session: Session, tenant_id: UUID) -> list[PaymentMethod]:
    """This function will list a tenant's methods that still work, in the order of their turns."""
    control_session.flush()
    return list(
        control_session.scalars(
            select(PaymentMethod)
            .where(PaymentMethod.tenant_id == tenant_id, PaymentMethod.revoked_at.is_(None))
            .order_by(
                PaymentMethod.is_default.desc(),
                PaymentMethod.is_fallback.desc(),
                PaymentMethod.registered_at.desc(),
            )
            .execution_options(populate_existing=True)
        )
    )


def revoke(
    *, control_session: Session, tenant_id: UUID, method_id: UUID, actor: Actor, now: datetime
) -> PaymentMethod:
    """This function will stop using a method; another one becomes the default in its place.

    That is the one which may stand in for it, or the newest.

    The gateway is told by a job, until it confirms that it has forgotten the method too.

    Raises: NoSuchMethod.
    """
    locked(control_session, tenant_id)
    method = control_session.get(PaymentMethod, method_id, populate_existing=True)
    if method is None or method.tenant_id != tenant_id or method.revoked_at is not None:
        raise NoSuchMethod("There is no such payment method.")
    notify(control_session, "payment_methods")
    method.revoked_at, method.is_default, method.is_fallback = now, False, False
    control_session.flush()
    remaining = methods(control_session=control_session, tenant_id=tenant_id)
    if remaining and not remaining[0].is_default:
        remaining[0].is_default, remaining[0].is_fallback = True, False
        control_session.flush()
    note(control_session, method, "payment_method.revoked", actor, now)
    return method


def to_forget() -> ColumnElement[bool]:
    """This function will return the condition that a gateway is to forget a method yet.

    Of tenants that are destroyed no token is left in the end (`invoices.forgetting`), and nothing
    can be told of it.
    """
    return and_(
        PaymentMethod.revoked_at.is_not(None),
        PaymentMethod.forgotten_at.is_(None),
        PaymentMethod.token_sealed != "",
    )


def forget_at_gateway(*, method: PaymentMethod) -> None:
    """This function will make a revoked method unchargeable at the gateway; in no transaction.

    Raises: GatewayUnavailable.
    """
    gateway(method.gateway).revoke(
        token=secrets.decrypt(method.token_sealed), customer_key=method.customer_key
    )


def forgotten(*, control_session: Session, method_id: UUID, now: datetime) -> None:
    """This function will write down that the gateway has forgotten a revoked method."""
    method = control_session.get_one(PaymentMethod, method_id, with_for_update=True)
    if method.forgotten_at is None:
        method.forgotten_at = now


def note(
    control_session: Session, method: PaymentMethod, action: str, actor: Actor, now: datetime
) -> None:
    """This function will write down what was done with a method, and by whom."""
    append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="payment_method",
        subject_id=method.id,
        tenant_id=method.tenant_id,
        details={"gateway": method.gateway},
        now=now,
    )
