"""Drafting: composed bills laid out as the rows they will be, nothing written yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy.dialects.postgresql import Range

from app.base import ids
from invoices.bill_lines import BillLine
from invoices.composing import Composed
from invoices.periods import Period
from invoices.schedule import DueBill
from invoices.sheets import Sheet, SheetLine
from invoices.subscribers import Subscriber

# What a NUMERIC(38, 12) keeps: what is fingerprinted must read the same when it is read back.
_KEPT = Decimal("1e-12")


def lay_out(
    *,
    subscriber: Subscriber,
    bill: DueBill,
    composed: Composed,
    seller: dict[str, Any],
    now: datetime,
) -> Sheet:
    """This function will lay out one composed bill, its tax included.

    A bill that stood as a draft keeps its id, and when it was first written.
    """
    before = subscriber.drafts.get(bill.bill_on)
    subtotal_minor = composed.subtotal_minor
    return Sheet(
        id=before.invoice_id if before else ids.uuid7(),
        tenant_id=subscriber.tenant_id,
        subscription_id=subscriber.subscription_id,
        period=_range(bill.period),
        currency=subscriber.currency,
        subtotal_minor=subtotal_minor,
        tax_minor=composed.tax_minor,
        total_minor=subtotal_minor + composed.tax_minor,
        seller=seller,
        buyer=subscriber.buyer,
        # A service supplied month by month is supplied when its price falls due by contract,
        # whenever the run gets to it. Source: VAT Act Enforcement Decree §29 (1).
        supplied_on=bill.bill_on,
        created_at=before.created_at if before else now,
        carried_minor=composed.carried_minor,
        released_minor=before.released_minor if before else None,
        run_release_id=before.run_release_id if before else None,
        lines=_lines(composed.lines, composed.taxes.lines_minor),
    )


def _lines(made: Sequence[BillLine], taxes_minor: Sequence[int]) -> list[SheetLine]:
    return [
        SheetLine(
            id=ids.uuid7(),
            position=position,
            kind=line.kind,
            charge=line.charge,
            name_ko=line.names[0],
            name_en=line.names[1],
            period=_range(line.period),
            quantity=_kept(line.quantity),
            unit_amount=_kept(line.unit_amount),
            amount_minor=line.amount_minor,
            tax_minor=tax_minor,
            price_id=line.price_id,
            evidence=line.evidence,
            readings_sha256=line.readings_sha256,
            made=line,
        )
        for position, (line, tax_minor) in enumerate(zip(made, taxes_minor, strict=True), start=1)
    ]


def _kept(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -12:
        # As PostgreSQL rounds what a column has no digits for.
        return value.quantize(_KEPT, rounding=ROUND_HALF_UP)
    return value


def _range(period: Period) -> Range[date]:
    return Range(period.start, period.end, bounds="[)")
