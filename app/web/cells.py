"""The smallest parts of a page, which a list draws hundreds of times: written for speed.

A macro costs as much as a query when every cell of fifty rows calls one. So cells are plain
functions, and what looks the same every time (an icon, a chip) is drawn once and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

from app.web.format import money
from app.web.i18n import language

_KEPT_MAX = 1_000


def init_cells(app: Flask) -> None:
    """This function will give the parts their cells."""
    app.jinja_env.globals.update(kept=kept, td=td, td_money=td_money, row_link=row_link)


def kept(macro: Callable[..., Markup], spoken: bool = True) -> Callable[..., Markup]:
    """This function will wrap a macro whose answer depends on its arguments and the language.

    One that says nothing in words is not `spoken`: it looks the same in both languages.
    """
    known: dict[Any, Markup] = {}

    def answer(*args: Any, **named: Any) -> Markup:
        key = (language() if spoken else "", args, *named.items())
        found = known.get(key)
        if found is None:
            if len(known) >= _KEPT_MAX:
                known.clear()
            found = known[key] = macro(*args, **named)
        return found

    return answer


def td(
    value: Any = "",
    align: str = "",
    wrap: bool = False,
    hide: str = "",
    caller: Callable[[], Markup] | None = None,
) -> Markup:
    """This function will draw a cell: a value, or what stands between `call` and `endcall`."""
    names = [
        name
        for name, wanted in (
            ("end num", align == "end"),
            ("wrap", wrap),
            ("hide-narrow", hide == "narrow"),
        )
        if wanted
    ]
    marked = f' class="{" ".join(names)}"' if names else ""
    inside = caller() if caller else escape(value)
    return Markup(f'<td role="cell"{marked}>{inside}</td>')  # noqa: S704 - escaped above


def td_money(minor: int | None, currency: str = "KRW", hide: str = "") -> Markup:
    """This function will draw a cell with an amount."""
    return td(money(minor, currency), align="end", hide=hide)


def row_link(url: str, text: Any, title: str = "") -> Markup:
    """This function will draw a row's one link.

    It covers the row, so that a click anywhere and Enter do the same.
    """
    hint = f' title="{escape(title)}"' if title else ""
    return Markup(  # noqa: S704 - escaped right here
        f'<a class="row-link" href="{escape(url)}" data-row-link{hint}>{escape(text)}</a>'
    )
