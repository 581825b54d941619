"""What finance says of tax papers that no machine makes or sends: by number, day and words."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import g, request

from app.base import clock
from app.web.auth import staff_required
from app.web.console.tax_papers import FINANCE, NoSuchPaper, act, console_tax_papers
from app.web.console.typed import a_day
from app.web.db import control
from app.web.i18n import gettext
from invoices import listing, tax_following, tax_handed_in
from invoices.models import CreditNote, TaxInvoice


@console_tax_papers.post("/<uuid:tax_invoice_id>/handed-in")
@staff_required(*FINANCE)
def handed_in(tax_invoice_id: UUID) -> Any:
    """This function will note that somebody handed in what this machine issued."""
    row = control().get(TaxInvoice, tax_invoice_id)
    if row is None:
        raise NoSuchPaper("There is no such tax invoice.")

    def does() -> None:
        now = clock.now()
        tax_handed_in.note(
            control_session=control(),
            tax_invoice_id=tax_invoice_id,
            number=_typed("number"),
            handed_in_on=a_day(_typed("handed_in_on"), "handed_in_on"),
            staff_id=g.staff.id,
            now=now,
            today=listing.today_of(now),
        )

    return act(row.invoice_id, f"handed-in-{row.id}", does, gettext("Noted as handed in."))


@console_tax_papers.post("/credit-notes/<uuid:credit_note_id>/made")
@staff_required(*FINANCE)
def note_made(credit_note_id: UUID) -> Any:
    """This function will note the paper that a person made for a credit note."""

    def does() -> None:
        now = clock.now()
        tax_following.note_made(
            control_session=control(),
            credit_note_id=credit_note_id,
            number=_typed("number"),
            issued_on=a_day(_typed("issued_on"), "issued_on"),
            words=_typed("words"),
            staff_id=g.staff.id,
            now=now,
            today=listing.today_of(now),
        )

    said = gettext("Noted. It waits for nobody any more.")
    return act(_invoice_of(credit_note_id), f"made-{credit_note_id}", does, said)


@console_tax_papers.post("/credit-notes/<uuid:credit_note_id>/again")
@staff_required(*FINANCE)
def note_again(credit_note_id: UUID) -> Any:
    """This function will have a credit note's paper follow it once more."""
    return act(
        _invoice_of(credit_note_id),
        "again",
        lambda: tax_following.try_again(
            control_session=control(), credit_note_id=credit_note_id, actor=g.actor, now=clock.now()
        ),
        gettext("It is tried again within seconds."),
    )


def _invoice_of(credit_note_id: UUID) -> UUID:
    row = control().get(CreditNote, credit_note_id)
    if row is None:
        raise NoSuchPaper("There is no such credit note.")
    return row.invoice_id


def _typed(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "")
