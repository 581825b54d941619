"""Moving subscribers of an older version of a plan to a newer one: who, when, what it says, done.

Looking makes the move and takes it back, so what is shown is what happens. Each who is moved gets
a mail, and their change can be taken back on their own page until its day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Invalid
from app.web import subscribed
from app.web.auth import see_other, staff_required
from app.web.console.catalogue import WRITERS, console_catalogue
from app.web.console.typed import a_day, whole
from app.web.db import control
from app.web.format import day
from app.web.i18n import gettext, language, ngettext
from app.web.refusals import words_of
from invoices import catalogue, catalogue_changes, plan_moves
from invoices.models import PlanVersion
from invoices.plan_moves import Move, Moves, NoSuchVersion, NoticeTooShort

NOTICE_DAYS = 30
NOTICE_DAYS_MAX = 365
# As many as a page may look through while somebody waits, and move with one click.
MOVED_MAX = 200
AT_ONCE = 50
FIELDS = ("from", "to", "on", "notice_days")


@dataclass(frozen=True, slots=True)
class Looked:
    """A move as it would be made: who changes over or stays, and how many more there are."""

    move: Move
    found: Moves
    more: int
    before: list[str]
    after: list[str]


@console_catalogue.get("/<plan_code>/<currency>/move")
@staff_required(*WRITERS)
def ask_move(plan_code: str, currency: str) -> Any:
    """This function will ask from which version to which and when, then show whom it moves."""
    typed, now = _typed(request.args), clock.now()
    if "to" not in request.args:
        return _page(plan_code, currency, typed, now)
    try:
        looked = _look(_move(plan_code, currency, typed), now)
    except Invalid as error:
        control().rollback()
        return _page(plan_code, currency, typed, now, error=error), error.status
    return _page(plan_code, currency, typed, now, looked=looked)


@console_catalogue.post("/<plan_code>/<currency>/move")
@staff_required(*WRITERS)
def make_move(plan_code: str, currency: str) -> Any:
    """This function will schedule the change of each, and tell their admins by mail."""
    typed, now = _typed(request.form), clock.now()
    found = Moves()
    try:
        move = _move(plan_code, currency, typed)
        waiting = plan_moves.subscribers(control_session=control(), move=move, now=now)
    except Invalid as error:
        control().rollback()
        return _page(plan_code, currency, typed, now, error=error), error.status
    chosen = waiting[:MOVED_MAX]
    for first in range(0, len(chosen), AT_ONCE):
        _schedule(move, chosen[first : first + AT_ONCE], now, found)
        control().commit()
    _say(found)
    left = len(waiting) - len(found.moved)
    if left:
        flash(ngettext("%(num)d stays as it is.", "%(num)d stay as they are.", left), "info")
    return see_other(url_for(".details", plan_code=plan_code, currency=currency))


def _say(found: Moves) -> None:
    asked = sum(each.asked for each in found.moved)
    moved = len(found.moved) - asked
    if moved or not asked:
        flash(
            ngettext(
                "%(num)d subscriber is moved and told.",
                "%(num)d subscribers are moved and told.",
                moved,
            ),
            "good",
        )
    if asked:
        flash(
            ngettext(
                "%(num)d subscriber is asked to agree.",
                "%(num)d subscribers are asked to agree.",
                asked,
            ),
            "info",
        )


def _typed(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given.get(name, "").strip()[:20] for name in FIELDS}


def _move(plan_code: str, currency: str, typed: Mapping[str, str]) -> Move:
    on = a_day(typed["on"], "on")
    if on is None:
        raise Invalid("Enter the day as 2026-03-10.", field="on")
    notice = whole(typed["notice_days"], "notice_days")
    if notice is None or notice > NOTICE_DAYS_MAX:
        raise Invalid("Enter the days of notice, from 0 to 365.", field="notice_days")
    versions = [whole(typed[name], name) for name in ("from", "to")]
    if None in versions:
        raise NoSuchVersion("There is no such version of this plan.")
    return Move(
        plan_code=plan_code,
        currency=currency,
        from_version=versions[0] or 0,
        to_version=versions[1] or 0,
        on=on,
        notice_days=notice,
    )


def _look(move: Move, now: datetime) -> Looked:
    waiting = plan_moves.subscribers(control_session=control(), move=move, now=now)
    found = Moves()
    savepoint = control().begin_nested()
    try:
        _schedule(move, waiting[:MOVED_MAX], now, found)
    finally:
        savepoint.rollback()
        control().expire_all()
    _, versions = _versions_of(move.plan_code, move.currency)
    by_number = {each.version: catalogue.terms_of(each, position=0) for each in versions}
    before, after = plan_moves.changed_lines(
        by_number[move.from_version], by_number[move.to_version], language()
    )
    return Looked(move, found, max(len(waiting) - MOVED_MAX, 0), before, after)


def _schedule(move: Move, tenants: list[UUID], now: datetime, found: Moves) -> None:
    for tenant_id in tenants:
        plan_moves.schedule(
            control_session=control(),
            move=move,
            tenant_id=tenant_id,
            actor=g.actor,
            now=now,
            found=found,
        )


def _versions_of(plan_code: str, currency: str) -> tuple[Any, list[PlanVersion]]:
    return catalogue_changes.versions(
        control_session=control(), plan_code=plan_code, currency=currency
    )


def _page(
    plan_code: str,
    currency: str,
    typed: dict[str, str],
    now: datetime,
    *,
    error: Invalid | None = None,
    looked: Looked | None = None,
) -> str:
    _, versions = _versions_of(plan_code, currency)
    used = catalogue_changes.subscribers(control_session=control()).get((plan_code, currency), [])
    counts = {each.version: each.subscribers for each in used}
    newest, today = versions[0], clock.today(now, settings().contract_timezone)
    sources = [each for each in versions[1:] if counts.get(each.version)]
    default = {
        "from": str(sources[0].version) if sources else "",
        "to": str(newest.version),
        "on": (today + timedelta(days=NOTICE_DAYS)).isoformat(),
        "notice_days": str(NOTICE_DAYS),
    }
    return render_template(
        "console/catalogue/move.html",
        name=subscribed.name_of(newest),
        plan_code=plan_code,
        currency=currency,
        sources=[
            (str(each.version), f"{_said(each)} · {_counted(counts[each.version])}")
            for each in sources
        ],
        targets=[
            (str(each.version), _said(each))
            for each in versions
            if not sources or each.version > sources[-1].version
        ],
        typed={name: typed[name] or default[name] for name in FIELDS},
        sent=typed,
        looked=looked,
        error=error,
        told=_told(error, today) if error else "",
    )


def _said(version: PlanVersion) -> str:
    return f"v{version.version} · {subscribed.headline(version)}"


def _counted(subscribers: int) -> str:
    return ngettext("%(num)d subscriber", "%(num)d subscribers", subscribers)


def _told(error: Invalid, today: date) -> str:
    if isinstance(error, NoticeTooShort):
        days = whole(request.values.get("notice_days", ""), "notice_days") or 0
        return gettext(
            "With %(days)s days of notice the first day is %(day)s.",
            days=days,
            day=day(today + timedelta(days=days)),
        )
    return words_of(error)
