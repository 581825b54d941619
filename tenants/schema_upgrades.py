"""Schema upgrades: every live tenant's database brought to the newest revision, one by one.

Which database is behind stands beside its place; a row here says who works on it and why it did
not work. A lease keeps several runs apart, and a lock in the database itself is the last word: one
migration is one transaction under it, so a run that is killed leaves either revision, and the next
one finds out which. What fails stays at its revision with the reason, and stops nobody else.
A revision that this code doesn't know is a newer code's, which was rolled back: nobody touches it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from app.base import leases
from tenants import template
from tenants.models import LIVE_STATES, Cluster, SchemaUpgrade, Tenant, TenantDatabase

# What PostgreSQL says when somebody else holds a table for longer than `lock_timeout`.
_LOCKED = "LockNotAvailable"


@dataclass(frozen=True, slots=True)
class Behind:
    """A database that is not at the newest revision, and what went wrong the last time."""

    tenant_id: UUID
    slug: str
    revision: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Newer:
    """A database at a revision that only a newer code knows."""

    tenant_id: UUID
    slug: str
    revision: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One database to bring from a revision to another; holds no connection."""

    tenant_id: UUID
    slug: str
    cluster_url: str
    database: str
    revision: str | None
    target: str


def behind(*, control_session: Session) -> list[Behind]:
    """This function will list the live tenants' databases that are at an older revision."""
    rows = control_session.execute(
        select(Tenant.id, Tenant.slug, TenantDatabase.schema_revision, SchemaUpgrade.last_error)
        .join(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
        .outerjoin(SchemaUpgrade, SchemaUpgrade.tenant_id == Tenant.id)
        .where(_is_behind())
        .order_by(Tenant.slug)
    )
    return [Behind(*row) for row in rows]


def newer(*, control_session: Session) -> list[Newer]:
    """This function will list the live tenants' databases that are ahead of this code."""
    rows = control_session.execute(
        select(Tenant.id, Tenant.slug, TenantDatabase.schema_revision)
        .join(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
        .where(
            Tenant.state.in_(LIVE_STATES),
            TenantDatabase.schema_revision.not_in(template.known_revisions()),
        )
        .order_by(Tenant.slug)
    )
    return [Newer(row.id, row.slug, str(row.schema_revision)) for row in rows]


def _is_behind() -> ColumnElement[bool]:
    return and_(
        Tenant.state.in_(LIVE_STATES),
        or_(
            TenantDatabase.schema_revision.is_(None),
            TenantDatabase.schema_revision.in_(_older()),
        ),
    )


def _older() -> list[str]:
    return sorted(template.known_revisions() - {template.head_revision()})


def enlist(*, control_session: Session) -> int:
    """This function will write down what is behind, and let what failed before be tried again.

    Returns how many databases are behind. What another run works on stays its own.
    """
    control_session.execute(
        text(
            "INSERT INTO schema_upgrade AS u (tenant_id, target)"
            " SELECT d.tenant_id, :target"
            " FROM tenant_database d JOIN tenant t ON t.id = d.tenant_id"
            " WHERE t.state = ANY(:live)"
            " AND (d.schema_revision IS NULL OR d.schema_revision = ANY(:older))"
            " ORDER BY d.tenant_id"
            " ON CONFLICT (tenant_id) DO UPDATE"
            " SET target = excluded.target, attempts = 0, retry_at = NULL"
            " WHERE u.lease_until IS NULL OR u.lease_until < clock_timestamp()"
        ),
        {"target": template.head_revision(), "live": list(LIVE_STATES), "older": _older()},
    )
    return len(behind(control_session=control_session))


def begin(*, control_session: Session, tried: Collection[UUID]) -> Upgrade | None:
    """This function will lease one database that is behind, if one is free that was not tried."""
    mine = select(TenantDatabase.tenant_id).join(Tenant).where(_is_behind())
    claimed = leases.claim(
        control_session=control_session,
        model=SchemaUpgrade,
        due=and_(
            SchemaUpgrade.tenant_id.in_(mine),
            SchemaUpgrade.tenant_id.not_in(list(tried)),
            SchemaUpgrade.target == template.head_revision(),
        ),
        limit=1,
        order_by=SchemaUpgrade.attempts,
    )
    if not claimed:
        return None
    row = control_session.execute(
        select(
            Tenant.id,
            Tenant.slug,
            Cluster.url,
            TenantDatabase.database_name,
            TenantDatabase.schema_revision,
            SchemaUpgrade.target,
        )
        .join(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
        .join(Cluster, Cluster.id == TenantDatabase.cluster_id)
        .join(SchemaUpgrade, SchemaUpgrade.tenant_id == Tenant.id)
        .where(Tenant.id == claimed[0])
    ).one()
    return Upgrade(*row)


def perform(upgrade: Upgrade) -> None:
    """This function will migrate the database in one transaction; control is not asked.

    A database that is there already stays as it is; it waits `template.LOCK_TIMEOUT_MS` for locks.
    Never from two threads of one process.

    Raises: whatever the server or the migration does.
    """
    template.migrate(upgrade.cluster_url, upgrade.database, upgrade.target)


def record(*, control_session: Session, upgrade: Upgrade) -> None:
    """This function will note the revision that a database has reached; again changes nothing."""
    control_session.execute(
        update(TenantDatabase)
        .where(TenantDatabase.tenant_id == upgrade.tenant_id)
        .values(schema_revision=upgrade.target)
        .execution_options(synchronize_session=False)
    )
    control_session.execute(
        delete(SchemaUpgrade)
        .where(SchemaUpgrade.tenant_id == upgrade.tenant_id)
        .execution_options(synchronize_session=False)
    )


def park(*, control_session: Session, upgrade: Upgrade, error: Exception) -> str:
    """This function will put a database aside with the reason, and return the reason."""
    reason = reason_of(error)
    leases.fail(
        control_session=control_session, model=SchemaUpgrade, key=upgrade.tenant_id, error=reason
    )
    return reason


def is_locked(error: Exception) -> bool:
    """This function will tell whether somebody held what the migration needs: try again soon."""
    return type(getattr(error, "orig", error)).__name__ == _LOCKED


def reason_of(error: Exception) -> str:
    """This function will say in a line why a migration failed."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"


def others_at_work(*, control_session: Session, tried: Collection[UUID]) -> int:
    """This function will count what is behind and not tried: leased elsewhere, or pausing."""
    found = control_session.scalar(
        select(func.count())
        .select_from(SchemaUpgrade)
        .join(TenantDatabase, TenantDatabase.tenant_id == SchemaUpgrade.tenant_id)
        .join(Tenant, Tenant.id == SchemaUpgrade.tenant_id)
        .where(
            _is_behind(),
            SchemaUpgrade.tenant_id.not_in(list(tried)),
            SchemaUpgrade.target == template.head_revision(),
            or_(
                SchemaUpgrade.lease_until > func.clock_timestamp(),
                SchemaUpgrade.retry_at > func.clock_timestamp(),
                leases.free(SchemaUpgrade),
            ),
        )
    )
    return found or 0
