"""Deadlines of tax invoices: what is late, failed or due soon, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, render_template

from app.base import clock
from app.web.auth import staff_required
from app.web.db import control
from app.web.i18n import lazy
from invoices import tax_handed_in, vat_deadlines
from invoices.vat_deadlines import Watched

console_tax_deadlines = Blueprint(
    "console_tax_deadlines", __name__, url_prefix="/console/tax-deadlines"
)

LISTED_MAX = 500
KINDS = {
    "choose": lazy("Evidence to choose"),
    "by_hand": lazy("To issue elsewhere"),
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
        offline=tax_handed_in.waiting(control_session=control(), today=board.today),
        older_max=tax_handed_in.OLDER_MAX,
        kinds=KINDS,
        penalties=PENALTIES,
        rules=vat_deadlines.PENALTIES,
        at_stake=_at_stake((*board.late, *board.failed)),
        next_by=vat_deadlines.issue_by(board.today),
    )


def _at_stake(rows: Iterable[Watched]) -> dict[str, int]:
    """What penalties come to, by currency; in won where there are none."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.currency] = sums.get(row.currency, 0) + row.penalty_minor
    return sums or {"KRW": 0}
