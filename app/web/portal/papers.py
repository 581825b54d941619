"""Invoices and the papers that go with them: lists, details, PDFs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import g, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from app.base import clock
from app.base.errors import NotFound, TenantryError
from app.web import line_events as events_behind
from app.web import papers, why
from app.web.db import control
from app.web.i18n import gettext
from app.web.paging import page_number
from app.web.portal.door import portal, portal_required
from invoices import cash_receipts, listing
from invoices.listing import InvoiceFilters
from invoices.models import Invoice, Payment, PaymentAttempt, VatEvidence


class NoSuchInvoice(NotFound):
    """There is no such invoice, or it is another company's."""


@portal.get("/invoices")
@portal_required
def invoices() -> str:
    """This function will list the tenant's own invoices, newest first."""
    state = request.args.get("state")
    wanted = state if state in ("issued", "paid", listing.OVERDUE) else None
    found = listing.find(
        control_session=control(),
        filters=InvoiceFilters(tenant_id=g.tenant.id, state=wanted),
        now=clock.now(),
        page=page_number(),
    )
    return render_template("portal/invoices.html", found=found, state=wanted or "")


@portal.get("/invoices/<uuid:invoice_id>")
@portal_required
def invoice(invoice_id: UUID) -> str:
    """This function will show one invoice: its lines, its papers, how it was paid."""
    return invoice_page(own_invoice(invoice_id))


def invoice_page(found: Invoice, *, receipt_error: TenantryError | None = None) -> str:
    """This function will make that page; a wish for a cash receipt that was refused is kept."""
    payments = (
        control()
        .scalars(
            select(Payment)
            .where(Payment.invoice_id == found.id)
            .order_by(Payment.paid_at, Payment.id)
        )
        .all()
    )
    return render_template(
        "portal/invoice.html",
        invoice=found,
        explained=why.explain(found, _events_url(found)),
        payments=payments,
        undone=papers.taken_back(payments),
        payment_kinds=papers.PAYMENT_KIND_NAMES,
        attempts=list(
            control().scalars(
                select(PaymentAttempt)
                .where(PaymentAttempt.invoice_id == found.id)
                .order_by(PaymentAttempt.attempt_number)
            )
        ),
        evidence=control().scalar(select(VatEvidence).where(VatEvidence.invoice_id == found.id)),
        papers=_papers(found),
        cash_receipt=cash_receipts.of_invoice(control_session=control(), invoice_id=found.id),
        may_want_cash_receipt=cash_receipts.may_be_wanted(invoice=found),
        receipt_error=receipt_error,
        told=gettext(receipt_error.message) if receipt_error else "",
        typed=request.form,
        today=clock.today(clock.now(), g.tenant.timezone),
    )


def _events_url(found: Invoice) -> why.EventsUrl:
    return lambda position, day: url_for(
        "portal.line_events", invoice_id=found.id, position=position, day=day
    )


@portal.get("/invoices/<uuid:invoice_id>/lines/<int:position>/events")
@portal_required
def line_events(invoice_id: UUID, position: int) -> str:
    """This function will show the tenant's own events behind one line of its invoice."""
    return events_behind.show(
        invoice=own_invoice(invoice_id),
        position=position,
        layout="layout/portal.html",
        back_url=url_for("portal.invoice", invoice_id=invoice_id),
    )


def own_invoice(invoice_id: UUID) -> Invoice:
    """This function will find an invoice of the tenant who is signed in; drafts are nobody's yet.

    Raises: NoSuchInvoice, the same for another tenant's as for none.
    """
    found = control().scalar(
        select(Invoice)
        .where(
            Invoice.id == invoice_id,
            Invoice.tenant_id == g.tenant.id,
            Invoice.number.is_not(None),
        )
        .options(selectinload(Invoice.lines))
    )
    if found is None:
        raise NoSuchInvoice("There is no such invoice.")
    return found


def _papers(found: Invoice) -> list[papers.PaperRow]:
    return papers.of_invoice(
        invoice_id=found.id, tenant_id=g.tenant.id, kinds=papers.CUSTOMER_KINDS
    )


@portal.get("/invoices/<uuid:invoice_id>/papers/<uuid:document_id>")
@portal_required
def paper(invoice_id: UUID, document_id: UUID) -> Any:
    """This function will send one paper of the tenant's own as a PDF."""
    found = own_invoice(invoice_id)
    return papers.send(
        rows=_papers(found),
        document_id=document_id,
        tenant_id=g.tenant.id,
        inline=request.args.get("show") == "1",
    )
