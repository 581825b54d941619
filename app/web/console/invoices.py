"""Finance's desk: the invoices, one beside the list, and what may be done with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import selectinload

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.base.money import Money, exponent
from app.web import evidence_words, papers, why
from app.web import line_events as events_behind
from app.web.auth import see_other, staff_required
from app.web.chips import chip_face
from app.web.console import invoice_filters, tallies
from app.web.console.invoice_story import story
from app.web.db import control
from app.web.i18n import gettext
from app.web.paging import page_number
from app.web.refusals import words_of
from invoices import (
    evidence,
    invoicing,
    item_statements,
    listing,
    payment_queue,
    reversals,
    transfers,
)
from invoices.models import Invoice, Payment, PaymentReversal, TaxInvoice, VatEvidence

console_invoices = Blueprint("console_invoices", __name__, url_prefix="/console/invoices")

FINANCE = ("finance",)
_FIGURES = re.compile(r"[0-9]{1,15}(\.[0-9]{1,3})?")


class NoSuchInvoice(NotFound):
    """There is no such invoice."""


# What the page of an invoice reads, put together once and not for every look at it.
_INVOICE = (
    select(Invoice).where(Invoice.id == bindparam("invoice")).options(selectinload(Invoice.lines))
)
_PAYMENTS = (
    select(Payment, PaymentReversal.reversed_on)
    .outerjoin(PaymentReversal, PaymentReversal.payment_id == Payment.id)
    .where(Payment.invoice_id == bindparam("invoice"))
    .order_by(Payment.paid_at, Payment.id)
)
# The open one comes with its evidence: which paper, and how far that has got.
_OPEN = (
    _INVOICE.add_columns(
        VatEvidence.kind, VatEvidence.reason, TaxInvoice.issue_id, TaxInvoice.state
    )
    .outerjoin(VatEvidence, VatEvidence.invoice_id == Invoice.id)
    .outerjoin(
        TaxInvoice, (TaxInvoice.evidence_id == VatEvidence.id) & TaxInvoice.amends_id.is_(None)
    )
    .order_by((TaxInvoice.state == "cancelled").asc())
)


@console_invoices.get("")
@staff_required()
def index() -> str:
    """This function will list the invoices that the address asks for, with their sums."""
    return _desk(None)


@console_invoices.get("/<uuid:invoice_id>")
@staff_required()
def details(invoice_id: UUID) -> str:
    """This function will show one invoice beside the list that it was picked from."""
    return _desk(invoice_id)


def _desk(
    invoice_id: UUID | None,
    *,
    error: TenantryError | None = None,
    failed: str = "",
) -> str:
    now = clock.now()
    filters, sort = invoice_filters.asked(), invoice_filters.sort_asked()
    by_state = tallies.by_state(filters, now)
    found = listing.find(
        control_session=control(),
        filters=filters,
        now=now,
        page=page_number(),
        sort=sort,
        sums=by_state[filters.state or ""],
    )
    return render_template(
        "console/invoices/desk.html",
        found=found,
        tabs=_tabs(by_state, filters.state or ""),
        filters=filters,
        chips=invoice_filters.chips(filters, now),
        carried=invoice_filters.carried(),
        sort=sort,
        many=found.count > settings().bulk_documents_max,
        may_act=g.staff.role in ("finance", "admin"),
        told=words_of(error) if error else "",
        error=error,
        failed=failed,
        now=now,
        **(_details(invoice_id, now) if invoice_id else {"open": None}),
    )


def _tabs(by_state: dict[str, list[listing.Totals]], lit: str) -> list[dict[str, Any]]:
    carried = {k: v for k, v in invoice_filters.carried().items() if k != "state"}
    return [
        {
            "label": name,
            "url": url_for(".index", **carried, state=state or None),
            "count": sum(totals.count for totals in by_state[state]),
            "active": state == lit,
        }
        for state, name in invoice_filters.tab_names().items()
    ]


def _details(invoice_id: UUID, now: datetime) -> dict[str, Any]:
    found = control().execute(_OPEN, {"invoice": invoice_id}).first()
    if found is None:
        raise NoSuchInvoice("There is no such invoice.")
    invoice: Invoice = found.Invoice
    today = listing.today_of(now)
    late = invoice.state == "issued" and invoice.due_on is not None and invoice.due_on < today
    told = control().execute(_PAYMENTS, {"invoice": invoice.id}).all()
    payments = [row.Payment for row in told]
    undone = {row.Payment.id: row for row in told if row.reversed_on is not None}
    return {
        "open": invoice,
        "shown_state": listing.OVERDUE if late else invoice.state,
        "payments": payments,
        "undone": undone,
        "returnable": [
            payment
            for payment in payments
            if payment.id not in undone
            and reversals.may_take_back(control_session=control(), payment=payment)
        ],
        "payment_kinds": papers.PAYMENT_KIND_NAMES,
        "evidence_words": _evidence_words(found),
        "explained": why.explain(invoice, _events_url(invoice)),
        "papers": papers.of_invoice(invoice_id=invoice.id, tenant_id=invoice.tenant_id),
        "story": story(invoice),
        "today": today,
        "typed": request.form,
    }


def _evidence_words(found: Row[Any]) -> str:
    """Which one evidence the supply has, or until when it must have one."""
    invoice = found.Invoice
    if found.kind is None:
        if invoice.state not in ("issued", "paid", "written_off") or not invoice.total_minor:
            return gettext("None needed")
        return gettext("Not chosen yet, by %(day)s", day=evidence.deadline(invoice.supplied_on))
    if found.kind == "tax_invoice":
        return gettext(
            "Tax invoice %(number)s, %(state)s",
            number=found.issue_id or "–",
            state=str(chip_face("tax_invoice", found.state or "cancelled").word).lower(),
        )
    if found.kind == "cash_receipt":
        return gettext("Cash receipt")
    if found.kind == "card_slip":
        return gettext("Card slip")
    return gettext("None made here: %(why)s", why=evidence_words.why(found.reason or found.kind))


def _events_url(found: Invoice) -> why.EventsUrl:
    return lambda position, day: url_for(
        ".line_events", invoice_id=found.id, position=position, day=day
    )


@console_invoices.get("/<uuid:invoice_id>/lines/<int:position>/events")
@staff_required()
def line_events(invoice_id: UUID, position: int) -> str:
    """This function will show the events behind one line of an invoice."""
    found = _invoice(invoice_id)
    return events_behind.show(
        invoice=found,
        position=position,
        layout="layout/console.html",
        back_url=url_for(".details", invoice_id=invoice_id),
        event_url=lambda event_id, kind, at: url_for(
            "console_corrections.event",
            tenant_id=found.tenant_id,
            id=event_id,
            type=kind,
            time=at.isoformat(),
            invoice=invoice_id,
            line=position,
        ),
    )


def _invoice(invoice_id: UUID) -> Invoice:
    found = control().scalar(_INVOICE, {"invoice": invoice_id})
    if found is None:
        raise NoSuchInvoice("There is no such invoice.")
    return found


@console_invoices.get("/<uuid:invoice_id>/papers/<uuid:document_id>")
@staff_required()
def paper(invoice_id: UUID, document_id: UUID) -> Any:
    """This function will send one paper of an invoice; `?show=1` shows it in a frame of ours."""
    invoice = _invoice(invoice_id)
    rows = papers.of_invoice(invoice_id=invoice.id, tenant_id=invoice.tenant_id)
    return papers.send(
        rows=rows, document_id=document_id, tenant_id=None, inline=request.args.get("show") == "1"
    )


def _act(invoice_id: UUID, name: str, act: Callable[[], object], said: str) -> Any:
    """This function will do one act; what it refuses is told in the open pane, input kept."""
    try:
        act()
    except (Invalid, Conflict) as error:
        control().rollback()
        return _desk(invoice_id, error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".details", invoice_id=invoice_id, **invoice_filters.carried()))


@console_invoices.post("/<uuid:invoice_id>/transfer")
@staff_required(*FINANCE)
def transfer(invoice_id: UUID) -> Any:
    """This function will write down what came in for an invoice by bank transfer."""
    invoice = _invoice(invoice_id)
    return _act(
        invoice_id,
        "transfer",
        lambda: transfers.record_transfer(
            control_session=control(),
            invoice_id=invoice_id,
            amount=_amount(request.form.get("amount", ""), invoice.currency),
            payer=request.form.get("payer", "").replace("\x00", ""),
            paid_on=_day(request.form.get("paid_on", "")),
            staff_id=g.staff.id,
            now=clock.now(),
        ),
        gettext("Recorded. The receipt and the tax invoice follow by themselves."),
    )


def _amount(text: str, currency: str) -> Money:
    """An amount as people type it: 1,234,000 or 12.50; never a fraction of the smallest coin."""
    plain = text.replace(",", "").replace(" ", "").lstrip("₩$")
    # Figures only: Decimal would also take 1e999999, whose figures fill the memory.
    minor = Decimal(plain).scaleb(exponent(currency)) if _FIGURES.fullmatch(plain) else None
    if minor is None or minor != minor.to_integral_value():
        raise Invalid("Enter the amount in figures, as the bank statement says.", field="amount")
    return Money(int(minor), currency)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid("Enter the day as 2026-03-10.", field="paid_on") from error


@console_invoices.post("/<uuid:invoice_id>/payments/<uuid:payment_id>/take-back")
@staff_required(*FINANCE)
def take_payment_back(invoice_id: UUID, payment_id: UUID) -> Any:
    """This function will take back a payment that was written down by mistake, or bounced."""
    found = control().get(Payment, payment_id)
    if found is None or found.invoice_id != invoice_id:
        raise NoSuchInvoice("There is no such payment of this invoice.")
    return _act(
        invoice_id,
        f"reverse-{payment_id}",
        lambda: reversals.take_back(
            control_session=control(),
            payment_id=payment_id,
            reason=request.form.get("reason", "").replace("\x00", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        ),
        gettext("Taken back. What it settled is open again."),
    )


@console_invoices.post("/<uuid:invoice_id>/void")
@staff_required(*FINANCE)
def void(invoice_id: UUID) -> Any:
    """This function will take an unpaid invoice back, for a reason that everybody can read."""
    return _act(
        invoice_id,
        "void",
        lambda: invoicing.void(
            control_session=control(),
            invoice_id=invoice_id,
            reason=request.form.get("reason", "").replace("\x00", "")[:500],
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("Voided. What it billed is billed anew by the next run."),
    )


@console_invoices.post("/<uuid:invoice_id>/statement")
@staff_required("sales", *FINANCE)
def statement(invoice_id: UUID) -> Any:
    """This function will have the statement of items of an invoice made, both copies."""
    return _act(
        invoice_id,
        "statement",
        lambda: item_statements.lay_out(
            control_session=control(), invoice_id=invoice_id, actor=g.actor, now=clock.now()
        ),
        gettext("The statement of items is being made; it appears among the papers."),
    )


@console_invoices.post("/<uuid:invoice_id>/collect")
@staff_required(*FINANCE)
def collect(invoice_id: UUID) -> Any:
    """This function will have the tenant's card charged once more, at once."""
    _invoice(invoice_id)
    return _act(
        invoice_id,
        "collect",
        lambda: payment_queue.try_again(
            control_session=control(), invoice_id=invoice_id, actor=g.actor, now=clock.now()
        ),
        gettext("The card is charged again within seconds."),
    )
