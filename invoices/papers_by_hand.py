"""Papers that a person issues elsewhere: which, over how much, and what they say became of it.

Some supplies take a paper that we can't make: one for each part of a bill that VAT treats in
several ways, one over what a card slip does not prove, one for a buyer without a valid number. The
person sees what is to be issued, issues it at the tax service, and notes its number and day here;
or why there is none to issue. What is credited afterwards makes it due once more. A card slip goes
with its payment when that is lost in a dispute: until another card pays, a person sees to it.

Source: VAT Act §32 (tax invoices), §33 ② (none beside a card slip); Income Tax Act §163 (계산서).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CompoundSelect,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Session

from app.base import audit, clock
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import planned_once
from app.base.errors import Conflict, Invalid
from app.base.money import Rounding, round_minor
from invoices import vat, vat_lines, vat_slips
from invoices.discounts import deal_out
from invoices.models import (
    CreditNote,
    Invoice,
    PaperByHand,
    Payment,
    PaymentReversal,
    VatEvidence,
)

# A person's, and nobody said what became of it; or something was credited after they did.
WAITS = """
    vat_evidence.kind = 'by_hand' AND NOT EXISTS (
        SELECT FROM paper_by_hand p WHERE p.evidence_id = vat_evidence.id
          AND p.credit_note_id IS NULL AND NOT EXISTS (
            SELECT FROM credit_note n
            WHERE n.invoice_id = vat_evidence.invoice_id AND n.issued_at > p.noted_at))
"""
# A dispute took a payment whose slip proved the supply; no card took its place, and nobody said
# since what did, or something was credited after they did.
SLIP_LOST = """
    vat_evidence.id IN (
        SELECT e.id FROM payment_reversal r
        JOIN payment p ON p.id = r.payment_id AND p.kind IN ('card', 'credit')
        JOIN vat_evidence e ON e.invoice_id = p.invoice_id
        WHERE (e.kind = 'card_slip' AND e.payment_id = p.id
            OR e.kind = 'by_hand' AND r.source = 'dispute')
          AND NOT EXISTS (SELECT FROM payment o
            WHERE o.invoice_id = p.invoice_id AND o.kind IN ('card', 'credit')
              AND o.paid_at >= r.reversed_at
              AND NOT EXISTS (SELECT FROM payment_reversal x WHERE x.payment_id = o.id))
          AND NOT EXISTS (SELECT FROM paper_by_hand b
            WHERE b.evidence_id = e.id AND b.credit_note_id IS NULL
              AND b.noted_at >= r.reversed_at AND NOT EXISTS (SELECT FROM credit_note n
                WHERE n.invoice_id = e.invoice_id AND n.issued_at > b.noted_at)))
"""
NUMBER_LENGTH_MAX = 200
NOTE_LENGTH_MAX = 500


class NotByHand(Conflict):
    """The supply's evidence is not a person's to make."""


class NoteUnsound(Invalid):
    """A paper is noted with its number and its day, and a reason where there is none."""


@dataclass(frozen=True, slots=True)
class Part:
    """A paper to be issued: of supplies that VAT treats alike, over so much of them."""

    treatment: str
    supply_minor: int
    tax_minor: int

    @property
    def total_minor(self) -> int:
        """What it comes to with its tax."""
        return self.supply_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A supply whose paper waits for a person: from which day its time runs, and over how much."""

    invoice_id: UUID
    number: str
    name: str
    currency: str
    counted_from: date
    supply_minor: int


def to_be_made() -> CompoundSelect[UUID]:
    """This function will select the invoices whose evidence a person has still to make."""
    return union(_waiting(WAITS), _waiting(SLIP_LOST))


def _waiting(why: str) -> Select[UUID]:
    return select(VatEvidence.invoice_id).where(literal_column(f"({why})", Boolean))


