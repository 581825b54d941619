"""Tax invoices: drawn up here once and for all, issued by an issuer, printed in two copies.

What one says is frozen when it is drawn up (`due`). It is printed once it is issued, and says
국세청 미전송 then; once more when the tax service has accepted it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base import clock, ids, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from invoices import parties, vat, vat_lines
from invoices.documents import shelf
from invoices.documents.papers import (
    LINES_MAX,
    Copy,
    Purpose,
    TaxInvoiceLine,
    TaxInvoicePaper,
)
from invoices.invoice_papers import days_of
from invoices.models import (
    TAX_INVOICE,
    Document,
    Invoice,
    InvoiceLine,
    TaxInvoice,
    VatEvidence,
)
from invoices.tax_papers import standard
from tenants.identifiers import brn_is_valid, normalise_brn

DRAFTER = Actor.job("evidence")
# The printed copies of a tax invoice that the tax service has accepted.
ACCEPTED_SUFFIX = "_accepted"
_PURPOSES = {"receipt": Purpose.RECEIVED, "claim": Purpose.CHARGED}
Writer = Callable[[str], TaxInvoicePaper]
_COPIES = ((Copy.SUPPLIER, "tax_invoice_supplier"), (Copy.BUYER, "tax_invoice_buyer"))
_NAMES = {Copy.SUPPLIER: "supplier", Copy.BUYER: "buyer"}


def hindrance(invoice: Invoice) -> str | None:
    """This function will say why no tax invoice can be made for an invoice; None when it can.

    Source: VAT Act §32: the buyer's registration number and won amounts are required items; an
    exempt supply takes a 계산서 instead.
    """
    if not brn_is_valid(str(invoice.buyer.get("registration_number") or "")):
        return "the buyer has no valid Korean business registration number"
    if not brn_is_valid(str(invoice.seller.get("registration_number") or "")):
        return "the seller's own business registration number is not valid"
    if invoice.currency != "KRW":
        return f"the supply is priced in {invoice.currency}; its won value must be set by a person"
    if sum(1 for line in invoice.lines if line.amount_minor) > LINES_MAX:
        return f"the invoice has more than {LINES_MAX} lines"
    return _other_papers(invoice) or _nonstandard(invoice)


def _other_papers(invoice: Invoice) -> str | None:
    """Whether the supply takes another paper, or each part of it one of its own."""
    treatments = vat_lines.treatments(lines=invoice.lines, buyer=invoice.buyer)
    if treatments == {vat.EXEMPT}:
        return "an exempt supply takes a 계산서, not a tax invoice"
    if len(treatments) > 1:
        return f"it mixes supplies that take papers of their own: {', '.join(sorted(treatments))}"
    return None


def _nonstandard(invoice: Invoice) -> str | None:
    """What the standard for electronic ones wants beyond the law: an address, and short names."""
    email = str(invoice.buyer.get("email") or "")
    if not email:
        return "the buyer has no e-mail address, which an electronic tax invoice needs"
    if len(email) > standard.EMAIL_MAX:
        return f"the buyer's e-mail address has more than {standard.EMAIL_MAX} characters"
    if len(str(invoice.buyer["name"])) > standard.NAME_MAX:
        return f"the buyer's name has more than {standard.NAME_MAX} characters"
    return None


def draw_up(
    *,
    control_session: Session,
    invoice: Invoice,
    evidence: VatEvidence,
    purpose: str,
    now: datetime,
) -> TaxInvoice:
    """This function will draw up the tax invoice that was chosen as a supply's evidence.

    `purpose`: `receipt` (영수) when it is paid, `claim` (청구) when it is to be paid. The date on
    it is the day of supply, whenever it is issued. A step issues it.
    """

    def written(key: str) -> TaxInvoicePaper:
        return tax_invoice_paper(invoice=invoice, number=key, purpose=_PURPOSES[purpose])

    return add(
        control_session=control_session,
        write=written,
        evidence_id=evidence.id,
        invoice=invoice,
        issuer=settings().tax_issuer,
        actor=DRAFTER,
        now=now,
    )


def add(
    *,
    control_session: Session,
    write: Writer,
    evidence_id: UUID,
    invoice: Invoice,
    issuer: str,
    actor: Actor,
    now: datetime,
    **more: Any,
) -> TaxInvoice:
    """This function will store what a tax invoice says; `write` is handed its management key.

    `more`: what an amending one has beside.
    """
    serial = control_session.execute(text("SELECT nextval('tax_invoice_serial')")).scalar_one()
    row_id = ids.uuid7()
    # Unique for the seller even where a serial is dealt twice, by a database that was restored.
    key = f"{serial:08d}-{row_id.hex[-12:]}"
    paper = write(key)
    row = TaxInvoice(
        id=row_id,
        evidence_id=evidence_id,
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        issuer=issuer,
        management_key=key,
        serial=serial,
        purpose=next(name for name, word in _PURPOSES.items() if word is paper.purpose),
        written_on=paper.written_on,
        created_at=now,
        supply_minor=paper.supply_minor,
        tax_minor=paper.tax_minor,
        total_minor=paper.total_minor,
        data=shelf.to_json(paper),
        content_sha256=shelf.content_sha256(paper),
        **more,
    )
    states.begin(
        control_session=control_session,
        machine=TAX_INVOICE,
        row=row,
        actor=actor,
        now=now,
        why=more.get("reason"),
    )
    notify(control_session, TAX_INVOICE.wakes["due"])
    return row


def paper_of(row: TaxInvoice) -> TaxInvoicePaper:
    """This function will return what a tax invoice says, as it was drawn up."""
    paper = shelf.from_json(row.data)
    if not isinstance(paper, TaxInvoicePaper):
        raise TypeError(f"tax invoice {row.id} holds another kind of paper")
    return paper


def tax_invoice_paper(*, invoice: Invoice, number: str, purpose: Purpose) -> TaxInvoicePaper:
    """This function will put a supply on the statutory form.

    Lines of nothing are left out: they bear no tax. Each other has the tax that it was billed with,
    so rows and total agree as the invoice's lines and its tax do.
    """
    charged = [line for line in invoice.lines if line.amount_minor or line.tax_minor]
    paid = purpose is Purpose.RECEIVED
    seller = parties.party(invoice.seller, language="ko")
    buyer = parties.party(invoice.buyer, language="ko")
    return TaxInvoicePaper(
        number=number,
        written_on=invoice.supplied_on,
        seller=replace(seller, registration_number=normalise_brn(seller.registration_number)),
        buyer=replace(buyer, registration_number=normalise_brn(buyer.registration_number)),
        lines=tuple(_line(invoice, line) for line in charged),
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        copy=Copy.BOTH,
        purpose=purpose,
        tax_treatment=vat_lines.printed(lines=invoice.lines, buyer=invoice.buyer),
        cash_minor=invoice.total_minor if paid else 0,
        credit_minor=0 if paid else invoice.total_minor,
        remark=invoice.number_text or "",
    )


def _line(invoice: Invoice, line: InvoiceLine) -> TaxInvoiceLine:
    start, end = days_of(line.period)
    return TaxInvoiceLine(
        supplied_on=invoice.supplied_on,
        item=line.name_ko,
        specification=f"{start:%m.%d}~{end - timedelta(days=1):%m.%d}",
        # The form takes two decimals at most; a finer quantity is left to the invoice.
        quantity=line.quantity if line.quantity == round(line.quantity, 2) else None,
        unit_price_minor=_unit_price(line),
        supply_minor=line.amount_minor,
        tax_minor=line.tax_minor,
    )


def _unit_price(line: InvoiceLine) -> Decimal | None:
    """The price of a unit without VAT, where the form has digits enough for it."""
    if "included" in line.evidence.get("vat", {}):
        return None
    return line.unit_amount if line.unit_amount == round(line.unit_amount, 2) else None


def lay_out(*, control_session: Session, row: TaxInvoice, now: datetime) -> None:
    """This function will write the two copies to print: the seller's in red, the buyer's in blue.

    Only Korean ones: the form is the law's. Called when it is issued, and again when it was
    accepted: the second pair bears the approval number and the day of transmission.
    """
    paper = paper_of(row)
    suffix = ""
    if row.accepted_at is not None:
        suffix = ACCEPTED_SUFFIX
        sent_on = clock.today(row.sent_at or row.accepted_at, settings().contract_timezone)
        paper = replace(paper, approval_number=row.issue_id or "", transmitted_on=sent_on)
    for copy, kind in _COPIES:
        sheet = replace(paper, copy=copy)
        control_session.execute(
            insert(Document)
            .values(
                id=ids.uuid7(),
                state="due",
                tenant_id=row.tenant_id,
                kind=kind + suffix,
                subject_id=row.id,
                language="ko",
                file_name=f"TAX-{row.issue_id}-{_NAMES[copy]}{suffix.replace('_', '-')}.pdf",
                data=shelf.to_json(sheet),
                data_sha256=shelf.content_sha256(sheet),
                created_at=now,
            )
            .on_conflict_do_nothing(index_elements=["kind", "subject_id", "language"])
        )
    control_session.flush()
    notify(control_session, "documents")
