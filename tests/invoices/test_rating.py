"""Rating: exact, explained, and fair in both directions."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.money import Rounding
from invoices import rating, vat
from invoices.charges import Charge
from invoices.periods import Period
from invoices.pricing import Pricing
from invoices.rating import Facts, RatedLine, ReadingRow, ReadingsMissing, Stretch
from invoices.vat import Taxes

FEBRUARY = Period(date(2026, 2, 1), date(2026, 3, 1))
PRICE = UUID(int=1)
QUANTITIES = st.decimals(min_value=0, max_value=10**6, places=6)
UNIT_AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=12)
INCLUDED = st.decimals(min_value=0, max_value=1000, places=3)


def term(
    charge: str, unit_amount: Decimal | str = "15000", included: Decimal | str = "10"
) -> Charge:
    meter, aggregation = {
        "base": (None, None),
        "seats": ("seats", "peak"),
        "storage": ("storage_gb_days", "average"),
    }[charge]
    return Charge(
        code=charge,
        name_ko=charge,
        name_en=charge,
        timing="arrears" if meter else "advance",
        meter=meter,
        aggregation=aggregation,
        pricing=Pricing(
            model="per_unit" if meter else "flat",
            unit_amount=Decimal(unit_amount),
            included=Decimal(included) if meter else Decimal(0),
        ),
    )


PRICES = st.builds(term, st.sampled_from(["seats", "storage"]), UNIT_AMOUNTS, INCLUDED)


def readings(meter: str, quantities: Sequence[Decimal | int]) -> list[ReadingRow]:
    return [
        ReadingRow(
            meter=meter,
            day=FEBRUARY.start + timedelta(days=place),
            quantity=Decimal(quantity),
            evidence_sha256=f"{place:064x}",
        )
        for place, quantity in enumerate(quantities)
    ]


def rate(
    charge: Charge,
    quantities: Sequence[Decimal | int] = (),
    *,
    currency: str = "KRW",
) -> RatedLine:
    return rate_rows(charge, readings(charge.meter or "seats", quantities), currency=currency)


def rate_rows(charge: Charge, rows: Sequence[ReadingRow], *, currency: str = "KRW") -> RatedLine:
    return rating.rate(
        price_id=PRICE,
        charge=charge,
        currency=currency,
        stretch=Stretch.whole(FEBRUARY),
        facts=Facts(readings=rows),
    )


class TestTheBaseFee:
    def test_is_the_price_once(self) -> None:
        line = rate(term("base", "190000"))
        assert (line.quantity, line.amount_minor) == (1, 190_000)
        assert line.readings_sha256 is None
        assert line.evidence["rule"] == "flat"

    def test_is_counted_in_cents_for_dollars(self) -> None:
        assert rate(term("base", "149"), currency="USD").amount_minor == 14_900


class TestSeats:
    def test_are_billed_by_their_highest_number_above_what_is_included(self) -> None:
        line = rate(term("seats"), [3] * 10 + [17] + [12] * 17)
        assert (line.quantity, line.amount_minor) == (7, 105_000)
        assert line.evidence["measured"] == "17"

    def test_cost_nothing_within_what_is_included(self) -> None:
        line = rate(term("seats"), [10] * 28)
        assert (line.quantity, line.amount_minor) == (0, 0)

    def test_of_zero_on_every_day_are_a_fact_and_not_a_gap(self) -> None:
        line = rate(term("seats"), [0] * 28)
        assert line.amount_minor == 0
        assert line.evidence["readings"] == ["0"] * 28


class TestStorage:
    def test_is_billed_by_its_average_above_what_is_included(self) -> None:
        line = rate(term("storage", "200", "100"), [Decimal("337.5")] * 28)
        assert (line.quantity, line.amount_minor) == (Decimal("237.5"), 47_500)

    def test_is_counted_in_whole_megabytes_rounded_down(self) -> None:
        line = rate(term("storage", "200", "0"), [Decimal(1)] + [0] * 27)
        assert line.quantity == Decimal("0.035")  # 1/28 = 0.0357…
        assert line.amount_minor == 7
        assert line.evidence["exact_minor"] == "7"

    def test_drops_the_fraction_of_a_won(self) -> None:
        line = rate(term("storage", "0.333", "0"), [Decimal(100)] * 28)
        assert line.evidence["exact_minor"] == "33.3"
        assert (line.amount_minor, line.rounding) == (33, Rounding.DOWN)


class TestAMissingDay:
    @given(gap=st.integers(min_value=0, max_value=27))
    def test_is_refused_and_named_wherever_it_is(self, gap: int) -> None:
        rows = readings("seats", [5] * 28)
        day = rows.pop(gap).day
        with pytest.raises(ReadingsMissing, match=day.isoformat()):
            rate_rows(term("seats"), rows)

    def test_is_not_filled_by_another_meter_or_month(self) -> None:
        rows = [*readings("storage_gb_days", [5] * 28), *readings("seats", [5] * 27)]
        with pytest.raises(ReadingsMissing, match="2026-02-28"):
            rate_rows(term("seats"), rows)


class TestEveryLine:
    @given(
        price=PRICES,
        quantities=st.lists(QUANTITIES, min_size=28, max_size=28),
        day=st.integers(min_value=0, max_value=27),
        more=QUANTITIES,
    )
    def test_costs_no_less_for_more_use(
        self, price: Charge, quantities: list[Decimal], day: int, more: Decimal
    ) -> None:
        heavier = [*quantities]
        heavier[day] += more
        less, not_less = rate(price, quantities), rate(price, heavier)
        assert 0 <= less.amount_minor <= not_less.amount_minor
        assert less.quantity <= not_less.quantity

    @given(
        price=PRICES,
        quantities=st.lists(QUANTITIES, min_size=28, max_size=28),
        currency=st.sampled_from(["KRW", "USD", "KWD"]),
    )
    def test_is_its_quantity_times_its_price_less_than_one_minor_unit_off(
        self, price: Charge, quantities: list[Decimal], currency: str
    ) -> None:
        line = rate(price, quantities, currency=currency)
        digits = {"KRW": 0, "USD": 2, "KWD": 3}[currency]
        with localcontext(prec=60):  # the default 28 digits would round the check, not the line
            product = (line.quantity * line.unit_amount).scaleb(digits)
            assert Decimal(line.evidence["exact_minor"]) == product
            assert 0 <= product - line.amount_minor < 1

    @given(quantities=st.lists(QUANTITIES, min_size=28, max_size=28), seed=st.randoms())
    def test_does_not_depend_on_the_order_of_its_readings(
        self, quantities: list[Decimal], seed: object
    ) -> None:
        rows = readings("storage_gb_days", quantities)
        shuffled = [*rows]
        seed.shuffle(shuffled)  # type: ignore[attr-defined]
        one, other = (rate_rows(term("storage"), each) for each in (rows, shuffled))
        assert one == other

    def test_changes_its_fingerprint_with_any_reading(self) -> None:
        rows = readings("seats", [5] * 28)
        other = readings("seats", [5] * 27 + [4])
        assert rating.readings_sha256(rows) != rating.readings_sha256(other)

    def test_has_the_same_fingerprint_for_a_quantity_read_back_from_the_database(self) -> None:
        rows = readings("seats", [Decimal("5")] * 28)
        stored = readings("seats", [Decimal("5.000000000000")] * 28)
        assert rating.readings_sha256(rows) == rating.readings_sha256(stored)


class TestTax:
    def test_is_taken_once_on_the_sum_with_the_remainder_on_the_last_line(self) -> None:
        found = vat.taxes_on_top(
            amounts_minor=[19, 19, 19], rate_percent=10, rounding=Rounding.DOWN
        )
        assert found == Taxes(5, (1, 1, 3))

    def test_never_falls_on_a_line_over_nothing(self) -> None:
        found = vat.taxes_on_top(amounts_minor=[19, 19, 0], rate_percent=10, rounding=Rounding.DOWN)
        assert found == Taxes(3, (1, 2, 0))

    @given(
        amounts=st.lists(st.integers(min_value=0, max_value=10**12), max_size=12),
        percent=st.integers(min_value=0, max_value=25),
        rounding=st.sampled_from(Rounding),
    )
    def test_of_the_lines_adds_up_to_the_tax_on_the_sum(
        self, amounts: list[int], percent: int, rounding: Rounding
    ) -> None:
        found = vat.taxes_on_top(amounts_minor=amounts, rate_percent=percent, rounding=rounding)
        assert sum(found.lines_minor) == found.total_minor
        assert len(found.lines_minor) == len(amounts)
        assert abs(Decimal(sum(amounts)) * percent / 100 - found.total_minor) < 1

    @given(
        amounts=st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=12),
        rounding=st.sampled_from(Rounding),
    )
    def test_of_a_credit_mirrors_that_of_its_charge(
        self, amounts: list[int], rounding: Rounding
    ) -> None:
        charge = vat.taxes_on_top(amounts_minor=amounts, rate_percent=10, rounding=rounding)
        credit = vat.taxes_on_top(
            amounts_minor=[-amount for amount in amounts], rate_percent=10, rounding=rounding
        )
        assert credit.total_minor == -charge.total_minor
        assert credit.lines_minor == tuple(-tax for tax in charge.lines_minor)


def test_no_float_is_written_in_what_computes_money() -> None:
    for name in (
        "rating",
        "pricing",
        "proration",
        "periods",
        "schedule",
        "composing",
        "fingerprints",
    ):
        source = Path(rating.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        floats = [
            node.lineno
            for node in ast.walk(ast.parse(source))
            if (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.Name) and node.id == "float")
        ]
        assert floats == [], f"{name}.py has floats on lines {floats}"


def test_no_float_is_written_anywhere_in_this_room() -> None:
    room = Path(rating.__file__).parent
    found = {
        source.name
        for source in room.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
    }
    # There a day is read that a bank wrote as a spreadsheet's serial number; no money is.
    assert found <= {"statements.py"}
