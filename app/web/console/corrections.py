"""One pushed event: what it says, what was put right about it, and finance's two acts on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import usage_session
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.event_words import actor_names
from app.web.i18n import gettext, lazy
from app.web.refusals import words_of
from tenants import corrections, event_bodies
from tenants.corrections import Corrected, CorrectionUnfit
from tenants.event_bodies import Refusal, plain
from tenants.models import Tenant
from tenants.usage_models import Event, EventCorrection

console_corrections = Blueprint("console_corrections", __name__, url_prefix="/console/events")

FINANCE = ("finance",)
FIELDS = ("type", "time", "quantity", "properties")
# Programs are told each rule in English; here it is said in the reader's language.
_AT_FIELD = {
    "type": lazy("The type is empty, too long or no text."),
    "time": lazy("Give a time with its zone, within the days for which events are taken."),
    "quantity": lazy("The quantity is no number, negative or too long."),
    "properties": lazy("Give a JSON object of texts, numbers, true, false and null."),
    "reason": lazy("Give a reason of up to 500 characters."),
}


class NoSuchEvent(NotFound):
    """There is no such company, or no event under this address."""


@dataclass(frozen=True, slots=True)
class Place:
    """The event that an address names."""

    tenant: Tenant
    event_id: str
    event_type: str
    at: datetime


@console_corrections.get("/<uuid:tenant_id>")
@staff_required()
def event(tenant_id: UUID) -> str:
    """This function will show one event of a tenant and its corrections."""
    return _page(_place(tenant_id))


def _place(tenant_id: UUID) -> Place:
    tenant = control().get(Tenant, tenant_id)
    at = event_bodies.read_time(request.args.get("time"))
    event_id = request.args.get("id", "")
    if tenant is None or isinstance(at, Refusal) or not event_bodies.is_id(event_id):
        raise NoSuchEvent("There is no such event.")
    return Place(tenant, event_id, request.args.get("type", "").replace("\x00", ""), at)


def _page(place: Place, *, error: TenantryError | None = None, failed: str = "") -> str:
    with usage_session() as session:
        said = _said(session, place)
        made = corrections.of_event(
            usage_session=session, tenant_id=place.tenant.id, event_id=place.event_id
        )
    if said is None and not made:
        raise NoSuchEvent("There is no such event.")
    return render_template(
        "console/events/event.html",
        place=place,
        said=said,
        made=made,
        names=actor_names(made),
        voided=bool(made) and made[-1].after is None,
        may_act=g.staff.role in ("finance", "admin"),
        back_url=_back(),
        address=_address(place.event_type, place.at),
        typed=request.form,
        error=error,
        field=error.field.split(".")[0] if error and error.field else "",
        failed=failed,
        told=_told(error) if error else "",
    )


def _told(error: TenantryError) -> str:
    if isinstance(error, CorrectionUnfit) and error.field:
        return str(_AT_FIELD.get(error.field.split(".")[0], error.message))
    return words_of(error)


def _said(session: Session, place: Place) -> dict[str, str] | None:
    """What the event says now, as it is typed; properties as the database writes them, exactly."""
    found = session.execute(
        select(Event.type, Event.at, Event.quantity, cast(Event.properties, Text)).where(
            Event.tenant_id == place.tenant.id,
            Event.type == place.event_type,
            Event.at == place.at,
            Event.id == place.event_id,
        )
    ).first()
    if found is None:
        return None
    kind, at, quantity, properties = found
    local = at.astimezone(ZoneInfo(place.tenant.timezone)).isoformat()
    return dict(zip(FIELDS, (kind, local, plain(quantity), properties), strict=True))


def _address(event_type: str, at: datetime) -> dict[str, str | None]:
    """What leads back to an event, and from there to the invoice that it was found on."""
    return {
        "id": request.args.get("id"),
        "type": event_type,
        "time": at.isoformat(),
        "invoice": request.args.get("invoice"),
        "line": request.args.get("line"),
    }


def _back() -> str:
    try:
        return url_for(
            "console_invoices.line_events",
            invoice_id=UUID(request.args["invoice"]),
            position=int(request.args["line"]),
        )
    except (KeyError, ValueError):
        return url_for("console_invoices.index")


@console_corrections.post("/<uuid:tenant_id>/amend")
@staff_required(*FINANCE)
def amend(tenant_id: UUID) -> Any:
    """This function will change what was typed anew, and leave the rest of the event alone."""
    place = _place(tenant_id)

    def act(session: Session) -> Corrected:
        return corrections.amend(
            usage_session=session, changes=_changes(_said(session, place)), **_named(place)
        )

    return _act(place, "amend", act, gettext("Amended. Usage and the next bill follow at once."))


def _changes(said: dict[str, str] | None) -> dict[str, Any]:
    typed = {name: request.form.get(name, "").strip() for name in FIELDS}
    changed = {
        name: value for name, value in typed.items() if said is None or value != said[name].strip()
    }
    if "properties" in changed:
        changed["properties"] = _json(changed["properties"])
    return changed


def _json(text: str) -> Any:
    try:
        return json.loads(text or "{}", parse_float=Decimal, parse_int=Decimal)
    except (json.JSONDecodeError, InvalidOperation, RecursionError) as error:
        raise CorrectionUnfit("Properties are a JSON object.", field="properties") from error


@console_corrections.post("/<uuid:tenant_id>/void")
@staff_required(*FINANCE)
def void(tenant_id: UUID) -> Any:
    """This function will take an event back, as if it had never been pushed."""
    place = _place(tenant_id)

    def act(session: Session) -> Corrected:
        return corrections.void(usage_session=session, **_named(place))

    return _act(place, "void", act, gettext("Voided. Usage and the next bill follow at once."))


def _named(place: Place) -> dict[str, Any]:
    return {
        "control_session": control(),
        "tenant_id": place.tenant.id,
        "event_id": place.event_id,
        "at": place.at.isoformat(),
        "reason": request.form.get("reason", ""),
        "actor": g.actor,
        "now": clock.now(),
    }


def _act(place: Place, name: str, act: Callable[[Session], Corrected], said: str) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        with usage_session() as session:
            made = act(session).correction
    except (Invalid, Conflict, corrections.NoSuchEvent) as error:
        control().rollback()
        return _page(_place(place.tenant.id), error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    address: dict[str, Any] = {"tenant_id": made.tenant_id, **_address(*_lies(made))}
    return see_other(url_for(".event", **address))


def _lies(made: EventCorrection) -> tuple[str, datetime]:
    said = made.after or made.before
    return str(said["type"]), datetime.fromisoformat(said["time"])
