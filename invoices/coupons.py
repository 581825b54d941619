"""Coupons: terms that never change, redeemed first come first served, and released again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import audit, clock
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid, NotFound
from invoices import coupon_terms, coupon_uses
from invoices.coupon_terms import CouponUnsound
from invoices.discounts import Coupon
from invoices.models import (
    CouponOffer,
    CouponRedemption,
    CouponUse,
    Invoice,
    Payment,
    PlanVersion,
    Price,
    Subscription,
)
from tenants.models import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Who may redeem a coupon, when and how often; None is without a bound.

    `first_time_only` is for whoever never got a bill nor paid for one. One that was credited whole
    or written off was a bill; one that was voided without money for it was none.
    """

    starts_at: datetime | None = None
    expires_at: datetime | None = None
    max_redemptions: int | None = None
    per_customer_max: int = 1
    first_time_only: bool = False


class CouponUnknown(Invalid):
    """There is no coupon of this code."""


class CouponRefused(Conflict):
    """The coupon exists, but not for this customer, or not now; the message says why."""


class ReasonMissing(Invalid):
    """What takes something from a customer is done for a reason that can be read."""


def create(
    *,
    control_session: Session,
    coupon: Coupon,
    availability: Availability,
    actor: Actor,
    now: datetime,
) -> CouponOffer:
    """This function will offer a coupon from now on; its terms are never changed again.

    Raises: CouponUnsound.
    """
    coupon_terms.check(coupon)
    _check_availability(availability)
    _check_scope(control_session, coupon)
    if control_session.scalar(select(exists().where(CouponOffer.code == coupon.code))):
        raise CouponUnsound("This code was used before: take another.", field="code")
    offer = CouponOffer(
        code=coupon.code,
        name_ko=coupon.name_ko.strip(),
        name_en=coupon.name_en.strip(),
        kind=coupon.kind,
        percent=coupon.percent,
        amount_minor=coupon.amount_minor,
        currency=coupon.currency,
        units=coupon.units,
        plans=list(coupon.plans),
        charges=list(coupon.charges),
        duration=coupon.duration,
        months=coupon.months,
        priority=coupon.priority,
        starts_at=availability.starts_at,
        expires_at=availability.expires_at,
        max_redemptions=availability.max_redemptions,
        per_customer_max=availability.per_customer_max,
        first_time_only=availability.first_time_only,
        created_by=_signed(actor),
        created_at=now,
    )
    control_session.add(offer)
    control_session.flush()
    _note(control_session, actor, "coupon.created", offer.id, now, details={"code": offer.code})
    return offer


