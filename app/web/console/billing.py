"""The billing run: drafts in their grace, who lets them go, and what the next run would bill."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.db import usage_session
from app.base.errors import Invalid, NotFound
from app.web.auth import see_other, staff_required
from app.web.console import billing_words
from app.web.console.typed import reason_typed
from app.web.db import control
from app.web.i18n import gettext
from invoices import drafts, invoicing, listing, rehearsal, runs

console_billing = Blueprint("console_billing", __name__, url_prefix="/console/billing")

FINANCE = ("finance",)
SHOWN_MAX = 100
# As many as a page may compose while somebody waits; `flask bill --dry-run` has no such limit.
REHEARSED_MAX = 200


@console_billing.get("")
@staff_required()
def index() -> str:
    """This function will show the runs that have drafts and, bill by bill, what is to come."""
    now = clock.now()
    today = listing.today_of(now)
    as_of = _as_of(request.args.get("as_of", "")) or rehearsal.next_run_on(
        control_session=control(), today=today
    )
    with usage_session() as usage:
        found = rehearsal.rehearse(
            control_session=control(),
            usage_session=usage,
            as_of=as_of or today,
            limit=REHEARSED_MAX,
        )
    return render_template(
        "console/billing/index.html",
        as_of=as_of or today,
        found=found,
        shown=found.bills[:SHOWN_MAX],
        runs=runs.standing(control_session=control()),
        held=drafts.held(control_session=control(), limit=SHOWN_MAX),
        why_held=billing_words.why_held,
        missing=billing_words.missing,
        grace_hours=settings().invoice_grace_hours,
        may_act=g.staff.role in ("finance", "admin"),
        me=g.staff.id,
        now=now,
    )


def _as_of(typed: str) -> date | None:
    if not typed:
        return None
    try:
        return date.fromisoformat(typed)
    except ValueError as error:
        raise Invalid("Enter the day as 2026-03-10.", field="as_of") from error


@console_billing.post("/runs/<day>/<currency>/release")
@staff_required(*FINANCE)
def release_run(day: str, currency: str) -> Any:
    """This function will let a day's drafts go, or ask a second person to agree."""
    bill_on = _as_of(day)
    if bill_on is None:
        raise NotFound("There is no such run.")
    release = runs.ask(
        control_session=control(),
        bill_on=bill_on,
        currency=currency,
        staff_id=g.staff.id,
        now=clock.now(),
    )
    control().commit()
    if release.needs_second:
        flash(gettext("Asked for. A second person has to agree to it."), "good")
    else:
        flash(gettext("Released. The bills are issued within seconds."), "good")
    return see_other(url_for(".index"))


@console_billing.post("/releases/<uuid:release_id>/approve")
@staff_required(*FINANCE)
def approve_release(release_id: UUID) -> Any:
    """This function will agree, as the second person, to letting a day's drafts go."""
    runs.approve(
        control_session=control(), release_id=release_id, staff_id=g.staff.id, now=clock.now()
    )
    control().commit()
    flash(gettext("Released. The bills are issued within seconds."), "good")
    return see_other(url_for(".index"))


@console_billing.post("/drafts/<uuid:invoice_id>/release")
@staff_required(*FINANCE)
def release_draft(invoice_id: UUID) -> Any:
    """This function will let a held bill pass, for a reason."""
    drafts.release(
        control_session=control(),
        invoice_id=invoice_id,
        why=reason_typed(request.form),
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("Released. The bill is issued within seconds."), "good")
    return see_other(url_for("console_attention.index"))


@console_billing.post("/drafts/<uuid:invoice_id>/throw-away")
@staff_required(*FINANCE)
def throw_away(invoice_id: UUID) -> Any:
    """This function will throw a held bill away: it is made anew from the facts as they are."""
    invoicing.void(
        control_session=control(),
        invoice_id=invoice_id,
        reason=reason_typed(request.form),
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("Thrown away. It is made anew from the corrected facts."), "good")
    return see_other(url_for("console_attention.index"))
