"""The billing run: what is due, billed once, in order, whoever runs it and however often.

Three things hold that: a subscription's row is locked while it is billed; what is due is derived
from the spans billed so far, not from a calendar; and the database refuses overlapping spans.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Date, and_, cast, exists, func, select, text, update
from sqlalchemy.orm import Session, aliased

from app.base import audit, clock, leases, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import drafting, dunning, issuing, ledger, rating, schedule
from invoices.invoice_papers import days_of
from invoices.issuing import ISSUER
from invoices.models import (
    INVOICE,
    SUBSCRIPTION,
    BilledSpan,
    Invoice,
    PaymentAttempt,
    PlanVersion,
    Subscription,
    TaxInvoice,
)
from invoices.periods import Period
from invoices.rating import PriceTerm, ReadingRow
from invoices.schedule import Agenda, DueBill
from tenants import lifecycle
from tenants.models import LIVE_STATES, Tenant, TenantAdmin

# How long a subscription that waits for readings is left alone: short, because nothing failed.
BLOCKED_PAUSE = timedelta(seconds=5)
_FURTHEST_AHEAD = timedelta(hours=15)  # no time zone's day begins earlier before UTC's


class ReasonMissing(Invalid):
    """An invoice is never voided without saying why."""


class PaymentUnderWay(Conflict):
    """Money for the invoice may be on its way."""


class TaxInvoiceExists(Conflict):
    """The invoice has a tax invoice, which would have to be amended first."""


@dataclass(slots=True)
class Outcome:
    """What one pass did: invoices issued, subscriptions that wait and for what."""

    issued: list[UUID] = field(default_factory=list)
    blocked: dict[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Account:
    """A subscription under its lock with all that its bills are made from."""

    subscription: Subscription
    tenant: Tenant
    version: PlanVersion
    email: str
    terms: list[PriceTerm]
    agenda: Agenda


def due_condition(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a subscription has a bill to come by `now`.

    A tenant whose database is being destroyed, or is gone, is not billed any more.
    """
    live = aliased(Tenant)
    local_day = cast(func.timezone(Subscription.timezone, now), Date)
    return and_(
        Subscription.state == "active",
        Subscription.next_bill_on <= (now + _FURTHEST_AHEAD).date(),
        Subscription.next_bill_on <= local_day,
        exists().where(live.id == Subscription.tenant_id, live.state.in_(LIVE_STATES)),
    )


def due(control_session: Session, now: datetime) -> bool:
    """This function will tell whether a subscription is due that nobody works on."""
    return bool(
        control_session.scalar(
            select(exists().where(due_condition(now), leases.free(Subscription)))
        )
    )


def claim(*, control_session: Session, now: datetime) -> list[UUID]:
    """This function will lease a chunk of due subscriptions, those due longest first."""
    return leases.claim(
        control_session=control_session,
        model=Subscription,
        due=due_condition(now),
        limit=settings().invoicing_chunk,
        order_by=Subscription.next_bill_on,
    )


def bill(*, control_session: Session, subscription_ids: Sequence[UUID], now: datetime) -> Outcome:
    """This function will issue every bill of these subscriptions that is due by `now`.

    Missed months come first and in order. A bill for which a day's reading is missing waits, and
    so do those after it. One transaction: either all of it stands or nothing. Subscriptions that
    another transaction is billing are skipped.
    """
    outcome = Outcome()
    accounts = _open(control_session, subscription_ids, now)
    if not accounts:
        return outcome
    readings = _readings(control_session, accounts)
    drafts: list[drafting.Draft] = []
    for account in accounts:
        for due_bill in account.agenda.bills:
            known = readings[account.tenant.id]
            if missing := _missing(due_bill, known):
                outcome.blocked[account.subscription.id] = missing
                account.subscription.next_bill_on = due_bill.bill_on
                break
            drafts.append(
                drafting.price_bill(
                    subscription=account.subscription,
                    version=account.version,
                    tenant=account.tenant,
                    email=account.email,
                    bill=due_bill,
                    readings=known,
                )
            )
        else:
            _advance(control_session, account, now)
        account.subscription.blocked_reason = outcome.blocked.get(account.subscription.id)
    control_session.flush()
    _give_back(control_session, accounts, outcome)
    outcome.issued = drafting.write(control_session=control_session, drafts=drafts, now=now)
    issuing.issue(control_session=control_session, invoice_ids=outcome.issued, now=now)
    return outcome