_NOTED_AT = (
    select(func.max(PaperByHand.noted_at))
    .join(VatEvidence, VatEvidence.id == PaperByHand.evidence_id)
    .where(VatEvidence.invoice_id == Invoice.id, PaperByHand.credit_note_id.is_(None))
    .scalar_subquery()
)
_PROVED_IN_PART = or_(
    exists().where(Payment.invoice_id == Invoice.id, Payment.kind.in_(("card", "credit"))),
    exists().where(CreditNote.invoice_id == Invoice.id),
)
_LOST_ON = (
    select(func.max(PaymentReversal.reversed_on))
    .join(Payment, Payment.id == PaymentReversal.payment_id)
    .where(Payment.invoice_id == Invoice.id, Payment.kind.in_(("card", "credit")))
    .scalar_subquery()
)
# By columns, and put together once: a page asks for them that shows little of each.
_OUTSTANDING = planned_once(
    select(
        Invoice.id,
        Invoice.number_text,
        Invoice.supplied_on,
        Invoice.subtotal_minor,
        Invoice.currency,
        Invoice.buyer["name"].astext.label("name"),
        _NOTED_AT.label("noted_at"),
        _PROVED_IN_PART.label("in_part"),
        # What a slip never proved was due from the first.
        case((or_(VatEvidence.kind == "card_slip", _NOTED_AT.is_not(None)), _LOST_ON)).label(
            "lost_on"
        ),
    )
    .join(VatEvidence, VatEvidence.invoice_id == Invoice.id)
    .where(Invoice.id.in_(to_be_made()))
    .order_by(Invoice.supplied_on, Invoice.id)
    .limit(bindparam("limit"))
)


def is_to_be_made(*, control_session: Session, invoice_id: UUID) -> bool:
    """This function will tell whether a supply's evidence waits for a person."""
    mine = VatEvidence.invoice_id == invoice_id
    either = select(or_(*(_waiting(why).where(mine).exists() for why in (WAITS, SLIP_LOST))))
    return bool(control_session.scalar(either))


def notes(*, control_session: Session, invoice_id: UUID) -> Sequence[PaperByHand]:
    """This function will list what people said of a supply's papers, the newest first."""
    return control_session.scalars(
        select(PaperByHand)
        .join(VatEvidence, VatEvidence.id == PaperByHand.evidence_id)
        .where(VatEvidence.invoice_id == invoice_id)
        .order_by(PaperByHand.noted_at.desc(), PaperByHand.id.desc())
    ).all()


def parts(*, control_session: Session, invoice: Invoice) -> list[Part]:
    """This function will say which papers prove a supply as it stands, and over how much.

    One for each way in which VAT treats its lines. What credit notes took of it and what card slips
    prove already is taken off all of them, in proportion to what each comes to.
    """
    supplies: dict[str, int] = defaultdict(int)
    for line in vat_lines.supplies(lines=invoice.lines, buyer=invoice.buyer):
        for treatment, amount in line.by_treatment.items():
            supplies[treatment] += amount
    taxes = {vat.TAXABLE: invoice.tax_minor}
    charged = [each for each in vat.TREATMENTS if supplies[each] + taxes.get(each, 0) > 0]
    whole = [supplies[each] + taxes.get(each, 0) for each in charged]
    left = vat_slips.left_of(control_session=control_session, invoice_id=invoice.id)
    by_card = vat_slips.proved(control_session=control_session, invoice_id=invoice.id)
    rest = max(left - by_card, 0)
    found = []
    for treatment, total, share in zip(charged, whole, deal_out(rest, whole), strict=True):
        tax = round_minor(Decimal(taxes.get(treatment, 0)) * share / total, Rounding.HALF_UP)
        if share:
            found.append(Part(treatment, share - tax, tax))
    return found


