"""Reading what an address asks of a list: its page, its order, its dates. Nonsense is ignored."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from flask import request

from app.base.config import settings

PAGES_MAX = 100_000


def page_number() -> int:
    """This function will return the page that the address asks for, from 1."""
    wanted = request.args.get("page", "1")
    if not wanted.isascii() or not wanted.isdecimal() or len(wanted) > 6:
        return 1
    return min(max(int(wanted), 1), PAGES_MAX)


def pages_of(total: int, *, size: int | None = None) -> int:
    """This function will tell how many pages a list of so many rows has, one at least.

    `size` is how many rows a page shows, where it is not the setting's number.
    """
    return max(1, -(-total // (size or settings().page_size)))


def page_within(total: int, *, size: int | None = None) -> int:
    """This function will return the page that the address asks for, or the last one there is."""
    return min(page_number(), pages_of(total, size=size))


def day_of(name: str) -> date | None:
    """This function will read a day from the address, or nothing when it is none."""
    try:
        found = date.fromisoformat(request.args.get(name, "").strip())
    except ValueError:
        return None
    return found if 2000 <= found.year <= 2200 else None


def id_of(name: str) -> UUID | None:
    """This function will read an id from the address, or nothing when it is none."""
    try:
        return UUID(request.args.get(name, ""))
    except ValueError:
        return None
