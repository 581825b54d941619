"""The sums of finance's lists, counted again only when an invoice or a customer has changed since.

Each change writes to the audit trail in its own transaction, so no new line about them means
unchanged sums. A line may be numbered some seconds before it commits: the lines of the last
seconds are remembered one by one, and after a minute nothing is believed any more. In the rush
of a billing run only the newest lines are told apart, and sums are believed for a few seconds.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.web.db import control
from invoices import tallies
from invoices.listing import InvoiceFilters, Totals, today_of

BELIEVED_SECONDS = 60.0
BELIEVED_IN_A_RUSH_SECONDS = 5.0
# The longest that we expect between the number of an audit line and its commit.
OVERLAP_SECONDS = 10.0
LINES_MAX = 200
REMEMBERED_MAX = 64
ABOUT = ("invoice", "tenant")
_LINES = (
    select(AuditEvent.id)
    .where(AuditEvent.id >= bindparam("since"), AuditEvent.subject_kind.in_(ABOUT))
    .order_by(AuditEvent.id.desc())
    .limit(LINES_MAX)
)


@dataclass(frozen=True, slots=True)
class _Held:
    """Sums, and what the trail said when they were counted: `lines` are those after `since`."""

    counted_at: float
    since: UUID
    lines: list[UUID]
    sums: dict[str, list[Totals]]


_lock = threading.Lock()
_known: OrderedDict[Any, _Held] = OrderedDict()


def by_state(filters: InvoiceFilters, now: datetime) -> dict[str, list[Totals]]:
    """This function will return a filter's sums for each state, as `tallies.tally` does."""
    # The database is part of the key: one process may serve several, one after the other.
    session = control()
    key = (str(session.get_bind().engine.url), replace(filters, state=None), today_of(now))
    with _lock:
        held = _known.get(key)
    if held is not None and _stands(session, held):
        return held.sums
    counted_at, since = time.monotonic(), _first_id(seconds_ago=OVERLAP_SECONDS)
    # The lines before the sums: what commits in between is found missing the next time.
    lines = _lines(session, since)
    sums = tallies.tally(control_session=session, filters=filters, now=now)
    with _lock:
        _known[key] = _Held(counted_at, since, lines, sums)
        _known.move_to_end(key)
        while len(_known) > REMEMBERED_MAX:
            _known.popitem(last=False)
    return sums


def _stands(session: Session, held: _Held) -> bool:
    rush = len(held.lines) >= LINES_MAX
    believed = BELIEVED_IN_A_RUSH_SECONDS if rush else BELIEVED_SECONDS
    fresh = time.monotonic() - held.counted_at < believed
    return fresh and _lines(session, held.since) == held.lines


def _lines(session: Session, since: UUID) -> list[UUID]:
    """The trail's newest lines about invoices and customers, as many as are quick to compare."""
    return list(session.scalars(_LINES, {"since": since}))


def _first_id(*, seconds_ago: float) -> UUID:
    """The smallest id that a line could have got then: its first 48 bits are milliseconds."""
    return UUID(int=int((time.time() - seconds_ago) * 1000) << 80)