def outstanding(*, control_session: Session, limit: int) -> list[Outstanding]:
    """This function will list what a person has still to issue or amend, the oldest supply first.

    An amendment's time runs from the first credit note that nobody noted one for, and that of a
    paper in place of a lost slip from the day of the loss. Where nothing is left to issue there is
    nothing to be late with: it only waits for somebody to say so.
    """
    found = []
    for row in control_session.execute(_OUTSTANDING, {"limit": limit}).all():
        since = _credited_since(control_session, row) if row.noted_at else []
        if since:
            first = clock.today(since[0].issued_at, settings().contract_timezone)
            found.append(_outstanding(row, first, sum(each.subtotal_minor for each in since)))
            continue
        left = row.subtotal_minor
        if row.in_part:
            invoice = control_session.get_one(Invoice, row.id)
            issued = parts(control_session=control_session, invoice=invoice)
            left = sum(part.supply_minor for part in issued)
        if left:
            found.append(_outstanding(row, row.lost_on or row.supplied_on, left))
    return found


def _credited_since(control_session: Session, row: Row[Any]) -> Sequence[CreditNote]:
    return control_session.scalars(
        select(CreditNote)
        .where(CreditNote.invoice_id == row.id, CreditNote.issued_at > row.noted_at)
        .order_by(CreditNote.issued_at)
    ).all()


def _outstanding(row: Row[Any], counted_from: date, supply_minor: int) -> Outstanding:
    return Outstanding(
        invoice_id=row.id,
        number=row.number_text or "",
        name=row.name or "",  # none once it is set apart
        currency=row.currency,
        counted_from=counted_from,
        supply_minor=supply_minor,
    )


def note(
    *,
    control_session: Session,
    invoice_id: UUID,
    number: str,
    issued_on: date | None,
    words: str,
    staff_id: UUID,
    now: datetime,
    today: date,
) -> PaperByHand:
    """This function will write down the paper that a person issued elsewhere, or why none is due.

    Several numbers are written one after the other. What was noted before stays, and counts no
    more.

    Raises: NotByHand, NoteUnsound.
    """
    evidence = control_session.scalar(
        select(VatEvidence).where(VatEvidence.invoice_id == invoice_id)
    )
    if evidence is None or not is_by_hand(control_session=control_session, evidence=evidence):
        raise NotByHand("This supply's evidence is not made by hand.")
    numbers, said = checked(number=number, issued_on=issued_on, words=words, today=today)
    row = PaperByHand(
        tenant_id=evidence.tenant_id,
        evidence_id=evidence.id,
        number=numbers or None,
        issued_on=issued_on,
        note=said,
        noted_at=now,
        noted_by=staff_id,
    )
    control_session.add(row)
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action="vat_evidence.noted",
        subject_kind="invoice",
        subject_id=invoice_id,
        tenant_id=evidence.tenant_id,
        why=said,
        details={"number": numbers, "issued_on": issued_on.isoformat() if issued_on else ""},
        now=now,
    )
    return row


def is_by_hand(*, control_session: Session, evidence: VatEvidence) -> bool:
    """This function will tell whether a supply's paper is a person's to make, or was."""
    if evidence.kind == "by_hand" or is_to_be_made(
        control_session=control_session, invoice_id=evidence.invoice_id
    ):
        return True
    said = exists().where(
        PaperByHand.evidence_id == evidence.id, PaperByHand.credit_note_id.is_(None)
    )
    return bool(control_session.scalar(select(said)))


def checked(*, number: str, issued_on: date | None, words: str, today: date) -> tuple[str, str]:
    """This function will return the numbers and the words of a note, without needless blanks.

    Raises: NoteUnsound.
    """
    numbers, said = " ".join(number.split()), " ".join(words.split())
    if len(numbers) > NUMBER_LENGTH_MAX:
        raise NoteUnsound("Enter the numbers in 200 characters at most.", field="number")
    if numbers and issued_on is None:
        raise NoteUnsound("Enter the day on which it was issued.", field="issued_on")
    if issued_on is not None and not numbers:
        raise NoteUnsound("Enter its number as well, or no day.", field="number")
    if issued_on is not None and issued_on > today:
        raise NoteUnsound("It can't have been issued on a day to come.", field="issued_on")
    if not said or len(said) > NOTE_LENGTH_MAX:
        raise NoteUnsound("Say where it was issued, or why there is none to issue.", field="words")
    return numbers, said
