"""Taking back: credit notes looked at beforehand, write-offs, and refunds that wait for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.base.money import Money
from app.web.auth import see_other, staff_required
from app.web.console.invoices import FINANCE, console_invoices
from app.web.console.typed import an_amount, reason_typed
from app.web.db import control
from app.web.i18n import gettext
from app.web.refusals import words_of
from invoices import corrections, credit_notes, refund_queue
from invoices.credit_notes import Plan
from invoices.models import CorrectionRequest, CreditNote, Invoice, Refund
from tenants.models import Tenant

SHOWN_MAX = 100


class NoSuchInvoice(NotFound):
    """There is no such invoice."""


class NoSuchAct(NotFound):
    """There is nothing of that name to do with a refund."""


@console_invoices.get("/<uuid:invoice_id>/take-back")
@staff_required(*FINANCE)
def take_back(invoice_id: UUID) -> str:
    """This function will ask how much is taken back, and show what that would do."""
    return _page(_invoice(invoice_id), request.args.to_dict())


@console_invoices.post("/<uuid:invoice_id>/take-back")
@staff_required(*FINANCE)
def make_credit_note(invoice_id: UUID) -> Any:
    """This function will make the credit note, or ask a second person for it above the limit."""
    invoice = _invoice(invoice_id)
    typed = request.form.to_dict()
    try:
        made = corrections.credit(
            control_session=control(),
            invoice_id=invoice_id,
            amount=an_amount(typed.get("amount", ""), invoice.currency, "amount"),
            keep=typed.get("keep") == "yes",
            reason=reason_typed(typed),
            staff_id=g.staff.id,
            now=clock.now(),
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(_invoice(invoice_id), typed, error), error.status
    control().commit()
    return _done(invoice_id, made, gettext("The credit note is issued; its papers follow."))


def _done(invoice_id: UUID, made: object, said: str) -> Any:
    if isinstance(made, CorrectionRequest):
        said = gettext("Asked. It is made once a second person agreed.")
    flash(said, "good")
    return see_other(url_for("console_invoices.details", invoice_id=invoice_id))


def _page(invoice: Invoice, typed: dict[str, str], error: TenantryError | None = None) -> str:
    planned = None
    if error is None and typed.get("amount"):
        try:
            planned = _planned(invoice, typed)
        except (Invalid, Conflict) as refusal:
            error = refusal
    most = credit_notes.creditable(control_session=control(), invoice=invoice)
    return render_template(
        "console/invoices/take_back.html",
        invoice=invoice,
        typed=typed,
        most=most,
        planned=planned,
        second=planned is not None
        and corrections.needs_second(Money(planned.total_minor, planned.currency)),
        waiting=corrections.waiting_for(control_session=control(), invoice_id=invoice.id),
        told=words_of(error) if error else "",
        error=error,
    )


def _planned(invoice: Invoice, typed: dict[str, str]) -> Plan:
    return credit_notes.plan(
        control_session=control(),
        invoice=invoice,
        amount=an_amount(typed["amount"], invoice.currency, "amount"),
        keep=typed.get("keep") == "yes",
    )


def _invoice(invoice_id: UUID) -> Invoice:
    found = control().get(Invoice, invoice_id)
    if found is None:
        raise NoSuchInvoice("There is no such invoice.")
    return found


@console_invoices.post("/<uuid:invoice_id>/write-off")
@staff_required(*FINANCE)
def write_off(invoice_id: UUID) -> Any:
    """This function will give up what is still owed, or ask a second person above the limit."""
    try:
        made = corrections.write_off(
            control_session=control(),
            invoice_id=invoice_id,
            reason=reason_typed(request.form),
            staff_id=g.staff.id,
            now=clock.now(),
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        flash(words_of(error), "bad")
        return see_other(url_for("console_invoices.details", invoice_id=invoice_id))
    control().commit()
    return _done(invoice_id, made, gettext("Written off. Nothing is owed for it any more."))


@console_invoices.get("/money-back")
@staff_required(*FINANCE)
def money_back() -> str:
    """This function will list what waits for a person: second opinions, and refunds to clear up."""
    refunds = refund_queue.waiting(control_session=control(), limit=SHOWN_MAX)
    notes = {refund.id: control().get_one(CreditNote, refund.credit_note_id) for refund in refunds}
    return render_template(
        "console/invoices/money_back.html",
        refunds=refunds,
        notes=notes,
        by_transfer=refund_queue.by_transfer(control_session=control(), refunds=refunds),
        names={each.id: control().get_one(Tenant, each.tenant_id).name for each in refunds},
        asked=corrections.waiting(control_session=control(), limit=SHOWN_MAX),
        me=g.staff.id,
    )


@console_invoices.post("/corrections/<uuid:request_id>/<answer>")
@staff_required(*FINANCE)
def decide_correction(request_id: UUID, answer: str) -> Any:
    """This function will let a second person agree to a correction, or refuse it."""
    if answer not in ("agree", "refuse"):
        raise NoSuchAct("There is nothing of that name to do with a correction.")
    return _act(
        lambda: corrections.decide(
            control_session=control(),
            request_id=request_id,
            agreed=answer == "agree",
            staff_id=g.staff.id,
            now=clock.now(),
        ),
        gettext("Agreed: it is made.") if answer == "agree" else gettext("It is not made."),
    )


@console_invoices.post("/refunds/<uuid:refund_id>/<act>")
@staff_required(*FINANCE)
def settle_refund(refund_id: UUID, act: str) -> Any:
    """This function will clear up a refund: sent by us, never sent, tried again, or kept."""
    why, now = reason_typed(request.form), clock.now()

    def told(does: Callable[..., Refund], **how: bool) -> Callable[[], object]:
        return lambda: does(
            control_session=control(), refund_id=refund_id, why=why, actor=g.actor, now=now, **how
        )

    at_gateway = request.form.get("from") == "gateway"
    acts: dict[str, Callable[[], object]] = {
        "sent": told(refund_queue.declare_sent, at_gateway=at_gateway),
        "not-sent": told(refund_queue.declare_not_sent),
        "keep": told(refund_queue.keep),
        "again": lambda: refund_queue.try_again(
            control_session=control(), refund_id=refund_id, actor=g.actor, now=now
        ),
    }
    if act not in acts:
        raise NoSuchAct("There is nothing of that name to do with a refund.")
    return _act(acts[act], gettext("Noted and booked."))


def _act(act: Callable[[], object], said: str) -> Any:
    try:
        act()
    except (Invalid, Conflict) as error:
        control().rollback()
        flash(words_of(error), "bad")
    else:
        control().commit()
        flash(said, "good")
    return see_other(url_for("console_invoices.money_back"))
