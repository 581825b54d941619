"""A supply's tax papers: how far each has got, its signed XML, and what finance may do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select

from app.base import clock, files
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web import evidence_words
from app.web.auth import see_other, staff_required
from app.web.console.typed import a_day, an_amount
from app.web.db import control
from app.web.exports import download
from app.web.i18n import gettext, lazy
from app.web.refusals import words_of
from invoices import (
    cash_receipt_queue,
    credit_notes,
    listing,
    paper_files,
    papers_by_hand,
    tax_ahead,
    tax_amendments,
    tax_following,
    tax_handed_in,
    tax_invoices,
    tax_issuing,
    vat_deadlines,
    vat_slips,
)
from invoices.documents.papers import Amendment, Party
from invoices.models import CashReceipt, Invoice, TaxInvoice, VatEvidence, tax_invoice_is_open

console_tax_papers = Blueprint("console_tax_papers", __name__, url_prefix="/console/tax-papers")

FINANCE = ("finance",)
LISTED_MAX = 50
# What finance may have corrected on the buyer's side, and how it is called.
BUYER_FIELDS = {
    "name": lazy("Company name"),
    "registration_number": lazy("Registration number"),
    "representative": lazy("Representative"),
    "address": lazy("Address"),
    "business_type": lazy("Business type"),
    "business_item": lazy("Business item"),
    "email": lazy("E-mail for tax invoices"),
}
AMENDMENTS = {
    "01": lazy("Wrong entries (기재사항 착오정정)"),
    "02": lazy("Price changed (공급가액 변동)"),
    "03": lazy("Returned (환입)"),
    "04": lazy("Contract ended (계약의 해제)"),
    "05": lazy("Letter of credit (내국신용장 사후개설)"),
    "06": lazy("Issued twice (착오에 의한 이중발급)"),
}
# Every one in these is still worked on, and found among the few that are.
WORKED_ON = ("due", "sent", "failed")
_LISTED = (
    TaxInvoice.id,
    TaxInvoice.invoice_id,
    TaxInvoice.state,
    TaxInvoice.issue_id,
    TaxInvoice.management_key,
    TaxInvoice.amendment,
    TaxInvoice.written_on,
    TaxInvoice.total_minor,
    TaxInvoice.data[("buyer", "name")].astext.label("buyer"),
)
STATES = ("due", "failed", "issued", "sent", "accepted", "amended", "cancelled")
# Not a state: what this machine issued and nobody handed in yet.
TO_HAND_IN = "to-hand-in"


class NoSuchPaper(NotFound):
    """There is no such tax paper."""


@console_tax_papers.get("")
@staff_required()
def index() -> str:
    """This function will list tax invoices, the newest first, of one state if one is named.

    Ids rise with time, so that a page begins where the one before it ended, however many lie there.
    """
    state, before = request.args.get("state"), request.args.get("before", type=UUID)
    query = select(*_LISTED).order_by(TaxInvoice.id.desc())
    if state in STATES:
        query = query.where(TaxInvoice.state == state)
    if state == TO_HAND_IN:
        query = query.where(tax_handed_in.WAITS)
    if state in WORKED_ON:
        query = query.where(tax_invoice_is_open)
    if before is not None:
        query = query.where(TaxInvoice.id < before)
    found = control().execute(query.limit(LISTED_MAX + 1)).all()
    rows = found[:LISTED_MAX]
    return render_template(
        "console/tax_papers/list.html",
        rows=rows,
        state=state if state in (*STATES, TO_HAND_IN) else "",
        to_hand_in=TO_HAND_IN,
        states=STATES,
        amendments=AMENDMENTS,
        older=rows[-1].id if len(found) > len(rows) else None,
    )


@console_tax_papers.get("/of/<uuid:invoice_id>")
@staff_required()
def of_invoice(invoice_id: UUID) -> str:
    """This function will show every tax paper of one supply."""
    return _page(invoice_id)


def _page(invoice_id: UUID, *, error: TenantryError | None = None, failed: str = "") -> str:
    invoice = control().get(Invoice, invoice_id)
    if invoice is None or invoice.number is None:
        raise NoSuchPaper("There is no such invoice.")
    rows = control().scalars(
        select(TaxInvoice)
        .where(TaxInvoice.invoice_id == invoice_id)
        .order_by(TaxInvoice.created_at, TaxInvoice.sheet_number, TaxInvoice.id)
    )
    tax_rows = list(rows)
    receipts = control().scalars(
        select(CashReceipt)
        .where(CashReceipt.invoice_id == invoice_id)
        .order_by(CashReceipt.created_at, CashReceipt.id)
    )
    may_act = g.staff.role in ("finance", "admin")
    chosen = control().scalar(select(VatEvidence).where(VatEvidence.invoice_id == invoice_id))
    return render_template(
        "console/tax_papers/details.html",
        invoice=invoice,
        evidence=chosen,
        why=evidence_words.why,
        **_made_elsewhere(invoice, chosen),
        rows=tax_rows,
        receipts=list(receipts),
        declarable=cash_receipt_queue.declarable(control_session=control(), invoice_id=invoice_id),
        cancelled_by_hand=cash_receipt_queue.cancelled_by_hand(
            control_session=control(), invoice_id=invoice_id
        ),
        with_key=cash_receipt_queue.has_key_of_its_own,
        amendments=AMENDMENTS,
        by_hand=[(each.value, AMENDMENTS[each.value]) for each in tax_amendments.BY_HAND],
        **_amendable(invoice_id, tax_rows, may_act),
        **_corrected(invoice),
        buyer_fields=BUYER_FIELDS,
        may_act=may_act,
        today=listing.today_of(clock.now()),
        typed=request.form,
        told=words_of(error) if error else "",
        error=error,
        failed=failed,
    )


def _made_elsewhere(invoice: Invoice, chosen: VatEvidence | None) -> dict[str, Any]:
    """What a person has to issue for a supply, and what was said of it."""
    if chosen is None or not papers_by_hand.is_by_hand(control_session=control(), evidence=chosen):
        return {"elsewhere": False}
    said = papers_by_hand.notes(control_session=control(), invoice_id=invoice.id)
    return {
        "elsewhere": True,
        "parts": papers_by_hand.parts(control_session=control(), invoice=invoice),
        "paper_names": evidence_words.PAPERS,
        "notes": [each for each in said if each.credit_note_id is None],
        "waits": papers_by_hand.is_to_be_made(control_session=control(), invoice_id=invoice.id),
        "too_much": vat_slips.proved_too_much(control_session=control(), invoice_id=invoice.id),
        "issue_by": vat_deadlines.issue_by(invoice.supplied_on),
    }


def _corrected(invoice: Invoice) -> dict[str, Any]:
    """Credit notes that wait for a paper of a person's, papers that wait for a credit note, and
    what was said of either.
    """
    notes = papers_by_hand.notes(control_session=control(), invoice_id=invoice.id)
    return {
        "stuck": tax_following.of_invoice(control_session=control(), invoice_id=invoice.id),
        "ahead": tax_ahead.of_supply(control_session=control(), invoice=invoice),
        "said": [each for each in notes if each.credit_note_id is not None],
        "note_numbers": {
            each.id: each.number_text
            for each in credit_notes.of_invoice(control_session=control(), invoice_id=invoice.id)
        },
    }


def _amendable(invoice_id: UUID, rows: list[TaxInvoice], may_act: bool) -> dict[str, Any]:
    """The paper that counts now, and why it can't be amended if it can't."""
    if not may_act or all(row.state == "cancelled" for row in rows):
        return {"counts": None, "hindrance": None, "buyer": None}
    stands = tax_amendments.standing(control_session=control(), invoice_id=invoice_id)
    return {
        "counts": stands.basis,
        "hindrance": tax_amendments.hindrance(stands),
        "buyer": tax_invoices.paper_of(stands.basis).buyer,
    }


@console_tax_papers.get("/<uuid:tax_invoice_id>/xml")
@staff_required()
def xml(tax_invoice_id: UUID) -> Any:
    """This function will send the signed XML of a tax invoice that was issued here."""
    row = _row(tax_invoice_id)
    if row.xml_sha256 is None:
        raise NoSuchPaper("This tax invoice has no XML here: its issuer keeps it.")
    return download(
        files.open_stored(prefix=paper_files.prefix_of(row.tenant_id), sha256=row.xml_sha256),
        file_name=f"TAX-{row.issue_id}.xml",
        media_type="application/xml",
        size_bytes=row.xml_size_bytes,
    )


@console_tax_papers.post("/<uuid:tax_invoice_id>/again")
@staff_required(*FINANCE)
def again(tax_invoice_id: UUID) -> Any:
    """This function will have a failed tax invoice issued, or transmitted, once more."""
    return act(
        _row(tax_invoice_id).invoice_id,
        "again",
        lambda: tax_issuing.try_again(
            control_session=control(), row_id=tax_invoice_id, actor=g.actor, now=clock.now()
        ),
        gettext("It is tried again within seconds."),
    )


@console_tax_papers.post("/receipts/<uuid:receipt_id>/again")
@staff_required(*FINANCE)
def receipt_again(receipt_id: UUID) -> Any:
    """This function will have a failed cash receipt issued once more."""
    row = control().get(CashReceipt, receipt_id)
    if row is None:
        raise NoSuchPaper("There is no such cash receipt.")
    return act(
        row.invoice_id,
        "again",
        lambda: cash_receipt_queue.try_again(
            control_session=control(), row_id=receipt_id, actor=g.actor, now=clock.now()
        ),
        gettext("It is tried again within seconds."),
    )


@console_tax_papers.post("/receipts/<uuid:receipt_id>/declare")
@staff_required(*FINANCE)
def receipt_declared(receipt_id: UUID) -> Any:
    """This function will note what a person found out of a cash receipt without an answer."""
    row = control().get(CashReceipt, receipt_id)
    if row is None:
        raise NoSuchPaper("There is no such cash receipt.")
    return act(
        row.invoice_id,
        "declare",
        lambda: cash_receipt_queue.declare(
            control_session=control(),
            row_id=receipt_id,
            number=request.form.get("number", "").replace("\x00", ""),
            reference=request.form.get("reference", "").replace("\x00", ""),
            why=request.form.get("why", "").replace("\x00", "")[:500],
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("Noted. Without a number it is asked for anew."),
    )


@console_tax_papers.post("/of/<uuid:invoice_id>/by-hand")
@staff_required(*FINANCE)
def made_elsewhere(invoice_id: UUID) -> Any:
    """This function will note the paper of a supply that a person issued elsewhere."""

    def does() -> None:
        now = clock.now()
        papers_by_hand.note(
            control_session=control(),
            invoice_id=invoice_id,
            number=request.form.get("number", "").replace("\x00", ""),
            issued_on=a_day(request.form.get("issued_on", ""), "issued_on"),
            words=request.form.get("words", "").replace("\x00", ""),
            staff_id=g.staff.id,
            now=now,
            today=listing.today_of(now),
        )

    return act(invoice_id, "by_hand", does, gettext("Noted. It waits for nobody any more."))


@console_tax_papers.post("/<uuid:tax_invoice_id>/amend")
@staff_required(*FINANCE)
def amend(tax_invoice_id: UUID) -> Any:
    """This function will amend a tax invoice for a reason that a person found."""
    row = _row(tax_invoice_id)
    return act(
        row.invoice_id,
        "amend",
        lambda: _amended(row),
        gettext("Amended. The papers are issued within seconds."),
    )


def _amended(row: TaxInvoice) -> list[TaxInvoice]:
    form = request.form
    code = form.get("amendment", "")
    if code not in {each.value for each in tax_amendments.BY_HAND}:
        raise Invalid("Choose why it is amended.", field="amendment")
    amendment = Amendment(code)
    returned = amendment is Amendment.RETURN
    supply = an_amount(form.get("supply", ""), "KRW", "supply").amount_minor if returned else 0
    tax = an_amount(form.get("tax", ""), "KRW", "tax").amount_minor if returned else 0
    return tax_amendments.amend(
        control_session=control(),
        tax_invoice_id=row.id,
        amendment=amendment,
        reason=form.get("reason", "").replace("\x00", ""),
        actor=g.actor,
        now=clock.now(),
        on=a_day(form.get("on", ""), "on"),
        supply_minor=supply,
        tax_minor=tax,
        buyer=_buyer_typed(row) if amendment is Amendment.CLERICAL_ERROR else None,
    )


def _buyer_typed(row: TaxInvoice) -> Party:
    """The buyer as it should have read; what is left empty stays as it was."""
    was = tax_invoices.paper_of(row).buyer
    typed = {name: request.form.get(name, "").replace("\x00", "").strip() for name in BUYER_FIELDS}
    return replace(was, **{name: text for name, text in typed.items() if text})


def _row(tax_invoice_id: UUID) -> TaxInvoice:
    row = control().get(TaxInvoice, tax_invoice_id)
    if row is None:
        raise NoSuchPaper("There is no such tax invoice.")
    return row


def act(invoice_id: UUID, name: str, does: Callable[[], object], said: str) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        does()
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(invoice_id, error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".of_invoice", invoice_id=invoice_id))
