"""Pushed usage: each event counts once for its tenant's whole life, however often it arrives.

Events lie where `usage_session` leads, which may be another server than control's.

Source: docs/decisions/event-keys.md, docs/decisions/usage-storage.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.errors import Conflict, Invalid
from app.base.remembered import Remembered
from tenants.event_bodies import Body, Refusal, read_all
from tenants.models import LIVE_STATES, Tenant
from tenants.rollup_models import UsageMark, UsageRollup, UsageValue
from tenants.usage_models import ErasedTenant, Event, EventCorrection, EventKey

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


_ACCEPTED = Outcome("accepted")
_DUPLICATE = Outcome("duplicate")
_CONFLICTING = Outcome("conflict", _CONFLICT)
_REFUSED = Outcome("refused", _UNKNOWN)
_live: Remembered[str, UUID] = Remembered()
_Place = tuple[int, UUID, Body]  # where a sound event of a known tenant stands in its call

_STORE = text(
    "SELECT place, known FROM accept_events(CAST(:months AS date[]), CAST(:tenants AS uuid[]),"
    " CAST(:ids AS text[]), CAST(:id_hashes AS uuid[]), CAST(:body_hashes AS uuid[]),"
    " CAST(:types AS text[]), CAST(:moments AS timestamptz[]), CAST(:quantities AS numeric[]),"
    " CAST(:propertieses AS jsonb[]), :received)"
)
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


def check_count(events: Sequence[Any]) -> None:
    """This function will refuse a call that brings nothing, or more than one call may.

    Raises: WrongCount.
    """
    most = settings().event_batch_max
    if not 1 <= len(events) <= most:
        raise WrongCount(f"Send 1 to {most} events in a call; these are {len(events)}.")


def accept(
    *,
    usage_session: Session | Connection,
    control_session: Session,
    events: Sequence[Any],
    now: datetime,
) -> list[Outcome]:
    """This function will store what is new of the events of one call, or of several, each once.

    Events are decoded JSON values with numbers as Decimal, or a Refusal where a door could not even
    decode one. There is an outcome for each, in their order; nothing is durable before the caller's
    commit, and a later call with the same events is harmless. Control is only read.
    """
    bodies = read_all(events, now=now)
    names = {body.tenant for body in bodies if isinstance(body, Body)}
    tenant_ids = _tenants(control_session, names)
    outcomes, places = [], []
    for index, body in enumerate(bodies):
        if isinstance(body, Refusal):
            outcomes.append(Outcome("refused", body))
            continue
        outcomes.append(_REFUSED)
        if body.tenant in tenant_ids:
            places.append((index, tenant_ids[body.tenant], body))
    for index, outcome in _settle(usage_session, places, now):
        outcomes[index] = outcome
    return outcomes


def _tenants(control_session: Session, names: set[str]) -> dict[str, UUID]:
    """The live ones of these tenants, under the names by which they were called.

    Remembered for a moment: who is gone for good is known where the events lie.
    """
    found = {name: known for name in names if (known := _live.get(name)) is not None}
    if len(found) < len(names):
        read = _read_tenants(control_session, names - found.keys())
        _live.learn(read)
        found |= read
    return found


def _read_tenants(control_session: Session, names: set[str]) -> dict[str, UUID]:
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
    usage_session: Session | Connection, places: Sequence[_Place], now: datetime
) -> Iterator[tuple[int, Outcome]]:
    """The outcome of each: what comes second, in this call or after an earlier one, is no news."""
    firsts: dict[tuple[UUID, str], _Place] = {}
    for place in places:
        firsts.setdefault((place[1], place[2].id_hash), place)
    known = _store(usage_session, list(firsts.values()), now)
    for index, tenant_id, body in places:
        first = firsts[tenant_id, body.id_hash]
        if first[0] not in known:
            stored: str | None = first[2].body_hash
            fresh = first[0] == index
        else:
            stored, fresh = known[first[0]], False
        if fresh:
            yield index, _ACCEPTED
        elif stored is None:
            yield index, _REFUSED
        else:
            yield index, _DUPLICATE if stored == body.body_hash else _CONFLICTING


def _store(
    usage_session: Session | Connection, places: Sequence[_Place], now: datetime
) -> dict[int, str | None]:
    """What is known under the keys that are not new; nothing of tenants that are gone."""
    if not places:
        return {}
    bodies = [body for _index, _tenant_id, body in places]
    rows = usage_session.execute(
        _STORE,
        {
            "months": _array({f"{body.at[:7]}-01" for body in bodies}),
            "tenants": _array([str(tenant_id) for _index, tenant_id, _body in places]),
            "ids": _array([_quoted(body.id) for body in bodies]),
            "id_hashes": _array([body.id_hash for body in bodies]),
            "body_hashes": _array([body.body_hash for body in bodies]),
            "types": _array([_quoted(body.type) for body in bodies]),
            "moments": _array([body.at for body in bodies]),
            "quantities": _array([body.quantity for body in bodies]),
            "propertieses": _array([_quoted(body.properties) for body in bodies]),
            "received": now,
        },
    )
    return {places[row.place - 1][0]: None if row.known is None else row.known.hex for row in rows}


def _array(elements: Iterable[str]) -> str:
    """An array in PostgreSQL's own form: the driver would put a list into it object by object."""
    return "{" + ",".join(elements) + "}"


def _quoted(element: str) -> str:
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_months_ahead(*, usage_session: Session, now: datetime) -> int:
    """This function will make this month's partition of events and the next ones, before need."""
    months = [_later(now.date(), ahead) for ahead in range(MONTHS_AHEAD + 1)]
    return usage_session.scalar(select(func.ensure_event_months(months))) or 0


def erase_old(*, usage_session: Session, now: datetime) -> int:
    """This function will drop the months of events whose retention is over; their keys stay.

    What is kept of their corrections goes with them.
    """
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
        for model in (Event, EventKey, EventCorrection, UsageMark, UsageRollup, UsageValue)
    }


def tenants_with_events(*, usage_session: Session) -> set[UUID]:
    """This function will name every tenant of whom an event is known, by a loose index scan."""
    return set(usage_session.scalars(_TENANTS))
