"""Where control holds personal data of a tenant, and how it is taken out.

What stays is what a law asks for and names nobody: the consent to a conversion or a dearer price (a
hash, a date, a price; kept five years), the readings behind invoices, the ids in the audit trail.
Who gave a consent, and its words, are set apart before with the statutory papers, by the invoices'
room. Reasons that our staff typed stay in the audit trail: they are asked to name nobody there.

Source: 전자상거래법 시행령 §6 for the consent; PIPA §21 for all that goes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, false, func, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import accounts, sessions
from app.base.accounts import OneTimeToken
from app.base.audit import AccessEntry, Actor
from app.base.db import Base
from app.base.errors import Unavailable
from app.base.messages import Message
from app.base.sessions import WebSession
from tenants import application_erasure, business_status
from tenants.models import Application, Consent, Tenant, TenantAdmin, TenantExport

DATA_CLASSES = [
    "application",
    "visits",
    "administrators",
    "messages",
    "sessions",
    "links",
    "access log",
    "billing profile",
    "consents",
    "business status",
    "our own mails about it",
]
LAST_MAIL = "destroyed"
LAST_MAIL_WAIT_MAX = timedelta(hours=1)
# What was agreed with money in it; subscriptions and price rises refer to these rows.
KEPT_CONSENTS = ("conversion", "price_change")
_PERSONAL_IN_CONSENT = ("given_by", "text")
# A shorter word would take along what speaks of somebody else.
_TELLING_LENGTH_MIN = 3


class LastMailOnItsWay(Unavailable):
    """The tenant's administrators have not been told yet; their addresses are needed for that."""


def invitation_purpose(tenant_id: UUID) -> str:
    """This function will name the links that members of a tenant are invited by.

    The tenant is part of it, so that a link never opens another tenant's door, and so that the
    links are found when the members are gone.
    """
    return f"member_invite:{tenant_id}"


def wait_for_last_mail(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will refuse to go on while the last mail is unsent, for an hour at most.

    Raises: LastMailOnItsWay.
    """
    waiting = control_session.scalar(
        select(func.count()).where(
            Message.regarding_id == tenant_id,
            Message.kind == LAST_MAIL,
            Message.state == "due",
            Message.created_at > now - LAST_MAIL_WAIT_MAX,
        )
    )
    if waiting:
        raise LastMailOnItsWay("The last mail to the administrators is still on its way.")


def erase(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime
) -> dict[str, int]:
    """This function will take a tenant's personal data out of control; it may be repeated.

    It returns what was counted afterwards, which should be nothing but zeros.

    Raises: ErasureIncomplete from the application's own erasure.
    """
    tenant = control_session.get_one(Tenant, tenant_id)
    admin_ids = list(
        control_session.scalars(select(TenantAdmin.id).where(TenantAdmin.tenant_id == tenant_id))
    )
    subject_ids = [tenant_id, *admin_ids]
    if tenant.application_id is not None:
        subject_ids.append(tenant.application_id)
        application_erasure.erase(
            control_session=control_session,
            application_ids=[tenant.application_id],
            actor=actor,
            now=now,
        )
    sessions.end_all(control_session=control_session, tenant_id=tenant_id)
    for admin_id in admin_ids:
        sessions.end_all(control_session=control_session, user_id=admin_id)
    accounts.erase_tokens(control_session=control_session, subject_ids=subject_ids)
    conditions = _places(tenant, subject_ids)
    spoken_of = _mails_of_ours(tenant)
    _forget_business(control_session, tenant)
    control_session.execute(
        update(Consent)
        .where(Consent.subject_id == tenant_id, _names_somebody())
        .values(details=Consent.details.op("-")(postgresql.array(_PERSONAL_IN_CONSENT)))
        .execution_options(synchronize_session=False)
    )
    control_session.execute(
        # One that is not sent yet goes out first: the next look finds it.
        delete(Message)
        .where(spoken_of, Message.state != "due")
        .execution_options(synchronize_session=False)
    )
    for model in (OneTimeToken, Message, Consent, AccessEntry, TenantExport, TenantAdmin):
        control_session.execute(
            delete(model).where(conditions[model]).execution_options(synchronize_session=False)
        )
    left = _left(control_session, conditions)
    left["message"] += control_session.scalar(select(func.count()).where(spoken_of)) or 0
    left["consent"] += (
        control_session.scalar(
            select(func.count()).where(Consent.subject_id == tenant_id, _names_somebody())
        )
        or 0
    )
    if not any(left.values()):
        # Only now: by its name the mails are found.
        _make_nameless(control_session, tenant)
    return left


def _names_somebody() -> ColumnElement[bool]:
    named: ColumnElement[bool] = Consent.details.has_any(postgresql.array(_PERSONAL_IN_CONSENT))
    return named


def _mails_of_ours(tenant: Tenant) -> ColumnElement[bool]:
    """Lists that went to our own staff and name this customer among others."""
    number = business_status.digits_of(tenant.billing_profile.get("registration_number"))
    words = [word for word in (tenant.name, number) if word and len(word) >= _TELLING_LENGTH_MIN]
    return Message.regarding_id.is_(None) & or_(
        false(),
        *(
            column.contains(word, autoescape=True)
            for word in words
            for column in (Message.subject, Message.text)
        ),
    )


def _forget_business(control_session: Session, tenant: Tenant) -> None:
    """What the tax service says of its number goes, unless another customer has the same one."""
    business_status.forget_unused(
        control_session=control_session,
        number=tenant.billing_profile.get("registration_number"),
    )


def _places(tenant: Tenant, subject_ids: list[UUID]) -> dict[type[Base], ColumnElement[bool]]:
    return {
        OneTimeToken: or_(
            OneTimeToken.subject_id.in_(subject_ids),
            OneTimeToken.purpose == invitation_purpose(tenant.id),
        ),
        Message: Message.regarding_id.in_(subject_ids),
        Consent: Consent.subject_id.in_(subject_ids) & Consent.kind.not_in(KEPT_CONSENTS),
        AccessEntry: or_(AccessEntry.tenant_id == tenant.id, AccessEntry.user_id.in_(subject_ids)),
        WebSession: or_(WebSession.tenant_id == tenant.id, WebSession.user_id.in_(subject_ids)),
        TenantExport: TenantExport.tenant_id == tenant.id,
        TenantAdmin: TenantAdmin.tenant_id == tenant.id,
        Application: (Application.id == tenant.application_id) & (Application.state != "erased"),
    }


def _make_nameless(control_session: Session, tenant: Tenant) -> None:
    """A company's name may be a person's; its billing profile names one."""
    nameless = f"erased-{tenant.id.hex[-12:]}"
    control_session.execute(
        update(Tenant)
        .where(Tenant.id == tenant.id)
        .values(name=nameless, slug=nameless, billing_profile={})
    )
    control_session.expire(tenant)


def _left(
    control_session: Session, conditions: dict[type[Base], ColumnElement[bool]]
) -> dict[str, int]:
    return {
        model.__tablename__: control_session.scalar(
            select(func.count()).select_from(model).where(condition)
        )
        or 0
        for model, condition in conditions.items()
    }
