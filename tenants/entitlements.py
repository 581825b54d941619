"""Entitlements: what a tenant may use, which is what its plan grants with its overrides.

The invoices' room writes down what a plan grants; people of ours override single values for one
tenant, for a reason and perhaps for a time. What comes out is written on to where it is held: the
limits in the tenant's database, the quotas as rows that are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.errors import Invalid, NotFound
from tenants import grants, limits, meters
from tenants.databases import NoSuchTenant
from tenants.entitlement_models import EntitlementOverride, TenantQuota
from tenants.grants import Grants, GrantUnsound, Override, Quota
from tenants.models import GONE_STATES, Tenant

EXPIRED_AT_ONCE = 200
REASON_LENGTH_MAX = 500
OVERRIDES_MAX = 100


class OverrideUnsound(Invalid):
    """An override has no reason, an end that is past, or there are too many of them."""


class NoSuchOverride(NotFound):
    """There is no such override, or it has ended."""


def grant(
    *, control_session: Session, tenant: Tenant, granted: Grants, actor: Actor, now: datetime
) -> None:
    """This function will note what a tenant's plan grants and write on what it may use by it.

    The tenant's row is locked by the caller. Overrides stay in force under the new plan.
    """
    tenant.plan_grants = grants.facts(granted)
    control_session.flush()
    _write_on(control_session, tenant, granted, actor, now)


def override(
    *,
    control_session: Session,
    tenant_id: UUID,
    wanted: Override,
    reason: str,
    expires_at: datetime | None,
    actor: Actor,
    now: datetime,
) -> EntitlementOverride:
    """This function will put a value in the place of the plan's; one before it of its code ends.

    Raises: OverrideUnsound, GrantUnsound; NoSuchTenant for one that is gone.
    """
    grants.check_override(wanted)
    if not reason.strip() or len(reason) > REASON_LENGTH_MAX:
        raise OverrideUnsound("Please say why: it is written to the audit trail.", field="why")
    if expires_at is not None and expires_at <= now:
        raise OverrideUnsound("Choose an end that lies ahead.", field="expires")
    tenant = _locked(control_session, tenant_id)
    if wanted.kind == "quota":
        check_meters(control_session=control_session, codes=[wanted.code])
    standing = in_force(control_session=control_session, tenant_id=tenant_id, now=now)
    if len(standing) >= OVERRIDES_MAX:
        raise OverrideUnsound("There are too many overrides: end some first.", field="code")
    _end(control_session, _of_code(control_session, tenant_id, wanted), actor, now)
    row = EntitlementOverride(
        tenant_id=tenant_id,
        kind=wanted.kind,
        code=wanted.code,
        value={"is": grants.value_facts(wanted.value)},
        reason=reason.strip(),
        created_by=_named(actor),
        created_at=now,
        expires_at=expires_at,
    )
    control_session.add(row)
    control_session.flush()
    _note(control_session, row, "tenant.entitlement_overridden", actor, now, why=row.reason)
    _write_on(control_session, tenant, granted(tenant), actor, now)
    return row


def end_override(
    *,
    control_session: Session,
    tenant_id: UUID,
    override_id: UUID,
    reason: str,
    actor: Actor,
    now: datetime,
) -> None:
    """This function will end an override: the plan's value holds again.

    Raises: NoSuchOverride, NoSuchTenant, OverrideUnsound.
    """
    if not reason.strip():
        raise OverrideUnsound("Please say why: it is written to the audit trail.", field="why")
    tenant = _locked(control_session, tenant_id)
    row = control_session.get(EntitlementOverride, override_id, populate_existing=True)
    if row is None or row.tenant_id != tenant_id or row.ended_at is not None:
        raise NoSuchOverride("There is no such exception, or it has ended.")
    _end(control_session, [row], actor, now, why=reason.strip())
    _write_on(control_session, tenant, granted(tenant), actor, now)


def anything_expired(*, control_session: Session, now: datetime) -> bool:
    """This function will tell whether an override's time is over that nobody has ended."""
    query = select(EntitlementOverride.id).where(
        EntitlementOverride.ended_at.is_(None), EntitlementOverride.expires_at <= now
    )
    return control_session.scalar(query.limit(1)) is not None


