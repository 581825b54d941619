"""The billing run: what is due, billed once, in order, whoever runs it and however often.

Three things hold that: a subscription's row is locked while it is billed; what is due is derived
from the spans billed so far, not from a calendar; and the database refuses overlapping spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Date, and_, cast, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from app.base import audit, clock, leases, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import (
    changes,
    composing,
    coupon_uses,
    credits,
    drafting,
    dunning,
    facts,
    issuing,
    ledger,
    parties,
    rating,
    schedule,
)
from invoices import items as subscription_items
from invoices.drafting import Draft
from invoices.issuing import ISSUER
from invoices.models import (
    INVOICE,
    SUBSCRIPTION,
    BilledSpan,
    Invoice,
    PaymentAttempt,
    Subscription,
    TaxInvoice,
)
from invoices.schedule import Agenda, DueBill
from invoices.spending import carry
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
    email: str
    agenda: Agenda
    composing: composing.Account


def due_condition(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a subscription has a bill to come by `now`.

    A tenant whose database is being destroyed, or is gone, is not billed any more.
    """
    live = aliased(Tenant)
    local_day = cast(func.timezone(Subscription.timezone, now), Date)
    return and_(
        Subscription.state != "cancelled",
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
    drafts: list[Draft] = []
    for account in accounts:
        for due_bill in account.agenda.bills:
            if missing := _missing(due_bill, account.composing):
                outcome.blocked[account.subscription.id] = missing
                account.subscription.next_bill_on = due_bill.bill_on
                break
            draft = Draft(
                subscription=account.subscription,
                bill=due_bill,
                composed=composing.compose(bill=due_bill, account=account.composing),
                buyer=parties.buyer_snapshot(tenant=account.tenant, email=account.email),
            )
            drafts.append(draft)
            carry(
                grants=account.composing.grants,
                grant_id=draft.grant_id,
                amount_minor=draft.composed.carried_minor,
            )
        else:
            _advance(control_session, account, now)
        account.subscription.blocked_reason = outcome.blocked.get(account.subscription.id)
        changes.apply_due(
            control_session=control_session,
            subscription=account.subscription,
            actor=ISSUER,
            now=now,
        )
    control_session.flush()
    _give_back(control_session, accounts, outcome)
    outcome.issued = drafting.write(control_session=control_session, drafts=drafts, now=now)
    issuing.issue(control_session=control_session, invoice_ids=outcome.issued, now=now)
    return outcome


def _open(
    control_session: Session, subscription_ids: Sequence[UUID], now: datetime
) -> list[_Account]:
    """This function will lock the subscriptions and read what their bills stand on."""
    found = control_session.execute(
        select(Subscription, Tenant)
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .where(Subscription.id.in_(subscription_ids), due_condition(now))
        .order_by(Subscription.next_bill_on, Subscription.id)
        .with_for_update(of=Subscription, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    # Read after the locks are held: whoever held them before has committed what was billed.
    ids = [subscription.id for subscription, _ in found]
    items, prices = subscription_items.of_subscriptions(
        control_session=control_session, subscription_ids=ids
    )
    billed = subscription_items.billed(control_session=control_session, subscription_ids=ids)
    agendas = {
        subscription.id: schedule.agenda(
            items=items[subscription.id],
            billed=billed,
            timezone=subscription.timezone,
            today=clock.today(now, subscription.timezone),
        )
        for subscription, _ in found
    }
    spans = [
        (subscription.tenant_id, span)
        for subscription, _ in found
        for bill in agendas[subscription.id].bills
        for span in bill.spans
    ]
    known = facts.gather(control_session=control_session, spans=spans)
    committed = {
        subscription_id
        for subscription_id, each in items.items()
        if any(item.charge.kind == "commitment" for item in each)
    }
    amounts = subscription_items.billed_amounts(
        control_session=control_session, subscription_ids=committed
    )
    tenant_ids = [tenant.id for _, tenant in found]
    grants = credits.open_grants(control_session=control_session, tenant_ids=tenant_ids)
    coupons = coupon_uses.of_subscriptions(
        control_session=control_session,
        subscriptions=[(subscription.id, tenant.id) for subscription, tenant in found],
    )
    given = coupon_uses.given(control_session=control_session, spans=[span for _, span in spans])
    emails = _admin_emails(control_session, tenant_ids)
    return [
        _Account(
            subscription=subscription,
            tenant=tenant,
            email=str(tenant.billing_profile.get("email") or emails.get(tenant.id, "")),
            agenda=agendas[subscription.id],
            composing=composing.Account(
                currency=subscription.currency,
                prices=prices,
                facts=known.of(tenant.id),
                billed=amounts[subscription.id],
                given=given,
                coupons=coupons[subscription.id],
                grants=grants[tenant.id, subscription.currency],
            ),
        )
        for subscription, tenant in found
    ]


def _admin_emails(control_session: Session, tenant_ids: list[UUID]) -> dict[UUID, str]:
    """This function will return each tenant's first admin, for want of a billing address."""
    rows = control_session.execute(
        select(TenantAdmin.tenant_id, TenantAdmin.email)
        .where(TenantAdmin.tenant_id.in_(tenant_ids), TenantAdmin.disabled_at.is_(None))
        .order_by(TenantAdmin.created_at.desc(), TenantAdmin.id.desc())
    )
    # The earliest comes last, and the last one stays.
    return dict(rows.all())


def _missing(due_bill: DueBill, account: composing.Account) -> str:
    """This function will name the readings that a bill waits for, or nothing when all are there."""
    waits = []
    for span in due_bill.spans:
        days = rating.missing_days(
            charge=span.item.charge, stretch=span.stretch, readings=account.facts(span).readings
        )
        if days:
            waits.append(f"{span.item.charge.meter}: {', '.join(map(str, days))}")
    return "; ".join(waits)


def _advance(control_session: Session, account: _Account, now: datetime) -> None:
    """This function will note when the next bill comes, or end what is billed for good.

    With the contract the workspace closes; the retention of its data begins. A contract that is
    paused has no bill to come and goes on all the same.
    """
    account.subscription.next_bill_on = account.agenda.next_bill_on
    if account.agenda.next_bill_on is not None or account.subscription.ends_on is None:
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
    credits.give_back(control_session=control_session, invoice_id=invoice_id)
    coupon_uses.give_back(control_session=control_session, invoice_id=invoice_id)
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
