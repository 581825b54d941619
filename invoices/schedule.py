"""What a subscription's bills are: which charges of which periods, on which day. Pure.

Bill n falls on the first day of period n. It asks for period n of what is paid in advance and for
period n-1 of what is paid in arrears. A subscription that ends has one more bill on the day it
ends, for the usage of its last period.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count

from invoices import periods
from invoices.periods import Period
from invoices.rating import PriceTerm

# More than two years behind is caught up in several passes, so that one never grows without bound.
BILLS_PER_PASS_MAX = 24


@dataclass(frozen=True, slots=True)
class Span:
    """One charge over one period, not billed yet."""

    term: PriceTerm
    period: Period


@dataclass(frozen=True, slots=True)
class DueBill:
    """One bill: `period` is what it states, the period ahead or, for the last one, the past."""

    bill_on: date
    period: Period
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Agenda:
    """The bills that are due, oldest first; `next_bill_on` is empty when all is billed for good."""

    bills: tuple[DueBill, ...]
    next_bill_on: date | None


def agenda(
    *,
    starts_on: date,
    ends_on: date | None,
    terms: Sequence[PriceTerm],
    billed: Collection[tuple[str, Period]],
    today: date,
) -> Agenda:
    """This function will list what is due by a day, from what was billed and what was not.

    It looks at every period since the start, so a month that an outage skipped is found however
    long ago it was.
    """
    bills: list[DueBill] = []
    for number in count():
        bill_on = periods.months_after(starts_on, number)
        if ends_on is not None and bill_on > ends_on:
            return Agenda(tuple(bills), None)
        if bill_on > today or len(bills) == BILLS_PER_PASS_MAX:
            return Agenda(tuple(bills), bill_on)
        asked = _asked(starts_on, ends_on, terms, number)
        open_spans = tuple(span for span in asked if (span.term.charge, span.period) not in billed)
        if open_spans:
            stated = max(span.period for span in open_spans)
            bills.append(DueBill(bill_on, stated, open_spans))
    raise AssertionError("months do not run out")


def _asked(
    starts_on: date, ends_on: date | None, terms: Sequence[PriceTerm], number: int
) -> list[Span]:
    ahead = periods.period(starts_on, number)
    goes_on = ends_on is None or ahead.start < ends_on
    spans = [Span(term, ahead) for term in terms if term.timing == "advance" and goes_on]
    if number > 0:
        past = periods.period(starts_on, number - 1)
        spans += [Span(term, past) for term in terms if term.timing == "arrears"]
    return spans
