"""Quotas: how much of a month's allowance on a meter is used, and who is told when it fills.

A quota's period is the calendar month in the tenant's time zone. Rows are counted by set; an alert
is a row whose key holds its month, written together with its mails: it is sent once, whoever
counts and however often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Integer, Row, and_, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base.config import settings
from tenants import correspondence, meters, replay, usage
from tenants.entitlement_models import QuotaAlert, TenantQuota
from tenants.event_bodies import plain
from tenants.grants import BOUNDS
from tenants.meter_definitions import MeterDefinition
from tenants.models import LIVE_STATES, Tenant
from tenants.usage import Window

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Count:
    """One quota as it was counted; `over` when its month has ended meanwhile."""

    tenant_id: UUID
    meter: str
    start: datetime
    end: datetime
    used: Decimal
    over: bool


def month_of(moment: datetime, timezone: str) -> tuple[datetime, datetime]:
    """This function will return when the month of a moment begins and ends, in UTC."""
    first = moment.astimezone(ZoneInfo(timezone)).date().replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return replay.bounds(first, timezone)[0], replay.bounds(following, timezone)[0]


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition on a quota that its count is old."""
    fresh = timedelta(seconds=settings().quota_fresh_seconds)
    return or_(TenantQuota.counted_at.is_(None), TenantQuota.counted_at <= now - fresh)


def anything_due(*, control_session: Session, now: datetime) -> bool:
    """This function will tell whether a live tenant's quota is to be counted."""
    query = (
        select(TenantQuota.meter)
        .join(Tenant, and_(Tenant.id == TenantQuota.tenant_id, Tenant.state.in_(LIVE_STATES)))
        .where(due(now))
    )
    return control_session.scalar(query.limit(1)) is not None


def count(*, control_session: Session, usage_session: Session, now: datetime, limit: int) -> int:
    """This function will count a chunk of quotas that are due, tell what was reached, and say how
    many there were.

    A month that has ended is counted once more, to its end, before the next one begins.
    """
    rows = control_session.execute(
        select(TenantQuota, Tenant.timezone)
        .join(Tenant, and_(Tenant.id == TenantQuota.tenant_id, Tenant.state.in_(LIVE_STATES)))
        .where(due(now))
        .order_by(TenantQuota.counted_at.nulls_first(), TenantQuota.tenant_id)
        .limit(limit)
        .with_for_update(of=TenantQuota, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    if not rows:
        return 0
    known = {each.code: each for each in meters.counted(control_session=control_session)}
    counts = _counts(usage_session, rows, known, now)
    _tell(control_session, [row for row, _ in rows], counts, now)
    _note(control_session, counts, now)
    return len(rows)


def _counts(
    usage_session: Session,
    rows: Sequence[Row[TenantQuota, str]],
    known: dict[str, MeterDefinition],
    now: datetime,
) -> list[_Count]:
    """Up to the next full hour: whole hours are read from rollups, however many tenants there are.

    A meter that is no longer one of events comes to nothing.
    """
    # The hour that runs counts whole, so that no window cuts one and no event of it is read twice.
    until = now.replace(minute=0, second=0, microsecond=0) + HOUR
    spans = []
    for row, timezone in rows:
        start, end = month_of(now, timezone)
        if row.starts_at is not None and row.ends_at is not None and row.ends_at <= now:
            start, end = row.starts_at, row.ends_at
        spans.append((row, start, end))
    asked = [
        Window(row.tenant_id, row.meter, start, min(end, until))
        for row, start, end in spans
        if row.meter in known
    ]
    totals = usage.totals(usage_session=usage_session, meters=known, windows=asked)
    used = {(each.window.tenant_id, each.window.meter): each.quantity for each in totals}
    return [
        _Count(
            row.tenant_id,
            row.meter,
            start,
            end,
            used.get((row.tenant_id, row.meter), Decimal(0)),
            over=end <= now,
        )
        for row, start, end in spans
    ]


def _tell(
    control_session: Session,
    rows: Sequence[TenantQuota],
    counts: Sequence[_Count],
    now: datetime,
) -> None:
    reached = [
        {
            "tenant_id": each.tenant_id,
            "meter": each.meter,
            "starts_at": each.start,
            "bound": bound,
            "percent": percent,
            "quota": most,
            "used": each.used,
            "reached_at": now,
        }
        for row, each in zip(rows, counts, strict=True)
        for bound in BOUNDS
        if (most := getattr(row, bound)) is not None
        for percent in row.alerts
        if each.used > 0 and each.used * 100 >= most * percent
    ]
    if not reached:
        return
    written = insert(QuotaAlert).values(reached).on_conflict_do_nothing().returning(QuotaAlert)
    fresh = control_session.scalars(written).all()
    for alert in sorted(fresh, key=lambda each: (each.tenant_id, each.meter, each.percent)):
        _mail(control_session, alert, now)


def _mail(control_session: Session, alert: QuotaAlert, now: datetime) -> None:
    tenant = control_session.get_one(Tenant, alert.tenant_id)
    definition = meters.definitions(control_session=control_session, codes=[alert.meter])
    meter = definition[alert.meter]
    month = alert.starts_at.astimezone(ZoneInfo(tenant.timezone))
    correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name="quota_reached",
        event=f"quota:{alert.meter}:{month:%Y-%m}:{alert.bound}:{alert.percent}",
        context={
            "meter": meter.name_ko if tenant.language == "ko" else meter.name_en,
            "unit": meter.unit,
            "month": f"{month:%Y-%m}",
            "used": plain(alert.used),
            "quota": plain(alert.quota),
            "percent": alert.percent,
            "refused": alert.bound == "hard" and alert.used >= alert.quota,
            "hard": alert.bound == "hard",
        },
        now=now,
    )


def _note(control_session: Session, counts: Sequence[_Count], now: datetime) -> None:
    """A month that is over leaves its row due, so that the next one is counted at once."""
    control_session.connection().execute(
        update(TenantQuota)
        .where(
            TenantQuota.tenant_id == bindparam("of_tenant"),
            TenantQuota.meter == bindparam("of_meter"),
        )
        .values(
            starts_at=bindparam("start"),
            ends_at=bindparam("end"),
            used=bindparam("quantity"),
            counted_at=bindparam("at"),
        ),
        [
            {
                "of_tenant": each.tenant_id,
                "of_meter": each.meter,
                "start": None if each.over else each.start,
                "end": None if each.over else each.end,
                "quantity": Decimal(0) if each.over else each.used,
                "at": None if each.over else now,
            }
            for each in counts
        ],
    )


_ALERTS = (
    select(QuotaAlert)
    .where(QuotaAlert.tenant_id == bindparam("tenant"))
    .order_by(QuotaAlert.reached_at.desc(), QuotaAlert.meter, QuotaAlert.percent.desc())
    .limit(bindparam("most", type_=Integer))
)


def alerts(*, control_session: Session, tenant_id: UUID, limit: int) -> Sequence[QuotaAlert]:
    """This function will list the thresholds that a tenant's quotas reached, newest first."""
    return control_session.scalars(_ALERTS, {"tenant": tenant_id, "most": limit}).all()
