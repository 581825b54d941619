"""Deadlines of tax invoices: what is late, failed or due soon, and what that costs."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.base import clock
from app.web.auth import staff_required
from app.web.db import control
from app.web.i18n import lazy
from invoices import vat_deadlines

console_tax_deadlines = Blueprint(
    "console_tax_deadlines", __name__, url_prefix="/console/tax-deadlines"
)

LISTED_MAX = 500
KINDS = {
    "choose": lazy("Evidence to choose"),
    "issue": lazy("To issue"),
    "transmit": lazy("To transmit"),
}
PENALTIES = {
    "late_issue": lazy("Issued late"),
    "no_issue": lazy("Not issued"),
    "late_transmission": lazy("Transmitted late"),
    "no_transmission": lazy("Not transmitted"),
}


@console_tax_deadlines.get("")
@staff_required()
def index() -> str:
    """This function will show every tax invoice by its deadline, the most urgent first."""
    board = vat_deadlines.board(control_session=control(), now=clock.now(), limit=LISTED_MAX)
    return render_template(
        "console/tax_deadlines/index.html",
        board=board,
        offline=vat_deadlines.offline(control_session=control(), today=board.today),
        older_max=vat_deadlines.OLDER_MAX,
        kinds=KINDS,
        penalties=PENALTIES,
        rules=vat_deadlines.PENALTIES,
        at_stake=sum(each.penalty_minor for each in (*board.late, *board.failed)),
        next_by=vat_deadlines.issue_by(board.today),
    )
