"""The billing run: what is due, billed once, in order, whoever runs it and however often.

Three things hold that: a subscription's row is locked while it is billed; what is due is derived
from the spans billed so far, not from a calendar; and the database refuses overlapping spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, text, update
from sqlalchemy.orm import Session

from app.base import audit, leases, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import (
    billed_commitments,
    bookings,
    composing,
    coupon_uses,
    credits,
    drafting,
    dunning,
    issuing,
    judging,
    late_usage,
    parties,
    plan_changes,
    subscribers,
)
from invoices.issuing import ISSUER
from invoices.models import (
    INVOICE,
    SUBSCRIPTION,
    BilledSpan,
    Invoice,
    PaymentAttempt,
    Subscription,
    TaxInvoice,
    UsageTotal,
)
from invoices.sheets import Sheet
from invoices.spending import carry
from invoices.subscribers import Subscriber
from tenants import lifecycle

# How long a subscription that waits for readings is left alone: short, because nothing failed.
BLOCKED_PAUSE = timedelta(seconds=5)
# A failure is tried again for ever, at the longest pause; only what kills its worker runs out.
_TRIES_COUNTED = len(leases.BACKOFF_SECONDS)


class ReasonMissing(Invalid):
    """An invoice is never voided without saying why."""


class PaymentUnderWay(Conflict):
    """Money for the invoice may be on its way."""


class MoneyCame(Conflict):
    """Money came for the invoice, or some of it was taken back or given up: that stands."""


class CorrectedSince(Conflict):
    """A later bill corrected the usage on the invoice."""


class TaxInvoiceExists(Conflict):
    """The invoice has a tax invoice, which would have to be amended first."""


@dataclass(slots=True)
class Outcome:
    """What one pass did: invoices issued, those left as drafts, and who waits for what."""

    issued: list[UUID] = field(default_factory=list)
    drafted: list[UUID] = field(default_factory=list)
    blocked: dict[UUID, str] = field(default_factory=dict)


def due(control_session: Session, now: datetime) -> bool:
    """This function will tell whether a subscription is due that nobody works on."""
    return any(
        control_session.scalar(select(exists().where(condition, leases.free(Subscription))))
        for condition in _conditions(now)
    )


def claim(*, control_session: Session, now: datetime) -> list[UUID]:
    """This function will lease a chunk of due subscriptions, those due longest first.

    Those with a draft to issue, or late usage to look for, follow when no bill is due any more.
    """
    for condition in _conditions(now):
        claimed = leases.claim(
            control_session=control_session,
            model=Subscription,
            due=condition,
            limit=settings().invoicing_chunk,
            order_by=Subscription.next_bill_on,
        )
        if claimed:
            return claimed
    return []


def _conditions(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return subscribers.bill_due(now), subscribers.draft_due(now), subscribers.correction_due(now)


def bill(
    *,
    control_session: Session,
    subscription_ids: Sequence[UUID],
    now: datetime,
    usage_session: Session | None = None,
) -> Outcome:
    """This function will issue every bill of these subscriptions that is due by `now`.

    Missed months come first and in order. A bill for which a day's reading is missing waits, and
    so do those after it. One transaction: either all of it stands or nothing. Subscriptions that
    another transaction is billing are skipped. Bills in their grace and those that a person has to
    look at are written as drafts, and so are the ones after them.
    """
    outcome = Outcome()
    control_session.flush()
    found = subscribers.read(
        control_session=control_session,
        usage_session=usage_session,
        subscription_ids=subscription_ids,
        now=now,
    )
    if not found:
        return outcome
    composed, nexts = compose_due(found=found, blocked=outcome.blocked, now=now)
    issue = judging.judge(
        control_session=control_session, composed=composed, blocked=outcome.blocked, now=now
    )
    sheets = [sheet for _, each in composed for sheet in each]
    outcome.issued = issuing.write(
        control_session=control_session, sheets=sheets, issue=issue, now=now
    )
    outcome.drafted = [sheet.id for sheet in sheets if sheet.state == "draft"]
    looks = late_usage.looks(
        control_session=control_session,
        timezones={each.subscription_id: each.timezone for each in found if each.by_event},
        next_bills={key: day for key, day in nexts.items() if key not in outcome.blocked},
        now=now,
    )
    wakes = {
        each.subscription_id: each.wakes_on(nexts[each.subscription_id], now) for each in found
    }
    _give_back(control_session, wakes, looks, outcome)
    # Statements of our own passed by what the session holds.
    control_session.expire_all()
    for each in found:
        if each.subscription_id not in outcome.blocked:
            _end_for_good(control_session, each, now)
        if each.next_change_at is not None and each.next_change_at <= now:
            plan_changes.apply_due(
                control_session=control_session,
                subscription=control_session.get_one(Subscription, each.subscription_id),
                actor=ISSUER,
                now=now,
            )
    return outcome


def compose_due(
    *, found: Sequence[Subscriber], blocked: dict[UUID, str], now: datetime
) -> tuple[list[tuple[Subscriber, list[Sheet]]], dict[UUID, date | None]]:
    """This function will compose what is due, and tell of each when its next bill comes.

    Bills without their readings are named in `blocked`, and no later one is composed.
    """
    seller = parties.seller_snapshot()
    composed: list[tuple[Subscriber, list[Sheet]]] = []
    nexts: dict[UUID, date | None] = {}
    for each in found:
        sheets: list[Sheet] = []
        composed.append((each, sheets))
        nexts[each.subscription_id] = each.agenda.next_bill_on
        for due_bill in each.agenda.bills:
            if missing := each.missing(due_bill):
                blocked[each.subscription_id] = missing
                nexts[each.subscription_id] = due_bill.bill_on
                break
            sheet = drafting.lay_out(
                subscriber=each,
                bill=due_bill,
                composed=composing.compose(bill=due_bill, account=each.account),
                seller=seller,
                now=now,
            )
            sheets.append(sheet)
            carry(
                grants=each.account.grants,
                grant_id=sheet.grant_id,
                amount_minor=sheet.carried_minor,
            )
    return composed, nexts


def _give_back(
    control_session: Session,
    wakes: dict[UUID, date | None],
    looks: dict[UUID, date | None],
    outcome: Outcome,
) -> None:
    """This function will note when each is next due, and give the leases back."""
    keys = list(wakes)
    control_session.execute(
        text(
            "UPDATE subscription s SET next_bill_on = v.next_on, blocked_reason = v.blocked,"
            # What waits has corrected nothing yet.
            " next_correction_on = CASE WHEN v.blocked <> '' THEN s.next_correction_on"
            " ELSE v.look_on END,"
            " lease_until = NULL, attempts = 0, last_error = NULL,"
            " retry_at = CASE WHEN v.blocked <> '' THEN clock_timestamp() + :pause END"
            " FROM unnest(CAST(:keys AS uuid[]), CAST(:nexts AS date[]), CAST(:looks AS date[]),"
            " CAST(:blocked AS text[])) AS v (id, next_on, look_on, blocked) WHERE s.id = v.id"
        ),
        {
            "keys": keys,
            "nexts": list(wakes.values()),
            "looks": [looks.get(key) for key in keys],
            "blocked": [outcome.blocked.get(key) for key in keys],
            "pause": BLOCKED_PAUSE,
        },
    )


def _end_for_good(control_session: Session, subscriber: Subscriber, now: datetime) -> None:
    """This function will end a contract whose end has come, once it is billed to it.

    With the contract the workspace closes; the retention of its data begins. A contract that is
    paused has no bill to come and goes on all the same.
    """
    if subscriber.ends_on is None or subscriber.ends_later(now):
        return
    if subscriber.agenda.next_bill_on is not None or subscriber.state == "cancelled":
        return
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=control_session.get_one(Subscription, subscriber.subscription_id),
        to="cancelled",
        actor=ISSUER,
        now=now,
        why="billed to its end",
    )
    lifecycle.suspend(
        control_session=control_session,
        tenant_id=subscriber.tenant_id,
        reason="cancelled",
        actor=ISSUER,
        now=now,
    )


def park(*, control_session: Session, subscription_id: UUID, error: str) -> None:
    """This function will put one subscription aside after a failure, to be tried again later.

    It heals by itself: however often it failed, it is tried again until the cause is gone.
    """
    leases.fail(
        control_session=control_session, model=Subscription, key=subscription_id, error=error
    )
    control_session.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id)
        .values(attempts=func.least(Subscription.attempts, _tries_counted()))
        .execution_options(synchronize_session=False)
    )


def _tries_counted() -> int:
    return max(0, min(_TRIES_COUNTED, settings().work_attempts_max - 1))


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

    Raises: ReasonMissing, NotFound, PaymentUnderWay, MoneyCame, TaxInvoiceExists, CorrectedSince;
    IllegalMove when it is settled or void already.
    """
    why = reason.strip()
    if not why:
        raise ReasonMissing("Please say why the invoice is voided.", field="reason")
    # The run locks a subscription before its drafts: in another order each waits for the other.
    control_session.execute(
        select(Subscription.id)
        .join(Invoice, Invoice.subscription_id == Subscription.id)
        .where(Invoice.id == invoice_id)
        .with_for_update(of=Subscription)
    )
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
    _free(control_session, invoice)
    credits.give_back(control_session=control_session, invoice_id=invoice_id)
    coupon_uses.give_back(control_session=control_session, invoice_id=invoice_id)
    if was_issued:
        bookings.book_void(control_session=control_session, invoice=invoice, now=now)
        # Whoever was shut out for want of this money owes it no longer.
        dunning.after_payment(
            control_session=control_session, invoice=invoice, actor=actor, now=now
        )
    notify(control_session, "invoicing")
    control_session.flush()
    return invoice


