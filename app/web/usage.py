"""Usage so far, read from the readings: what the next bill will stand on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Row, bindparam, select

from app.base import clock
from app.web.db import control
from invoices import subscriptions
from invoices.models import Subscription
from invoices.periods import Period
from tenants.models import Reading, Tenant

GIGABYTE = 1_000_000_000
# By columns: a chart needs a day and a quantity of some ninety readings, and nothing else of them.
_READINGS = (
    select(Reading.meter, Reading.day, Reading.quantity)
    .where(
        Reading.tenant_id == bindparam("tenant"),
        Reading.day >= bindparam("first"),
        Reading.day < bindparam("until"),
    )
    .order_by(Reading.day, Reading.meter)
)


@dataclass(frozen=True, slots=True)
class Usage:
    """A running period's readings; `read_until` is the last day read, empty before the first.

    `seats_now` and `storage_now_gb` are those of that day; `seats_peak` and `storage_average_gb`
    are what the bill takes. The lists are (day, quantity), for a chart.
    """

    period: Period
    read_until: date | None
    seats_now: int
    seats_peak: int
    seats: list[tuple[str, int]]
    storage_now_gb: Decimal
    storage_average_gb: Decimal
    storage: list[tuple[str, Decimal]]
    files_added: int


def so_far(*, tenant: Tenant, subscription: Subscription | None, now: datetime) -> Usage | None:
    """This function will gather the running period's usage; nothing before the trial began."""
    running = period_of(tenant=tenant, subscription=subscription, now=now)
    if running is None:
        return None
    days = {"tenant": tenant.id, "first": running.start, "until": running.end}
    rows = control().execute(_READINGS, days).all()
    by_meter: dict[str, list[Row[str, date, Decimal]]] = {
        "seats": [],
        "storage_gb_days": [],
        "files_added": [],
    }
    for row in rows:
        by_meter.setdefault(row.meter, []).append(row)
    seats, storage = by_meter["seats"], by_meter["storage_gb_days"]
    total = sum((row.quantity for row in storage), Decimal(0))
    return Usage(
        period=running,
        read_until=rows[-1].day if rows else None,
        seats_now=int(seats[-1].quantity) if seats else 0,
        seats_peak=int(max((row.quantity for row in seats), default=Decimal(0))),
        seats=[(f"{row.day:%m-%d}", int(row.quantity)) for row in seats],
        storage_now_gb=storage[-1].quantity if storage else Decimal(0),
        storage_average_gb=total / len(storage) if storage else Decimal(0),
        storage=[(f"{row.day:%m-%d}", round(row.quantity, 3)) for row in storage],
        files_added=int(sum((row.quantity for row in by_meter["files_added"]), Decimal(0))),
    )


def period_of(*, tenant: Tenant, subscription: Subscription | None, now: datetime) -> Period | None:
    """This function will return the days that count together now: a billing period or the trial."""
    if subscription is not None:
        return subscriptions.current_period(subscription=subscription, now=now)
    if tenant.trial_starts_at is None:
        return None
    start = clock.today(tenant.trial_starts_at, tenant.timezone)
    return Period(start, max(clock.today(now, tenant.timezone), start) + timedelta(days=1))
