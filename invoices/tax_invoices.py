"""Tax invoices: issued here, numbered, printed in two copies; transmitted by nobody yet.

The paper says 국세청 미전송 until something transmits it: an issue here is not an issue there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base.db import notify
from invoices import parties
from invoices.documents import shelf
from invoices.documents.papers import (
    LINES_MAX,
    Copy,
    Purpose,
    TaxInvoiceLine,
    TaxInvoicePaper,
    TaxTreatment,
    split_tax,
)
from invoices.invoice_papers import days_of
from invoices.models import Document, Invoice, InvoiceLine, TaxInvoice, VatEvidence
from tenants.identifiers import brn_is_valid, normalise_brn

# Eight digits that the tax service gives to whoever may issue. Nobody has given us any; zeros are
# given to nobody, so no number made here can be taken for a registered one.
ISSUER_UNREGISTERED = "00000000"
_PURPOSES = {"receipt": Purpose.RECEIVED, "claim": Purpose.CHARGED}
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
    if invoice.buyer["vat_treatment"]["treatment"] == TaxTreatment.EXEMPT.value:
        return "an exempt supply takes a 계산서, not a tax invoice"
    if sum(1 for line in invoice.lines if line.amount_minor) > LINES_MAX:
        return f"the invoice has more than {LINES_MAX} lines"
    return None


def issue(
    *,
    control_session: Session,
    invoice: Invoice,
    evidence: VatEvidence,
    purpose: str,
    now: datetime,
) -> TaxInvoice:
    """This function will issue the tax invoice that was chosen as a supply's evidence.

    `purpose`: `receipt` (영수) when it is paid, `claim` (청구) when it is to be paid. The date on
    it is the day of supply, whenever it is issued.
    """
    serial = control_session.execute(text("SELECT nextval('tax_invoice_serial')")).scalar_one()
    number = f"{invoice.supplied_on:%Y%m%d}{ISSUER_UNREGISTERED}{serial:08d}"
    paper = tax_invoice_paper(invoice=invoice, number=number, purpose=_PURPOSES[purpose])
    issued = TaxInvoice(
        evidence_id=evidence.id,
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        issue_id=number,
        purpose=purpose,
        written_on=paper.written_on,
        issued_at=now,
        supply_minor=paper.supply_minor,
        tax_minor=paper.tax_minor,
        total_minor=paper.total_minor,
        data=shelf.to_json(paper),
        content_sha256=shelf.content_sha256(paper),
    )
    control_session.add(issued)
    control_session.flush()
    _lay_out(control_session, issued, paper, now)
    return issued


def tax_invoice_paper(*, invoice: Invoice, number: str, purpose: Purpose) -> TaxInvoicePaper:
    """This function will put a supply on the statutory form.

    Lines of nothing are left out; the tax is split over the others so that rows and total agree.
    """
    charged = [line for line in invoice.lines if line.amount_minor]
    taxes = split_tax(
        supplies_minor=[line.amount_minor for line in charged],
        tax_minor=invoice.tax_minor,
        rate=Decimal(parties.vat_percent(invoice.buyer)) / 100,
    )
    paid = purpose is Purpose.RECEIVED
    seller = parties.party(invoice.seller, language="ko")
    buyer = parties.party(invoice.buyer, language="ko")
    return TaxInvoicePaper(
        number=number,
        written_on=invoice.supplied_on,
        seller=replace(seller, registration_number=normalise_brn(seller.registration_number)),
        buyer=replace(buyer, registration_number=normalise_brn(buyer.registration_number)),
        lines=tuple(
            _line(invoice, line, tax_minor) for line, tax_minor in zip(charged, taxes, strict=True)
        ),
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        copy=Copy.BOTH,
        purpose=purpose,
        tax_treatment=TaxTreatment(invoice.buyer["vat_treatment"]["treatment"]),
        cash_minor=invoice.total_minor if paid else 0,
        credit_minor=0 if paid else invoice.total_minor,
        remark=invoice.number_text or "",
    )


def _line(invoice: Invoice, line: InvoiceLine, tax_minor: int) -> TaxInvoiceLine:
    start, end = days_of(line.period)
    return TaxInvoiceLine(
        supplied_on=invoice.supplied_on,
        item=line.name_ko,
        specification=f"{start:%m.%d}~{end - timedelta(days=1):%m.%d}",
        # The form takes two decimals at most; a finer quantity is left to the invoice.
        quantity=line.quantity if line.quantity == round(line.quantity, 2) else None,
        unit_price_minor=(
            line.unit_amount if line.unit_amount == round(line.unit_amount, 2) else None
        ),
        supply_minor=line.amount_minor,
        tax_minor=tax_minor,
    )


def _lay_out(
    control_session: Session, issued: TaxInvoice, paper: TaxInvoicePaper, now: datetime
) -> None:
    """This function will write the two copies to print: the seller's in red, the buyer's in blue.

    Only Korean ones: the form is the law's.
    """
    for copy, kind in _COPIES:
        sheet = replace(paper, copy=copy)
        control_session.add(
            Document(
                tenant_id=issued.tenant_id,
                kind=kind,
                subject_id=issued.id,
                language="ko",
                file_name=f"TAX-{issued.issue_id}-{_NAMES[copy]}.pdf",
                data=shelf.to_json(sheet),
                data_sha256=shelf.content_sha256(sheet),
                created_at=now,
            )
        )
    control_session.flush()
    notify(control_session, "documents")
