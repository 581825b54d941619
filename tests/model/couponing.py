"""What coupons take off bills, and off what is corrected of them later. No engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from fractions import Fraction

from tests.model.bills import Asked, Billed, Line
from tests.model.days import Days, months_later
from tests.model.histories import Coupon, History
from tests.model.reckoning import ZERO, by_piece, dealt, rounded

KINDS = ("free_units", "months_free", "percentage", "amount")


class Coupons:
    """One customer's coupons, and since when each is used.

    `amount` says what is asked for with so many units free, `beyond` how many units cost, `shown`
    the days of it.
    """

    def __init__(
        self,
        history: History,
        amount: Callable[[Asked, datetime, Fraction], int],
        beyond: Callable[[Asked, datetime], Fraction],
        shown: Callable[[Asked], Days],
    ) -> None:
        self.history, self.amount, self.beyond, self.shown = history, amount, beyond, shown
        self.used_from: dict[Coupon, date] = {}

    def back(self, due: list[Asked], asked: Callable[[Asked], list[Asked]]) -> Iterator[Line]:
        """What is given back had a discount: the same part of it is taken back, rounded down."""
        for each in due:
            if each.kind == "credit":
                (charge,) = [
                    one for one in asked(each) if one.kind == "charge" and one.end == each.end
                ]
                if charge.discount and (back := charge.discount * -each.amount // charge.amount):
                    yield Line("discount", each.life.charge.code, back, self.shown(each))

    def off(self, bill: Billed) -> Iterator[int]:
        """Coupon after coupon takes off what the ones before it left of the lines it is for."""
        left = {each: each.amount for each in bill.lines if each.amount > 0}
        for coupon in self._there(bill.at):
            if not self._good(coupon, bill.day):
                continue
            scope = [each for each in left if left[each] and self._covers(coupon, each)]
            used_from = bill.day
            if coupon.kind == "free_units":
                off = self._free_units(coupon, scope, left, bill.at)
            elif coupon.kind == "months_free":
                off, used_from = self._months_free(coupon, scope, left)
            else:
                off = self._dealt(coupon, scope, left)
            if sum(off.values()):
                self.used_from[coupon] = min(self.used_from.get(coupon, used_from), used_from)
                bill.coupons.add(coupon)
                for each, amount in off.items():
                    left[each] -= amount
                    each.off[coupon] = amount
                yield sum(off.values())

    def corrected(self, moved: list[tuple[Asked, int]], now: datetime) -> Iterator[Line]:
        """Its bill's coupons are asked again what they make of a line, which was another amount.

        The other lines of that bill keep what they have of them.
        """
        for each, before in sorted(moved, key=lambda one: one[0].place()):
            was, left, off, units = before, each.amount, {}, {}
            for coupon in self._there(each.bill.at):
                if not self._covers(coupon, each) or not self._of(coupon, each):
                    continue
                others = [one for one in each.bill.lines if one is not each]
                had = each.off.get(coupon, 0)
                off[coupon] = left  # of a free month
                if coupon.kind == "percentage":
                    more = self._percent(coupon, left) - self._percent(coupon, was)
                    off[coupon] = min(left, max(0, had + more))
                elif coupon.kind == "amount":
                    elsewhere = sum(one.off.get(coupon, 0) for one in others)
                    off[coupon] = min(left, max(0, int(coupon.value) - elsewhere))
                elif coupon.kind == "free_units":
                    there = Fraction(coupon.value)
                    if by_piece(each.life.charge):
                        others = [one for one in others if by_piece(one.life.charge)]
                        there -= sum(one.units.get(coupon, ZERO) for one in others)
                    free = max(ZERO, min(there, self.beyond(each, now)))
                    off[coupon] = max(0, min(left, each.amount - self.amount(each, now, free)))
                    units[coupon] = free if off[coupon] else ZERO
                was, left = was - had, left - off[coupon]
            if any(amount != each.off.get(coupon, 0) for coupon, amount in off.items()):
                back = each.discount
                each.off |= off
                each.units |= units
                each.bill.coupons |= set(off)
                charge = each.life.charge.code
                yield Line("discount", charge, back - each.discount, self.shown(each))

    def _there(self, at: datetime) -> list[Coupon]:
        """Those that the customer had by then, in the order in which they take effect."""
        there = [each for each in self.history.coupons if each.at <= at]
        return sorted(
            there, key=lambda one: (one.priority, KINDS.index(one.kind), one.starts_on, one.at)
        )

    def _covers(self, coupon: Coupon, each: Asked) -> bool:
        return (not coupon.plans or each.life.plan in coupon.plans) and (
            not coupon.charges or each.life.charge.code in coupon.charges
        )

    def _of(self, coupon: Coupon, each: Asked) -> bool:
        """Whether a coupon belongs to what was billed: it took something off, or would have."""
        day, began = each.bill.day, self.used_from.get(coupon)
        if coupon.kind == "free_units" and each.life.charge.kind == "commitment":
            return False
        if coupon.kind == "months_free":
            first = self.shown(each)[0]
            return (
                began is not None
                and (coupon in each.bill.coupons or self._runs(coupon, day))
                and each.life.charge.kind == "recurring"
                and coupon.starts_on <= first
                and began <= first < months_later(began, coupon.months)
            )
        if coupon in each.bill.coupons:
            return True
        if coupon.duration == "months":
            return began is not None and began <= day and self._good(coupon, day)
        return coupon.duration == "forever" and self._good(coupon, day)

    def _runs(self, coupon: Coupon, day: date) -> bool:
        return coupon.starts_on <= day and (coupon.ends_on is None or day < coupon.ends_on)

    def _good(self, coupon: Coupon, day: date) -> bool:
        if not self._runs(coupon, day):
            return False
        if coupon not in self.used_from or coupon.kind == "months_free":
            return True
        if coupon.duration == "once":
            return False
        return coupon.duration == "forever" or day < months_later(
            self.used_from[coupon], coupon.months
        )

    def _free_units(
        self, coupon: Coupon, scope: list[Asked], left: dict[Asked, int], now: datetime
    ) -> dict[Asked, int]:
        """Units come off the top; of what is used up by the piece there are only so many."""
        off, units = {}, Fraction(coupon.value)
        for each in scope:
            charge = each.life.charge
            if charge.kind == "commitment":
                continue
            free = units if by_piece(charge) else Fraction(coupon.value)
            saved = min(left[each], each.amount - self.amount(each, now, free))
            if free and saved > 0:
                off[each] = saved
                each.units[coupon] = min(free, self.beyond(each, now))
                if by_piece(charge):
                    units -= each.units[coupon]
        return off

    def _months_free(
        self, coupon: Coupon, scope: list[Asked], left: dict[Asked, int]
    ) -> tuple[dict[Asked, int], date]:
        """Free is what recurs and begins within the months, which begin with the first of it."""
        begun = {
            each: self.shown(each)[0]
            for each in scope
            if each.life.charge.kind == "recurring" and self.shown(each)[0] >= coupon.starts_on
        }
        first = self.used_from.get(coupon) or min(begun.values(), default=date.max)
        if not begun:
            return {}, first
        past = months_later(first, coupon.months)
        return {each: left[each] for each, day in begun.items() if first <= day < past}, first

    def _dealt(
        self, coupon: Coupon, scope: list[Asked], left: dict[Asked, int]
    ) -> dict[Asked, int]:
        """A percentage or an amount of the sum, dealt out: the largest remainders get the rest."""
        whole = sum(left[each] for each in scope)
        if coupon.kind == "percentage":
            amount = self._percent(coupon, whole)
        else:
            amount = min(int(coupon.value), whole)
        shares = dealt(amount, [left[each] for each in scope])
        return dict(zip(scope, shares, strict=True))

    def _percent(self, coupon: Coupon, amount: int) -> int:
        return rounded(amount * Fraction(coupon.value) / 100, "half_up")
