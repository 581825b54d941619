"""What the macros of `templates/parts` ask Python for: addresses, form fields, chart geometry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from flask import Flask, current_app, g, has_request_context, request
from markupsafe import Markup, escape
from werkzeug.datastructures import MultiDict
from wtforms import Field, Form

from app.web.cells import init_cells
from app.web.chips import chip_face
from app.web.format import init_format, number

_INPUT_TYPES = {
    "SelectField": "select",
    "RadioField": "radio",
    "BooleanField": "checkbox",
    "TextAreaField": "textarea",
}
# What a form that comes back with an error may still hold: no secrets, files or ticks.
_REFILLED = frozenset(
    {"text", "email", "tel", "number", "date", "month", "search", "select", "radio", "textarea"}
)
# What a field may be told by name; everything else is a spelling mistake and raises.
_FIELD_DEFAULTS: dict[str, Any] = {
    "id": "",
    "name": "",
    "label": "",
    "type": "text",
    "value": "",
    "hint": "",
    "error": "",
    "required": False,
    "optional": False,
    "disabled": False,
    "checked": False,
    "multiple": False,
    "autocomplete": "",
    "inputmode": "",
    "format": "",
    "prefix": "",
    "suffix": "",
    "options": (),
    "rows": 4,
    "maxlength": "",
    "min": "",
    "max": "",
    "step": "",
    "width": "full",
    "accept": "",
    "placeholder": "",
}


def init_parts(app: Flask) -> None:
    """This function will give the templates their filters and the functions their macros use."""
    init_format(app)
    init_cells(app)
    app.jinja_env.globals.update(
        asset=asset,
        chart_rows=chart_rows,
        chart_shapes=chart_shapes,
        chip_face=chip_face,
        field_errors=field_errors,
        field_spec=field_spec,
        refill=refill,
        url_with=url_with,
    )


def url_with(**changes: object) -> str:
    """This function will return this page's address with some query parameters changed.

    None removes one. Changing what a list shows starts it at its first page again; the language
    lives in a cookie, so it is not carried along.
    """
    query = MultiDict(request.args)
    if set(changes) != {"lang"}:
        query.poplist("page")
    query.poplist("lang")
    for name, value in changes.items():
        query.poplist(name)
        if value is not None:
            query.add(name, str(value))
    address = request.script_root + quote(request.path)
    return f"{address}?{urlencode(list(query.items(multi=True)))}" if query else address


def asset(name: str) -> str:
    """This function will return a static file's address, marked by content for caches."""
    path = f"{current_app.static_folder}/{name}"
    digest = _digest(path, os.stat(path).st_mtime_ns)
    return f"{request.script_root}{current_app.static_url_path}/{name}?v={digest}"


@lru_cache(maxsize=256)
def _digest(path: str, _mtime_ns: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]


def field_errors(errors: Form | Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """This function will list `(id of the input, message)` of a form, in the form's order."""
    if errors is None:
        return []
    if not isinstance(errors, Form):
        return [(field_id, str(message)) for field_id, message in errors]
    found = [(_input_id(field), str(field.errors[0])) for field in errors if field.errors]
    return found + [("", str(message)) for message in errors.form_errors]


def _input_id(field: Field) -> str:
    # A group of radio buttons takes no focus itself; its first button does.
    return f"{field.id}-0" if field.type == "RadioField" else field.id


def refill(address: str = "") -> bool:
    """This function will say whether this page answers a form that was sent to `address`.

    If it does, fields made from now on show what was typed, until `refill` is called again.
    """
    g.refills = (
        bool(address)
        and request.method == "POST"
        and urlsplit(address).path == request.script_root + request.path
    )
    return bool(g.refills)


def field_spec(wtf: Field | None, said: Mapping[str, Any]) -> _Spec:
    """This function will gather what a field's macro prints, from WTForms, from names, or both.

    Raises: TypeError for a name that no field understands.
    """
    unknown = said.keys() - _FIELD_DEFAULTS.keys()
    if unknown:
        raise TypeError(f"a field knows no {sorted(unknown)}")
    facts = _FIELD_DEFAULTS | (_from_wtforms(wtf) if wtf is not None else {})
    facts |= {name: value for name, value in said.items() if value is not None}
    facts["id"] = facts["id"] or facts["name"]
    if not facts["id"]:
        raise TypeError("a field needs a name")
    if facts["format"] and not facts["inputmode"]:
        facts["inputmode"] = {"phone": "tel"}.get(facts["format"], "numeric")
    if facts["type"] in _REFILLED and has_request_context() and g.get("refills"):
        facts["value"] = request.form.get(facts["name"], facts["value"])
    if facts["value"] is None:
        facts["value"] = ""
    told = [part for part in ("hint", "error") if facts[part]]
    facts["describedby"] = " ".join(f"{facts['id']}-{part}" for part in told)
    return _Spec(**facts)


class _Spec(SimpleNamespace):
    """A namespace that Jinja may also ask by key."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def _from_wtforms(wtf: Field) -> dict[str, Any]:
    kind = _INPUT_TYPES.get(wtf.type) or getattr(wtf.widget, "input_type", "text")
    facts: dict[str, Any] = {
        "id": wtf.id,
        "name": wtf.name,
        "label": wtf.label.text,
        "type": kind,
        "hint": wtf.description,
        "error": str(wtf.errors[0]) if wtf.errors else "",
        "required": bool(wtf.flags.required),
        "maxlength": wtf.flags.max_length or "",
    }
    if kind == "checkbox":
        facts["checked"] = bool(wtf.data)
    elif kind in ("select", "radio"):
        facts["value"] = wtf.data
        facts["options"] = [(choice.value, choice.label) for choice in wtf.iter_choices()]
    elif kind not in ("file", "password"):
        facts["value"] = wtf._value() if hasattr(wtf, "_value") else wtf.data
    known = _FIELD_DEFAULTS.keys()
    return facts | {name: value for name, value in (wtf.render_kw or {}).items() if name in known}


def chart_bars(values: Sequence[float], width: int, height: int) -> list[dict[str, float]]:
    """This function will place one bar a value in a box; the tallest fills it, none vanishes."""
    if not values:
        return []
    top = max(*values, 0) or 1
    step = width / len(values)
    gap = min(2.0, step * 0.25)
    return [
        {
            "x": round(index * step, 2),
            "y": round(height - tall, 2),
            "width": round(step - gap, 2),
            "height": round(tall, 2),
        }
        for index, value in enumerate(values)
        for tall in [max(1.5, height * max(value, 0) / top)]
    ]


def chart_shapes(values: Sequence[float], width: int, height: int) -> Markup:
    """This function will draw these bars, the last one marked: a page has a hundred of them."""
    drawn = [
        "<rect " + " ".join(f'{name}="{value}"' for name, value in bar.items()) + ' rx="1"'
        for bar in chart_bars(values, width, height)
    ]
    return Markup("/>".join(drawn) + ' class="is-last"/>' if drawn else "")  # noqa: S704 - figures


def chart_rows(series: Iterable[tuple[str, int | Decimal]]) -> Markup:
    """This function will write what the bars stand for, a row of a table each."""
    return Markup(  # noqa: S704 - escaped right here
        "".join(
            f'<tr><th scope="row">{escape(name)}</th><td class="end num">{number(value)}</td></tr>'
            for name, value in series
        )
    )
