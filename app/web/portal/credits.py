"""Credit and coupons in the portal: what is left, what a coupon takes off, and a code to redeem."""

from __future__ import annotations

from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid, TenantryError
from app.web import coupon_words
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext
from app.web.portal.door import portal, portal_required
from app.web.redeemed import redeemed_rows
from app.web.security import limiter
from invoices import coupons, credit_grants


@portal.get("/credits")
@portal_required
def credits() -> str:
    """This function will show what credit and which coupons the account has."""
    return _page()


def _page(error: TenantryError | None = None) -> str:
    now = clock.now()
    today = clock.today(now, g.tenant.timezone)
    grants = credit_grants.of_tenant(control_session=control(), tenant_id=g.tenant.id)
    return render_template(
        "portal/credits.html",
        balance=credit_grants.balance(control_session=control(), tenant=g.tenant, now=now),
        grants=[row for row in grants if coupon_words.standing(row, today) == "open"],
        uses=credit_grants.uses(control_session=control(), tenant_id=g.tenant.id),
        redeemed=redeemed_rows(g.tenant.id),
        words=coupon_words,
        code=request.form.get("code", ""),
        told=gettext(error.message) if error else "",
    )


@portal.post("/credits/coupons")
@portal_required
@limiter.limit("10/minute")
def redeem_coupon() -> Any:
    """This function will redeem a code; nobody finds one by trying many."""
    try:
        redemption = coupons.redeem(
            control_session=control(),
            code=request.form.get("code", "").replace("\x00", "")[:100],
            tenant_id=g.tenant.id,
            actor=g.actor,
            now=clock.now(),
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(error), error.status
    said = coupon_words.off(redemption.coupon)
    control().commit()
    flash(gettext("Redeemed: %(said)s. The next bill takes it off.", said=said), "good")
    return see_other(url_for("portal.credits"))
