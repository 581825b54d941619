"""Judging: which composed bills are issued now, which wait out their grace, and which for a person.

A subscription's bills are issued in order: behind one that waits, all later ones wait too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.base import audit, bulk, clock
from app.base.config import settings
from invoices import braking, drafts, periods, runs, whole_runs
from invoices.braking import Brake
from invoices.models import Invoice, InvoiceLine
from invoices.sheets import Sheet
from invoices.subscribers import Subscriber

Composed = Sequence[tuple[Subscriber, Sequence[Sheet]]]
JUDGE = audit.Actor.job("invoicing")


@dataclass(frozen=True, slots=True)
class _Known:
    """What bills are judged by: those before them, what today brought, and what people let go."""

    before: dict[UUID, list[int]]
    lines_today: dict[UUID, int]
    let_go: dict[UUID, int]


def judge(
    *,
    control_session: Session,
    composed: Composed,
    blocked: Collection[UUID] = (),
    now: datetime,
) -> list[UUID]:
    """This function will name the bills to issue now, and write on the others what they wait for.

    Whatever the brake holds that was not held before is written down in the audit trail. `blocked`
    are the subscriptions of which a bill could not be composed.
    """
    known = _known(control_session, composed, now)
    passed: list[tuple[Subscriber, list[Sheet]]] = []
    for subscriber, sheets in composed:
        passing: list[Sheet] = []
        passed.append((subscriber, passing))
        for sheet in sheets:
            _weigh(sheet, subscriber, known, now)
            if sheet.held or sheet.issue_at:
                _note_held(control_session, sheet, subscriber, now)
                break
            passing.append(sheet)
            # It is one of the bills before the next one, and of today's.
            known.before[subscriber.tenant_id].insert(0, sheet.total_minor)
            known.lines_today[subscriber.subscription_id] += len(sheet.lines)
    if settings().run_release_limit:
        whole_runs.keep_back(
            control_session=control_session,
            sheets=[sheet for _, each in composed for sheet in each],
            passed=passed,
            let_go=known.let_go,
            done=[s.subscription_id for s, _ in composed if s.subscription_id not in blocked],
            now=now,
        )
    return [sheet.id for _, passing in passed for sheet in passing]


def brake(currency: str) -> Brake:
    """This function will return from when on bills of a currency are held, by the settings."""
    s = settings()
    return Brake(
        factor=s.brake_factor,
        floor_minor=runs.minor_of(s.brake_floor, currency) or 0,
        lines_a_day=s.brake_lines_per_day,
    )


def _weigh(sheet: Sheet, subscriber: Subscriber, known: _Known, now: datetime) -> None:
    """This function will write on one bill what it waits for, if it waits."""
    reason = None
    if sheet.released_minor != sheet.total_minor:
        reason = braking.reason(
            brake=brake(sheet.currency),
            total_minor=sheet.total_minor,
            before_minor=known.before[sheet.tenant_id],
            lines=len(sheet.lines),
            lines_today=known.lines_today[sheet.subscription_id],
        )
    if reason is not None:
        sheet.held = reason
    elif sheet.run_release_id not in known.let_go:
        grace_ends_at = drafts.grace_ends_at(sheet.supplied_on, subscriber.timezone)
        if now < grace_ends_at:
            sheet.issue_at = grace_ends_at


def _note_held(
    control_session: Session, sheet: Sheet, subscriber: Subscriber, now: datetime
) -> None:
    stood = subscriber.drafts.get(sheet.supplied_on)
    if sheet.held is None or (stood and stood.was_held):
        return
    audit.append(
        control_session=control_session,
        actor=JUDGE,
        action="invoice.held",
        subject_kind="invoice",
        subject_id=sheet.id,
        tenant_id=sheet.tenant_id,
        details=sheet.held,
        now=now,
    )


def _known(control_session: Session, composed: Composed, now: datetime) -> _Known:
    sheets = [sheet for _, each in composed for sheet in each]
    floors = {currency: brake(currency).floor_minor for currency in {s.currency for s in sheets}}
    large = {s.tenant_id: s.currency for s in sheets if s.total_minor > floors[s.currency]}
    releases = {sheet.run_release_id for sheet in sheets if sheet.run_release_id is not None}
    return _Known(
        before=totals_before(control_session=control_session, tenants=large),
        lines_today=_lines_today(control_session, {s.tenant_id for s in sheets}, now),
        let_go=runs.released(control_session=control_session, release_ids=releases),
    )


def totals_before(
    *, control_session: Session, tenants: Mapping[UUID, str]
) -> dict[UUID, list[int]]:
    """This function will return the totals of tenants' last bills, the newest first.

    Each tenant comes with the currency in which it is billed.
    """
    found: dict[UUID, list[int]] = defaultdict(list)
    if not tenants:
        return found
    rows = control_session.execute(
        text(
            "SELECT t.id, b.total_minor"
            " FROM unnest(CAST(:tenants AS uuid[]), CAST(:currencies AS text[])) t (id, currency)"
            " CROSS JOIN LATERAL (SELECT total_minor FROM invoice WHERE tenant_id = t.id"
            " AND issued_at IS NOT NULL AND state <> 'void' AND currency = t.currency"
            " ORDER BY issued_at DESC, id DESC LIMIT :most) b"
        ),
        {
            "tenants": list(tenants),
            "currencies": list(tenants.values()),
            "most": braking.HISTORY_MAX,
        },
    )
    for tenant_id, total_minor in rows:
        found[tenant_id].append(total_minor)
    return found


def _lines_today(control_session: Session, tenant_ids: set[UUID], now: datetime) -> dict[UUID, int]:
    """This function will count the lines that subscriptions were billed today, voided ones too."""
    zone = settings().contract_timezone
    rows = control_session.execute(
        select(Invoice.subscription_id, func.count())
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(
            bulk.among(Invoice.tenant_id, tenant_ids),
            Invoice.issued_at >= periods.midnight(clock.today(now, zone), zone),
        )
        .group_by(Invoice.subscription_id)
    )
    found: dict[UUID, int] = defaultdict(int)
    found.update(rows.all())
    return found