def _free(control_session: Session, invoice: Invoice) -> None:
    """This function will free what an invoice billed, and have it billed again."""
    for taken in (BilledSpan, UsageTotal):
        control_session.execute(
            update(taken)
            .where(taken.invoice_id == invoice.id)
            .values(state="void")
            .execution_options(synchronize_session=False)
        )
    control_session.execute(
        update(Subscription)
        .where(Subscription.id == invoice.subscription_id)
        .values(
            next_bill_on=func.least(Subscription.next_bill_on, invoice.supplied_on),
            next_correction_on=func.least(Subscription.next_correction_on, invoice.supplied_on),
        )
        .execution_options(synchronize_session=False)
    )


def _check_nothing_hangs_on(control_session: Session, invoice: Invoice) -> None:
    attempt = exists().where(
        PaymentAttempt.invoice_id == invoice.id,
        PaymentAttempt.state.in_(("open", "unknown", "needs_person", "succeeded")),
    )
    if control_session.scalar(select(attempt)):
        raise PaymentUnderWay("A payment for this invoice is under way. Wait for its outcome.")
    if invoice.open_minor != invoice.total_minor:
        raise MoneyCame("Part of this invoice is settled. Make a credit note over the rest.")
    asked: dict[str, Any] = {"control_session": control_session, "invoice_id": invoice.id}
    if number := late_usage.corrected_by(**asked) or billed_commitments.corrected_by(**asked):
        raise CorrectedSince(
            f"Invoice {number} corrects the usage on this one. Void that one first."
        )
    if control_session.scalar(select(exists().where(TaxInvoice.invoice_id == invoice.id))):
        raise TaxInvoiceExists(
            "A tax invoice was issued for this invoice. It has to be amended, not voided."
        )
