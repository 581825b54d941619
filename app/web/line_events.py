"""The events behind one line of an invoice: a day's, in the tenant's database, or those pushed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from flask import render_template
from sqlalchemy import Text, cast, select

from app.base.config import settings
from app.base.db import usage_session
from app.base.errors import NotFound
from app.web.db import control
from app.web.i18n import language
from app.web.paging import day_of, page_number, pages_of
from invoices.invoice_papers import days_of
from invoices.models import Invoice, InvoiceLine
from tenants import corrections, meters, reading_events
from tenants.usage_models import Event


class NoSuchEvents(NotFound):
    """The line counts nothing, or not on that day."""


# The address of the page on which one event is put right, where there is one.
EventUrl = Callable[[str, str, datetime], str]


def show(
    *,
    invoice: Invoice,
    position: int,
    layout: str,
    back_url: str,
    event_url: EventUrl | None = None,
) -> str:
    """This function will show a page of the events behind a line of an invoice.

    With an `event_url` each pushed event leads to its own page, and why it was corrected is told.

    Raises: NoSuchEvents; NoEventsKept, NoDatabase, TenantDatabaseUnavailable.
    """
    line = next((each for each in invoice.lines if each.position == position), None)
    if line is None or "meter" not in line.evidence:
        raise NoSuchEvents("Nothing is counted on this line.")
    found = _of_day(invoice, line) if "readings" in line.evidence else _pushed(invoice, line)
    return render_template(
        "parts/line_events.html",
        layout=layout,
        back_url=back_url,
        invoice=invoice,
        name=line.name_ko if language() == "ko" else line.name_en,
        page=page_number(),
        event_url=event_url,
        **found,
    )


def _of_day(invoice: Invoice, line: InvoiceLine) -> dict[str, Any]:
    day = day_of("day")
    first, past = days_of(line.period)
    if day is None or not first <= day < past:
        raise NoSuchEvents("The line does not count that day.")
    found = reading_events.of_day(
        control_session=control(),
        tenant_id=invoice.tenant_id,
        meter=line.evidence["meter"],
        day=day,
        page=page_number(),
        page_size=settings().page_size,
    )
    return {
        "day": day,
        "found": found,
        "stated": _stated(line, first, day),
        "pages": pages_of(found.count),
        "pushed": None,
    }


def _stated(line: InvoiceLine, first: date, day: date) -> str:
    stated: list[str] = line.evidence["readings"]
    place = (day - first).days
    return stated[place] if place < len(stated) else ""


def _pushed(invoice: Invoice, line: InvoiceLine) -> dict[str, Any]:
    """Events are not counted for the page: there may be millions. One more says there is more."""
    code = line.evidence["meter"]
    definition = meters.definitions(control_session=control(), codes=[code])[code]
    start = datetime.fromisoformat(line.evidence["from"])
    end = datetime.fromisoformat(line.evidence["until"])
    size, page = settings().page_size, page_number()
    with usage_session() as session:
        rows = session.execute(
            # Properties as the database writes them: a number of theirs may be longer than a float.
            select(Event.id, Event.at, Event.quantity, cast(Event.properties, Text).label("said"))
            .where(
                Event.tenant_id == invoice.tenant_id,
                Event.type == definition.event_type,
                Event.at >= start,
                Event.at < end,
            )
            .order_by(Event.at, Event.id)
            .offset((page - 1) * size)
            .limit(size + 1)
        ).all()
        made = corrections.latest_of(
            usage_session=session,
            tenant_id=invoice.tenant_id,
            event_ids=[row.id for row in rows[:size]],
        )
        gone = corrections.gone_from(
            usage_session=session,
            tenant_id=invoice.tenant_id,
            event_type=definition.event_type,
            start=start,
            end=end,
        )
    return {
        "day": None,
        "found": None,
        "stated": line.evidence["measured"],
        "pages": page + (len(rows) > size),
        "pushed": {
            "rows": rows[:size],
            "made": made,
            "gone": [(each, datetime.fromisoformat(each.before["time"])) for each in gone],
            "start": start,
            "end": end,
            "type": definition.event_type,
        },
    }