def retire(*, control_session: Session, coupon_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will take a coupon off offer; whoever has redeemed it keeps it.

    Raises: NotFound.
    """
    offer = control_session.get(
        CouponOffer, coupon_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if offer is None:
        raise NotFound("There is no such coupon.")
    if offer.retired_at is None:
        offer.retired_at = now
        control_session.flush()
        _note(control_session, actor, "coupon.retired", offer.id, now)


def redeem(
    *,
    control_session: Session,
    code: str,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    starts_on: date | None = None,
) -> CouponRedemption:
    """This function will give a tenant a coupon, for bills of `starts_on` (today) and later.

    The coupon's row is locked until the caller commits: whoever comes first has the last place,
    and what a customer had before is counted as it is.

    Raises: CouponUnknown, CouponRefused, NotFound.
    """
    tenant = control_session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound("There is no such tenant.")
    offer = control_session.scalar(
        select(CouponOffer)
        .where(CouponOffer.code == code.strip().upper())
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if offer is None:
        raise CouponUnknown("There is no coupon with this code. Check its spelling.", field="code")
    subscription = control_session.scalar(
        select(Subscription).where(
            Subscription.tenant_id == tenant_id, Subscription.state != "cancelled"
        )
    )
    _check_offered(offer, now)
    _check_fits(control_session, offer, tenant, subscription)
    _check_customer(control_session, offer, tenant)
    offer.redeemed += 1
    redemption = CouponRedemption(
        tenant_id=tenant_id,
        coupon=offer,
        subscription_id=subscription.id if subscription else None,
        starts_on=starts_on or clock.today(now, tenant.timezone),
        redeemed_by=_signed(actor),
        redeemed_at=now,
    )
    control_session.add(redemption)
    control_session.flush()
    _note(
        control_session,
        actor,
        "coupon.redeemed",
        redemption.id,
        now,
        tenant_id=tenant_id,
        details={"code": offer.code, "starts_on": redemption.starts_on.isoformat()},
    )
    return redemption


def release(
    *, control_session: Session, redemption_id: UUID, reason: str, actor: Actor, now: datetime
) -> CouponRedemption:
    """This function will take a coupon from a tenant again, for bills of today and later.

    What it took off before stays. One that no bill has used gives its place to somebody else. A
    second call changes nothing.

    Raises: ReasonMissing, NotFound.
    """
    if not (why := reason.strip()):
        raise ReasonMissing("Please say why the coupon is taken away.", field="reason")
    redemption = control_session.scalar(
        select(CouponRedemption)
        .where(CouponRedemption.id == redemption_id)
        .with_for_update(of=CouponRedemption)
        .execution_options(populate_existing=True)
    )
    if redemption is None:
        raise NotFound("There is no such coupon of a customer.")
    if redemption.state == "released":
        return redemption
    tenant = control_session.get_one(Tenant, redemption.tenant_id)
    redemption.state, redemption.released_at = "released", now
    redemption.ends_on = clock.today(now, tenant.timezone)
    used = exists().where(CouponUse.redemption_id == redemption_id, CouponUse.state == "used")
    if not control_session.scalar(select(or_(used, coupon_uses.corrected_by(redemption)))):
        redemption.counted = False
        offer = control_session.get_one(
            CouponOffer,
            redemption.coupon_id,
            with_for_update={"key_share": True},
            populate_existing=True,
        )
        offer.redeemed -= 1
    control_session.flush()
    _note(
        control_session,
        actor,
        "coupon.released",
        redemption.id,
        now,
        tenant_id=redemption.tenant_id,
        why=why,
    )
    return redemption


def listed(*, control_session: Session) -> list[CouponOffer]:
    """This function will return every coupon, those on offer first, each newest first."""
    return list(
        control_session.scalars(
            select(CouponOffer).order_by(
                CouponOffer.retired_at.is_not(None), CouponOffer.created_at.desc(), CouponOffer.id
            )
        )
    )


def state(offer: CouponOffer, now: datetime) -> str:
    """This function will say whether a coupon is offered, scheduled, expired, used up, retired."""
    if offer.retired_at is not None:
        return "retired"
    if offer.expires_at is not None and now >= offer.expires_at:
        return "expired"
    if offer.max_redemptions is not None and offer.redeemed >= offer.max_redemptions:
        return "used_up"
    return "scheduled" if offer.starts_at is not None and now < offer.starts_at else "offered"


def _check_offered(offer: CouponOffer, now: datetime) -> None:
    refusals = {
        "retired": "This coupon is not offered any more.",
        "expired": "This coupon has expired.",
        "used_up": "This coupon is used up: others were faster.",
        "scheduled": "This coupon is not valid yet.",
    }
    if refusal := refusals.get(state(offer, now)):
        raise CouponRefused(refusal, field="code")


def _check_fits(
    control_session: Session,
    offer: CouponOffer,
    tenant: Tenant,
    subscription: Subscription | None,
) -> None:
    if offer.currency not in (None, tenant.currency):
        raise CouponRefused(
            "This coupon is for accounts in another currency than yours.", field="code"
        )
    if not offer.plans:
        return
    plan_code = tenant.plan_code
    if subscription is not None:
        plan_code = control_session.get_one(PlanVersion, subscription.plan_version_id).plan_code
    if plan_code not in offer.plans:
        raise CouponRefused("This coupon is for another plan than yours.", field="code")


def _check_customer(control_session: Session, offer: CouponOffer, tenant: Tenant) -> None:
    """The coupon's row is locked: nobody redeems it between this count and ours."""
    had = control_session.scalar(
        select(func.count())
        .select_from(CouponRedemption)
        .where(
            CouponRedemption.coupon_id == offer.id,
            CouponRedemption.tenant_id == tenant.id,
            CouponRedemption.counted,
        )
    )
    if (had or 0) >= offer.per_customer_max:
        raise CouponRefused("You have redeemed this coupon already.", field="code")
    paid_for = exists().where(Payment.invoice_id == Invoice.id)
    billed = exists().where(
        Invoice.tenant_id == tenant.id, or_(Invoice.state.not_in(("draft", "void")), paid_for)
    )
    if offer.first_time_only and control_session.scalar(select(billed)):
        raise CouponRefused("This coupon is for new customers.", field="code")


def _check_availability(availability: Availability) -> None:
    starts_at, expires_at = availability.starts_at, availability.expires_at
    if starts_at is not None and expires_at is not None and expires_at <= starts_at:
        raise CouponUnsound("The last day lies before the first.", field="expires_on")
    if availability.max_redemptions is not None and availability.max_redemptions < 1:
        raise CouponUnsound("At least one customer must get it.", field="max_redemptions")
    if availability.per_customer_max < 1:
        raise CouponUnsound("A customer must get it at least once.", field="per_customer_max")


def _check_scope(control_session: Session, coupon: Coupon) -> None:
    """A misspelt plan or charge would make a coupon that never takes anything off."""
    for field, column, wanted in (
        ("plans", PlanVersion.plan_code, coupon.plans),
        ("charges", Price.charge, coupon.charges),
    ):
        known = control_session.scalars(select(column).where(column.in_(wanted)).distinct())
        if unknown := sorted({*wanted} - {*known}):
            raise CouponUnsound(f"The price lists have no {', '.join(unknown)}.", field=field)


def _signed(actor: Actor) -> str:
    return f"{actor.kind} {actor.id or ''}".strip()


def _note(
    control_session: Session,
    actor: Actor,
    action: str,
    subject_id: UUID,
    now: datetime,
    *,
    tenant_id: UUID | None = None,
    why: str | None = None,
    details: dict[str, str] | None = None,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="coupon" if tenant_id is None else "coupon_redemption",
        subject_id=subject_id,
        tenant_id=tenant_id,
        why=why,
        details=details or {},
        now=now,
    )
