"""What is due: derived from what was billed, whatever happened in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from invoices import periods
from invoices.charges import Charge
from invoices.periods import Period, months_after, number_on
from invoices.pricing import Pricing
from invoices.schedule import BILLS_PER_PASS_MAX, Agenda, Item, agenda

SEOUL = "Asia/Seoul"
START = date(2026, 1, 31)
ONE = Pricing(model="flat", unit_amount=Decimal(1))
CHARGES = (
    Charge(code="base", name_ko="기본료", name_en="Base fee", pricing=ONE),
    Charge(
        code="seats",
        name_ko="사용자",
        name_en="Seats",
        pricing=Pricing(model="per_unit", unit_amount=Decimal(1)),
        timing="arrears",
        meter="seats",
        aggregation="peak",
    ),
)


def items(starts_on: date = START, ends_on: date | None = None) -> list[Item]:
    return [
        Item(
            item_id=UUID(int=place),
            price_id=UUID(int=place),
            charge=charge,
            position=place,
            quantity=Decimal(1),
            starts_at=periods.midnight(starts_on, SEOUL),
            ends_at=periods.midnight(ends_on, SEOUL) if ends_on else None,
            anchor_on=starts_on,
        )
        for place, charge in enumerate(CHARGES, start=1)
    ]


def due(
    today: date,
    billed: set[tuple[str, Period]] | None = None,
    *,
    starts_on: date = START,
    ends_on: date | None = None,
) -> Agenda:
    found = items(starts_on, ends_on)
    taken = {
        item.item_id: {
            ("charge", periods.midnight(period.start, SEOUL)): periods.midnight(period.end, SEOUL)
            for charge, period in billed or ()
            if charge == item.charge.code
        }
        for item in found
    }
    return agenda(items=found, billed=taken, timezone=SEOUL, today=today)


def spans(found: Agenda) -> list[tuple[str, Period]]:
    return [
        (span.item.charge.code, span.stretch.shown) for bill in found.bills for span in bill.spans
    ]


class TestWhatBeginsAndEndsOnOneDay:
    def test_is_shown_as_that_day(self) -> None:
        morning = periods.midnight(date(2026, 2, 10), SEOUL) + timedelta(hours=9)
        (base, _) = items()
        short = replace(base, starts_at=morning, ends_at=morning + timedelta(hours=5))
        found = agenda(items=[short], billed={}, timezone=SEOUL, today=date(2026, 3, 1))
        assert spans(found) == [("base", Period(date(2026, 2, 10), date(2026, 2, 11)))]


class TestWhatIsDue:
    def test_is_nothing_before_the_start(self) -> None:
        assert due(START - timedelta(days=1)) == Agenda((), START)

    def test_is_only_what_is_paid_in_advance_on_the_first_day(self) -> None:
        assert spans(due(START)) == [("base", Period(START, date(2026, 2, 28)))]

    def test_takes_up_a_single_charge_that_was_left_out(self) -> None:
        billed = set(spans(due(date(2026, 4, 30))))
        missed = ("seats", Period(date(2026, 2, 28), date(2026, 3, 31)))
        found = due(date(2026, 4, 30), billed - {missed})
        assert spans(found) == [missed]
        assert found.bills[0].bill_on == date(2026, 3, 31)

    def test_ends_with_the_usage_of_the_last_period(self) -> None:
        found = due(date(2027, 1, 1), ends_on=date(2026, 3, 31))
        assert found.next_bill_on is None
        assert spans(found)[-1] == ("seats", Period(date(2026, 2, 28), date(2026, 3, 31)))
        assert found.bills[-1].period == Period(date(2026, 2, 28), date(2026, 3, 31))
        assert [charge for charge, _ in spans(found)].count("base") == 2

    def test_is_the_rest_of_a_period_that_was_billed_up_to_an_end_taken_back_since(self) -> None:
        until = date(2026, 2, 10)
        billed = [span for span in spans(due(START, ends_on=until)) if span[0] == "base"]
        assert billed == [("base", Period(START, until))]
        rest = due(until, set(billed))
        assert spans(rest) == [("base", Period(until, date(2026, 2, 28)))]
        assert rest.bills[0].bill_on == until
        assert due(until, set(billed + spans(rest))).bills == ()

    def test_is_never_more_than_one_pass_can_carry(self) -> None:
        first = due(date(2036, 1, 31))
        assert len(first.bills) == BILLS_PER_PASS_MAX
        second = due(date(2036, 1, 31), set(spans(first)))
        assert second.bills[0].bill_on == first.next_bill_on

    @given(
        starts_on=st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 12, 31)),
        visits=st.lists(st.integers(min_value=0, max_value=700), min_size=1, max_size=8),
    )
    def test_covers_every_month_once_however_rarely_anybody_looks(
        self, starts_on: date, visits: list[int]
    ) -> None:
        billed: list[tuple[str, Period]] = []
        for distance in sorted(visits):
            today = starts_on + timedelta(days=distance)
            billed += spans(due(today, set(billed), starts_on=starts_on))
        today = starts_on + timedelta(days=max(visits))
        months = number_on(starts_on, today)
        assert len(billed) == len(set(billed))
        bases = sorted(period for charge, period in billed if charge == "base")
        assert [period.start for period in bases] == [
            months_after(starts_on, number) for number in range(months + 1)
        ]
        assert sum(charge == "seats" for charge, _ in billed) == months
