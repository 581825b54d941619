"""Papers ahead of the books: what a person amended by hand, and nobody credited yet.

A return (03) or a letter of credit (05) takes something off a supply's tax papers at once. The
invoice, the ledger and the customer follow by a credit note. Until then the supply waits for it;
the credit note takes just that back before anything else, and no second paper follows it.

What was issued twice (06) is none of these: the supply stands, proved by the other paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, func, literal_column, select, true
from sqlalchemy.orm import Session

from invoices.documents.papers import Amendment
from invoices.models import CreditNote, Invoice, TaxInvoice

_LESS = (Amendment.RETURN.value, Amendment.LETTER_OF_CREDIT.value)

# Invoices whose papers say less than they do, and of which a credit note can still be made.
TO_BE_CREDITED = """
    invoice.id IN (SELECT t.invoice_id FROM tax_invoice t
        WHERE t.amendment IN ('03', '05') AND t.state <> 'cancelled')
    AND NOT EXISTS (SELECT FROM tax_invoice t
        WHERE t.invoice_id = invoice.id AND t.amendment = '06' AND t.state <> 'cancelled')
    AND EXISTS (SELECT FROM
        (SELECT sum(t.supply_minor) AS supply, sum(t.tax_minor) AS tax FROM tax_invoice t
            WHERE t.invoice_id = invoice.id AND t.state <> 'cancelled') said,
        (SELECT coalesce(sum(n.subtotal_minor), 0) AS supply, coalesce(sum(n.tax_minor), 0) AS tax
            FROM credit_note n WHERE n.invoice_id = invoice.id) taken
        WHERE (invoice.subtotal_minor - taken.supply > said.supply
            OR invoice.tax_minor - taken.tax > said.tax)
          AND invoice.total_minor - taken.supply - taken.tax > invoice.written_off_minor)
"""


@dataclass(frozen=True, slots=True)
class Ahead:
    """By how much the papers of a supply say less than its invoice, credit notes taken off."""

    supply_minor: int = 0
    tax_minor: int = 0

    @property
    def total_minor(self) -> int:
        """What there is to credit, with its tax."""
        return self.supply_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Covered(Ahead):
    """So much of a credit note was on a paper before it: on the amendment `by`."""

    by: UUID | None = None


def to_be_credited() -> ColumnElement[bool]:
    """This function will return the condition that an invoice waits for its credit note."""
    return literal_column(f"({TO_BE_CREDITED})", Boolean)


def of_supply(*, control_session: Session, invoice: Invoice) -> Ahead:
    """This function will say what of a supply was amended by hand and is not credited yet."""
    return _ahead(control_session, invoice, true())


def covered(*, control_session: Session, credit_note: CreditNote) -> Covered:
    """This function will say what of a credit note an amendment by hand took off before it.

    The supply's papers are locked. Credit notes whose paper is still due take nothing of that yet.
    """
    invoice = control_session.get_one(Invoice, credit_note.invoice_id)
    found = _ahead(control_session, invoice, CreditNote.evidence_at.is_not(None))
    supply_minor = min(found.supply_minor, credit_note.subtotal_minor)
    tax_minor = min(found.tax_minor, credit_note.tax_minor)
    by = _last(control_session, invoice.id) if supply_minor or tax_minor else None
    return Covered(supply_minor, tax_minor, by)


def _ahead(control_session: Session, invoice: Invoice, counted: ColumnElement[bool]) -> Ahead:
    papers = control_session.execute(
        select(TaxInvoice.amendment, TaxInvoice.supply_minor, TaxInvoice.tax_minor).where(
            TaxInvoice.invoice_id == invoice.id, TaxInvoice.state != "cancelled"
        )
    ).all()
    reasons = {paper.amendment for paper in papers}
    if not reasons & set(_LESS) or Amendment.ISSUED_TWICE.value in reasons:
        return Ahead()
    taken = control_session.execute(
        select(
            func.coalesce(func.sum(CreditNote.subtotal_minor), 0).label("supply"),
            func.coalesce(func.sum(CreditNote.tax_minor), 0).label("tax"),
        ).where(CreditNote.invoice_id == invoice.id, counted)
    ).one()
    said = sum(paper.supply_minor for paper in papers), sum(paper.tax_minor for paper in papers)
    return Ahead(
        max(0, invoice.subtotal_minor - int(taken.supply) - said[0]),
        max(0, invoice.tax_minor - int(taken.tax) - said[1]),
    )


def _last(control_session: Session, invoice_id: UUID) -> UUID | None:
    return control_session.scalar(
        select(TaxInvoice.id)
        .where(
            TaxInvoice.invoice_id == invoice_id,
            TaxInvoice.amendment.in_(_LESS),
            TaxInvoice.state != "cancelled",
        )
        .order_by(TaxInvoice.created_at.desc(), TaxInvoice.id.desc())
        .limit(1)
    )
