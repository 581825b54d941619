"""The API as described: the OpenAPI document for programs, a page for those who write them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, render_template

from app.base.config import settings
from app.web.api.door import api
from app.web.i18n import lazy

api_reference = Blueprint("api_reference", __name__)

DOCUMENT = Path(__file__).with_name("openapi.json")
# Every reason an event can be given back for, in the order in which people meet them.
REASONS = {
    "same_id_other_body": lazy("The id was used for another event of this tenant."),
    "unknown_tenant": lazy("No live tenant has this id or short name."),
    "missing": lazy("A field that is required is not there."),
    "unknown_field": lazy("A field that no event has: perhaps a slip of the pen."),
    "not_an_object": lazy("The event is not a JSON object."),
    "not_json": lazy("The line is not JSON."),
    "not_a_cloud_event": lazy("The object is not a CloudEvent of version 1.0."),
    "bad_data": lazy("The data of a CloudEvent holds something else than quantity and properties."),
    "bad_id": lazy("The id is empty, too long or no text."),
    "bad_tenant": lazy("The tenant is empty, too long or no text."),
    "bad_type": lazy("The type is empty, too long or no text."),
    "bad_time": lazy("The time is not ISO 8601, or has no time zone."),
    "too_old": lazy("The time is further back than events are taken."),
    "in_the_future": lazy("The time is further ahead than clocks may differ."),
    "bad_quantity": lazy("The quantity is no number, negative or too long."),
    "bad_properties": lazy("A property is nested, unnamed or can't be stored."),
    "too_many_properties": lazy("There are more properties than an event may have."),
    "properties_too_large": lazy("The properties take more bytes than they may."),
}


@lru_cache(maxsize=1)
def document() -> str:
    """This function will return the OpenAPI document as it is written."""
    return DOCUMENT.read_text(encoding="utf-8")


@api.get("/openapi.json")
def openapi() -> Response:
    """This function will hand out the OpenAPI document; it needs no key."""
    answer = Response(document(), mimetype="application/json")
    answer.headers["Cache-Control"] = "public, max-age=300"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


@api_reference.get("/api")
def page() -> Any:
    """This function will explain the API to people."""
    return render_template(
        "api/reference.html", reasons=REASONS, limits=settings(), address=settings().public_url
    )
