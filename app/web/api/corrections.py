"""`PATCH` and `DELETE /api/v1/tenants/{tenant}/events/{id}`: putting right what was pushed.

`GET …/events/{id}/corrections` lists what was put right.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from flask import Response, g, jsonify, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from app.base import clock
from app.base.audit import Actor
from app.base.db import usage_session
from app.web.api import formats
from app.web.api.door import api, key_required
from app.web.api.usage import tenant_named
from app.web.db import control
from tenants import corrections
from tenants.corrections import Corrected, CorrectionUnfit
from tenants.usage_models import EventCorrection

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
log = structlog.get_logger(__name__)


class AnyText(BaseConverter):
    """The whole rest of an address, slashes and all: a CloudEvent's id begins with its source."""

    regex = ".+"
    part_isolating = False


@api.record
def _know_any_text(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["anytext"] = AnyText


@api.patch("/tenants/<tenant>/events/<anytext:event_id>", merge_slashes=False)
@key_required("events:correct")
def amend_event(tenant: str, event_id: str) -> Response:
    """This function will change what an event says, and answer with both."""
    sent = formats.one_object()
    reason = _text(sent.pop("reason", None), "reason")
    found = tenant_named(tenant)
    with usage_session() as session:
        made = corrections.amend(
            usage_session=session,
            control_session=control(),
            tenant_id=found.id,
            event_id=event_id,
            at=_time(),
            changes=sent,
            reason=reason,
            actor=Actor.api_key(g.api_key.id),
            now=clock.now(),
        )
    return _answer(made)


@api.delete("/tenants/<tenant>/events/<anytext:event_id>", merge_slashes=False)
@key_required("events:correct")
def void_event(tenant: str, event_id: str) -> Response:
    """This function will take an event back, and answer with what it said."""
    found = tenant_named(tenant)
    with usage_session() as session:
        made = corrections.void(
            usage_session=session,
            control_session=control(),
            tenant_id=found.id,
            event_id=event_id,
            at=_time(),
            reason=_text(request.args.get("reason"), "reason"),
            actor=Actor.api_key(g.api_key.id),
            now=clock.now(),
        )
    return _answer(made)


@api.get("/tenants/<tenant>/events/<anytext:event_id>/corrections", merge_slashes=False)
@key_required("usage:read")
def event_corrections(tenant: str, event_id: str) -> Response:
    """This function will list what was corrected of an event, oldest first."""
    found = tenant_named(tenant)
    with usage_session() as session:
        made, more = corrections.history_of(
            usage_session=session, tenant_id=found.id, event_id=event_id, after=_after()
        )
        told = [_told(each) for each in made]
    return jsonify({"id": event_id, "tenant": str(found.id), "corrections": told, "more": more})


def _after() -> int:
    given = request.args.get("after", "0")
    if not _NUMBER.fullmatch(given):
        raise CorrectionUnfit("Give the number of a correction.", field="after")
    return int(given)


def _time() -> str:
    return _text(request.args.get("time"), "time")


def _text(given: Any, field: str) -> str:
    if not isinstance(given, str) or not given:
        raise CorrectionUnfit(f"Give the {field}, as a text.", field=field)
    return given


def _answer(made: Corrected) -> Response:
    """The usage is committed by now; the audit trail follows, and a repeated call heals it."""
    control().commit()
    kept = made.correction
    log.info("event.corrected", api_key=g.api_key.prefix, kind=kept.kind, repeated=made.repeated)
    return jsonify({"id": kept.event_id, "tenant": str(kept.tenant_id), **_told(kept)})


def _told(kept: EventCorrection) -> dict[str, Any]:
    return {
        "outcome": "voided" if kept.after is None else "amended",
        "correction": kept.number,
        "before": kept.before,
        "after": kept.after,
        "reason": kept.reason,
        "corrected_at": kept.corrected_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
