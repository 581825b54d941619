"""Review: one reviewer at a time takes an application and approves or rejects it, once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import audit, ids, messages, states
from app.base.accounts import Staff
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid
from tenants import entitlements, grants
from tenants.models import APPLICATION, TENANT, Application, ProvisioningRun, Tenant, TenantAdmin
from tenants.review_queue import (
    FREE_MAIL,
    PAGE_SIZE,
    ApplicationNotFound,
    counts,
    details,
    next_waiting,
    queue,
    stale_before,
)
from tenants.signup import status_link
from tenants.trial_extension import extend_trial

__all__ = [
    "GROUNDS",
    "PAGE_SIZE",
    "ApplicationNotFound",
    "Claimed",
    "Decided",
    "approve",
    "claim",
    "counts",
    "details",
    "extend_trial",
    "next_waiting",
    "queue",
    "reject",
    "reject_preview",
    "release",
    "stale_before",
]

# Why an application is refused: the word goes to the audit trail, the sentences to the applicant.
GROUNDS = ("not_verified", "not_a_fit", "duplicate", "capacity", "other")
REASON_LENGTH_MIN, REASON_LENGTH_MAX = 5, 1_000
_SLUG_LENGTH_MAX = 32
_SLUGS_RESERVED = frozenset(
    {"www", "api", "app", "admin", "console", "portal", "workspace", "status", "mail", "static"}
)


class Decided(Conflict):
    """Somebody decided first; `by`, `at` and `state` say who, when and what."""

    def __init__(self, *, state: str, by: str, at: datetime | None) -> None:
        super().__init__(f"{by} was first: this application is {state} already.")
        self.state, self.by, self.at = state, by, at


class Claimed(Conflict):
    """Somebody else is working on it; `by` and `at` say who and since when."""

    def __init__(self, *, by: str, at: datetime | None) -> None:
        super().__init__(f"{by} is reviewing this application.")
        self.by, self.at = by, at


class NotConfirmed(Conflict):
    """The applicant has not confirmed the e-mail address yet."""


def claim(
    *, control_session: Session, application_id: UUID, actor: Actor, now: datetime
) -> Application:
    """This function will take an application for one reviewer, so that no other starts on it.

    A claim older than `review_claim_minutes` is taken over.

    Raises: Claimed, Decided, NotConfirmed, ApplicationNotFound.
    """
    application = _held(control_session, application_id, actor, now)
    taken_from = application.claimed_by
    application.claimed_by, application.claimed_at = _staff_id(actor), now
    if taken_from != application.claimed_by:
        _note(control_session, application, "claimed", actor, now)
    return application


def release(
    *, control_session: Session, application_id: UUID, actor: Actor, now: datetime
) -> Application:
    """This function will give an application back to the queue.

    Raises: as `claim` does.
    """
    application = _held(control_session, application_id, actor, now)
    if application.claimed_by is not None:
        application.claimed_by = application.claimed_at = None
        _note(control_session, application, "released", actor, now)
    return application


def _held(
    control_session: Session, application_id: UUID, actor: Actor, now: datetime
) -> Application:
    """The application under its lock, if this reviewer may go on with it."""
    application = control_session.scalar(
        select(Application)
        .where(Application.id == application_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if application is None or application.state == "erased":
        raise ApplicationNotFound("There is no such application.")
    if application.state == "submitted":
        raise NotConfirmed("The applicant has not confirmed the e-mail address yet.")
    if application.state != "confirmed":
        raise Decided(
            state=application.state,
            by=_name(control_session, application.decided_by),
            at=application.decided_at,
        )
    claimed_at = application.claimed_at
    someone_else = application.claimed_by not in (None, _staff_id(actor))
    if someone_else and claimed_at is not None and claimed_at >= stale_before(now):
        raise Claimed(by=_name(control_session, application.claimed_by), at=claimed_at)
    return application


def _staff_id(actor: Actor) -> UUID:
    if actor.kind != "staff" or actor.id is None:
        raise ValueError("only staff review applications")
    return UUID(actor.id)


def _name(control_session: Session, staff_id: UUID | None) -> str:
    name = control_session.scalar(select(Staff.name).where(Staff.id == staff_id))
    return name or "Somebody"


def _note(
    control_session: Session, application: Application, act: str, actor: Actor, now: datetime
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=f"application.{act}",
        subject_kind="application",
        subject_id=application.id,
        now=now,
    )


def approve(
    *,
    control_session: Session,
    application_id: UUID,
    trial_days: int,
    plan_code: str,
    limits: dict[str, Any],
    features: Mapping[str, bool | str] | None = None,
    quotas: Mapping[str, Any] | None = None,
    currency: str,
    actor: Actor,
    now: datetime,
) -> Tenant:
    """This function will approve an application and leave a tenant that is due for provisioning.

    Both or neither: the tenant, its administrator and the run that makes its database are written
    in the caller's transaction.

    Raises: Decided, Claimed, NotConfirmed, ApplicationNotFound; Invalid for the trial's length.
    """
    if not 1 <= trial_days <= settings().trial_days_max:
        raise Invalid("Choose a longer or shorter trial.", field="trial_days")
    application = _held(control_session, application_id, actor, now)
    _decide(control_session, application, "approved", actor, now, why=plan_code)
    granted = grants.told(limits=limits, features=features, quotas=quotas)
    tenant = Tenant(
        state="approved",
        slug=_slug(control_session, application),
        application_id=application.id,
        name=application.company,
        country=application.country,
        language=application.language,
        timezone=settings().contract_timezone,
        currency=currency,
        plan_code=plan_code,
        plan_grants=grants.facts(granted),
        limits=limits,
        billing_profile=_billing_profile(application),
        trial_days=trial_days,
        created_at=now,
    )
    states.begin(control_session=control_session, machine=TENANT, row=tenant, actor=actor, now=now)
    control_session.add_all(
        [
            ProvisioningRun(tenant_id=tenant.id, run=ids.opaque(), steps_done=[], started_at=now),
            TenantAdmin(
                tenant_id=tenant.id,
                email=application.email,
                name=application.contact_name,
                phone=application.phone,
                created_at=now,
            ),
        ]
    )
    control_session.flush()
    entitlements.write_quotas(
        control_session=control_session, tenant_id=tenant.id, quotas=granted.quotas
    )
    return tenant


def _decide(
    control_session: Session,
    application: Application,
    to: str,
    actor: Actor,
    now: datetime,
    *,
    why: str,
) -> None:
    states.move(
        control_session=control_session,
        machine=APPLICATION,
        row=application,
        to=to,
        actor=actor,
        now=now,
        why=why,
        values={"decided_by": _staff_id(actor), "decided_at": now},
    )


def _billing_profile(application: Application) -> dict[str, Any]:
    """The buyer as papers begin to know it; the tenant's administrator completes it."""
    return {
        "name": application.company,
        "country": application.country,
        "registration_number": application.registration_number,
        "representative": None,
        "address": None,
        "business_type": None,
        "business_item": None,
        "contact_name": application.contact_name,
        "email": application.email,
        "phone": application.phone,
    }


