"""Which page of a list was asked for, held within the list."""

from __future__ import annotations

from flask import request

from app.base.config import settings


def pages_of(total: int) -> int:
    """This function will tell how many pages a list of so many rows has, one at least."""
    return max(1, -(-total // settings().page_size))


def page_asked(total: int) -> int:
    """This function will return the page in the address, or the nearest one that there is."""
    asked = request.args.get("page", 1, type=int)
    return min(max(asked, 1), pages_of(total))
