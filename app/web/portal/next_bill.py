"""The next bill so far, for whichever page of the portal shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g

from app.base import clock
from app.base.db import usage_session
from app.web.db import control
from app.web.format import money
from app.web.i18n import gettext, language
from app.web.portal.door import portal
from invoices import upcoming
from invoices.models import Subscription
from invoices.upcoming import Upcoming


@portal.context_processor
def told() -> dict[str, Callable[..., Any]]:
    """This function will hand the portal's pages what shows the next bill so far."""
    return {"bill_so_far": so_far, "bill_so_far_lines": lines, "bill_so_far_note": note}


def so_far(subscription: Subscription | None) -> Upcoming | None:
    """This function will work out the next bill so far, if one is to come."""
    if subscription is None or "tenant" not in g:
        return None
    with usage_session() as session:
        return upcoming.upcoming(
            control_session=control(),
            subscription=subscription,
            now=clock.now(),
            usage_session=session,
        )


def lines(bill: Upcoming) -> list[tuple[str, str]]:
    """This function will return the lines so far, each with its amount in words of money."""
    place = 0 if language() == "ko" else 1
    return [(line.names[place], money(line.amount_minor, bill.currency)) for line in bill.lines]


def note(bill: Upcoming) -> str:
    """This function will say up to which day usage was read; the days after it are left out."""
    if not bill.unread:
        return gettext("Every day of the period is read.")
    first = min(each.days.start for each in bill.unread)
    return gettext(
        "Usage from %(day)s on is not read yet and not in it. If nothing more were used, this "
        "would be the bill.",
        day=first.isoformat(),
    )
