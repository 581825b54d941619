"""Credits are used up in one order, however many bills one pass composes."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from invoices.spending import CARRIED, CARRIED_PRIORITY, Grant, carry, spend

DAY = date(2026, 3, 1)


def _grant(number: int, left_minor: int, source: str, expires_on: date | None = None) -> Grant:
    return Grant(UUID(int=number), left_minor, source, expires_on)


class TestWhatABillCarriesOver:
    def test_comes_before_all_grants_and_after_what_was_carried_earlier(self) -> None:
        grants = [_grant(1, 50, CARRIED), _grant(2, 500, "promotion", date(2026, 4, 1))]
        carry(grants=grants, grant_id=UUID(int=3), amount_minor=70)
        uses = spend(grants=grants, due_minor=200, bill_on=DAY)
        assert [(use.grant.grant_id.int, use.amount_minor) for use in uses] == [
            (1, 50),
            (3, 70),
            (2, 80),
        ]

    def test_is_written_with_a_priority_that_nobody_can_grant(self) -> None:
        assert CARRIED_PRIORITY < 0

    def test_is_nothing_where_nothing_is_left_over(self) -> None:
        grants: list[Grant] = []
        carry(grants=grants, grant_id=UUID(int=3), amount_minor=0)
        assert grants == []


class TestAGrant:
    def test_is_no_longer_good_on_the_day_it_expires(self) -> None:
        grants = [_grant(1, 50, "promotion", DAY), _grant(2, 50, "purchase")]
        (use,) = spend(grants=grants, due_minor=60, bill_on=DAY)
        assert (use.grant.grant_id.int, use.amount_minor) == (2, 50)
        assert [grant.left_minor for grant in grants] == [50, 0]
