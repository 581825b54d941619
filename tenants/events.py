"""Pushed usage: each event counts once for its tenant's whole life, however often it arrives.

Events lie where `usage_session` leads, which may be another server than control's.

Source: docs/decisions/event-keys.md, docs/decisions/usage-storage.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.errors import Conflict, Invalid
from tenants.event_bodies import Body, Refusal, read
from tenants.models import LIVE_STATES, Tenant
from tenants.rollup_models import UsageMark, UsageRollup, UsageValue
from tenants.usage_models import ErasedTenant, Event, EventKey

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


class StillServed(Conflict):
    """The events of a tenant are kept as long as the tenant is."""


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
        WHERE NOT EXISTS (SELECT FROM erased_tenant e WHERE e.tenant_id = r.tenant_id)
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

# From each tenant's first key to the next tenant's: as many looks as there are tenants.
_TENANTS = text("""
    WITH RECURSIVE known (tenant_id) AS (
        (SELECT tenant_id FROM event_key ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT k.tenant_id FROM event_key k WHERE k.tenant_id > known.tenant_id
                ORDER BY k.tenant_id LIMIT 1)
        FROM known WHERE known.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM known WHERE tenant_id IS NOT NULL
""")


def accept(
    *, usage_session: Session, control_session: Session, events: Sequence[Any], now: datetime
) -> list[Outcome]:
    """This function will store what is new of up to a call's worth of events, each once.

    Events are decoded JSON values with numbers as Decimal, or a Refusal where a door could not even
    decode one. There is an outcome for each, in their order; nothing is durable before the caller's
    commit, and a later call with the same events is harmless. Control is only read.

    Raises: WrongCount.
    """
    most = settings().event_batch_max
    if not 1 <= len(events) <= most:
        raise WrongCount(f"Send 1 to {most} events in a call; these are {len(events)}.")
    bodies = [read(event, now=now) for event in events]
    sound = {index: body for index, body in enumerate(bodies) if isinstance(body, Body)}
    _enter(usage_session, [body.at for body in sound.values()])
    tenant_ids = _tenants(control_session, {body.tenant for body in sound.values()})
    places = [
        _Place(index, tenant_ids[body.tenant], body)
        for index, body in sound.items()
        if body.tenant in tenant_ids
    ]
    outcomes = [Outcome("refused", b if isinstance(b, Refusal) else _UNKNOWN) for b in bodies]
    for place, outcome in _settle(usage_session, places, now):
        outcomes[place.index] = outcome
    return outcomes


def _enter(usage_session: Session, moments: Iterable[datetime]) -> None:
    """Hold the lock of those who write events, and see that each event's month has its place.

    A statement of its own: what is read after it knows of every tenant that is going.
    """
    usage_session.execute(
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
    usage_session: Session, places: Sequence[_Place], now: datetime
) -> list[tuple[_Place, Outcome]]:
    """The outcome of each: what comes second, in this call or after an earlier one, is no news."""
    firsts: dict[tuple[UUID, str], _Place] = {}
    for place in places:
        firsts.setdefault(place.key, place)
    fresh = _store(usage_session, list(firsts.values()), now)
    known = {place.key: place.body.body_hash for place in firsts.values() if place.index in fresh}
    known |= _stored(usage_session, [p for p in firsts.values() if p.index not in fresh])
    outcomes = []
    for place in places:
        if place.index in fresh:
            outcomes.append((place, Outcome("accepted")))
        elif place.key not in known:
            outcomes.append((place, Outcome("refused", _UNKNOWN)))
        elif known[place.key] == place.body.body_hash:
            outcomes.append((place, Outcome("duplicate")))
        else:
            outcomes.append((place, Outcome("conflict", _CONFLICT)))
    return outcomes


def _store(usage_session: Session, places: Sequence[_Place], now: datetime) -> set[int]:
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
    return set(usage_session.scalars(_STORE, {"rows": written, "now": now}))


def _stored(usage_session: Session, places: Sequence[_Place]) -> dict[tuple[UUID, str], str]:
    """The bodies already known under these keys; read after the others' transactions ended.

    There is none for a key that was not taken because its tenant has come to its end.
    """
    if not places:
        return {}
    rows = usage_session.execute(
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


def make_months_ahead(*, usage_session: Session, now: datetime) -> int:
    """This function will make this month's partition of events and the next ones, before need."""
    months = [_later(now.date(), ahead) for ahead in range(MONTHS_AHEAD + 1)]
    return usage_session.scalar(select(func.ensure_event_months(months))) or 0


def erase_old(*, usage_session: Session, now: datetime) -> int:
    """This function will drop the months of events whose retention is over; their keys stay."""
    oldest = _later(now.date(), -settings().event_retention_months)
    return usage_session.scalar(select(func.drop_event_months_before(oldest))) or 0


def _later(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, 1)


def end(
    *, usage_session: Session, control_session: Session, tenant_id: UUID, now: datetime
) -> None:
    """This function will write down, for good, that no event of a tenant is taken any more.

    Commit it before `erase`: whoever takes an event looks here under the lock that `erase` awaits.

    Raises: StillServed for a tenant that is not being destroyed.
    """
    state = control_session.scalar(
        select(Tenant.state).where(Tenant.id == tenant_id).with_for_update(read=True)
    )
    if state not in ("destroying", "destroyed"):
        raise StillServed("This tenant is not being destroyed.")
    usage_session.execute(
        insert(ErasedTenant)
        .values(tenant_id=tenant_id, erased_at=now)
        .on_conflict_do_nothing(index_elements=[ErasedTenant.tenant_id])
    )


def erase(*, usage_session: Session, tenant_id: UUID) -> int:
    """This function will delete up to ERASED_AT_ONCE events and keys of an ended tenant.

    It returns how many went; nothing is left when it is none. The database refuses it for a tenant
    whose end is not written down.
    """
    return usage_session.scalar(select(func.erase_events(tenant_id, ERASED_AT_ONCE))) or 0


def left(*, usage_session: Session, tenant_id: UUID) -> dict[str, int]:
    """This function will count what is kept of a tenant's pushed usage, table by table."""
    return {
        model.__tablename__: usage_session.scalar(
            select(func.count()).select_from(model).where(model.tenant_id == tenant_id)
        )
        or 0
        for model in (Event, EventKey, UsageMark, UsageRollup, UsageValue)
    }


def tenants_with_events(*, usage_session: Session) -> set[UUID]:
    """This function will name every tenant of whom an event is known, by a loose index scan."""
    return set(usage_session.scalars(_TENANTS))
