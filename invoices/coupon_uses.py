"""Coupons as bills use them: who has which, what each bill took off, and what a void gives back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, func, select, text, update
from sqlalchemy.orm import Session, aliased

from app.base import bulk, ids
from invoices import corrected_discounts, items, vat_lines
from invoices.composing import Given
from invoices.discounts import Coupon, Discount, Redeemed
from invoices.models import (
    BilledSpan,
    CouponOffer,
    CouponRedemption,
    CouponUse,
    Invoice,
    InvoiceLine,
)
from invoices.schedule import Span

# By the item that was charged for and the end of what was charged.
GivenByEnd = dict[tuple[UUID, datetime], Given]
_COUNTED = (
    select(CouponRedemption)
    .where(
        CouponRedemption.tenant_id.in_(bindparam("tenants", expanding=True)),
        CouponRedemption.counted,
    )
    # In one order everywhere: they are locked so.
    .order_by(CouponRedemption.id)
    .execution_options(populate_existing=True)
)
_COUNTED_TO_USE = _COUNTED.with_for_update(of=CouponRedemption)


def terms_of(offer: CouponOffer) -> Coupon:
    """This function will return a stored coupon's terms as discounts take them."""
    return Coupon(
        code=offer.code,
        name_ko=offer.name_ko,
        name_en=offer.name_en,
        kind=offer.kind,
        percent=offer.percent,
        amount_minor=offer.amount_minor,
        currency=offer.currency,
        units=offer.units,
        plans=tuple(offer.plans),
        charges=tuple(offer.charges),
        duration=offer.duration,
        months=offer.months,
        priority=offer.priority,
    )


def of_subscriptions(
    *, control_session: Session, subscriptions: Sequence[tuple[UUID, UUID]], lock: bool = True
) -> dict[UUID, list[Redeemed]]:
    """This function will lock and return the coupons of subscriptions, given with their tenants.

    A released one is among them: a late run still discounts the bills of before.
    """
    rows = control_session.scalars(
        _COUNTED_TO_USE if lock else _COUNTED,
        {"tenants": [tenant_id for _, tenant_id in subscriptions]},
    ).all()
    used_from = _used_from(control_session, [row.id for row in rows])
    by_tenant: dict[UUID, list[CouponRedemption]] = defaultdict(list)
    for row in rows:
        by_tenant[row.tenant_id].append(row)
    return {
        subscription_id: [
            redeemed_of(row, used_from.get(row.id))
            for row in by_tenant[tenant_id]
            if row.subscription_id in (None, subscription_id)
        ]
        for subscription_id, tenant_id in subscriptions
    }


def redeemed_of(row: CouponRedemption, used_from: date | None) -> Redeemed:
    """This function will return a stored redemption as discounts take it."""
    return Redeemed(
        redemption_id=row.id,
        coupon=terms_of(row.coupon),
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        used_from=used_from,
        since=row.redeemed_at,
    )


def _used_from(control_session: Session, redemption_ids: Sequence[UUID]) -> dict[UUID, date]:
    if not redemption_ids:
        return {}
    rows = control_session.execute(
        select(CouponUse.redemption_id, func.min(CouponUse.used_from))
        .where(CouponUse.redemption_id.in_(redemption_ids), CouponUse.state == "used")
        .group_by(CouponUse.redemption_id)
    )
    return dict(rows.all())


def given(*, control_session: Session, spans: Iterable[Span]) -> GivenByEnd:
    """This function will find what coupons took off the charges that these spans give back."""
    ends = {(span.item.item_id, span.end) for span in spans if span.kind == "credit"}
    if not ends:
        return {}
    discounted = aliased(InvoiceLine)
    rows = control_session.execute(
        select(
            BilledSpan.item_id,
            BilledSpan.span,
            InvoiceLine.position,
            vat_lines.priced_minor(),
            Invoice.number_text,
            discounted.evidence["lines"],
        )
        .join(InvoiceLine, InvoiceLine.id == BilledSpan.line_id)
        .join(Invoice, Invoice.id == BilledSpan.invoice_id)
        .join(discounted, discounted.invoice_id == BilledSpan.invoice_id)
        .where(
            items.charged({item_id for item_id, _ in ends}),
            BilledSpan.state != "void",
            discounted.kind == "discount",
            discounted.evidence.has_key("lines"),
        )
    )
    found: GivenByEnd = {}
    for item_id, span, position, charged_minor, number, shares in rows:
        key = (item_id, span.upper)
        off = sum(share["amount_minor"] for share in shares if share["line"] == position)
        if key in ends and off:
            before = found[key].discount_minor if key in found else 0
            found[key] = Given(charged_minor, before + off, number, position)
    return found


