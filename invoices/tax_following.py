"""Papers that follow credit notes: by themselves, or by a person where no machine can make them.

A tax invoice is amended or taken back, a cash receipt cancelled, and a card's slip shrinks with the
refund through the card. Where that can't be, as when the money of a card went back by bank, or the
paper was issued twice and the other one stands, the credit note says why and waits for a person,
who makes its paper elsewhere and notes it, or has it tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import audit, clock
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, NotFound, TenantryError
from app.base.money import Money
from invoices import cash_receipts, papers_by_hand, tax_ahead, tax_amendments
from invoices.models import (
    CashReceipt,
    CreditNote,
    Invoice,
    PaperByHand,
    Refund,
    TaxInvoice,
    VatEvidence,
)
from invoices.tax_sheets import Correction

ERROR_LENGTH_MAX = 500
_REFUND_ENDED = ("succeeded", "closed")
# Credit notes that no paper follows by itself.
WAITS = and_(CreditNote.evidence_at.is_(None), CreditNote.evidence_error.is_not(None))


class SlipStands(Conflict):
    """Money that a card paid went back another way: its slip still proves it."""


class NoSuchCreditNote(NotFound):
    """There is no such credit note."""


class NotWaiting(Conflict):
    """The credit note does not wait for a person any more."""


def due() -> ColumnElement[bool]:
    """This function will return the condition that a credit note's tax paper is to follow it now.

    Not while what it amends, or the card's refund, is on its way: there is nothing to do but wait.
    Nor where it waits for a person.
    """
    unnumbered = exists().where(
        CashReceipt.invoice_id == CreditNote.invoice_id,
        CashReceipt.state.in_(("due", "failed")),
    )
    # Taken back before any evidence was chosen: there is none to follow.
    none_needed = exists().where(
        Invoice.id == CreditNote.invoice_id,
        Invoice.state == "credited",
        Invoice.credited_minor == Invoice.total_minor,
    )
    chosen = exists().where(VatEvidence.invoice_id == CreditNote.invoice_id)
    return and_(
        CreditNote.evidence_at.is_(None),
        CreditNote.evidence_error.is_(None),
        or_(chosen, none_needed),
        ~_paper_on_its_way(),
        ~unnumbered,
        ~_slip_on_its_way(),
    )


def _paper_on_its_way() -> ColumnElement[bool]:
    return exists().where(
        TaxInvoice.invoice_id == CreditNote.invoice_id,
        or_(
            TaxInvoice.state.in_(("due", "sent")),
            and_(
                TaxInvoice.state == "failed",
                or_(TaxInvoice.issue_id.is_not(None), CreditNote.is_whole.is_(False)),
            ),
            TaxInvoice.cancel_reason.is_not(None) & (TaxInvoice.state != "cancelled"),
            and_(
                TaxInvoice.state == "issued",
                TaxInvoice.issuer != "offline",
                CreditNote.is_whole.is_(False),
            ),
        ),
    )


def _slip_on_its_way() -> ColumnElement[bool]:
    return exists().where(
        VatEvidence.invoice_id == CreditNote.invoice_id,
        VatEvidence.kind == "card_slip",
        Refund.credit_note_id == CreditNote.id,
        Refund.state.not_in(_REFUND_ENDED),
    )


def after_credit_note(*, control_session: Session, credit_note: CreditNote, now: datetime) -> bool:
    """This function will have the supply's evidence follow a credit note, and say whether it has.

    False while it has to wait: a step comes back.

    Raises: AmendmentWrong, NoCashReceipt where more is taken back than the papers say; SlipStands.
    """
    if credit_note.evidence_at is not None:
        return True
    invoice = control_session.get_one(Invoice, credit_note.invoice_id)
    kind = control_session.scalar(
        select(VatEvidence.kind).where(VatEvidence.invoice_id == invoice.id)
    )
    if kind is None:
        followed = invoice.state == "credited" and invoice.credited_minor == invoice.total_minor
    elif kind == "tax_invoice":
        followed = _tax_invoice_follows(control_session, credit_note, now)
    elif kind == "cash_receipt":
        followed = cash_receipts.cancel(
            control_session=control_session,
            invoice_id=invoice.id,
            cause_id=credit_note.id,
            supply_minor=credit_note.subtotal_minor,
            tax_minor=credit_note.tax_minor,
            reason=credit_note.reason,
            now=now,
        )
    else:
        followed = kind != "card_slip" or _slip_follows(control_session, credit_note)
    if followed:
        credit_note.evidence_at = now
        control_session.flush()
    return followed


def _tax_invoice_follows(control_session: Session, credit_note: CreditNote, now: datetime) -> bool:
    """What was amended by hand before is on the papers already."""
    if tax_amendments.is_corrected(control_session=control_session, cause_id=credit_note.id):
        return True
    tax_amendments.standing(control_session=control_session, invoice_id=credit_note.invoice_id)
    covered = tax_ahead.covered(control_session=control_session, credit_note=credit_note)
    if covered.total_minor == credit_note.total_minor:
        credit_note.covered_by = covered.by
        return True
    correction = Correction(
        cause_id=credit_note.id,
        invoice_id=credit_note.invoice_id,
        supply_minor=credit_note.subtotal_minor - covered.supply_minor,
        tax_minor=credit_note.tax_minor - covered.tax_minor,
        on=clock.today(credit_note.issued_at, settings().contract_timezone),
        reason=credit_note.reason,
    )
    return tax_amendments.correct(control_session=control_session, correction=correction, now=now)


def _slip_follows(control_session: Session, credit_note: CreditNote) -> bool:
    """A slip is the less by what went back through its card; what was kept it goes on proving."""
    mine = Refund.credit_note_id == credit_note.id
    waits = exists().where(mine, Refund.state.not_in(_REFUND_ENDED))
    if control_session.scalar(select(waits)):
        return False
    by_bank = control_session.scalar(
        select(func.sum(Refund.amount_minor)).where(
            mine, Refund.state == "succeeded", Refund.sent_from == "manual"
        )
    )
    if by_bank:
        sent = Money(int(by_bank), credit_note.currency)
        raise SlipStands(f"the card slip still proves {sent}, which went back by bank transfer")
    return True


def give_up(*, control_session: Session, credit_note_id: UUID, error: TenantryError) -> None:
    """This function will leave a credit note's paper to a person: it says why none follows."""
    row = control_session.get_one(CreditNote, credit_note_id, with_for_update=True)
    if row.evidence_at is None:
        row.evidence_error = str(error)[:ERROR_LENGTH_MAX]
        control_session.flush()


