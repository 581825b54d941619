"""A minimum agreed upon: what counts towards it, whatever changes halfway."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from invoices import composing, rating, schedule
from invoices.charges import Charge, Offered
from invoices.commitments import Asked, ToppedUp
from invoices.composing import Account, Composed
from invoices.periods import midnight
from invoices.pricing import Pricing
from invoices.schedule import Item
from tests.invoices.bills import of_kind

FIRST, LAST = date(2026, 4, 1), date(2026, 5, 1)
HALF = FIRST + timedelta(days=15)
ZONE = "Asia/Seoul"


def _item(place: int, amount: str, starts_on: date, ends_on: date | None) -> Item:
    """A monthly fee paid ahead; from place 10 on, what a month is topped up to."""
    commitment = place >= 10
    charge = Charge(
        code=f"charge{place}",
        name_ko="요금",
        name_en="Fee",
        kind="commitment" if commitment else "recurring",
        timing="arrears" if commitment else "advance",
        pricing=Pricing(model="flat", unit_amount=Decimal(amount)),
    )
    return Item(
        item_id=UUID(int=place),
        price_id=UUID(int=place),
        charge=charge,
        position=place,
        quantity=Decimal(1),
        starts_at=midnight(starts_on, ZONE),
        ends_at=midnight(ends_on, ZONE) if ends_on else None,
        anchor_on=FIRST,
    )


def _changed_halfway(billed: list[tuple[Item, datetime, int]]) -> list[Composed]:
    """The bills up to the month's end when both fee and minimum change in the middle of it."""
    items = [
        _item(1, "30000", FIRST, HALF),
        _item(2, "60000", HALF, None),
        _item(10, "50000", FIRST, HALF),
        _item(11, "80000", HALF, None),
    ]
    agenda = schedule.agenda(
        items=items,
        billed={item.item_id: {("charge", item.starts_at): end} for item, end, _ in billed},
        timezone=ZONE,
        today=LAST,
    )
    account = Account(
        currency="KRW",
        prices={
            item.price_id: Offered(
                price_id=item.price_id,
                plan_code="plan",
                plan_version=1,
                position=item.position,
                charge=item.charge,
            )
            for item in items
        },
        facts=lambda _span: rating.NO_FACTS,
        billed=[Asked(item.item_id, item.starts_at, end, amount) for item, end, amount in billed],
    )
    return [composing.compose(bill=bill, account=account) for bill in agenda.bills]


class TestAMinimumThatChangesHalfway:
    def test_counts_of_what_was_paid_ahead_the_part_that_was_used(self) -> None:
        paid = (_item(1, "30000", FIRST, HALF), midnight(LAST, ZONE), 30_000)
        at_change, at_end = _changed_halfway([paid])
        assert of_kind(at_change, "credit") == [-15_000]
        assert of_kind(at_change, "charge") == [30_000]
        assert of_kind(at_change, "commitment") == [25_000 - 15_000]
        assert of_kind(at_end, "commitment") == [40_000 - 30_000]

    def test_comes_to_the_same_when_nothing_was_billed_before_the_change(self) -> None:
        at_start, at_change, at_end = _changed_halfway([])
        assert of_kind(at_start, "charge") == [15_000]
        assert of_kind(at_change, "commitment") == [10_000]
        assert of_kind(at_end, "commitment") == [10_000]


class TestAMinimumThatWasBilled:
    def topped_up(self) -> ToppedUp:
        """₩50,000 agreed upon, ₩30,000 reached, the rest asked for."""
        span = schedule.span_of(
            item=_item(10, "50000", FIRST, None),
            kind="charge",
            start=midnight(FIRST, ZONE),
            end=midnight(LAST, ZONE),
            timezone=ZONE,
        )
        return ToppedUp(span, 50_000, 30_000, 20_000, "INV-1")

    def test_asks_for_less_by_what_was_used_more_and_for_nothing_beyond(self) -> None:
        used = Asked(UUID(int=1), midnight(FIRST, ZONE), midnight(LAST, ZONE), 5_000)
        once = self.topped_up().with_([used])
        assert (once.reached_minor, once.asked_minor) == (35_000, 15_000)
        assert once.with_([used._replace(amount_minor=90_000)]).asked_minor == 0

    def test_asks_again_when_what_was_beyond_it_is_taken_back(self) -> None:
        used = Asked(UUID(int=1), midnight(FIRST, ZONE), midnight(LAST, ZONE), 40_000)
        beyond = self.topped_up().with_([used])
        assert beyond.asked_minor == 0
        # ₩70,000 were reached; without ₩25,000 of them ₩5,000 are lacking.
        assert beyond.with_([used._replace(amount_minor=-25_000)]).asked_minor == 5_000

    def test_counts_nothing_of_another_period(self) -> None:
        later = Asked(UUID(int=1), midnight(LAST, ZONE), midnight(date(2026, 6, 1), ZONE), 5_000)
        assert self.topped_up().with_([later]) == self.topped_up()
