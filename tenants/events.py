"""Pushed usage: each event counts once for its tenant's whole life, however often it arrives.

Source: docs/decisions/event-keys.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.errors import Invalid
from tenants.event_bodies import Body, Refusal, read
from tenants.models import LIVE_STATES

MONTHS_AHEAD = 2
ERASED_AT_ONCE = 50_000
OUTCOMES = ("accepted", "duplicate", "conflict", "refused")
_CONFLICT = Refusal(
    "same_id_other_body",
    "This id was used for another event of this tenant. Send a new event under a new id.",
    "id",
)
_UNKNOWN = Refusal("unknown_tenant", "Name a tenant by its id or its short name.", "tenant")


class WrongCount(Invalid):
    """A call brought no event, or more than one call may bring."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event; `refusal` says why it was not taken."""

    outcome: Literal["accepted", "duplicate", "conflict", "refused"]
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sound event of a known tenant stands in its call."""

    index: int
    tenant_id: UUID
    body: Body

    @property
    def key(self) -> tuple[UUID, str]:
        return self.tenant_id, self.body.id_hash


_STORE = text("""
    WITH incoming AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r (
            place int, tenant_id uuid, id text, id_hash uuid, body_hash uuid, type text,
            at timestamptz, quantity numeric, properties text)
    ), taken AS (
        -- In one order everywhere, so that two calls with the same ids never wait for each other.
        INSERT INTO event_key (tenant_id, id_hash, body_hash)
        SELECT tenant_id, id_hash, body_hash FROM incoming ORDER BY tenant_id, id_hash
        ON CONFLICT DO NOTHING RETURNING tenant_id, id_hash
    ), fresh AS (
        SELECT incoming.* FROM incoming JOIN taken USING (tenant_id, id_hash)
    ), stored AS (
        INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
        SELECT tenant_id, id, type, at, quantity, CAST(properties AS jsonb), :now FROM fresh
    )
    SELECT place FROM fresh
