"""Corrections of pushed usage: events amended or voided for a reason; what they said is kept.

Both are one statement where the events lie, and mark the hours that they touch, so that totals are
right at once. A bill that was made from the event is corrected by the next one, a draft as it is
composed anew. The id stays used: sending a voided event again is a duplicate.

Source: docs/decisions/corrected-events.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor, AuditEvent
from app.base.errors import Conflict, Invalid, NotFound
from tenants import event_bodies
from tenants.event_bodies import Changes, Refusal
from tenants.texts import one_line
from tenants.usage_models import Event, EventCorrection, EventKey

REASON_LENGTH_MAX = 500
SHOWN_MAX = 200
# The subject of the audit trail; its id is the event's own.
SUBJECT = "event"

_CORRECT = text(
    "SELECT outcome, correction FROM correct_event(:tenant_id, :event_id, CAST(:id_hash AS uuid),"
    " :at, :kind, :type, CAST(:new_at AS timestamptz), CAST(:quantity AS numeric),"
    " CAST(:properties AS jsonb), :reason, :actor, :now)"
)


class CorrectionUnfit(Invalid):
    """A correction lacks its reason, changes nothing, or would make an event unsound."""


class NoSuchEvent(NotFound):
    """The tenant has no such event, or has it at another time."""


class EventVoided(Conflict):
    """A voided event is gone for good: it can be neither amended nor voided at another time."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction as it is kept; `repeated` tells that it was made before, by the same call."""

    correction: EventCorrection
    repeated: bool


def amend(
    *,
    usage_session: Session,
    control_session: Session,
    tenant_id: UUID,
    event_id: str,
    at: Any,
    changes: Mapping[str, Any],
    reason: str,
    actor: Actor,
    now: datetime,
) -> Corrected:
    """This function will change what an event says, by the rules for new events.

    `at` is when the event lies now and `changes` has any of type, time, quantity and properties,
    both as they are sent; properties take the place of all that there were. The same call again
    changes nothing. Commit usage first: should control then fail, the same call makes up for it.

    Raises: CorrectionUnfit, NoSuchEvent, EventVoided.
    """
    if not changes:
        raise CorrectionUnfit("Say what of the event is to change.")
    wanted = event_bodies.read_changes(changes, now=now)
    if isinstance(wanted, Refusal):
        raise CorrectionUnfit(wanted.detail, field=wanted.field)
    return _correct(
        usage_session, control_session, tenant_id, event_id,
        kind="amend", at=at, wanted=wanted, reason=reason, actor=actor, now=now,
    )  # fmt: skip


def void(
    *,
    usage_session: Session,
    control_session: Session,
    tenant_id: UUID,
    event_id: str,
    at: Any,
    reason: str,
    actor: Actor,
    now: datetime,
) -> Corrected:
    """This function will take an event back, as if it had never been pushed; its id stays used.

    `at` is when the event lies, as it is sent. The same call again changes nothing. Commit usage
    first: should control then fail, the same call makes up for it.

    Raises: CorrectionUnfit, NoSuchEvent, EventVoided.
    """
    return _correct(
        usage_session, control_session, tenant_id, event_id,
        kind="void", at=at, wanted=Changes(), reason=reason, actor=actor, now=now,
    )  # fmt: skip


def _correct(
    usage_session: Session,
    control_session: Session,
    tenant_id: UUID,
    event_id: str,
    *,
    kind: str,
    at: Any,
    wanted: Changes,
    reason: str,
    actor: Actor,
    now: datetime,
) -> Corrected:
    lies_at = event_bodies.read_time(at)
    if isinstance(lies_at, Refusal):
        raise CorrectionUnfit(lies_at.detail, field="time")
    if not event_bodies.is_id(event_id):
        raise NoSuchEvent("This tenant has no event of this id.", field="id")
    row = usage_session.execute(
        _CORRECT,
        {
            "tenant_id": tenant_id,
            "event_id": event_id,
            "id_hash": event_bodies.hash_of(event_id),
            "at": lies_at,
            "kind": kind,
            "type": wanted.type,
            "new_at": wanted.at,
            "quantity": wanted.quantity,
            "properties": wanted.properties,
            "reason": _reason(reason),
            "actor": f"{actor.kind}:{actor.id or ''}",
            "now": now,
        },
    ).one()
    _refuse(row.outcome)
    made = usage_session.get_one(EventCorrection, (tenant_id, event_id, row.correction))
    _note(control_session, made, actor, now)
    return Corrected(made, repeated=row.outcome == "repeated")


