"""A tenant's administrators, known in control so that the portal opens when all else is shut.

One person may look after several tenants with one e-mail address, each with its own account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import accounts, secrets
from app.base.audit import Actor, append
from app.base.config import settings
from app.base.errors import Conflict, NotFound
from app.base.messages import queue_mail
from tenants import rescue
from tenants.models import Tenant, TenantAdmin

INVITATION = "admin_invite"
RESET = "admin_reset"
RESET_HOURS = 2


class NoSuchAdmin(NotFound):
    """There is no such administrator, or not of this tenant."""


class LastAdmin(Conflict):
    """Nobody else of this tenant could sign in, be warned, or pay."""


def authenticate(
    *, control_session: Session, email: str, password: str
) -> list[tuple[TenantAdmin, Tenant]]:
    """This function will return every account that this e-mail and password open.

    Accounts of tenants whose data is gone open nothing; until then its erasure can be stopped.

    Raises: WrongCredentials, the same for an unknown address and a wrong password.
    """
    known = _accounts_of(control_session, email)
    # One comparison at least, so that an unknown address takes as long as a known one.
    hashes = {admin.password_hash for admin, _ in known} or {None}
    right = {stored for stored in hashes if secrets.password_matches(stored, password)}
    opened = [(admin, tenant) for admin, tenant in known if admin.password_hash in right]
    if not opened:
        raise accounts.WrongCredentials("The e-mail address or the password is wrong.")
    return opened


def _accounts_of(control_session: Session, email: str) -> list[tuple[TenantAdmin, Tenant]]:
    """This function will list the accounts that an address has, the newest tenant's first."""
    rows = control_session.execute(
        select(TenantAdmin, Tenant)
        .join(Tenant, Tenant.id == TenantAdmin.tenant_id)
        .where(
            func.lower(TenantAdmin.email) == email.strip().lower(),
            TenantAdmin.disabled_at.is_(None),
            ~rescue.gone(),
        )
        .order_by(Tenant.created_at.desc())
    )
    return [(admin, tenant) for admin, tenant in rows]


def holder(
    *, control_session: Session, purpose: str, token: str, now: datetime
) -> tuple[TenantAdmin, Tenant]:
    """This function will tell whom an invitation or a reset link is for, without using it up.

    Raises: LinkExpired, LinkUsed, NoSuchAdmin.
    """
    admin_id = accounts.peek_token(
        control_session=control_session, purpose=purpose, token=token, now=now
    )
    return _with_tenant(control_session, admin_id)


def _with_tenant(control_session: Session, admin_id: UUID) -> tuple[TenantAdmin, Tenant]:
    admin = control_session.get(TenantAdmin, admin_id)
    tenant = control_session.get(Tenant, admin.tenant_id) if admin else None
    if admin is None or admin.disabled_at is not None:
        raise NoSuchAdmin("This account does not exist any more.")
    if tenant is None or rescue.is_gone(control_session=control_session, tenant=tenant):
        raise NoSuchAdmin("This account does not exist any more.")
    return admin, tenant


def choose_password(
    *, control_session: Session, purpose: str, token: str, password: str, now: datetime
) -> tuple[TenantAdmin, Tenant]:
    """This function will use up an invitation or a reset link and set the password with it.

    Raises: PasswordTooWeak (the link stays good), LinkExpired, LinkUsed, NoSuchAdmin.
    """
    admin, tenant = holder(control_session=control_session, purpose=purpose, token=token, now=now)
    accounts.check_password_strength(password, email=admin.email)
    accounts.use_token(control_session=control_session, purpose=purpose, token=token, now=now)
    _set(control_session, admin, password, now)
    return admin, tenant


def change_password(
    *, control_session: Session, admin_id: UUID, current: str, password: str, now: datetime
) -> TenantAdmin:
    """This function will set a new password for somebody who knows the present one.

    Raises: WrongCredentials (field `current`), PasswordTooWeak (field `password`), NoSuchAdmin.
    """
    admin, _ = _with_tenant(control_session, admin_id)
    if not secrets.password_matches(admin.password_hash, current):
        raise accounts.WrongCredentials("Your present password is another one.", field="current")
    accounts.check_password_strength(password, email=admin.email)
    _set(control_session, admin, password, now)
    return admin


def _set(control_session: Session, admin: TenantAdmin, password: str, now: datetime) -> None:
    admin.password_hash = secrets.hash_password(password)
    accounts.erase_unused_tokens(control_session=control_session, subject_id=admin.id)
    append(
        control_session=control_session,
        actor=Actor.admin(admin.id),
        action="admin.password_set",
        subject_kind="tenant_admin",
        subject_id=admin.id,
        tenant_id=admin.tenant_id,
        now=now,
    )


def set_access(
    *,
    control_session: Session,
    tenant_id: UUID,
    admin_id: UUID,
    disabled: bool,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> TenantAdmin:
    """This function will shut an administrator out of the portal, or let them in again.

    Ending their sessions is the door's part.

    The last one stays: nobody else would be warned before the data is erased, or could stop it.

    Raises: NoSuchAdmin, LastAdmin.
    """
    # All of them, in one order: of two who are shut out at once, one is the last.
    known = control_session.scalars(
        select(TenantAdmin)
        .where(TenantAdmin.tenant_id == tenant_id)
        .order_by(TenantAdmin.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    admin = next((each for each in known if each.id == admin_id), None)
    if admin is None:
        raise NoSuchAdmin("There is no such administrator.")
    if disabled and not any(each.disabled_at is None for each in known if each is not admin):
        raise LastAdmin(
            "This is the last administrator: without one nobody is warned before the data goes."
        )
    admin.disabled_at = now if disabled else None
    append(
        control_session=control_session,
        actor=actor,
        action="admin.disabled" if disabled else "admin.enabled",
        subject_kind="tenant_admin",
        subject_id=admin.id,
        tenant_id=tenant_id,
        why=why,
        now=now,
    )
    return admin


def request_reset(*, control_session: Session, email: str, language: str, now: datetime) -> int:
    """This function will mail a link for each account that an address has; it says how many.

    The door says the same whatever the number, so that nobody learns who is a customer.
    """
    found = _accounts_of(control_session, email)
    for admin, tenant in found:
        token = accounts.issue_token(
            control_session=control_session,
            purpose=RESET,
            subject_id=admin.id,
            valid_for=timedelta(hours=RESET_HOURS),
            now=now,
        )
        queue_mail(
            control_session=control_session,
            room="tenants",
            name="admin_reset",
            to=admin.email,
            language=language,
            context={
                "tenant": tenant.name,
                "hours": RESET_HOURS,
                "url": f"{settings().public_url}/portal/reset/{token}",
            },
            regarding_id=tenant.id,
            now=now,
        )
    return len(found)