def _open(
    control_session: Session, subscription_ids: Sequence[UUID], now: datetime
) -> list[_Account]:
    """This function will lock the subscriptions and read what their bills stand on."""
    rows = control_session.execute(
        select(Subscription, Tenant, PlanVersion)
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .where(Subscription.id.in_(subscription_ids), due_condition(now))
        .order_by(Subscription.next_bill_on, Subscription.id)
        .with_for_update(of=Subscription, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    found = list(rows)
    # Read after the locks are held: whoever held them before has committed what was billed.
    billed = _billed(control_session, [subscription.id for subscription, _, _ in found])
    emails = _admin_emails(control_session, [tenant.id for _, tenant, _ in found])
    accounts = []
    for subscription, tenant, version in found:
        terms = drafting.terms_of(version)
        accounts.append(
            _Account(
                subscription=subscription,
                tenant=tenant,
                version=version,
                email=str(tenant.billing_profile.get("email") or emails.get(tenant.id, "")),
                terms=terms,
                agenda=schedule.agenda(
                    starts_on=subscription.starts_on,
                    ends_on=subscription.ends_on,
                    terms=terms,
                    billed=billed[subscription.id],
                    today=clock.today(now, subscription.timezone),
                ),
            )
        )
    return accounts


def _billed(
    control_session: Session, subscription_ids: list[UUID]
) -> dict[UUID, set[tuple[str, Period]]]:
    found: dict[UUID, set[tuple[str, Period]]] = defaultdict(set)
    rows = control_session.execute(
        select(BilledSpan.subscription_id, BilledSpan.charge, BilledSpan.period).where(
            BilledSpan.subscription_id.in_(subscription_ids), BilledSpan.state != "void"
        )
    )
    for subscription_id, charge, period in rows:
        found[subscription_id].add((charge, Period(*days_of(period))))
    return found


def _admin_emails(control_session: Session, tenant_ids: list[UUID]) -> dict[UUID, str]:
    """This function will return each tenant's first admin, for want of a billing address."""
    rows = control_session.execute(
        select(TenantAdmin.tenant_id, TenantAdmin.email)
        .where(TenantAdmin.tenant_id.in_(tenant_ids), TenantAdmin.disabled_at.is_(None))
        .order_by(TenantAdmin.created_at.desc(), TenantAdmin.id.desc())
    )
    # The earliest comes last, and the last one stays.
    return dict(rows.all())


def _readings(
    control_session: Session, accounts: Sequence[_Account]
) -> dict[UUID, list[ReadingRow]]:
    """This function will read what the due bills need, for all tenants in one query."""
    windows: list[tuple[UUID, str, date, date]] = []
    for account in accounts:
        wanted: dict[str, list[Period]] = defaultdict(list)
        for due_bill in account.agenda.bills:
            for span in due_bill.spans:
                if span.term.meter is not None:
                    wanted[span.term.meter].append(span.period)
        windows += [
            (
                account.tenant.id,
                meter,
                min(period.start for period in spans),
                max(period.end for period in spans),
            )
            for meter, spans in wanted.items()
        ]
    found: dict[UUID, list[ReadingRow]] = defaultdict(list)
    if not windows:
        return found
    columns = [list(column) for column in zip(*windows, strict=True)]
    rows = control_session.execute(
        text(
            "SELECT r.tenant_id, r.meter, r.day, r.quantity, r.evidence_sha256"
            " FROM unnest(CAST(:tenants AS uuid[]), CAST(:meters AS text[]),"
            " CAST(:starts AS date[]), CAST(:ends AS date[])) w (tenant_id, meter, first, past)"
            " JOIN reading r ON r.tenant_id = w.tenant_id AND r.meter = w.meter"
            " AND r.day >= w.first AND r.day < w.past ORDER BY r.tenant_id, r.meter, r.day"
        ),
        dict(zip(("tenants", "meters", "starts", "ends"), columns, strict=True)),
    )
    for tenant_id, meter, day, quantity, evidence_sha256 in rows:
        found[tenant_id].append(
            ReadingRow(meter=meter, day=day, quantity=quantity, evidence_sha256=evidence_sha256)
        )
    return found


def _missing(due_bill: DueBill, readings: Sequence[ReadingRow]) -> str:
    """This function will name the readings that a bill waits for, or nothing when all are there."""
    waits = []
    for span in due_bill.spans:
        days = rating.missing_days(term=span.term, period=span.period, readings=readings)
        if days:
            waits.append(f"{span.term.meter}: {', '.join(day.isoformat() for day in days)}")
    return "; ".join(waits)


def _advance(control_session: Session, account: _Account, now: datetime) -> None:
    """This function will note when the next bill comes, or end what is billed for good.

    With the contract the workspace closes; the retention of its data begins.
    """
    if account.agenda.next_bill_on is not None:
        account.subscription.next_bill_on = account.agenda.next_bill_on
        return
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=account.subscription,
        to="cancelled",
        actor=ISSUER,
        now=now,
        why="billed to its end",
    )
    lifecycle.suspend(
        control_session=control_session,
        tenant_id=account.tenant.id,
        reason="cancelled",
        actor=ISSUER,
        now=now,
    )


def _give_back(control_session: Session, accounts: Sequence[_Account], outcome: Outcome) -> None:
    keys = [account.subscription.id for account in accounts]
    leases.release(control_session=control_session, model=Subscription, keys=keys)
    if outcome.blocked:
        control_session.execute(
            update(Subscription)
            .where(Subscription.id.in_(outcome.blocked))
            .values(retry_at=func.clock_timestamp() + BLOCKED_PAUSE)
            .execution_options(synchronize_session=False)
        )


def park(*, control_session: Session, subscription_id: UUID, error: str) -> None:
    """This function will put one subscription aside after a failure, to be tried again later."""
    leases.fail(
        control_session=control_session, model=Subscription, key=subscription_id, error=error
    )


def retry(*, control_session: Session, subscription_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will have a parked subscription tried again at once: somebody saw to it.

    Raises: NotFound.
    """
    subscription = control_session.get(Subscription, subscription_id)
    if subscription is None:
        raise NotFound("There is no such subscription.")
    leases.release(control_session=control_session, model=Subscription, keys=[subscription_id])
    audit.append(
        control_session=control_session,
        actor=actor,
        action="subscription.billing_retried",
        subject_kind="subscription",
        subject_id=subscription_id,
        tenant_id=subscription.tenant_id,
        now=now,
    )
    notify(control_session, "invoicing")


def void(
    *, control_session: Session, invoice_id: UUID, reason: str, actor: Actor, now: datetime
) -> Invoice:
    """This function will take an unpaid invoice back and free what it billed.

    Its number and paper stay, marked void; the issue is booked back; the next run bills the same
    spans again, from the readings and terms as they are then.

    Raises: ReasonMissing, NotFound, PaymentUnderWay, TaxInvoiceExists; IllegalMove when it is
    paid or void already.
    """
    why = reason.strip()
    if not why:
        raise ReasonMissing("Please say why the invoice is voided.", field="reason")
    invoice = control_session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if invoice is None:
        raise NotFound("There is no such invoice.")
    if invoice.state == "issued":
        _check_nothing_hangs_on(control_session, invoice)
    was_issued = invoice.state == "issued"
    states.move(
        control_session=control_session,
        machine=INVOICE,
        row=invoice,
        to="void",
        actor=actor,
        now=now,
        why=why,
        values={"voided_at": now, "void_reason": why, "collect_at": None},
    )
    control_session.execute(
        update(BilledSpan)
        .where(BilledSpan.invoice_id == invoice_id)
        .values(state="void")
        .execution_options(synchronize_session=False)
    )
    control_session.execute(
        update(Subscription)
        .where(Subscription.id == invoice.subscription_id)
        .values(next_bill_on=func.least(Subscription.next_bill_on, invoice.supplied_on))
        .execution_options(synchronize_session=False)
    )
    if was_issued:
        ledger.book_void(control_session=control_session, invoice=invoice, now=now)
        # Whoever was shut out for want of this money owes it no longer.
        dunning.after_payment(
            control_session=control_session, invoice=invoice, actor=actor, now=now
        )
    notify(control_session, "invoicing")
    control_session.flush()
    return invoice


def _check_nothing_hangs_on(control_session: Session, invoice: Invoice) -> None:
    attempt = exists().where(
        PaymentAttempt.invoice_id == invoice.id,
        PaymentAttempt.state.in_(("open", "unknown", "needs_person", "succeeded")),
    )
    if control_session.scalar(select(attempt)):
        raise PaymentUnderWay("A payment for this invoice is under way. Wait for its outcome.")
    if control_session.scalar(select(exists().where(TaxInvoice.invoice_id == invoice.id))):
        raise TaxInvoiceExists(
            "A tax invoice was issued for this invoice. It has to be amended, not voided."
        )
