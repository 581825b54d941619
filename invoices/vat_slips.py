"""Card slips: how much of a supply they prove, and which credit carries the rest of their proof.

A slip keeps its sum until its card is refunded. Where the money stayed as credit instead, or came
beyond what was owed, the slip proves more than its own supply came to; it proves as much of the
supplies that this credit settles later. Those are not proved anew by another paper.

Source: VAT Act §33 ② (no tax invoice where a card slip is), §46 (the slip is the buyer's evidence).
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from invoices.models import (
    CreditGrant,
    CreditNote,
    CreditUse,
    Invoice,
    Payment,
    Refund,
    VatEvidence,
)
from invoices.payment_standing import stands

# Follow what is credited, or name nobody: no slip stands for more than its supply beside them.
_WITHOUT_SLIP = ("tax_invoice", "cash_receipt", "none_foreign")
# Prove their supply as it is: money that a slip proves must not settle it as well.
_PROVED_OTHERWISE = ("tax_invoice", "cash_receipt", "by_hand")


def proved(*, control_session: Session, invoice_id: UUID) -> int:
    """This function will return how much of an invoice card slips prove, tax included."""
    return _proved(control_session, invoice_id, frozenset())


def from_credit(*, control_session: Session, invoice_id: UUID) -> int:
    """This function will return what of it was paid with credit that a slip proves already."""
    return _from_credit(control_session, invoice_id, frozenset())


def proved_too_much(*, control_session: Session, invoice_id: UUID) -> int:
    """This function will return what slips prove of money that is neither here nor kept as credit.

    It went back another way than through its card: somebody has to have the slip corrected.
    """
    kept = control_session.scalar(
        select(func.coalesce(func.sum(CreditGrant.amount_minor), 0))
        .join(CreditNote, CreditNote.id == CreditGrant.credit_note_id)
        .where(CreditNote.invoice_id == invoice_id)
    )
    return max(0, _beyond(control_session, invoice_id, frozenset()) - int(kept or 0))


def _proved(control_session: Session, invoice_id: UUID, seen: frozenset[UUID]) -> int:
    by_card = _by_card(control_session, invoice_id)
    return by_card + _from_credit(control_session, invoice_id, seen)


def _by_card(control_session: Session, invoice_id: UUID) -> int:
    """What went through a card and did not go back through it."""
    mine = (Payment.invoice_id == invoice_id, Payment.kind == "card", stands())
    came = control_session.scalar(
        select(func.coalesce(func.sum(Payment.settled_minor), 0)).where(*mine)
    )
    went = control_session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0))
        .join(Payment, Payment.id == Refund.payment_id)
        .where(*mine, Refund.state != "closed", Refund.sent_from.is_distinct_from("manual"))
    )
    return int(came or 0) - int(went or 0)


def _from_credit(control_session: Session, invoice_id: UUID, seen: frozenset[UUID]) -> int:
    rows = control_session.execute(
        select(CreditUse, Payment.kind, CreditNote.invoice_id)
        .join(CreditGrant, CreditGrant.id == CreditUse.grant_id)
        .outerjoin(Payment, Payment.id == CreditGrant.payment_id)
        .outerjoin(CreditNote, CreditNote.id == CreditGrant.credit_note_id)
        .where(
            CreditUse.invoice_id == invoice_id,
            CreditUse.payment_id.is_not(None),
            CreditUse.state == "used",
        )
    ).all()
    seen = seen | {invoice_id}
    found = 0
    for use, paid_by, source_id in rows:
        if paid_by == "card":
            found += use.amount_minor
        elif source_id is not None and source_id not in seen:
            beyond = _beyond(control_session, source_id, seen)
            left = beyond - _used_before(control_session, source_id, use)
            found += max(0, min(use.amount_minor, left))
    return found


def _beyond(control_session: Session, invoice_id: UUID, seen: frozenset[UUID]) -> int:
    """What the slips of a supply prove beyond what is left of it."""
    kind = control_session.scalar(
        select(VatEvidence.kind).where(VatEvidence.invoice_id == invoice_id)
    )
    if kind in _WITHOUT_SLIP:
        return 0
    slips = _proved(control_session, invoice_id, seen)
    return max(0, slips - left_of(control_session=control_session, invoice_id=invoice_id))


def left_of(*, control_session: Session, invoice_id: UUID) -> int:
    """This function will return what an invoice comes to without what credit notes took of it."""
    taken = (
        select(func.coalesce(func.sum(CreditNote.total_minor), 0))
        .where(CreditNote.invoice_id == invoice_id)
        .scalar_subquery()
    )
    left = control_session.scalars(
        select(Invoice.total_minor - taken).where(Invoice.id == invoice_id)
    ).one()
    return int(left)


def _used_before(control_session: Session, source_id: UUID, use: CreditUse) -> int:
    """What was used earlier of the credit that a supply's notes left."""
    used = control_session.scalar(
        select(func.coalesce(func.sum(CreditUse.amount_minor), 0))
        .join(CreditGrant, CreditGrant.id == CreditUse.grant_id)
        .join(CreditNote, CreditNote.id == CreditGrant.credit_note_id)
        .where(
            CreditNote.invoice_id == source_id,
            CreditUse.state == "used",
            tuple_(CreditUse.used_at, CreditUse.id) < tuple_(use.used_at, use.id),
        )
    )
    return int(used or 0)


def is_proved_otherwise() -> ColumnElement[bool]:
    """This function will return the condition that an invoice has a paper that names all of it."""
    return (
        exists()
        .where(VatEvidence.invoice_id == Invoice.id, VatEvidence.kind.in_(_PROVED_OTHERWISE))
        .correlate(Invoice)
    )


def may_carry_proof() -> ColumnElement[bool]:
    """This function will return the condition that a slip may prove a credit's money already."""
    paid, noted, paid_before, chosen = (
        aliased(Payment),
        aliased(CreditNote),
        aliased(Payment),
        aliased(VatEvidence),
    )
    overpaid = (
        exists()
        .where(paid.id == CreditGrant.payment_id, paid.kind == "card")
        .correlate(CreditGrant)
    )
    follows = exists().where(chosen.invoice_id == noted.invoice_id, chosen.kind.in_(_WITHOUT_SLIP))
    kept = (
        exists()
        .where(
            noted.id == CreditGrant.credit_note_id,
            paid_before.invoice_id == noted.invoice_id,
            paid_before.kind.in_(("card", "credit")),
            ~follows,
        )
        .correlate(CreditGrant)
    )
    return or_(overpaid, kept)
