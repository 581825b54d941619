"""The coupons a customer has, as the console and the portal list them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import select

from app.base.money import Money
from app.web.db import control
from invoices import coupon_uses
from invoices.models import CouponRedemption, Subscription
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class TakenOff:
    """What a coupon took off one invoice, less than nothing where that corrects another."""

    invoice_id: UUID
    number: str | None
    amount: Money
    void: bool


@dataclass(frozen=True, slots=True)
class RedeemedRow:
    """One coupon of a customer: `state` is waiting, running, over or released."""

    redemption: CouponRedemption
    state: str
    until: date | None
    uses: tuple[TakenOff, ...]

    @property
    def id(self) -> UUID:
        """What the table knows the row by."""
        return self.redemption.id


def redeemed_rows(tenant_id: UUID) -> list[RedeemedRow]:
    """This function will list a customer's coupons, the latest first, with what each took off."""
    rows = list(
        control().scalars(
            select(CouponRedemption)
            .where(CouponRedemption.tenant_id == tenant_id)
            .order_by(CouponRedemption.redeemed_at.desc(), CouponRedemption.id.desc())
        )
    )
    if not rows:
        return []
    currency = control().get_one(Tenant, tenant_id).currency
    used = coupon_uses.taken_off(
        control_session=control(), tenant_id=tenant_id, redemption_ids=[row.id for row in rows]
    )
    over = set(
        control().scalars(
            select(Subscription.id).where(
                Subscription.tenant_id == tenant_id, Subscription.state == "cancelled"
            )
        )
    )
    return [_row(row, used.get(row.id, []), currency, over) for row in rows]


def _row(
    row: CouponRedemption,
    used: list[coupon_uses.TakenOff],
    currency: str,
    over: set[UUID],
) -> RedeemedRow:
    first = min((use.used_from for use in used if use.used_from and not use.void), default=None)
    redeemed = coupon_uses.redeemed_of(row, first)
    until = redeemed.lasts_until()
    if row.state == "released":
        state = "released"
    elif row.subscription_id in over or (row.coupon.duration == "once" and first is not None):
        state = "over"
    else:
        state = "running" if first is not None else "waiting"
    return RedeemedRow(
        row,
        state,
        until,
        tuple(
            TakenOff(use.invoice_id, use.number, Money(use.amount_minor, currency), use.void)
            for use in used
        ),
    )
