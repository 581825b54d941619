"""Credit notes: what is taken back of an issued invoice, with a number and a paper of its own.

What is still owed is let go first. The rest was paid: it goes back the way it came (`refunds`), or
stays as the customer's credit. The tax paper that follows is due while `evidence_at` is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import audit, ids
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict, Invalid
from app.base.money import Money
from invoices import (
    credit_note_papers,
    credits,
    deferrals,
    fingerprints,
    ledger,
    numbering,
    settlement,
    tax_ahead,
)
from invoices.ledger import Booking, credit, debit
from invoices.models import CreditNote, Invoice, Payment, Refund
from invoices.payment_standing import stands
from invoices.tax_ahead import Ahead

SERIES = "CRN"
REASON_LENGTH_MAX = 500
# What is paid by credit goes back as credit.
RETURNABLE_KINDS = ("card", "virtual_account", "transfer")


class NotCreditable(Conflict):
    """Nothing of the invoice can be taken back: never issued, void, or taken back already."""


class CreditUnsound(Invalid):
    """A credit note can't be made like this; `field` names what to change."""


class MoneyMoving(Conflict):
    """A charge of the invoice is under way; its outcome comes first."""


@dataclass(frozen=True, slots=True)
class Part:
    """So much of one payment that goes back the way it came."""

    payment_id: UUID
    kind: str
    gateway: str
    gateway_payment_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """What credit notes took back so far."""

    total_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a credit note would do, in minor units."""

    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    open_minor: int
    kept_minor: int
    parts: tuple[Part, ...]
    is_whole: bool

    @property
    def refund_minor(self) -> int:
        """What goes back as money."""
        return sum(part.amount_minor for part in self.parts)


def creditable(*, control_session: Session, invoice: Invoice) -> Money:
    """This function will return how much of an invoice can still be taken back."""
    if invoice.state not in ("issued", "paid", "written_off"):
        return Money(0, invoice.currency)
    taken, _ = _taken(control_session, invoice.id)
    return Money(invoice.total_minor - taken - invoice.written_off_minor, invoice.currency)


def plan(*, control_session: Session, invoice: Invoice, amount: Money, keep: bool) -> Plan:
    """This function will work out what a credit note over an amount, tax included, would do.

    `keep` leaves what was paid with the customer as credit. What its tax papers were amended by
    already, by hand, comes first, as it stands on them. Of the rest tax is taken back in
    proportion, so that notes over the whole invoice come to the whole tax.

    Raises: NotCreditable, CreditUnsound (field `amount`).
    """
    if invoice.set_apart_at is not None:
        raise NotCreditable("This customer's data is erased: no paper can name them any more.")
    most = creditable(control_session=control_session, invoice=invoice)
    if not most.amount_minor:
        raise NotCreditable("Nothing of this invoice is left to take back.")
    if amount.currency != invoice.currency or not 0 < amount.amount_minor <= most.amount_minor:
        raise CreditUnsound(
            "Enter an amount above zero, and no more than can be taken back.", field="amount"
        )
    taken, taken_tax = _taken(control_session, invoice.id)
    ahead = tax_ahead.of_supply(control_session=control_session, invoice=invoice)
    tax_minor = _tax(invoice, _Taken(taken, taken_tax), ahead, amount.amount_minor)
    open_minor = min(amount.amount_minor, invoice.open_minor)
    paid_minor = amount.amount_minor - open_minor
    parts = () if keep else _parts(control_session, invoice, paid_minor)
    return Plan(
        currency=invoice.currency,
        subtotal_minor=amount.amount_minor - tax_minor,
        tax_minor=tax_minor,
        total_minor=amount.amount_minor,
        open_minor=open_minor,
        kept_minor=paid_minor - sum(part.amount_minor for part in parts),
        parts=parts,
        is_whole=taken + amount.amount_minor == invoice.total_minor,
    )


def _tax(invoice: Invoice, taken: _Taken, ahead: Ahead, amount_minor: int) -> int:
    """How much of an amount is tax. Never more than is left of it, nor so little that the rest
    would be more than is left of the supply.
    """
    first = min(amount_minor, ahead.total_minor)
    tax_minor = ahead.tax_minor * first // ahead.total_minor if first else 0
    rest = amount_minor - first
    left = invoice.tax_minor - taken.tax_minor - tax_minor
    left_total = invoice.total_minor - taken.total_minor - first
    reached = invoice.tax_minor * (taken.total_minor + amount_minor) // invoice.total_minor
    share = reached - taken.tax_minor - tax_minor
    return tax_minor + max(rest - (left_total - left), min(share, left, rest), 0)


def _taken(control_session: Session, invoice_id: UUID) -> tuple[int, int]:
    row = control_session.execute(
        select(
            func.coalesce(func.sum(CreditNote.total_minor), 0),
            func.coalesce(func.sum(CreditNote.tax_minor), 0),
        ).where(CreditNote.invoice_id == invoice_id)
    ).one()
    return int(row[0]), int(row[1])


def _parts(control_session: Session, invoice: Invoice, wanted_minor: int) -> tuple[Part, ...]:
    """The latest payment goes back first, as far as nothing of it went back before."""
    back = (
        select(Refund.payment_id, func.sum(Refund.amount_minor).label("amount_minor"))
        .where(Refund.state != "closed")
        .group_by(Refund.payment_id)
        .subquery()
    )
    rows = control_session.execute(
        select(Payment, func.coalesce(back.c.amount_minor, 0))
        .outerjoin(back, back.c.payment_id == Payment.id)
        .where(Payment.invoice_id == invoice.id, Payment.kind.in_(RETURNABLE_KINDS), stands())
        .order_by(Payment.paid_at.desc(), Payment.id.desc())
    )
    parts = []
    for payment, gone_minor in rows:
        amount = min(wanted_minor, payment.settled_minor - int(gone_minor))
        if amount > 0:
            key = payment.gateway_payment_id
            parts.append(Part(payment.id, payment.kind, payment.gateway, key, amount))
            wanted_minor -= amount
    return tuple(parts)


def issue(
    *,
    control_session: Session,
    invoice_id: UUID,
    amount: Money,
    keep: bool,
    reason: str,
    staff_id: UUID,
    now: datetime,
    approved_by: UUID | None = None,
) -> CreditNote:
    """This function will take an amount of an invoice back, book it and lay its paper out.

    Raises: NoSuchInvoice, NotCreditable, CreditUnsound, MoneyMoving.
    """
    why = reason.strip()
    if not why or len(why) > REASON_LENGTH_MAX:
        raise CreditUnsound("Please say why this is taken back.", field="reason")
    invoice = settlement.locked(control_session, invoice_id)
    if settlement.charge_under_way(control_session, invoice_id):
        raise MoneyMoving("A card charge of this invoice is under way. Wait for its outcome.")
    planned = plan(control_session=control_session, invoice=invoice, amount=amount, keep=keep)
    note = _note(control_session, invoice, planned, why, now)
    note.issued_by, note.approved_by = staff_id, approved_by
    control_session.add(note)
    control_session.flush()
    actor = Actor.staff(staff_id)
    _book(control_session, note, now)
    invoice.credited_minor += planned.open_minor
    if planned.kept_minor:
        credits.keep(
            control_session=control_session,
            invoice=invoice,
            amount_minor=planned.kept_minor,
            source="credit_note",
            credit_note_id=note.id,
            actor=actor,
            now=now,
        )
    _ask_for_refunds(control_session, note, planned, now)
    settlement.close_if_settled(
        control_session=control_session, invoice=invoice, actor=actor, now=now
    )
    credit_note_papers.lay_out(control_session=control_session, note=note, invoice=invoice, now=now)
    _write_down(control_session, note, actor, now)
    return note


def _note(
    control_session: Session, invoice: Invoice, planned: Plan, reason: str, now: datetime
) -> CreditNote:
    year = numbering.year_of(now)
    (number,) = numbering.take(control_session=control_session, series=SERIES, year=year, count=1)
    note = CreditNote(
        id=ids.uuid7(),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        series=SERIES,
        year=year,
        number=number,
        number_text=numbering.number_text(SERIES, year, number),
        currency=invoice.currency,
        subtotal_minor=planned.subtotal_minor,
        tax_minor=planned.tax_minor,
        total_minor=planned.total_minor,
        open_minor=planned.open_minor,
        refund_minor=planned.refund_minor,
        kept_minor=planned.kept_minor,
        is_whole=planned.is_whole,
        reason=reason,
        issued_at=now,
    )
    note.content_sha256 = content_sha256(note)
    return note


def content_sha256(note: CreditNote) -> str:
    """This function will fingerprint what stands on a credit note, as it is stored."""
    sums = (note.subtotal_minor, note.tax_minor, note.total_minor)
    return fingerprints.sha256(
        {
            "number": [note.series, note.year, note.number],
            "invoice": note.invoice_id,
            "currency": note.currency,
            "sums": list(sums),
            "settled": [note.open_minor, note.refund_minor, note.kept_minor],
            "reason": note.reason,
        }
    )


def _book(control_session: Session, note: CreditNote, now: datetime) -> None:
    """What is not earned yet is taken out of what is deferred, the rest out of revenue."""
    if note.is_whole:
        unearned = deferrals.stop(control_session=control_session, invoice_id=note.invoice_id)
    else:
        unearned = deferrals.take_out(
            control_session=control_session,
            invoice_id=note.invoice_id,
            up_to_minor=note.subtotal_minor,
        )
    booking = Booking(
        kind="credit_note",
        cause_id=note.id,
        tenant_id=note.tenant_id,
        currency=note.currency,
        sides=(
            debit("deferred_revenue", unearned),
            debit("revenue", note.subtotal_minor - unearned),
            debit("vat_payable", note.tax_minor),
            credit("receivable", note.open_minor),
            credit("refunds", note.refund_minor),
            credit("credits", note.kept_minor),
        ),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def _ask_for_refunds(
    control_session: Session, note: CreditNote, planned: Plan, now: datetime
) -> None:
    """Each has its key from the first; what came by our own bank is sent back by a person."""
    for part in planned.parts:
        refund_id = ids.uuid7()
        control_session.add(
            Refund(
                id=refund_id,
                state="due" if part.kind == "card" else "by_hand",
                tenant_id=note.tenant_id,
                credit_note_id=note.id,
                payment_id=part.payment_id,
                gateway=part.gateway,
                gateway_payment_id=part.gateway_payment_id,
                amount_minor=part.amount_minor,
                currency=note.currency,
                idempotency_key=f"refund-{refund_id}",
                asked_at=now,
            )
        )
    control_session.flush()
    if planned.parts:
        notify(control_session, "refunds")


def _write_down(control_session: Session, note: CreditNote, actor: Actor, now: datetime) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action="credit_note.issued",
        subject_kind="invoice",
        subject_id=note.invoice_id,
        tenant_id=note.tenant_id,
        why=note.reason,
        details={
            "number": note.number_text,
            "total_minor": note.total_minor,
            "refund_minor": note.refund_minor,
            "kept_minor": note.kept_minor,
            "currency": note.currency,
        },
        now=now,
    )
    # Its tax paper is due from now on.
    notify(control_session, "tax_papers")


def of_invoice(*, control_session: Session, invoice_id: UUID) -> list[CreditNote]:
    """This function will list the credit notes of an invoice, oldest first."""
    return list(
        control_session.scalars(
            select(CreditNote)
            .where(CreditNote.invoice_id == invoice_id)
            .order_by(CreditNote.issued_at, CreditNote.number)
        )
    )
