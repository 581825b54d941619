"""Where gateways' books and ours differ: the work list, each with a proposed cause and its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit, clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web.auth import current_staff, see_other, staff_required
from app.web.db import control
from app.web.format import money
from app.web.i18n import gettext, lazy
from app.web.refusals import words_of
from invoices import gateway_accounts, lost_disputes, reconciliation
from invoices import reconciliation_differences as differences
from invoices.models import (
    Invoice,
    Payment,
    ReconciliationDay,
    ReconciliationDifference,
)

console_reconciliation = Blueprint(
    "console_reconciliation", __name__, url_prefix="/console/reconciliation"
)

FINANCE = ("finance",)
SHOWN_MAX = 50
DAYS_SHOWN = 10
KINDS = {
    "missing_here": lazy("Not in our books"),
    "missing_there": lazy("Not told by the gateway"),
    "other_amount": lazy("Another amount"),
    "other_day": lazy("Another day"),
    "duplicate": lazy("Told twice"),
    "changed": lazy("Told otherwise than before"),
    "refunded_there": lazy("Refunded at the gateway"),
    "disputed": lazy("Disputed by the payer"),
}
CAUSES = {
    "not_ours": lazy("No charge of ours: perhaps another shop's on the same account."),
    "unclear": lazy("The gateway does not say what it is for."),
    "outcome_unknown": lazy("Our charge of it is not cleared up yet; it goes by itself then."),
    "charged_though_declined": lazy("We took it for declined. Refund it at the gateway."),
    "deposit_not_learned": lazy("A virtual account of ours; its deposit is being looked up."),
    "given_up_before": lazy("We had given this payment up; it came after all."),
    "refund_under_way": lazy("A refund of ours is on its way; it goes by itself then."),
    "refunded_there": lazy("Refunded in the gateway's own console. Issue the credit note."),
    "never_told": lazy("The gateway has not told of it within a week. Ask the gateway."),
    "another_name": lazy("A line of the same amount stands for nothing: perhaps that one."),
    "other_sum": lazy("The gateway took another sum than we recorded."),
    "exchanged": lazy("The gateway settles in another currency."),
    "told_another_day": lazy("The gateway dates it otherwise."),
    "told_twice": lazy("The gateway's report has the payment twice."),
    "charged_twice": lazy("Two charges for one order. Refund one at the gateway."),
    "told_otherwise": lazy("The same line said something else before. Ask the gateway."),
    "disputed": lazy("The payer's bank asks for it back. Answer in the gateway's console."),
    "came_back": lazy("We had called the dispute lost; the money came after all."),
}


_ENDS: dict[str, Callable[..., object]] = {
    "accept": differences.accept,
    "owed": lost_disputes.owed_again,
    "given_up": lost_disputes.written_off,
}


class NotADay(Invalid):
    """There is no such day to be asked for."""


class NoSuchEnd(NotFound):
    """There is no such way to settle a difference."""


@console_reconciliation.get("")
@staff_required()
def index() -> str:
    """This function will show the open differences and the days that were reconciled of late."""
    return _page()


def _page(*, error: TenantryError | None = None, failed: str = "") -> str:
    session = control()
    rows = reconciliation.work_list(control_session=session, limit=SHOWN_MAX)
    staff = current_staff()
    yesterday = clock.today(clock.now(), settings().contract_timezone) - timedelta(days=1)
    return render_template(
        "console/reconciliation/list.html",
        rows=rows,
        invoices=_invoices(session, rows),
        ends={row.id: _ends(session, row) for row in rows},
        days=session.scalars(
            select(ReconciliationDay)
            .order_by(ReconciliationDay.day.desc(), ReconciliationDay.gateway)
            .limit(DAYS_SHOWN)
        ).all(),
        coverage=reconciliation.coverage(control_session=session),
        accounts=gateway_accounts.titles(control_session=session),
        kinds=KINDS,
        causes=CAUSES,
        may_act=staff is not None and staff.role in (*FINANCE, "admin"),
        yesterday=yesterday,
        error=error,
        told=words_of(error) if error else "",
        failed=failed,
    )


def _invoices(session: Session, rows: list[ReconciliationDifference]) -> dict[UUID, Invoice]:
    wanted = [row.payment_id for row in rows if row.payment_id]
    found: Any = session.execute(
        select(Payment.id, Invoice)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(Payment.id.in_(wanted))
    )
    return dict(found.all())


def _ends(session: Session, row: ReconciliationDifference) -> list[tuple[str, str]]:
    """The ways to settle a difference: one of ours that it stands for, or to let it stand."""
    ends = []
    for each in differences.candidates(control_session=session, difference=row, limit=5):
        number = session.get_one(Invoice, each.invoice_id).number_text or ""
        said = gettext("It is the payment of %(number)s", number=number)
        ends.append((f"payment:{each.id}", said))
    for refund in differences.refunds_waiting(control_session=session, difference=row):
        amount = money(refund.amount_minor, refund.currency)
        ends.append(
            (f"refund:{refund.id}", gettext("It is our refund of %(amount)s", amount=amount))
        )
    if lost_disputes.may_end(control_session=session, difference=row):
        ends += [
            ("owed", gettext("The dispute is lost: the invoice is owed again")),
            ("given_up", gettext("The dispute is lost: write the invoice off")),
        ]
    return [*ends, ("accept", gettext("Leave it among the differences"))]


@console_reconciliation.post("/<uuid:difference_id>/settle")
@staff_required(*FINANCE)
def settle(difference_id: UUID) -> Any:
    """This function will settle a difference in one of its ways, with a reason."""
    try:
        _settle(difference_id, request.form.get("how", ""), request.form.get("reason", ""))
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(error=error, failed=f"settle-{difference_id}"), error.status
    control().commit()
    flash(gettext("The difference is settled."), "good")
    return see_other(url_for(".index"))


def _settle(difference_id: UUID, how: str, reason: str) -> None:
    said: dict[str, Any] = {
        "control_session": control(),
        "difference_id": difference_id,
        "reason": reason,
        "staff_id": g.staff.id,
        "now": clock.now(),
    }
    what, _, chosen = how.partition(":")
    if how in _ENDS:
        _ENDS[how](**said)
        return
    try:
        named = UUID(chosen)
    except ValueError as error:
        raise NoSuchEnd("There is no such way to settle this.") from error
    if what == "payment":
        differences.link(payment_id=named, **said)
    elif what == "refund":
        differences.link_refund(refund_id=named, **said)
    else:
        raise NoSuchEnd("There is no such way to settle this.")


@console_reconciliation.post("/ask")
@staff_required(*FINANCE)
def ask() -> Any:
    """This function will have a day of every account held against our books once more."""
    now = clock.now()
    try:
        day = _day(request.form.get("day", ""))
        asked = reconciliation.ask_all(control_session=control(), day=day, now=now)
        audit.append(
            control_session=control(),
            actor=g.actor,
            action="reconciliation.asked",
            subject_kind="reconciliation_day",
            subject_id=day.isoformat(),
            now=now,
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(error=error, failed="ask"), error.status
    control().commit()
    flash(gettext("%(count)s accounts are asked for that day.", count=asked), "good")
    return see_other(url_for(".index"))


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise NotADay("Give a day, as 2026-03-31.", field="day") from error
    if day > clock.today(clock.now(), settings().contract_timezone):
        raise NotADay("No gateway knows the future.", field="day")
    return day
