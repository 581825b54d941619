"""One customer's credit and coupons: what is left, which bills used it, and finance's acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select

from app.base import clock
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web import coupon_words
from app.web.auth import see_other, staff_required
from app.web.console.typed import a_day, a_number, an_amount, whole
from app.web.db import control
from app.web.i18n import gettext
from app.web.redeemed import redeemed_rows
from invoices import coupons, credit_grants
from invoices.credit_grants import SOURCES, Rollover
from invoices.models import CouponRedemption, CreditGrant
from tenants.models import Tenant

console_credits = Blueprint("console_credits", __name__, url_prefix="/console/tenants")

FINANCE = ("finance",)


class NoSuchTenant(NotFound):
    """There is no such company."""


class NotTheirs(NotFound):
    """The credit or coupon is another customer's."""


@console_credits.get("/<uuid:tenant_id>/credits")
@staff_required()
def details(tenant_id: UUID) -> str:
    """This function will show what credit and which coupons a customer has."""
    return _page(tenant_id)


def _page(tenant_id: UUID, *, error: TenantryError | None = None, failed: str = "") -> str:
    tenant, now = _tenant(tenant_id), clock.now()
    return render_template(
        "console/credits/details.html",
        tenant=tenant,
        balance=credit_grants.balance(control_session=control(), tenant=tenant, now=now),
        grants=credit_grants.of_tenant(control_session=control(), tenant_id=tenant_id),
        uses=credit_grants.uses(control_session=control(), tenant_id=tenant_id),
        redeemed=redeemed_rows(tenant_id),
        words=coupon_words,
        source_options=[(source, coupon_words.SOURCE_NAMES[source]) for source in SOURCES],
        may_act=g.staff.role in ("finance", "admin"),
        today=clock.today(now, tenant.timezone),
        typed=request.form,
        error=error,
        failed=failed,
        told=gettext(error.message) if error else "",
    )


def _tenant(tenant_id: UUID) -> Tenant:
    found = control().get(Tenant, tenant_id)
    if found is None:
        raise NoSuchTenant("There is no such company.")
    return found


def _act(tenant_id: UUID, name: str, act: Callable[[], object], said: str) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        act()
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(tenant_id, error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".details", tenant_id=tenant_id))


@console_credits.post("/<uuid:tenant_id>/credits")
@staff_required(*FINANCE)
def grant(tenant_id: UUID) -> Any:
    """This function will record credit that a customer bought or is given."""
    tenant, form = _tenant(tenant_id), request.form

    def act() -> None:
        priority = whole(form.get("priority", ""), "priority")
        credit_grants.grant(
            control_session=control(),
            tenant_id=tenant_id,
            amount=an_amount(form.get("amount", ""), tenant.currency, "amount"),
            source=form.get("source", ""),
            note=_text("note"),
            actor=g.actor,
            now=clock.now(),
            expires_on=a_day(form.get("expires_on", ""), "expires_on"),
            priority=100 if priority is None else priority,
            rollover=_rollover(tenant),
        )

    return _act(tenant_id, "grant", act, gettext("Recorded. The next bills use it up."))


def _rollover(tenant: Tenant) -> Rollover | None:
    form = request.form
    if not form.get("rollover_percent", "").strip():
        return None
    most = form.get("rollover_max", "").strip()
    return Rollover(
        percent=a_number(form["rollover_percent"], "rollover_percent"),
        most_minor=an_amount(most, tenant.currency, "rollover_max").amount_minor if most else None,
        days=whole(form.get("rollover_days", ""), "rollover_days"),
    )


@console_credits.post("/<uuid:tenant_id>/credits/<uuid:grant_id>/revoke")
@staff_required(*FINANCE)
def revoke(tenant_id: UUID, grant_id: UUID) -> Any:
    """This function will take back what is left of a credit, for a reason."""
    _theirs(CreditGrant, grant_id, tenant_id)
    return _act(
        tenant_id,
        f"revoke-{grant_id}",
        lambda: credit_grants.revoke(
            control_session=control(),
            grant_id=grant_id,
            reason=_text("reason"),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("Taken back. What bills used of it stays used."),
    )


@console_credits.post("/<uuid:tenant_id>/coupons")
@staff_required(*FINANCE)
def redeem(tenant_id: UUID) -> Any:
    """This function will redeem a coupon for a customer, for bills of a day and later."""
    _tenant(tenant_id)
    return _act(
        tenant_id,
        "redeem",
        lambda: coupons.redeem(
            control_session=control(),
            code=_text("code"),
            tenant_id=tenant_id,
            actor=g.actor,
            now=clock.now(),
            starts_on=a_day(request.form.get("starts_on", ""), "starts_on"),
        ),
        gettext("Redeemed. The next bill takes it off."),
    )


@console_credits.post("/<uuid:tenant_id>/coupons/<uuid:redemption_id>/release")
@staff_required(*FINANCE)
def release(tenant_id: UUID, redemption_id: UUID) -> Any:
    """This function will take a coupon from a customer again, for a reason."""
    _theirs(CouponRedemption, redemption_id, tenant_id)
    return _act(
        tenant_id,
        f"release-{redemption_id}",
        lambda: coupons.release(
            control_session=control(),
            redemption_id=redemption_id,
            reason=_text("reason"),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("Taken away. What it took off before stays."),
    )


def _theirs(model: type[CreditGrant] | type[CouponRedemption], key: UUID, tenant_id: UUID) -> None:
    found = control().scalar(select(model.id).where(model.id == key, model.tenant_id == tenant_id))
    if found is None:
        raise NotTheirs("There is no such entry of this customer.")


def _text(field: str) -> str:
    return request.form.get(field, "").replace("\x00", "").strip()[:500]
