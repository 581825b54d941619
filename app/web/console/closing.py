"""Finance's page of a month's close: what hinders it, the close, and opening it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select

from app.base import clock
from app.base.accounts import Staff
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web import closing_words
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.paging import page_within, pages_of
from app.web.refusals import words_of
from invoices import closing

console_closing = Blueprint("console_closing", __name__, url_prefix="/console/closing")

FINANCE = ("finance",)
CLOSES_A_PAGE = 12


@console_closing.get("")
@staff_required(*FINANCE)
def index() -> str:
    """This function will show what hinders the close of a month; the last one without a choice."""
    month = request.args.get("month") or _last_month()
    return _page(month, with_books="books" in request.args)


def _page(month: str, *, error: TenantryError | None = None, with_books: bool = True) -> str:
    seen = closing.look(
        control_session=control(), month=month, now=clock.now(), with_books=with_books
    )
    total = closing.history_count(control_session=control())
    page = page_within(total, size=CLOSES_A_PAGE)
    past = closing.history(
        control_session=control(), limit=CLOSES_A_PAGE, behind=(page - 1) * CLOSES_A_PAGE
    )
    mine = language()
    names = select(Staff.id, Staff.name)
    return render_template(
        "console/closing/index.html",
        month=f"{seen.first:%Y-%m}",
        seen=seen,
        past=past,
        page=page,
        pages=pages_of(total, size=CLOSES_A_PAGE),
        staff_names={row.id: row.name for row in control().execute(names)},
        check_name=lambda code: closing_words.name(code, mine),
        said=lambda what: closing_words.said(what, mine),
        path=closing_words.path,
        may_reopen=g.staff.role == "admin",
        told=words_of(error) if error else "",
        error=error,
    )


@console_closing.post("/close")
@staff_required(*FINANCE)
def close() -> Any:
    """This function will close a month, or show again what hinders it."""
    month = request.form.get("month", "")
    return _act(
        month,
        lambda: closing.close(
            control_session=control(), month=month, actor=g.actor, now=clock.now()
        ),
        gettext("The month is closed. What comes late is booked on the first open day."),
    )


@console_closing.post("/reopen")
@staff_required("admin")
def reopen() -> Any:
    """This function will open a closed month again, for a reason."""
    month = request.form.get("month", "")
    return _act(
        month,
        lambda: closing.reopen(
            control_session=control(),
            month=month,
            reason=request.form.get("why", "").replace("\x00", ""),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("The month is open again."),
    )


def _act(month: str, act: Callable[[], object], said: str) -> Any:
    try:
        act()
    except (Conflict, Invalid, NotFound) as error:
        control().rollback()
        if error.field == "month" and isinstance(error, Invalid):
            raise
        return _page(month, error=error), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".index", month=month))


def _last_month() -> str:
    first = clock.today(clock.now(), settings().contract_timezone).replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}"
