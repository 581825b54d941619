"""What is erased of an application, when, and the line that remains of it in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.base import accounts, messages, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.messages import Message
from tenants import consents, visits
from tenants.models import APPLICATION, Application, Consent, Erasure, VisitEvent

CHUNK = 200
DATA_CLASSES = ["application", "visits", "messages", "consents", "links"]


class ErasureIncomplete(Exception):
    """Something personal was still found after erasing: nothing is called erased then."""


def overdue(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an application's own retention is over.

    Unconfirmed ones count from the form, rejected ones from the decision.
    Source: PIPA §21; the terms are those that the privacy notice names.
    """
    unconfirmed_since = now - timedelta(days=settings().unconfirmed_retention_days)
    rejected_since = now - timedelta(days=settings().rejected_retention_days)
    return (
        (Application.state == "submitted") & (Application.submitted_at <= unconfirmed_since)
    ) | ((Application.state == "rejected") & (Application.decided_at <= rejected_since))


def erase_overdue(*, control_session: Session, now: datetime) -> int:
    """This function will erase a chunk of overdue applications, each with a line in the ledger.

    Call it until it returns 0.

    Raises: ErasureIncomplete.
    """
    due = control_session.scalars(
        select(Application)
        .where(overdue(now))
        .order_by(Application.id)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    ).all()
    lines = [
        Erasure(
            subject_kind="application",
            subject_id=application.id,
            data_classes=DATA_CLASSES,
            created_on=application.submitted_at.date(),
            destroyed_at=now,
            reason="never confirmed" if application.state == "submitted" else "rejected",
            legal_basis="PIPA §21",
            operator="housekeeping",
            approver="retention policy",
        )
        for application in due
    ]
    left = erase(
        control_session=control_session,
        application_ids=[application.id for application in due],
        actor=Actor.job("housekeeping"),
        now=now,
    )
    for line in lines:
        line.verified = left
    control_session.add_all(lines)
    return len(lines)


def erase(
    *, control_session: Session, application_ids: Sequence[UUID], actor: Actor, now: datetime
) -> dict[str, int]:
    """This function will take every personal datum out of applications and what hangs on them.

    Visits, messages, consents and links go; the row stays, empty, with its reference and state
    `erased`. It returns what was counted afterwards, all zeros; the ledger's line is the caller's.

    Raises: ErasureIncomplete.
    """
    ids = list(application_ids)
    visitor_ids = _visitors_of_nobody_else(control_session, ids)
    visits.erase(control_session=control_session, visitor_ids=visitor_ids)
    messages.erase_regarding(control_session=control_session, ids=ids)
    consents.erase(control_session=control_session, subject_ids=ids)
    accounts.erase_tokens(control_session=control_session, subject_ids=ids)
    states.move_many(
        control_session=control_session,
        machine=APPLICATION,
        model=Application,
        ids=ids,
        to="erased",
        actor=actor,
        now=now,
    )
    control_session.execute(
        update(Application)
        .where(Application.id.in_(ids), Application.state == "erased")
        .values(
            dedupe_hash=None,
            company="",
            registration_number=None,
            contact_name="",
            email="",
            email_domain="",
            phone=None,
            message=None,
            visitor_id=None,
            reject_reason=None,
            erased_at=now,
        )
        .execution_options(synchronize_session=False)
    )
    control_session.expire_all()
    return _verify(control_session, ids, visitor_ids)


def _visitors_of_nobody_else(control_session: Session, application_ids: list[UUID]) -> list[UUID]:
    """One browser may have sent two applications: its trail stays while the other lives."""
    mine = select(Application.visitor_id).where(Application.id.in_(application_ids))
    others = select(Application.visitor_id).where(Application.id.not_in(application_ids))
    found = control_session.scalars(
        mine.where(Application.visitor_id.is_not(None)).except_(
            others.where(Application.visitor_id.is_not(None))
        )
    )
    return [visitor_id for visitor_id in found if visitor_id is not None]


def _verify(
    control_session: Session, application_ids: list[UUID], visitor_ids: list[UUID]
) -> dict[str, int]:
    conditions: dict[str, tuple[type, ColumnElement[bool]]] = {
        "applications": (
            Application,
            Application.id.in_(application_ids) & (Application.state != "erased"),
        ),
        "visits": (VisitEvent, VisitEvent.visitor_id.in_(visitor_ids)),
        "messages": (Message, Message.regarding_id.in_(application_ids)),
        "consents": (Consent, Consent.subject_id.in_(application_ids)),
    }
    left = {
        name: control_session.scalar(select(func.count()).select_from(model).where(condition)) or 0
        for name, (model, condition) in conditions.items()
    }
    if any(left.values()):
        raise ErasureIncomplete(f"after erasing there is still {left}")
    return left
