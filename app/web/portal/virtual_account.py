"""Paying one invoice by transfer to an account of its own, where a gateway opens such accounts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, lazy
from app.web.portal.door import portal, portal_required
from app.web.portal.papers import own_invoice
from app.web.refusals import words_of
from app.web.security import limiter
from invoices import parties, virtual_accounts

# The gateways' codes of the banks that people know, in the order in which they are shown.
BANKS = {
    "004": lazy("KB Kookmin"),
    "088": lazy("Shinhan"),
    "020": lazy("Woori"),
    "081": lazy("Hana"),
    "011": lazy("NH Nonghyup"),
    "003": lazy("IBK Industrial"),
}


@portal.get("/invoices/<uuid:invoice_id>/transfer")
@portal_required
def pay_by_transfer(invoice_id: UUID) -> str:
    """This function will show where to transfer what is open: to an own account, or to ours."""
    return _page(invoice_id)


def _page(invoice_id: UUID, told: str = "") -> str:
    invoice = own_invoice(invoice_id)
    account = virtual_accounts.of_invoice(control_session=control(), invoice_id=invoice.id)
    if account is not None and account.state != "waiting":
        account = None
    if account is not None and account.expires_at <= clock.now():
        account = None
    offered = invoice.open_minor and virtual_accounts.offered_by(
        control_session=control(), currency=invoice.currency
    )
    return render_template(
        "portal/transfer.html",
        invoice=invoice,
        opened=account,
        bank_name=BANKS.get(account.bank_asked, account.bank) if account else "",
        banks=list(BANKS.items()) if offered else [],
        bank=parties.bank_account(
            parties.seller_snapshot(), reference=invoice.number_text or g.tenant.name
        ),
        told=told,
    )


@portal.post("/invoices/<uuid:invoice_id>/transfer")
@portal_required
@limiter.limit("10/minute")
def open_account(invoice_id: UUID) -> Any:
    """This function will have the gateway open an account for what the invoice has open."""
    invoice = own_invoice(invoice_id)
    bank = request.form.get("bank", "")
    try:
        if bank not in BANKS:
            raise Invalid("Choose a bank from the list.", field="bank")
        opening = virtual_accounts.begin(
            control_session=control(),
            invoice_id=invoice.id,
            bank=bank,
            actor=g.actor,
            now=clock.now(),
            real_now=clock.real_now(),
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(invoice_id, told=words_of(error)), error.status
    # The gateway is asked in no transaction; its answer finds the row by its id.
    control().commit()
    if opening is not None:
        result = virtual_accounts.perform(opening=opening)
        account = virtual_accounts.record(
            control_session=control(),
            account_id=opening.account_id,
            result=result,
            now=clock.now(),
        )
        control().commit()
        if account.state != "waiting":
            flash(
                gettext(
                    "The account could not be opened just now. Please try again in a moment, or "
                    "use our bank account below."
                ),
                "bad",
            )
    return see_other(url_for("portal.pay_by_transfer", invoice_id=invoice_id))