def waiting(*, control_session: Session, limit: int) -> Sequence[CreditNote]:
    """This function will list the credit notes whose paper waits for a person, oldest first."""
    return control_session.scalars(
        select(CreditNote).where(WAITS).order_by(CreditNote.issued_at, CreditNote.id).limit(limit)
    ).all()


def of_invoice(*, control_session: Session, invoice_id: UUID) -> Sequence[CreditNote]:
    """This function will list those of one invoice, oldest first."""
    return control_session.scalars(
        select(CreditNote)
        .where(WAITS, CreditNote.invoice_id == invoice_id)
        .order_by(CreditNote.issued_at, CreditNote.id)
    ).all()


def try_again(
    *, control_session: Session, credit_note_id: UUID, actor: Actor, now: datetime
) -> CreditNote:
    """This function will have a credit note's paper follow it once more.

    Raises: NoSuchCreditNote, NotWaiting.
    """
    row = _waiting(control_session, credit_note_id)
    row.evidence_error = None
    control_session.flush()
    _write_down(control_session, row, action="credit_note.paper_again", actor=actor, now=now)
    notify(control_session, "tax_papers")
    return row


def note_made(
    *,
    control_session: Session,
    credit_note_id: UUID,
    number: str,
    issued_on: date | None,
    words: str,
    staff_id: UUID,
    now: datetime,
    today: date,
) -> PaperByHand:
    """This function will write down the paper that a person made for a credit note, or why none is.

    Raises: NoSuchCreditNote, NotWaiting, papers_by_hand.NoteUnsound.
    """
    row = _waiting(control_session, credit_note_id)
    numbers, said = papers_by_hand.checked(
        number=number, issued_on=issued_on, words=words, today=today
    )
    evidence_id = control_session.scalars(
        select(VatEvidence.id).where(VatEvidence.invoice_id == row.invoice_id)
    ).one()
    paper = PaperByHand(
        tenant_id=row.tenant_id,
        evidence_id=evidence_id,
        credit_note_id=row.id,
        number=numbers or None,
        issued_on=issued_on,
        note=said,
        noted_at=now,
        noted_by=staff_id,
    )
    control_session.add(paper)
    row.evidence_at, row.evidence_error = now, None
    control_session.flush()
    _write_down(
        control_session,
        row,
        action="credit_note.paper_noted",
        actor=Actor.staff(staff_id),
        now=now,
        why=said,
        number=numbers,
    )
    return paper


def _waiting(control_session: Session, credit_note_id: UUID) -> CreditNote:
    row = control_session.get(
        CreditNote, credit_note_id, with_for_update=True, populate_existing=True
    )
    if row is None:
        raise NoSuchCreditNote("There is no such credit note.")
    if row.evidence_at is not None or row.evidence_error is None:
        raise NotWaiting("This credit note's paper does not wait for a person. Look again.")
    return row


def _write_down(
    control_session: Session,
    row: CreditNote,
    *,
    action: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    number: str = "",
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="invoice",
        subject_id=row.invoice_id,
        tenant_id=row.tenant_id,
        why=why,
        details={"credit_note": row.number_text, "number": number},
        now=now,
    )
