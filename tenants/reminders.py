"""What is announced before it happens: the end of a trial, and the erasure of a suspended tenant.

A reminder is due while its mail is not written; each level is announced once for each date, so an
extended trial is announced anew, and after a night without jobs only the nearest level is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.base.config import settings
from app.base.messages import Message
from tenants import correspondence
from tenants.models import Tenant, TenantAdmin

# The last warning before an erasure: so long ago, and gone out, or nothing is erased.
LAST_WARNING_BEFORE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Which date of tenants in which state is announced how many days before, by which mail."""

    mail: str
    state: str
    date: InstrumentedAttribute[datetime | None]
    began: InstrumentedAttribute[datetime | None]
    days: tuple[int, ...]  # falling


ANNOUNCEMENTS = (
    Announcement("trial_ends", "trialing", Tenant.trial_ends_at, Tenant.trial_starts_at, (7, 3, 1)),
    Announcement(
        "retention_ends", "suspended", Tenant.destroy_after, Tenant.suspended_at, (30, 7, 1)
    ),
)
_RETENTION = ANNOUNCEMENTS[1]


def _event(kind: Announcement, level: int) -> ColumnElement[str]:
    return func.concat(
        f"{kind.mail}:{level}:", func.to_char(kind.date, "YYYYMMDDHH24MI"), ":", Tenant.id
    )


def warned(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that the last warning of this very date went out.

    To one administrator at least, and `LAST_WARNING_BEFORE` ago.
    """
    return exists().where(
        _is_last_warning(),
        Message.state == "sent",
        Message.sent_at <= now - LAST_WARNING_BEFORE,
    )


def being_warned(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that the last warning is going out, or has just."""
    return exists().where(
        _is_last_warning(),
        or_(
            Message.state == "due",
            and_(Message.state == "sent", Message.sent_at > now - LAST_WARNING_BEFORE),
        ),
    )


def _is_last_warning() -> ColumnElement[bool]:
    last = _event(_RETENTION, _RETENTION.days[-1])
    return and_(
        Message.regarding_id == Tenant.id,
        Message.kind == _RETENTION.mail,
        func.starts_with(Message.dedupe_key, func.concat(last, ":")),
    )


def due(now: datetime) -> list[Select[Tenant, str, int, str]]:
    """This function will return a query for each level: the tenants of whom a mail is missing."""
    queries = []
    for kind in ANNOUNCEMENTS:
        for level, nearer in zip(kind.days, (*kind.days[1:], 0), strict=True):
            event = _event(kind, level)
            queries.append(
                select(Tenant, literal(kind.mail), literal(level), event)
                .where(
                    Tenant.state == kind.state,
                    ~Tenant.legal_hold,
                    kind.date > now + timedelta(days=nearer),
                    kind.date <= now + timedelta(days=level),
                    # Nobody is told on the first day that a three-day trial ends within seven.
                    kind.began < kind.date - timedelta(days=level),
                    exists().where(
                        TenantAdmin.tenant_id == Tenant.id,
                        TenantAdmin.disabled_at.is_(None),
                        ~exists().where(
                            Message.dedupe_key == func.concat(event, ":", TenantAdmin.id)
                        ),
                    ),
                )
                .order_by(Tenant.id)
            )
    return queries


def anything_due(*, control_session: Session, now: datetime) -> bool:
    """This function will tell whether a reminder waits to be written."""
    return any(control_session.execute(query.limit(1)).first() for query in due(now))


def remind(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will write a chunk of the reminders that are due and return how many."""
    written = 0
    for query in due(now):
        for row in control_session.execute(query.limit(limit - written)).all():
            written += _write(control_session, row, now)
        if written >= limit:
            break
    return written


def _write(control_session: Session, row: Row[Tenant, str, int, str], now: datetime) -> int:
    tenant, mail, level, event = row
    date = tenant.trial_ends_at if mail == "trial_ends" else tenant.destroy_after
    assert date is not None, "the query chose it by this date"
    return correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name=mail,
        # The tenant's id is added to the event's name there.
        event=event.rpartition(":")[0],
        context={
            "days": level,
            "date": correspondence.local(date, tenant),
            "retention_days": settings().retention_days,
            "reason": tenant.suspend_reason,
        },
        now=now,
    )
