"""A cash receipt instead of a tax invoice: asked for before the evidence of a supply is chosen."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import flash, g, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext
from app.web.portal.door import portal, portal_required
from app.web.portal.papers import invoice_page, own_invoice
from app.web.security import limiter
from invoices import cash_receipts
from invoices.gateways.port import CashReceiptUse


@portal.post("/invoices/<uuid:invoice_id>/cash-receipt")
@portal_required
@limiter.limit("30/hour")
def want_cash_receipt(invoice_id: UUID) -> Any:
    """This function will ask for a cash receipt, or take the wish back where nothing is typed."""
    invoice = own_invoice(invoice_id)
    typed = request.form.get("identity", "").replace("\x00", "").strip()
    try:
        if typed:
            cash_receipts.want(
                control_session=control(),
                invoice_id=invoice.id,
                use=_use(request.form.get("use", "")),
                identity=typed,
                actor=g.actor,
                now=clock.now(),
            )
        else:
            cash_receipts.withdraw(
                control_session=control(), invoice_id=invoice.id, actor=g.actor, now=clock.now()
            )
    except (Invalid, Conflict) as error:
        control().rollback()
        return invoice_page(own_invoice(invoice_id), receipt_error=error), error.status
    control().commit()
    flash(
        gettext("A cash receipt follows once your transfer is here.")
        if typed
        else gettext("A tax invoice follows, no cash receipt."),
        "good",
    )
    return see_other(url_for("portal.invoice", invoice_id=invoice.id))


def _use(typed: str) -> CashReceiptUse:
    try:
        return CashReceiptUse(typed)
    except ValueError as error:
        raise Invalid("Choose what the cash receipt is for.", field="use") from error