def end_expired(*, control_session: Session, actor: Actor, now: datetime) -> int:
    """This function will end a chunk of overrides whose time is over, and return how many."""
    due = EntitlementOverride.ended_at.is_(None) & (EntitlementOverride.expires_at <= now)
    tenants = control_session.scalars(
        select(Tenant)
        .where(Tenant.id.in_(select(EntitlementOverride.tenant_id).where(due)))
        .order_by(Tenant.id)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    ended = 0
    for tenant in tenants:
        rows = control_session.scalars(
            select(EntitlementOverride).where(due, EntitlementOverride.tenant_id == tenant.id)
        ).all()
        _end(control_session, rows, actor, now, why="expired")
        if tenant.state not in GONE_STATES:
            _write_on(control_session, tenant, granted(tenant), actor, now)
        ended += len(rows)
    return ended


def in_force(
    *, control_session: Session, tenant_id: UUID, now: datetime
) -> Sequence[EntitlementOverride]:
    """This function will list a tenant's overrides that hold now, by kind and code."""
    return control_session.scalars(
        select(EntitlementOverride)
        .where(
            EntitlementOverride.tenant_id == tenant_id,
            EntitlementOverride.ended_at.is_(None),
            or_(EntitlementOverride.expires_at.is_(None), EntitlementOverride.expires_at > now),
        )
        .order_by(EntitlementOverride.kind, EntitlementOverride.code)
    ).all()


def granted(tenant: Tenant) -> Grants:
    """This function will return what a tenant's plan grants, without its overrides."""
    return grants.read(tenant.plan_grants, limits=tenant.limits)


def overrides_of(rows: Sequence[EntitlementOverride]) -> list[Override]:
    """This function will return stored overrides as the rules take them."""
    return [grants.read_override(row.kind, row.code, row.value["is"]) for row in rows]


def check_meters(*, control_session: Session, codes: Sequence[str]) -> None:
    """This function will refuse quotas of meters that don't count pushed events.

    Raises: GrantUnsound.
    """
    if not codes:
        return
    known = {each.code for each in meters.counted(control_session=control_session)}
    for code in codes:
        if code not in known:
            raise GrantUnsound(f"No meter of events is called {code}.", field=f"quotas.{code}")


def _locked(control_session: Session, tenant_id: UUID) -> Tenant:
    tenant = control_session.get(Tenant, tenant_id, with_for_update=True, populate_existing=True)
    if tenant is None or tenant.state in GONE_STATES:
        raise NoSuchTenant("There is no such tenant.")
    return tenant


def _of_code(
    control_session: Session, tenant_id: UUID, wanted: Override
) -> Sequence[EntitlementOverride]:
    return control_session.scalars(
        select(EntitlementOverride).where(
            EntitlementOverride.tenant_id == tenant_id,
            EntitlementOverride.kind == wanted.kind,
            EntitlementOverride.code == wanted.code,
            EntitlementOverride.ended_at.is_(None),
        )
    ).all()


def _end(
    control_session: Session,
    rows: Sequence[EntitlementOverride],
    actor: Actor,
    now: datetime,
    why: str = "replaced",
) -> None:
    for row in rows:
        row.ended_at, row.ended_by = now, _named(actor)
        _note(control_session, row, "tenant.entitlement_restored", actor, now, why=why)
    control_session.flush()


def _named(actor: Actor) -> str:
    return f"{actor.kind}:{actor.id}" if actor.id else actor.kind


def _note(
    control_session: Session,
    row: EntitlementOverride,
    action: str,
    actor: Actor,
    now: datetime,
    *,
    why: str,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="tenant",
        subject_id=row.tenant_id,
        tenant_id=row.tenant_id,
        why=why,
        details={
            "kind": row.kind,
            "code": row.code,
            "value": row.value["is"],
            "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        },
        now=now,
    )


def _write_on(
    control_session: Session, tenant: Tenant, plan: Grants, actor: Actor, now: datetime
) -> None:
    """Limits go on to the tenant's database, quotas to the rows that are counted."""
    if "limits" not in tenant.plan_grants:
        # Its limits are the plan's for the last time: from here on they may be overridden.
        tenant.plan_grants = grants.facts(plan)
        control_session.flush()
    rows = in_force(control_session=control_session, tenant_id=tenant.id, now=now)
    effective = grants.effective(plan, overrides_of(rows))
    limits.set_limits(
        control_session=control_session,
        tenant_id=tenant.id,
        limits=effective.limits,
        actor=actor,
        now=now,
    )
    write_quotas(control_session=control_session, tenant_id=tenant.id, quotas=effective.quotas)


def write_quotas(*, control_session: Session, tenant_id: UUID, quotas: Mapping[str, Quota]) -> None:
    """This function will make a tenant's rows of quotas these; a changed one is due at once."""
    control_session.execute(
        delete(TenantQuota)
        .where(TenantQuota.tenant_id == tenant_id, TenantQuota.meter.not_in(list(quotas)))
        .execution_options(synchronize_session=False)
    )
    if not quotas:
        return
    fresh = insert(TenantQuota).values(
        [
            {
                "tenant_id": tenant_id,
                "meter": meter,
                "soft": quota.soft,
                "hard": quota.hard,
                "alerts": list(quota.alerts),
                "used": 0,
            }
            for meter, quota in sorted(quotas.items())
        ]
    )
    control_session.execute(
        fresh.on_conflict_do_update(
            index_elements=["tenant_id", "meter"],
            set_={
                "soft": fresh.excluded.soft,
                "hard": fresh.excluded.hard,
                "alerts": fresh.excluded.alerts,
                "counted_at": None,
            },
        )
    )
