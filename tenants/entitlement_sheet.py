"""What a tenant may use and has used so far, on one sheet: for programs and for our people.

One statement reads it all, since programs ask before each use. Quotas stand as they were last
counted, seats and storage as they were last read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.orm import Session

from app.base.errors import NotFound
from tenants import grants, quotas
from tenants.grants import Grants, Quota
from tenants.models import LIVE_STATES

GIGABYTE = 1_000_000_000
# Which daily reading says how much of a limit is used, and in how many of the limit's units.
_READ_BY = {grants.SEATS: ("seats", 1), grants.STORAGE_BYTES: ("storage_gb_days", GIGABYTE)}


class NoTenant(NotFound):
    """No live tenant has this id or short name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Why one value is not the plan's: an override in force."""

    id: UUID
    reason: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: on, off or words."""

    code: str
    value: bool | str
    override: Standing | None


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and its use on the last day that was read; no `value` is no limit."""

    key: str
    value: int | None
    used: Decimal | None
    as_of: date | None
    override: Standing | None

    @property
    def remaining(self) -> Decimal | None:
        """What is left, never below nothing; unknown without a limit or a reading."""
        if self.value is None or self.used is None:
            return None
        return max(Decimal(0), self.value - self.used)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """A quota in the month that runs; an empty `counted_at` is a count that is about to be made."""

    meter: str
    quota: Quota
    start: datetime
    end: datetime
    used: Decimal
    counted_at: datetime | None
    override: Standing | None

    @property
    def remaining(self) -> Decimal:
        """What is left to the hard bound, or to the soft one where there is no other."""
        most = self.quota.most
        assert most is not None, "a quota has a bound"
        return max(Decimal(0), most - self.used)

    @property
    def allowed(self) -> bool:
        """False once the hard bound is reached. Events that are pushed are taken all the same."""
        return self.quota.hard is None or self.used < self.quota.hard

    @property
    def over_soft(self) -> bool:
        """True once the soft bound is reached."""
        return self.quota.soft is not None and self.used >= self.quota.soft


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything a tenant may use."""

    tenant_id: UUID
    slug: str
    state: str
    plan_code: str
    timezone: str
    features: tuple[Feature, ...]
    limits: tuple[Limit, ...]
    quotas: tuple[QuotaState, ...]


def of_tenant(*, control_session: Session | Connection, tenant: str, now: datetime) -> Sheet:
    """This function will read what a live tenant, by id or short name, may use and has used.

    It is one statement: a connection whose statements commit by themselves will do.

    Raises: NoTenant.
    """
    try:
        known: UUID | None = UUID(tenant)
    except ValueError:
        known = None
    row = control_session.execute(_QUERY, {"id": known, "slug": tenant, "now": now}).one_or_none()
    if row is None:
        raise NoTenant("Name a tenant by its id or its short name.", field="tenant")
    overrides = {(each["kind"], each["code"]): each for each in row.overrides}
    effective = grants.effective(
        grants.read(row.plan_grants, limits=row.limits),
        [
            grants.read_override(kind, code, each["value"])
            for (kind, code), each in overrides.items()
        ],
    )
    standing = {key: _override(each) for key, each in overrides.items()}
    return Sheet(
        tenant_id=row.id,
        slug=row.slug,
        state=row.state,
        plan_code=row.plan_code,
        timezone=row.timezone,
        features=tuple(
            Feature(code, value, standing.get(("feature", code)))
            for code, value in sorted(effective.features.items())
        ),
        limits=tuple(_limit(key, effective, row.readings, standing) for key in grants.LIMITS),
        quotas=tuple(
            _quota(meter, effective, row, standing, now) for meter in sorted(effective.quotas)
        ),
    )


def _override(kept: Mapping[str, Any]) -> Standing:
    expires = kept["expires_at"]
    return Standing(
        UUID(kept["id"]), kept["reason"], datetime.fromisoformat(expires) if expires else None
    )


def _limit(
    key: str,
    effective: Grants,
    readings: Mapping[str, Any],
    standing: Mapping[tuple[str, str], Standing],
) -> Limit:
    meter, units = _READ_BY[key]
    read = readings.get(meter)
    return Limit(
        key=key,
        value=effective.limits.get(key),
        used=Decimal(read["quantity"]) * units if read else None,
        as_of=date.fromisoformat(read["day"]) if read else None,
        override=standing.get(("limit", key)),
    )


def _quota(
    meter: str,
    effective: Grants,
    row: Row[Any],
    standing: Mapping[tuple[str, str], Standing],
    now: datetime,
) -> QuotaState:
    start, end = quotas.month_of(now, row.timezone)
    counted = row.quotas.get(meter)
    # A month that has just begun is counted within moments; until then nothing of it is known.
    runs = counted is not None and counted["starts_at"] is not None
    runs = runs and datetime.fromisoformat(counted["starts_at"]) == start
    at = counted["counted_at"] if runs else None
    return QuotaState(
        meter=meter,
        quota=effective.quotas[meter],
        start=start,
        end=end,
        used=Decimal(counted["used"]) if runs else Decimal(0),
        counted_at=datetime.fromisoformat(at) if at else None,
        override=standing.get(("quota", meter)),
    )


_live = ", ".join(f"'{state}'" for state in LIVE_STATES)
_QUERY = text(f"""
    SELECT id, slug, state, plan_code, timezone, limits, plan_grants,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'kind', o.kind, 'code', o.code,
                'value', o.value -> 'is', 'reason', o.reason, 'expires_at', o.expires_at)), '[]')
         FROM entitlement_override AS o
         WHERE o.tenant_id = t.id AND o.ended_at IS NULL
           AND (o.expires_at IS NULL OR o.expires_at > :now)) AS overrides,
        (SELECT coalesce(jsonb_object_agg(q.meter, jsonb_build_object('used', q.used::text,
                'starts_at', q.starts_at, 'counted_at', q.counted_at)), '{{}}')
         FROM tenant_quota AS q WHERE q.tenant_id = t.id) AS quotas,
        (SELECT coalesce(jsonb_object_agg(m.meter, jsonb_build_object('day', r.day,
                'quantity', r.quantity::text)), '{{}}')
         FROM (VALUES ('seats'), ('storage_gb_days')) AS m (meter) CROSS JOIN LATERAL (
             SELECT day, quantity FROM reading
             WHERE tenant_id = t.id AND meter = m.meter ORDER BY day DESC LIMIT 1) AS r
        ) AS readings
    FROM tenant AS t
    WHERE (id = CAST(:id AS uuid) OR slug = :slug) AND state IN ({_live})
""")  # noqa: S608 - our own words
