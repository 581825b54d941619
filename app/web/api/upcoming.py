"""`GET /api/v1/tenants/{tenant}/upcoming-invoice`: the next bill, as far as it is known now."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from app.base import clock
from app.base.db import usage_session
from app.web.api.door import api, key_required
from app.web.api.usage import tenant_named
from app.web.db import control
from invoices import upcoming
from invoices.bill_lines import BillLine
from invoices.fingerprints import plain_decimal
from invoices.periods import Period
from invoices.subscriptions import NoSubscription
from invoices.upcoming import Unread


class NoBillAhead(NoSubscription):
    """The subscription is over or paused: no bill is to come."""


@api.get("/tenants/<tenant>/upcoming-invoice")
@key_required("invoices:read")
def upcoming_invoice(tenant: str) -> Response:
    """This function will tell what the next bill would be if nothing more were used."""
    found = tenant_named(tenant)
    with usage_session() as session:
        bill = upcoming.of_tenant(
            control_session=control(), tenant_id=found.id, now=clock.now(), usage_session=session
        )
    if bill is None:
        raise NoBillAhead("No bill is to come: the subscription is over or paused.")
    return jsonify(
        {
            "tenant": str(found.id),
            "as_of": bill.as_of.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "bill_on": bill.bill_on.isoformat(),
            "currency": bill.currency,
            "lines": [_line(line) for line in bill.lines],
            "subtotal_minor": bill.subtotal_minor,
            "tax_minor": bill.tax_minor,
            "total_minor": bill.total_minor,
            "unread": [_unread(each) for each in bill.unread],
        }
    )


def _line(line: BillLine) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "charge": line.charge,
        "name": line.names[1],
        "period": _days(line.period),
        "quantity": plain_decimal(line.quantity),
        "unit_amount": plain_decimal(line.unit_amount),
        "amount_minor": line.amount_minor,
    }


def _unread(each: Unread) -> dict[str, Any]:
    return {"meter": each.meter, "period": _days(each.days)}


def _days(period: Period) -> dict[str, str]:
    return {"start": period.start.isoformat(), "end": period.end.isoformat()}
