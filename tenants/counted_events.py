"""Counted events: those that a total of a meter stands for, and those that were taken out of it.

The conditions are the very ones that the meter counts by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Row, Text, TextClause, and_, cast, or_, select, text
from sqlalchemy.orm import Session, aliased

from tenants.corrections import SHOWN_MAX
from tenants.meter_definitions import MeterDefinition
from tenants.usage_folds import counting
from tenants.usage_models import Event, EventCorrection

# An event as a correction keeps it, under the name that a meter's conditions know events by.
_SAID = (
    "EXISTS (SELECT FROM (SELECT event_correction.{side} ->> 'type' AS type,"
    " event_correction.{side} -> 'properties' AS properties,"
    " CAST(event_correction.{side} ->> 'quantity' AS numeric) AS quantity) AS e WHERE {counts})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a total was counted from: a tenant's events of `[start, end)`, by a meter and group."""

    definition: MeterDefinition
    tenant_id: UUID
    start: datetime
    end: datetime
    group: Mapping[str, str] = field(default_factory=dict)


def listed(
    *, usage_session: Session, counted: Counted, offset: int, limit: int
) -> Sequence[Row[str, datetime, Decimal, str]]:
    """This function will return events as they are now, with their properties as text.

    As the database writes them: a number of theirs may be longer than a float.
    """
    condition, bound = counting(counted.definition, counted.group)
    event = aliased(Event, name="e")
    return usage_session.execute(
        select(event.id, event.at, event.quantity, cast(event.properties, Text).label("said"))
        .where(
            event.tenant_id == counted.tenant_id,
            event.type == counted.definition.event_type,
            event.at >= counted.start,
            event.at < counted.end,
            text(condition).bindparams(**bound),
        )
        .order_by(event.at, event.id)
        .offset(offset)
        .limit(limit)
    ).all()


def taken_out(*, usage_session: Session, counted: Counted) -> Sequence[EventCorrection]:
    """This function will return up to SHOWN_MAX corrections that took events out of a total.

    They were voided, moved to another time, or say what does not count; the newest come first.
    """
    when = EventCorrection.after["time"].astext
    still = and_(when >= _told(counted.start), when < _told(counted.end), _said("after", counted))
    return usage_session.scalars(
        select(EventCorrection)
        .where(
            EventCorrection.tenant_id == counted.tenant_id,
            EventCorrection.at >= counted.start,
            EventCorrection.at < counted.end,
            _said("before", counted),
            or_(EventCorrection.after.is_(None), ~still),
        )
        .order_by(EventCorrection.corrected_at.desc())
        .limit(SHOWN_MAX)
    ).all()


def _said(side: str, counted: Counted) -> TextClause:
    condition, bound = counting(counted.definition, counted.group)
    return text(_SAID.format(side=side, counts=condition)).bindparams(**bound)


def _told(moment: datetime) -> str:
    """A moment as corrections keep it: as texts they sort like the moments."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
