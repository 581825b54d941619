"""Live usage on a page: each meter of pushed events in steps, for a chart with its table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from flask import request
from sqlalchemy.exc import SQLAlchemyError

from app.base import clock
from app.base.db import usage_session
from app.web import granted
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.parts import url_with
from tenants import live_usage, meters
from tenants.live_usage import STEPS, Course, Point
from tenants.models import Tenant

log = structlog.get_logger(__name__)

METERS_SHOWN = 12
DIGITS = 3  # a page shows no more; the bill and the API are exact
DAYS_OF_HOURS = 2
MONTHS = 12
_LABELS = {"hour": "%m-%d %H:%M", "day": "%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One meter: its total of the span and a value a step."""

    name: str
    unit: str
    quantity: Decimal
    transactions: int
    series: list[tuple[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Live:
    """What is shown of a tenant's meters; `away` when pushed usage can't be read right now."""

    step: str
    first: date
    last: date
    tiles: list[Tile]
    switch: list[dict[str, Any]]
    away: bool = False


def of(*, tenant: Tenant, now: datetime) -> Live | None:
    """This function will count a tenant's meters up to now; nothing where none is declared.

    The address says whether by hour, day or month: `?usage=hour`.
    """
    definitions = meters.counted(control_session=control())[:METERS_SHOWN]
    if not definitions:
        return None
    step = request.args.get("usage", "day")
    step = step if step in STEPS else "day"
    last = clock.today(now, tenant.timezone)
    first = _first(step, last)
    try:
        with usage_session() as session:
            courses = live_usage.courses(
                usage_session=session,
                definitions=definitions,
                tenant_id=tenant.id,
                first=first,
                last=last,
                step=step,
                timezone=tenant.timezone,
            )
    except SQLAlchemyError as error:
        # The page says much else that control knows: it stands without this part of it.
        log.warning("usage.away", error=type(error).__name__)
        return Live(step, first, last, [], _switch(step), away=True)
    tiles = [_tile(course, step, tenant.timezone, now) for course in courses]
    return Live(step, first, last, tiles, _switch(step))


def _first(step: str, last: date) -> date:
    if step == "hour":
        return last - timedelta(days=DAYS_OF_HOURS - 1)
    if step == "day":
        return last.replace(day=1)
    years, month = divmod(last.year * 12 + last.month - MONTHS, 12)
    return date(years, month + 1, 1)


def _switch(lit: str) -> list[dict[str, Any]]:
    names = {"hour": gettext("By hour"), "day": gettext("By day"), "month": gettext("By month")}
    return [
        {"label": names[step], "url": url_with(usage=step) + "#live-usage", "active": step == lit}
        for step in STEPS
    ]


def _tile(course: Course, step: str, timezone: str, now: datetime) -> Tile:
    definition = course.definition
    zone = ZoneInfo(timezone)

    def shown(point: Point) -> tuple[str, Decimal]:
        return f"{point.start.astimezone(zone):{_LABELS[step]}}", round(point.quantity, DIGITS)

    return Tile(
        name=definition.name_ko if language() == "ko" else definition.name_en,
        unit=granted.unit(definition.unit),
        quantity=round(course.quantity, DIGITS),
        transactions=course.transactions,
        series=[shown(point) for point in course.points if point.start <= now],
    )
