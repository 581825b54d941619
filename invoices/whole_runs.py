"""Whole runs: where there is a limit, no bill of a day goes out before all of them are known.

Whatever is issued keeps a run within its limit, or two people let it go: what went out counts, and
what stands as a draft. A run is composed in chunks, by several at once, and each of them may die;
so one at a time decides, and what waits is found again as soon as nothing of its day is to come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Date, Text, column, select, text, values
from sqlalchemy.orm import Session

from app.base.config import settings
from invoices import drafts, runs, subscribers
from invoices.runs import RunKey
from invoices.sheets import Sheet
from invoices.subscribers import Subscriber

# Until the commit: whoever decides next sees what this one wrote. It comes after the locks of
# subscriptions and before that of the numbers, which only one has at a time as well.
_TURN = text("SELECT pg_advisory_xact_lock(hashtext('billing runs'))")


Passed = Sequence[tuple[Subscriber, list[Sheet]]]


def keep_back(
    *,
    control_session: Session,
    sheets: Sequence[Sheet],
    passed: Passed,
    let_go: Mapping[UUID, int],
    done: Collection[UUID],
    now: datetime,
) -> None:
    """This function will strike out of `passed`, bills that nothing else keeps, what has to wait.

    Behind a subscription's bill that waits its later ones wait too. `sheets` are all that were
    composed, for the subscriptions `done`; `let_go` tells of releases by how many people they are.
    """
    days = {
        (sheet.supplied_on, sheet.currency)
        for _, each in passed
        for sheet in each
        if runs.limit_minor(sheet.currency) is not None
    }
    if not days:
        return
    control_session.execute(_TURN)
    too_large = _too_large(control_session, sheets, days)
    unfinished = _unfinished(control_session, days - too_large, done, now)
    for subscriber, each in passed:
        for place, sheet in enumerate(each):
            run = (sheet.supplied_on, sheet.currency)
            people = let_go.get(sheet.run_release_id, 0) if sheet.run_release_id else 0
            latest = _latest(sheet, subscriber)
            if people < 2 and run in too_large:
                sheet.held = {"rule": drafts.OF_ITS_RUN}
            elif not people and run in unfinished and now < latest:
                sheet.gathers, sheet.issue_at = True, latest
            else:
                continue
            del each[place:]
            break


def _too_large(
    control_session: Session, sheets: Sequence[Sheet], days: Collection[RunKey]
) -> set[RunKey]:
    """This function will name the runs that come to more than their limit, with these bills.

    What the brake holds is no part of its run until somebody lets it pass.
    """
    sums: dict[RunKey, int] = defaultdict(int)
    for sheet in sheets:
        if sheet.held is None:
            sums[sheet.supplied_on, sheet.currency] += sheet.total_minor
    asked = {day for day, _ in days}
    for standing in (
        runs.drafted(control_session=control_session, days=asked),
        runs.issued(control_session=control_session, days=asked),
    ):
        for run, total_minor in standing.items():
            sums[run] += total_minor
    limits = {currency: runs.limit_minor(currency) for _, currency in days}
    return {run for run in days if (most := limits[run[1]]) is not None and sums[run] > most}


def _unfinished(
    control_session: Session, days: Collection[RunKey], done: Collection[UUID], now: datetime
) -> set[RunKey]:
    """This function will name the runs of which others have bills to come."""
    if not days:
        return set()
    run = values(column("bill_on", Date), column("currency", Text), name="run").data(list(days))
    to_come = subscribers.to_compose(
        bill_on=run.c.bill_on, currency=run.c.currency, now=now, but=done
    )
    rows = control_session.execute(select(run.c.bill_on, run.c.currency).where(to_come))
    return {(bill_on, currency) for bill_on, currency in rows}


def _latest(sheet: Sheet, subscriber: Subscriber) -> datetime:
    grace_ends_at = drafts.grace_ends_at(sheet.supplied_on, subscriber.timezone)
    return max(sheet.created_at, grace_ends_at) + timedelta(hours=settings().run_wait_hours)
