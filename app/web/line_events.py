"""The events behind one line of an invoice: a day's, in the tenant's database, or those pushed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from flask import render_template
from sqlalchemy import select

from app.base.config import settings
from app.base.db import usage_session
from app.base.errors import NotFound
from app.web.db import control
from app.web.i18n import language
from app.web.paging import day_of, page_number, pages_of
from invoices.invoice_papers import days_of
from invoices.models import Invoice, InvoiceLine, UsageTotal
from tenants import corrections, counted_events, meters, reading_events
from tenants.counted_events import Counted
from tenants.event_bodies import plain


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
    if line is None:
        raise NoSuchEvents("Nothing is counted on this line.")
    found = _of_day(invoice, line) if "readings" in line.evidence else _pushed(line)
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


def _pushed(line: InvoiceLine) -> dict[str, Any]:
    """Events are not counted for the page: there may be millions. One more says there is more."""
    stored = control().scalar(select(UsageTotal).where(UsageTotal.line_id == line.id))
    if stored is None:
        raise NoSuchEvents("Nothing is counted on this line.")
    counted = Counted(
        # By the version that it was billed by, whatever the meter counts since.
        definition=meters.definition(
            control_session=control(), code=stored.meter, version=stored.meter_version
        ),
        tenant_id=stored.tenant_id,
        start=stored.starts_at,
        end=stored.ends_at,
        group=stored.meter_group,
    )
    size, page = settings().page_size, page_number()
    with usage_session() as session:
        rows = counted_events.listed(
            usage_session=session, counted=counted, offset=(page - 1) * size, limit=size + 1
        )
        made = corrections.latest_of(
            usage_session=session,
            tenant_id=counted.tenant_id,
            event_ids=[row.id for row in rows[:size]],
        )
        gone = counted_events.taken_out(usage_session=session, counted=counted)
    return {
        "day": None,
        "found": None,
        "stated": plain(stored.quantity),
        "pages": page + (len(rows) > size),
        "pushed": {
            "rows": rows[:size],
            "made": made,
            "gone": [(each, datetime.fromisoformat(each.before["time"])) for each in gone],
            "start": counted.start,
            "end": counted.end,
            "type": counted.definition.event_type,
            "group": ", ".join(f"{name}: {value}" for name, value in sorted(counted.group.items())),
        },
    }
