"""The ledger's page: a month's trial balance, and its books to take along."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, render_template, request

from app.base import clock
from app.base.audit import append
from app.base.config import settings
from app.base.errors import NotFound
from app.web import ledger_tables
from app.web.auth import staff_required
from app.web.db import control
from app.web.exports import CSV, XLSX, download
from app.web.i18n import language
from invoices import ledger_statements

console_ledger = Blueprint("console_ledger", __name__, url_prefix="/console/ledger")

FINANCE = ("finance",)
_TYPES = {"csv": CSV, "xlsx": XLSX}


class NoSuchStatement(NotFound):
    """There is no such statement of the books."""


@console_ledger.get("")
@staff_required(*FINANCE)
def index() -> str:
    """This function will show what stands on every account at the end of a month."""
    month = request.args.get("month") or _this_month()
    first, end = ledger_statements.month(month)
    rows = ledger_statements.trial_balance(control_session=control(), first=first, end=end)
    mine = language()
    return render_template(
        "console/ledger/index.html",
        month=f"{first:%Y-%m}",
        rows=rows,
        name_of=lambda account: ledger_tables.account_name(account, mine),
    )


@console_ledger.get("/<kind>.<ending>")
@staff_required(*FINANCE)
def statement(kind: str, ending: str) -> Any:
    """This function will send a month's journal or trial balance as CSV or XLSX."""
    if kind not in ledger_tables.KINDS or ending not in _TYPES:
        raise NoSuchStatement("There is no such statement of the books.")
    month = request.args.get("month") or _this_month()
    file = ledger_tables.file(
        control_session=control(), kind=kind, month=month, ending=ending, language=language()
    )
    append(
        control_session=control(),
        actor=g.actor,
        action="ledger.exported",
        subject_kind="staff",
        subject_id=g.staff.id,
        details={"what": kind, "month": month, "format": ending},
        now=clock.now(),
    )
    control().commit()
    return download(file, file_name=f"{kind}-{month}.{ending}", media_type=_TYPES[ending])


def _this_month() -> str:
    return f"{clock.today(clock.now(), settings().contract_timezone):%Y-%m}"
