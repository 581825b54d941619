"""Rehearsal: what the run would bill by a day, composed by the run's own code and not written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.db import planned_once
from app.base.errors import Invalid
from invoices import braking, invoicing, judging, periods, subscribers
from invoices.models import Invoice, Subscription
from invoices.sheets import Sheet
from invoices.subscribers import Subscriber
from tenants.models import Tenant

_FIRST_BILL_ON = select(func.min(Subscription.next_bill_on))
_DRAFTS = planned_once(
    select(
        Invoice.id,
        Invoice.tenant_id,
        Tenant.name,
        Invoice.supplied_on,
        Invoice.currency,
        Invoice.total_minor,
        Invoice.held,
    )
    .join(Tenant, Tenant.id == Invoice.tenant_id)
    .where(Invoice.state == "draft", Invoice.supplied_on <= bindparam("as_of"))
    .order_by(Invoice.supplied_on, Invoice.id)
)


class NoSuchRun(Invalid):
    """Nothing can be billed on that day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """One bill that would be made, or stands as a draft; `before_minor` is the tenant's last one.

    `reason` is why the brake would hold it; `waits_for` names the readings it lacks, and then it
    comes to nothing yet.
    """

    tenant_id: UUID
    tenant_name: str
    bill_on: date
    currency: str
    total_minor: int
    before_minor: int | None
    reason: dict[str, Any] | None
    waits_for: str
    draft_id: UUID | None

    @property
    def difference_minor(self) -> int:
        """How much more it is than the bill before it."""
        return self.total_minor - (self.before_minor or 0)

    @property
    def odd(self) -> bool:
        """Whether a person should look at it."""
        return self.reason is not None or bool(self.waits_for)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was composed, what needs a look first; `left_out` subscriptions were too many."""

    bills: tuple[Rehearsed, ...]
    left_out: int

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """This function will add up by currency: bills, their total, and that of those before."""
        sums: dict[str, tuple[int, int, int]] = {}
        for each in self.bills:
            if not each.waits_for:
                count, total, before = sums.get(each.currency, (0, 0, 0))
                sums[each.currency] = (
                    count + 1,
                    total + each.total_minor,
                    before + (each.before_minor or 0),
                )
        return dict(sorted(sums.items()))


def rehearse(
    *,
    control_session: Session,
    as_of: date,
    usage_session: Session | None = None,
    limit: int | None = None,
) -> Rehearsal:
    """This function will compose all that is due by the end of a day, drafts among it.

    Nothing is locked or written: the run may go on meanwhile. No more than `limit` subscriptions
    are looked at.

    Raises: NoSuchRun for a day at the end of time.
    """
    now = _last_moment(as_of)
    ids = subscribers.due_by(control_session=control_session, now=now)
    looked_at = ids if limit is None else ids[:limit]
    found = _drafts(control_session, as_of)
    chunk = settings().invoicing_chunk
    for place in range(0, len(looked_at), chunk):
        read = subscribers.read(
            control_session=control_session,
            usage_session=usage_session,
            subscription_ids=looked_at[place : place + chunk],
            now=now,
            lock=False,
        )
        found += _composed(control_session, read, now)
    found.sort(key=lambda each: (not each.odd, -abs(each.difference_minor), each.tenant_name))
    return Rehearsal(tuple(found), len(ids) - len(looked_at))


def next_run_on(*, control_session: Session, today: date) -> date | None:
    """This function will return the day of the next bills within a month, today among them."""
    first: date | None = control_session.scalar(_FIRST_BILL_ON)
    if first is None or first > today + timedelta(days=31):
        return None
    return max(first, today)


def _last_moment(day: date) -> datetime:
    zone = settings().contract_timezone
    try:
        return periods.midnight(day + timedelta(days=1), zone) - timedelta(microseconds=1)
    except OverflowError as error:
        raise NoSuchRun("No bill is ever due on that day.", field="as_of") from error


def _composed(
    control_session: Session, read: Sequence[Subscriber], now: datetime
) -> list[Rehearsed]:
    blocked: dict[UUID, str] = {}
    composed, nexts = invoicing.compose_due(found=read, blocked=blocked, now=now)
    before = judging.totals_before(
        control_session=control_session,
        tenants={each.tenant_id: each.currency for each in read},
    )
    found = []
    for subscriber, sheets in composed:
        for sheet in sheets:
            found.append(_rehearsed(subscriber, sheet, before[subscriber.tenant_id]))
            before[subscriber.tenant_id].insert(0, sheet.total_minor)
        if subscriber.subscription_id in blocked:
            found.append(
                Rehearsed(
                    tenant_id=subscriber.tenant_id,
                    tenant_name=str(subscriber.buyer["name"]),
                    bill_on=nexts[subscriber.subscription_id] or now.date(),
                    currency=subscriber.currency,
                    total_minor=0,
                    before_minor=next(iter(before[subscriber.tenant_id]), None),
                    reason=None,
                    waits_for=blocked[subscriber.subscription_id],
                    draft_id=None,
                )
            )
    return found


def _rehearsed(subscriber: Subscriber, sheet: Sheet, before: Sequence[int]) -> Rehearsed:
    return Rehearsed(
        tenant_id=subscriber.tenant_id,
        tenant_name=str(subscriber.buyer["name"]),
        bill_on=sheet.supplied_on,
        currency=sheet.currency,
        total_minor=sheet.total_minor,
        before_minor=next(iter(before), None),
        reason=braking.reason(
            brake=judging.brake(sheet.currency),
            total_minor=sheet.total_minor,
            before_minor=before,
            lines=len(sheet.lines),
            lines_today=0,
        ),
        waits_for="",
        draft_id=None,
    )


def _drafts(control_session: Session, as_of: date) -> list[Rehearsed]:
    """This function will return the drafts that stand, each with what its tenant had before."""
    rows = control_session.execute(_DRAFTS, {"as_of": as_of}).all()
    before: dict[UUID, list[int]] = defaultdict(list)
    before |= judging.totals_before(
        control_session=control_session, tenants={row.tenant_id: row.currency for row in rows}
    )
    found = []
    for row in rows:
        found.append(
            Rehearsed(
                tenant_id=row.tenant_id,
                tenant_name=row.name,
                bill_on=row.supplied_on,
                currency=row.currency,
                total_minor=row.total_minor,
                before_minor=next(iter(before[row.tenant_id]), None),
                reason=row.held,
                waits_for="",
                draft_id=row.id,
            )
        )
        before[row.tenant_id].insert(0, row.total_minor)
    return found