def _slug(control_session: Session, application: Application) -> str:
    """A short name for addresses: of the company if it has Latin letters, else of its domain."""
    control_session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('slug', 0))"))
    base = _latin(application.company)
    if len(base) < 3 and application.email_domain not in FREE_MAIL:
        base = _latin(application.email_domain.partition(".")[0])
    if len(base) < 3:
        base = "team"
    taken = base in _SLUGS_RESERVED or control_session.scalar(
        select(Tenant.id).where(Tenant.slug == base)
    )
    return f"{base}-{ids.opaque(5)}" if taken or base == "team" else base


def _latin(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH_MAX].strip("-")


def reject(
    *,
    control_session: Session,
    application_id: UUID,
    reason: str,
    actor: Actor,
    now: datetime,
    ground: str = "other",
) -> Application:
    """This function will reject an application and mail the reason to the applicant.

    `reason` is what the applicant reads; `ground` is the word that the audit trail keeps. The
    same company may apply again.

    Raises: Decided, Claimed, NotConfirmed, ApplicationNotFound; Invalid for the reason.
    """
    sentences = _reason(reason, ground)
    application = _held(control_session, application_id, actor, now)
    return _refuse(control_session, application, actor, now, ground=ground, sentences=sentences)


def take_back(
    *, control_session: Session, application_id: UUID, reason: str, actor: Actor, now: datetime
) -> Application:
    """This function will reject an application after all, whose approval came to nothing.

    Its tenant must be gone. The applicant gets the mail that every rejection sends.

    Raises: ApplicationNotFound, IllegalMove; Invalid for the reason.
    """
    sentences = _reason(reason, "other")
    application = control_session.get(
        Application, application_id, with_for_update=True, populate_existing=True
    )
    if application is None:
        raise ApplicationNotFound("There is no such application.")
    return _refuse(control_session, application, actor, now, ground="other", sentences=sentences)


def check_reason(*, reason: str) -> None:
    """This function will refuse a reason that no applicant could be told.

    Raises: Invalid.
    """
    _reason(reason, "other")


def _refuse(
    control_session: Session,
    application: Application,
    actor: Actor,
    now: datetime,
    *,
    ground: str,
    sentences: str,
) -> Application:
    _decide(control_session, application, "rejected", actor, now, why=ground)
    application.reject_reason = sentences
    application.dedupe_hash = None
    messages.queue_mail(
        control_session=control_session,
        **_rejection(application, sentences),
        to=application.email,
        now=now,
        regarding_id=application.id,
        dedupe_key=f"rejected:{application.id}",
    )
    return application


def reject_preview(
    *, control_session: Session, application_id: UUID, reason: str, ground: str = "other"
) -> tuple[str, str, str]:
    """This function will return subject, text and HTML of the mail that a rejection would send.

    Raises: ApplicationNotFound; Invalid for the reason.
    """
    application = control_session.get(Application, application_id)
    if application is None or application.state == "erased":
        raise ApplicationNotFound("There is no such application.")
    return messages.render(**_rejection(application, _reason(reason, ground)))


def _rejection(application: Application, reason: str) -> dict[str, Any]:
    return {
        "room": "tenants",
        "name": "application_rejected",
        "language": application.language,
        "context": {
            "application": application,
            "reason": reason,
            "link": status_link(application),
        },
    }


def _reason(reason: str, ground: str) -> str:
    lines = [" ".join(line.split()) for line in reason.replace("\x00", "").splitlines()]
    sentences = "\n".join(line for line in lines if line)
    if ground not in GROUNDS:
        raise Invalid("Choose a ground for the refusal.", field="ground")
    if len(sentences) < REASON_LENGTH_MIN:
        raise Invalid("Say why in a sentence: the applicant reads it.", field="reason")
    if len(sentences) > REASON_LENGTH_MAX:
        raise Invalid("The reason is too long: 1,000 characters at most.", field="reason")
    return sentences