def record(
    *,
    control_session: Session,
    uses: Sequence[tuple[UUID, UUID, UUID, Discount]],
    now: datetime,
) -> None:
    """This function will write down uses with their subscription, invoice and line."""
    if not uses:
        return
    bulk.copy(
        control_session=control_session,
        table="coupon_use",
        columns=(
            *("id", "redemption_id", "invoice_id", "line_id", "amount_minor", "used_from"),
            *("state", "used_at"),
        ),
        rows=[
            (
                *(ids.uuid7(), taken.redeemed.redemption_id, invoice_id, line_id),
                *(taken.amount_minor, taken.used_from, "used", now),
            )
            for _, invoice_id, line_id, taken in uses
        ],
    )
    owners = {taken.redeemed.redemption_id: owner for owner, _, _, taken in uses}
    control_session.execute(
        text(
            "UPDATE coupon_redemption r SET subscription_id = v.owner"
            " FROM unnest(CAST(:redemptions AS uuid[]), CAST(:owners AS uuid[])) AS v (id, owner)"
            " WHERE r.id = v.id AND r.subscription_id IS NULL"
        ),
        {"redemptions": list(owners), "owners": list(owners.values())},
    )


def give_back(*, control_session: Session, invoice_id: UUID) -> None:
    """This function will undo what a voided invoice used: the next bill may use it again."""
    control_session.execute(
        update(CouponUse)
        .where(CouponUse.invoice_id == invoice_id, CouponUse.state == "used")
        .values(state="void")
        .execution_options(synchronize_session=False)
    )


def corrected_by(redemption: CouponRedemption) -> ColumnElement[bool]:
    """This function will return the condition that a correction of a bill goes with a coupon."""
    named = {"coupons": [{"redemption": str(redemption.id)}]}
    return exists().where(
        InvoiceLine.invoice_id == Invoice.id,
        Invoice.tenant_id == redemption.tenant_id,
        Invoice.state != "void",
        InvoiceLine.kind == "discount",
        InvoiceLine.evidence.contains(named),
    )


@dataclass(frozen=True, slots=True)
class TakenOff:
    """What a coupon took off one invoice, or by how much more of it that one corrects another.

    `used_from` is empty for a correction: none begins a coupon's time.
    """

    invoice_id: UUID
    bill_on: date
    number: str | None
    amount_minor: int
    void: bool
    used_from: date | None = None


def taken_off(
    *, control_session: Session, tenant_id: UUID, redemption_ids: Collection[UUID]
) -> dict[UUID, list[TakenOff]]:
    """This function will list what a tenant's redemptions took off, the oldest bill first."""
    found: dict[UUID, list[TakenOff]] = defaultdict(list)
    told = (Invoice.id, Invoice.supplied_on, Invoice.number_text, Invoice.state)
    uses = control_session.execute(
        select(*told, CouponUse)
        .join(CouponUse, CouponUse.invoice_id == Invoice.id)
        .where(CouponUse.redemption_id.in_(redemption_ids))
        .order_by(CouponUse.used_at, CouponUse.id)
    )
    for invoice_id, bill_on, number, _, use in uses:
        void, used_from = use.state == "void", use.used_from
        found[use.redemption_id].append(
            TakenOff(invoice_id, bill_on, number, use.amount_minor, void, used_from)
        )
    corrections = control_session.execute(
        select(*told, InvoiceLine.evidence)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(
            Invoice.tenant_id == tenant_id,
            InvoiceLine.kind == "discount",
            InvoiceLine.evidence["rule"].astext == corrected_discounts.RULE,
        )
        .order_by(Invoice.created_at, InvoiceLine.position)
    )
    for invoice_id, bill_on, number, state, evidence in corrections:
        for each in evidence["coupons"]:
            if more := each["is"]["amount_minor"] - each["was"]["amount_minor"]:
                found[UUID(each["redemption"])].append(
                    TakenOff(invoice_id, bill_on, number, more, state == "void")
                )
    for of_one in found.values():
        of_one.sort(key=lambda each: each.bill_on)
    return found
