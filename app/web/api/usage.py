"""`GET /api/v1/usage/{tenant}`: what a tenant's meters of pushed events come to, up to now."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from flask import Response, jsonify, request
from sqlalchemy import or_, select

from app.base import clock
from app.base.db import usage_session
from app.base.errors import NotFound
from app.web.api.door import api, key_required
from app.web.db import control
from tenants import live_usage, meters
from tenants.event_bodies import plain
from tenants.live_usage import Course, Point
from tenants.models import LIVE_STATES, Tenant

METERS_MAX = 20
_GROUP = "group."


class NoTenant(NotFound):
    """No live tenant has this id or short name."""


@api.get("/usage/<tenant>")
@key_required("usage:read")
def usage(tenant: str) -> Response:
    """This function will tell each meter's steps and total; days are the tenant's own."""
    found = tenant_named(tenant)
    today = clock.today(clock.now(), found.timezone)
    last = _day("to", today)
    first = _day("from", last.replace(day=1))
    step = request.args.get("step", "day")
    with usage_session() as session:
        told = live_usage.courses(
            usage_session=session,
            definitions=_definitions(),
            tenant_id=found.id,
            first=first,
            last=last,
            step=step,
            timezone=found.timezone,
            group=_group(),
        )
    return jsonify(
        {
            "tenant": str(found.id),
            "timezone": found.timezone,
            "from": first.isoformat(),
            "to": last.isoformat(),
            "step": step,
            "meters": [_course(each) for each in told],
        }
    )


def tenant_named(name: str) -> Tenant:
    """This function will return the live tenant of an id or a short name.

    Raises: NoTenant.
    """
    try:
        known = or_(Tenant.id == UUID(name), Tenant.slug == name)
    except ValueError:
        known = Tenant.slug == name
    found = control().scalar(select(Tenant).where(known, Tenant.state.in_(LIVE_STATES)))
    if found is None:
        raise NoTenant("Name a tenant by its id or its short name.", field="tenant")
    return found


def _day(field: str, otherwise: date) -> date:
    given = request.args.get(field)
    if given is None:
        return otherwise
    try:
        if len(given) != len("2026-11-20"):
            raise ValueError
        return date.fromisoformat(given)
    except ValueError:
        raise live_usage.SpanUnfit("Give a day such as 2026-11-20.", field=field) from None


def _definitions() -> list[Any]:
    asked = request.args.getlist("meter")
    if not asked:
        return meters.counted(control_session=control())[:METERS_MAX]
    if len(asked) > METERS_MAX:
        raise live_usage.SpanUnfit(f"Ask for at most {METERS_MAX} meters.", field="meter")
    found = meters.definitions(control_session=control(), codes=asked)
    return [found[code] for code in dict.fromkeys(asked)]


def _group() -> dict[str, str]:
    return {
        name.removeprefix(_GROUP): value
        for name, value in request.args.items()
        if name.startswith(_GROUP)
    }


def _course(course: Course) -> dict[str, Any]:
    definition = course.definition
    return {
        "meter": definition.code,
        "version": definition.version,
        "aggregation": definition.aggregation,
        "unit": definition.unit,
        "quantity": plain(course.quantity),
        "events": course.transactions,
        "steps": [_point(each) for each in course.points],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "start": _moment(point.start),
        "end": _moment(point.end),
        "quantity": plain(point.quantity),
        "events": point.transactions,
    }


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