""")


def accept(*, control_session: Session, events: Sequence[Any], now: datetime) -> list[Outcome]:
    """This function will store what is new of up to a call's worth of events, each once.

    Events are decoded JSON values with numbers as Decimal, or a Refusal where a door could not even
    decode one. There is an outcome for each, in their order; nothing is durable before the caller's
    commit, and a later call with the same events is harmless.

    Raises: WrongCount.
    """
    most = settings().event_batch_max
    if not 1 <= len(events) <= most:
        raise WrongCount(f"Send 1 to {most} events in a call; these are {len(events)}.")
    bodies = [read(event, now=now) for event in events]
    sound = {index: body for index, body in enumerate(bodies) if isinstance(body, Body)}
    _enter(control_session, [body.at for body in sound.values()])
    tenant_ids = _tenants(control_session, {body.tenant for body in sound.values()})
    places = [
        _Place(index, tenant_ids[body.tenant], body)
        for index, body in sound.items()
        if body.tenant in tenant_ids
    ]
    outcomes = [Outcome("refused", b if isinstance(b, Refusal) else _UNKNOWN) for b in bodies]
    for place, outcome in _settle(control_session, places, now):
        outcomes[place.index] = outcome
    return outcomes


def _enter(control_session: Session, moments: Iterable[datetime]) -> None:
    """Hold the lock of those who write events, and see that each event's month has its place.

    A statement of its own: what is read after it knows of every tenant that is going.
    """
    control_session.execute(
        text(
            "SELECT pg_advisory_xact_lock_shared(event_writers_lock()),"
            " ensure_event_months(CAST(:months AS date[]))"
        ),
        {"months": sorted({_month(at) for at in moments})},
    )


def _month(at: datetime) -> date:
    return at.date().replace(day=1)


def _tenants(control_session: Session, names: set[str]) -> dict[str, UUID]:
    """The live ones of these tenants, under the names by which they were called."""
    if not names:
        return {}
    ids = {name: tenant_id for name in names if (tenant_id := _uuid(name))}
    rows = control_session.execute(
        text(
            "SELECT id, slug FROM tenant WHERE state = ANY(:live)"
            " AND (id = ANY(CAST(:ids AS uuid[])) OR slug = ANY(:names))"
        ),
        {"live": list(LIVE_STATES), "ids": list(ids.values()), "names": list(names)},
    ).all()
    known = {row.id for row in rows}
    return {name: found for name, found in ids.items() if found in known} | {
        row.slug: row.id for row in rows if row.slug in names
    }


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name) if len(name) == 36 else None
    except ValueError:
        return None


def _settle(
    control_session: Session, places: Sequence[_Place], now: datetime
) -> list[tuple[_Place, Outcome]]:
    """The outcome of each: what comes second, in this call or after an earlier one, is no news."""
    firsts: dict[tuple[UUID, str], _Place] = {}
    for place in places:
        firsts.setdefault(place.key, place)
    fresh = _store(control_session, list(firsts.values()), now)
    known = {key: place.body.body_hash for key, place in firsts.items()}
    known |= _stored(control_session, [p for p in firsts.values() if p.index not in fresh])
    outcomes = []
    for place in places:
        if place.index in fresh:
            outcomes.append((place, Outcome("accepted")))
        elif known[place.key] == place.body.body_hash:
            outcomes.append((place, Outcome("duplicate")))
        else:
            outcomes.append((place, Outcome("conflict", _CONFLICT)))
    return outcomes


def _store(control_session: Session, places: Sequence[_Place], now: datetime) -> set[int]:
    if not places:
        return set()
    rows = [
        {
            "place": place.index,
            "tenant_id": str(place.tenant_id),
            "id": place.body.id,
            "id_hash": place.body.id_hash,
            "body_hash": place.body.body_hash,
            "type": place.body.type,
            "at": place.body.at.isoformat(),
            "quantity": place.body.quantity,
            "properties": place.body.properties,
        }
        for place in places
    ]
    written = json.dumps(rows, ensure_ascii=False)
    return set(control_session.scalars(_STORE, {"rows": written, "now": now}))


def _stored(control_session: Session, places: Sequence[_Place]) -> dict[tuple[UUID, str], str]:
    """The bodies already known under these keys; read after the others' transactions ended."""
    if not places:
        return {}
    rows = control_session.execute(
        text(
            "SELECT tenant_id, id_hash, body_hash FROM event_key JOIN"
            " unnest(CAST(:tenants AS uuid[]), CAST(:hashes AS uuid[])) AS w (tenant_id, id_hash)"
            " USING (tenant_id, id_hash)"
        ),
        {
            "tenants": [place.tenant_id for place in places],
            "hashes": [place.body.id_hash for place in places],
        },
    )
    return {(row.tenant_id, row.id_hash.hex): row.body_hash.hex for row in rows}


def make_months_ahead(*, control_session: Session, now: datetime) -> int:
    """This function will make this month's partition of events and the next ones, before need."""
    months = [_later(now.date(), ahead) for ahead in range(MONTHS_AHEAD + 1)]
    return control_session.scalar(select(func.ensure_event_months(months))) or 0


def erase_old(*, control_session: Session, now: datetime) -> int:
    """This function will drop the months of events whose retention is over; their keys stay."""
    oldest = _later(now.date(), -settings().event_retention_months)
    return control_session.scalar(select(func.drop_event_months_before(oldest))) or 0


def _later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, 1)


def erase(*, control_session: Session, tenant_id: UUID) -> None:
    """This function will delete every event, and every key of one, of a tenant that is going.

    The database refuses it for any other tenant.
    """
    erased = ERASED_AT_ONCE
    while erased >= ERASED_AT_ONCE:
        erased = control_session.scalar(select(func.erase_events(tenant_id, ERASED_AT_ONCE))) or 0
