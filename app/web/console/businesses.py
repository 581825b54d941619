"""What the tax service says of the businesses that we deal with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import case, func, select

from app.base import clock
from app.base.errors import TenantryError
from app.web.auth import see_other, staff_required
from app.web.console.typed import a_day
from app.web.db import control
from app.web.i18n import gettext, lazy
from app.web.refusals import words_of
from tenants import business_status
from tenants.business_models import FLAGGED, STATUSES, BusinessStatus

console_businesses = Blueprint("console_businesses", __name__, url_prefix="/console/businesses")

MAY_ASK = ("finance", "sales")
LISTED_MAX = 200
WORDS = {
    "unchecked": lazy("Unchecked"),
    "unknown": lazy("Unknown: no answer yet"),
    "active": lazy("In business"),
    "suspended": lazy("Business suspended"),
    "closed": lazy("Business closed"),
    "unregistered": lazy("Not registered as a business"),
}
TONES = {"active": "good", "suspended": "warn", "closed": "bad", "unregistered": "bad"}
TAX_KINDS = {
    "01": lazy("General taxable person"),
    "02": lazy("Simplified taxable person"),
    "03": lazy("Exempt business"),
    "04": lazy("Non-profit or public body"),
    "07": lazy("Simplified, issues tax invoices"),
}


def of(number: str | None, country: str) -> dict[str, Any]:
    """This function will return what pages about a company show of its business."""
    known = business_status.of(
        control_session=control(), numbers=[number] if country == "KR" else []
    )
    return {
        "business": next(iter(known.values()), None),
        "business_words": WORDS,
        "business_tones": TONES,
    }


@console_businesses.get("")
@staff_required()
def index() -> str:
    """This function will list businesses, those that need a look first."""
    return _page()


def _page(*, error: TenantryError | None = None, failed: UUID | None = None) -> str:
    status = request.args.get("status", "")
    first = case((BusinessStatus.status.in_(FLAGGED), 0), else_=1)
    query = select(BusinessStatus).order_by(
        first, BusinessStatus.changed_at.desc().nulls_last(), BusinessStatus.registration_number
    )
    if status in STATUSES:
        query = query.where(BusinessStatus.status == status)
    rows = control().scalars(query.limit(LISTED_MAX)).all()
    counts = dict(
        control()
        .execute(select(BusinessStatus.status, func.count()).group_by(BusinessStatus.status))
        .all()
    )
    return render_template(
        "console/businesses/list.html",
        rows=rows,
        names=business_status.names_of(
            control_session=control(), numbers=[row.registration_number for row in rows]
        ),
        counts=counts,
        status=status if status in STATUSES else "",
        words=WORDS,
        tones=TONES,
        tax_kinds=TAX_KINDS,
        offered=business_status.offered(),
        may_act=g.staff.role in (*MAY_ASK, "admin"),
        typed=request.form,
        error=error,
        failed=failed,
        told=words_of(error) if error else "",
    )


@console_businesses.post("/<uuid:business_id>/ask")
@staff_required(*MAY_ASK)
def ask(business_id: UUID) -> Any:
    """This function will have a business asked about once more, against its certificate too."""
    try:
        business_status.ask_again(
            control_session=control(),
            row_id=business_id,
            opened_on=a_day(request.form.get("opened_on", ""), "opened_on"),
            representative=request.form.get("representative", ""),
            actor=g.actor,
            now=clock.now(),
        )
    except TenantryError as error:
        control().rollback()
        return _page(error=error, failed=business_id), 422
    control().commit()
    flash(gettext("It is asked about within seconds."), "good")
    return see_other(url_for(".index"))