def _reason(typed: str) -> str:
    reason = one_line(typed)
    if not 1 <= len(reason) <= REASON_LENGTH_MAX:
        raise CorrectionUnfit(
            f"Give a reason of 1 to {REASON_LENGTH_MAX} characters.", field="reason"
        )
    return reason


def _refuse(outcome: str) -> None:
    if outcome in ("unknown", "erased"):
        raise NoSuchEvent("This tenant has no event of this id.", field="id")
    if outcome == "elsewhere":
        raise NoSuchEvent(
            "The id is known, but no event of it lies at this time. Name the time that the event"
            " has now, to the microsecond; events past their retention are not kept.",
            field="time",
        )
    if outcome == "voided":
        raise EventVoided("This event was voided. Send what is right as a new event.", field="id")
    if outcome == "unchanged":
        raise CorrectionUnfit("The event says exactly this already.")


def _note(control_session: Session, made: EventCorrection, actor: Actor, now: datetime) -> None:
    """Write a correction into the audit trail, unless it stands there already."""
    details = {"correction": made.number}
    known = control_session.scalar(
        select(AuditEvent.id)
        .where(
            AuditEvent.subject_kind == SUBJECT,
            AuditEvent.subject_id == made.event_id,
            AuditEvent.tenant_id == made.tenant_id,
            AuditEvent.details.contains(details),
        )
        .limit(1)
    )
    if known is not None:
        return
    audit.append(
        control_session=control_session,
        actor=actor,
        action="event.amended" if made.kind == "amend" else "event.voided",
        subject_kind=SUBJECT,
        subject_id=made.event_id,
        tenant_id=made.tenant_id,
        why=made.reason,
        details=details,
        now=now,
    )


def of_event(*, usage_session: Session, tenant_id: UUID, event_id: str) -> list[EventCorrection]:
    """This function will return the corrections of one event, oldest first."""
    return list(
        usage_session.scalars(
            select(EventCorrection)
            .where(EventCorrection.tenant_id == tenant_id, EventCorrection.event_id == event_id)
            .order_by(EventCorrection.number)
        )
    )


def history_of(
    *, usage_session: Session, tenant_id: UUID, event_id: str, after: int = 0
) -> tuple[list[EventCorrection], bool]:
    """This function will return up to SHOWN_MAX corrections of an event, and if there are more.

    They come oldest first, from the one that follows number `after`; an event that was never
    corrected has none.

    Raises: NoSuchEvent.
    """
    if not event_bodies.is_id(event_id) or not _is_known(usage_session, tenant_id, event_id):
        raise NoSuchEvent("This tenant has no event of this id.", field="id")
    found = usage_session.scalars(
        select(EventCorrection)
        .where(
            EventCorrection.tenant_id == tenant_id,
            EventCorrection.event_id == event_id,
            EventCorrection.number > after,
        )
        .order_by(EventCorrection.number)
        .limit(SHOWN_MAX + 1)
    ).all()
    return list(found[:SHOWN_MAX]), len(found) > SHOWN_MAX


def _is_known(usage_session: Session, tenant_id: UUID, event_id: str) -> bool:
    """By its key, which outlives the event: a voided one, and one past its retention, is known."""
    key = (tenant_id, UUID(event_bodies.hash_of(event_id)))
    return usage_session.get(EventKey, key) is not None


def latest_of(
    *, usage_session: Session, tenant_id: UUID, event_ids: Iterable[str]
) -> dict[str, EventCorrection]:
    """This function will return the latest correction of each of these events that has one."""
    rows = usage_session.scalars(
        select(EventCorrection)
        .where(
            EventCorrection.tenant_id == tenant_id, EventCorrection.event_id.in_(list(event_ids))
        )
        .order_by(EventCorrection.number)
    )
    return {row.event_id: row for row in rows}


def find(
    *, usage_session: Session, tenant_id: UUID, event_id: str, event_type: str, at: datetime
) -> Event | None:
    """This function will return an event by its id, type and time; none if it is not there."""
    return usage_session.scalar(
        select(Event).where(
            Event.tenant_id == tenant_id,
            Event.type == event_type,
            Event.at == at,
            Event.id == event_id,
        )
    )
