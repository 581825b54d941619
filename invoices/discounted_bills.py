"""Discounted bills: what coupons took off bills that are corrected, as it stands or once stood.

From the lines of those bills and of the ones that corrected them since, and from nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import bulk
from invoices import coupon_uses, items
from invoices.bill_lines import BillLine
from invoices.billed_commitments import Made
from invoices.commitments import ToppedUp
from invoices.composing import Account
from invoices.corrected_discounts import RULE, Discounted, LineKey, Share
from invoices.discounts import Redeemed
from invoices.models import BilledSpan, CouponRedemption, Invoice, InvoiceLine

_RULE = InvoiceLine.evidence["rule"].astext


@dataclass(slots=True)
class _Bill:
    """One bill as coupons left it at first, and the invoice that it is."""

    made: Made
    tenant_id: UUID
    discounted: Discounted


@dataclass(slots=True)
class History:
    """The bills that ever charged for some lines, and what corrected their discounts since."""

    bills: dict[UUID, _Bill] = field(default_factory=dict)
    charged: dict[LineKey, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    corrections: list[tuple[Mapping[str, Any], Made]] = field(default_factory=list)

    def standing(
        self, keys: Iterable[LineKey], at: Made | None = None
    ) -> dict[LineKey, Discounted]:
        """This function will return the bills of lines as they stand, or stood before a later one.

        Lines of one bill share it, and it is nobody else's: whoever corrects it brings it up to
        date.
        """
        found: dict[LineKey, Discounted] = {}
        copies: dict[UUID, Discounted] = {}
        for key in keys:
            stood = [each for each in self.charged[key] if self.bills[each].made.stood(at)]
            if stood:
                invoice_id = stood[-1]
                if invoice_id not in copies:
                    copies[invoice_id] = self._as_corrected(self.bills[invoice_id], at)
                found[key] = copies[invoice_id]
        return found

    def _as_corrected(self, bill: _Bill, at: Made | None) -> Discounted:
        first = bill.discounted
        shares = {redemption_id: dict(each) for redemption_id, each in first.shares.items()}
        made = replace(first, shares=shares, began=dict(first.began))
        for evidence, then in self.corrections:
            key = _key(evidence)
            if key in first.places and bill.made.before(then) and then.stood(at):
                for told in evidence["coupons"]:
                    _take(made, told, key, told["is"])
        return made


def read(*, control_session: Session, keys: Collection[LineKey]) -> History:
    """This function will read the bills of lines, by four statements."""
    found = History()
    if not keys:
        return found
    wanted = set(keys)
    charged = control_session.execute(
        select(BilledSpan.invoice_id, BilledSpan.item_id, BilledSpan.span).where(
            items.charged({item_id for item_id, _ in wanted})
        )
    )
    for row in charged:
        key = (row.item_id, row.span.lower)
        if key in wanted:
            found.charged[key].append(row.invoice_id)
    invoice_ids = {each for of_one in found.charged.values() for each in of_one}
    _read_bills(control_session, invoice_ids, found)
    for of_one in found.charged.values():
        of_one.sort(key=lambda each: found.bills[each].made.made_at)
    _read_discounts(control_session, invoice_ids, found)
    _read_corrections(control_session, found)
    return found


def lay_on(*, control_session: Session, accounts: Iterable[Account]) -> None:
    """This function will lay on accounts with coupons the bills of what is corrected for them."""
    keys = [
        (account, keys_of(adjustments=account.adjustments, topped=account.topped))
        for account in accounts
        if account.coupons
    ]
    history = read(control_session=control_session, keys={key for _, each in keys for key in each})
    for account, each in keys:
        account.discounted.update(history.standing(each))
        for discounted in account.discounted.values():
            discounted.redeemed = tuple(account.coupons)


def keys_of(*, adjustments: Iterable[BillLine], topped: Iterable[ToppedUp]) -> list[LineKey]:
    """This function will return what is corrected, or may be with it."""
    return [
        *(line.corrects.key for line in adjustments if line.corrects is not None),
        *((each.span.item.item_id, each.span.start) for each in topped),
    ]


def _read_bills(control_session: Session, invoice_ids: Collection[UUID], found: History) -> None:
    rows = control_session.execute(
        select(
            Invoice.id,
            Invoice.tenant_id,
            Invoice.number_text,
            Invoice.supplied_on,
            Invoice.created_at,
            Invoice.issued_at,
            Invoice.voided_at,
            BilledSpan.item_id,
            BilledSpan.span,
            InvoiceLine.position,
        )
        .join(BilledSpan, BilledSpan.invoice_id == Invoice.id)
        .join(InvoiceLine, InvoiceLine.id == BilledSpan.line_id)
        .where(bulk.among(Invoice.id, invoice_ids), BilledSpan.kind == "charge")
    )
    for row in rows:
        bill = found.bills.get(row.id)
        if bill is None:
            made = Made(row.issued_at, row.supplied_on, row.voided_at)
            discounted = Discounted(
                row.number_text or "", row.supplied_on, row.issued_at or row.created_at
            )
            bill = found.bills[row.id] = _Bill(made, row.tenant_id, discounted)
        bill.discounted.places[row.item_id, row.span.lower] = row.position


def _read_discounts(
    control_session: Session, invoice_ids: Collection[UUID], found: History
) -> None:
    rows = control_session.execute(
        select(InvoiceLine.invoice_id, InvoiceLine.evidence).where(
            bulk.among(InvoiceLine.invoice_id, invoice_ids),
            InvoiceLine.kind == "discount",
            InvoiceLine.evidence.has_key("lines"),
        )
    )
    for invoice_id, evidence in rows:
        discounted = found.bills[invoice_id].discounted
        keys = {place: key for key, place in discounted.places.items()}
        for share in evidence["lines"]:
            # What a coupon took off a line of no time of an item's would have no key.
            if share["line"] in keys:
                _take(discounted, evidence, keys[share["line"]], share)


def _read_corrections(control_session: Session, found: History) -> None:
    rows = control_session.execute(
        select(InvoiceLine.evidence, Invoice.issued_at, Invoice.supplied_on, Invoice.voided_at)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            # By tenant, as invoices are indexed.
            bulk.among(Invoice.tenant_id, {bill.tenant_id for bill in found.bills.values()}),
            InvoiceLine.kind == "discount",
            _RULE == RULE,
        )
        .order_by(Invoice.issued_at, Invoice.supplied_on, InvoiceLine.position)
    )
    for evidence, *made in rows:
        issued_at, supplied_on, voided_at = made
        found.corrections.append((evidence, Made(issued_at, supplied_on, voided_at)))


def _take(
    discounted: Discounted, coupon: Mapping[str, Any], key: LineKey, told: Mapping[str, Any]
) -> None:
    redemption_id = UUID(coupon["redemption"])
    # What is held has free units of its own: they are not missing elsewhere.
    units = Decimal(0 if told.get("held") else told.get("units", 0))
    share = Share(told["amount_minor"], units)
    discounted.shares.setdefault(redemption_id, {})[key] = share
    if coupon["rule"] == "months_free":
        discounted.began.setdefault(redemption_id, date.fromisoformat(coupon["from"]))


def _key(evidence: Mapping[str, Any]) -> LineKey:
    return UUID(evidence["item"]), datetime.fromisoformat(evidence["from"])


def coupons_of(
    *,
    control_session: Session,
    corrections: Iterable[tuple[Iterable[Discounted], Sequence[InvoiceLine]]],
) -> None:
    """This function will give bills the coupons that the lines of issued invoices correct them by.

    Those are the ones that took something off them, and those that the lines name besides, as they
    stood then.
    """
    wanted: list[tuple[Discounted, set[UUID], dict[UUID, Mapping[str, Any]]]] = []
    for bills, lines in corrections:
        evidences = [each.evidence for each in lines if each.evidence.get("rule") == RULE]
        for bill in {id(each): each for each in bills}.values():
            told = {
                UUID(each["redemption"]): each
                for evidence in evidences
                if _key(evidence) in bill.places
                for each in reversed(evidence["coupons"])
            }
            wanted.append((bill, {*bill.shares, *told}, told))
    ids = {each for _, redemption_ids, _ in wanted for each in redemption_ids}
    if not ids:
        return
    rows = control_session.scalars(
        select(CouponRedemption).where(bulk.among(CouponRedemption.id, ids))
    )
    known = {row.id: row for row in rows}
    for bill, redemption_ids, told in wanted:
        bill.redeemed = [
            _as_told(known[each], told.get(each, {})) for each in redemption_ids if each in known
        ]


def _as_told(row: CouponRedemption, told: Mapping[str, Any]) -> Redeemed:
    """It stands on the invoice: whether it was there by then is not asked again."""
    began = date.fromisoformat(told["began"]) if "began" in told else None
    return replace(coupon_uses.redeemed_of(row, began), since=None)
