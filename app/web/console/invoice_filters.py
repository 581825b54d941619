"""What finance's list is asked for by its address, and the chips that show it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from flask import request
from sqlalchemy import select

from app.base import clock
from app.base.config import settings
from app.web.db import control
from app.web.i18n import gettext
from app.web.paging import day_of, id_of
from app.web.parts import url_with
from invoices.listing import OVERDUE, SORTS, STATES, InvoiceFilters
from tenants.models import Tenant

TEXT_LENGTH_MAX = 100
NAMES = ("state", "q", "tenant", "from", "until", "sort")


def asked() -> InvoiceFilters:
    """This function will read the filter from the address; what makes no sense is left out.

    `from` and `until` are days of issue, both included, as people say them.
    """
    state = request.args.get("state", "")
    until = day_of("until")
    return InvoiceFilters(
        state=state if state in STATES else None,
        text=request.args.get("q", "").replace("\x00", "").strip()[:TEXT_LENGTH_MAX] or None,
        tenant_id=id_of("tenant"),
        issued_from=day_of("from"),
        issued_until=until + timedelta(days=1) if until else None,
    )


def sort_asked() -> str:
    """This function will read the list's order from the address."""
    wanted = request.args.get("sort", "")
    return wanted if wanted.removeprefix("-") in SORTS else "-issued"


def carried() -> dict[str, Any]:
    """This function will return the part of the address that says what the list shows."""
    return {name: request.args[name] for name in NAMES if request.args.get(name)}


def chips(filters: InvoiceFilters, now: datetime) -> list[dict[str, Any]]:
    """This function will return a chip for each filter that is on, and for the common periods."""
    found = []
    if filters.text:
        found.append(_on(gettext("Search: %(what)s", what=filters.text), q=None))
    if filters.tenant_id:
        name = control().scalar(select(Tenant.name).where(Tenant.id == filters.tenant_id))
        found.append(_on(name or gettext("Unknown company"), tenant=None))
    for label, first, last in periods(now):
        lit = filters.issued_from == first and filters.issued_until == last + timedelta(days=1)
        if lit:
            found.append(_on(label, **{"from": None, "until": None}))
        else:
            url = url_with(**{"from": first.isoformat(), "until": last.isoformat()})
            found.append({"label": label, "url": url, "active": False})
    if (filters.issued_from or filters.issued_until) and not any(
        chip["active"] and chip.get("period") for chip in found
    ):
        found = _with_own_period(found, filters)
    return found


def _on(label: str, **off: None) -> dict[str, Any]:
    return {
        "label": label,
        "url": "",
        "active": True,
        "remove_url": url_with(**off),
        "period": "from" in off,
    }


def _with_own_period(found: list[dict[str, Any]], filters: InvoiceFilters) -> list[dict[str, Any]]:
    last = filters.issued_until and filters.issued_until - timedelta(days=1)
    label = gettext(
        "Issued %(first)s – %(last)s",
        first=filters.issued_from or "…",
        last=last or "…",
    )
    return [_on(label, **{"from": None, "until": None}), *found]


def periods(now: datetime) -> list[tuple[str, date, date]]:
    """This function will return the periods finance asks for most, both days included."""
    today = clock.today(now, settings().contract_timezone)
    first = today.replace(day=1)
    before = first - timedelta(days=1)
    quarter = first.replace(month=3 * ((first.month - 1) // 3) + 1)
    return [
        (gettext("This month"), first, today),
        (gettext("Last month"), before.replace(day=1), before),
        (gettext("This quarter"), quarter, today),
        (gettext("This year"), today.replace(month=1, day=1), today),
    ]


def tab_names() -> dict[str, str]:
    """This function will return the tabs over the list, in order, by what they filter."""
    return {
        "": gettext("All"),
        "issued": gettext("Awaiting payment"),
        OVERDUE: gettext("Overdue"),
        "paid": gettext("Paid"),
        "void": gettext("Void"),
    }
