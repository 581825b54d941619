"""What every bill should say: slow, obvious, and without a line of the engine's.

Days are walked one by one, midnights are looked for, money is a fraction until it is rounded once.
A run that comes by asks for whatever is due and was not asked for yet, a bill a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction

from tests.model.bills import Asked, Bill, Billed, Line
from tests.model.couponing import Coupons
from tests.model.days import DAY, Days, day_of, midnight, months_later, period_of, position
from tests.model.histories import CURRENCIES, DAILY, EVENTS, Gift, History, Life
from tests.model.reckoning import (
    ZERO,
    beyond_included,
    by_piece,
    over_days,
    price,
    read,
    rounded,
    total,
)

# How long after its end time that was billed is corrected by what events say since.
OPEN = timedelta(days=100)


class Account:
    """What was asked of one customer so far, and what they have with us."""

    def __init__(self, history: History) -> None:
        self.history, self.zone = history, history.zone
        self.asked: dict[Life, list[Asked]] = defaultdict(list)
        self.carried: list[Gift] = []
        self.spent: dict[Gift, int] = defaultdict(int)
        self.coupons = Coupons(history, self._amount, self._beyond, self._shown)
        self.look: date | None = None

    def visit(self, now: datetime, lives: Sequence[Life]) -> list[Bill]:
        """The run comes by: every day that something was due on is a bill, the oldest first.

        A bill that waits for a reading holds up those after it. Where none is due, what changed
        since is a bill of its own on the day to look for that, if it comes to any money; a bill
        that comes after such a day has what was to be found then.
        """
        today = day_of(now, self.zone)
        due: dict[date, list[Asked]] = defaultdict(list)
        for life in lives:
            for day, each in (*self._charges(life, now), *self._credits(life)):
                if day <= today:
                    due[day].append(each)
        found, look, self.look = [], self.look, None
        for day in sorted(due):
            if any(self._unread(each, now) for each in due[day]):
                self.look = look
                return found
            found.append(self._bill(day, due[day], now, min(day, look or day)))
        late = self._corrected(look, now) if not due and look and look <= today else ()
        if look and any(line.amount for _, line in late):
            found.append(self._bill(look, [], now, look))
        self.look = self._next_look(lives, today)
        return found

    def _next_look(self, lives: Sequence[Life], today: date) -> date | None:
        """Each month after usage was billed last, while it may change and no bill comes."""
        ends = [each.end for each in self._counted()]
        if not ends:
            return None
        until = max(ends) + OPEN
        for life in lives:
            for day, _ in (*self._charges(life, until), *self._credits(life)):
                if midnight(day, self.zone) < until:
                    return None
        months = [months_later(day_of(max(ends), self.zone), number) for number in range(1, 5)]
        looks = [day for day in months if day > today and midnight(day, self.zone) < until]
        return min(looks, default=None)

    def _counted(self) -> list[Asked]:
        """What was asked for by what events said."""
        asked = [each for of_life in self.asked.values() for each in of_life]
        return [each for each in asked if each.life.charge.meter in EVENTS]

    def _charges(self, life: Life, now: datetime) -> Iterator[tuple[date, Asked]]:
        """Each period's part of a life, as far as it was not asked for yet, with its day."""
        day = day_of(life.starts, self.zone)
        if life.once:
            if not self.asked[life] and (life.ends is None or life.ends > life.starts):
                days = (day, day + DAY)
                yield day, Asked("charge", life, days, life.starts, midnight(days[1], self.zone))
            return
        while day <= day_of(now, self.zone):
            period = period_of(day, life.anchor, life.charge.every)
            start = max(midnight(period[0], self.zone), life.starts)
            end = midnight(period[1], self.zone)
            day = period[1]
            until = [
                each.end
                for each in self.asked[life]
                if each.kind == "charge" and each.period == period
            ]
            if until and life.charge.proration == "none":
                continue  # it was asked for whole
            start = max([start, *until])
            if life.ends is not None:
                end = min(end, life.ends)
            if start < end:
                moment = start if life.charge.timing == "advance" else end
                yield day_of(moment, self.zone), Asked("charge", life, period, start, end)

    def _credits(self, life: Life) -> Iterator[tuple[date, Asked]]:
        """What was asked for beyond a life's end is given back, if that was agreed, as it ends."""
        if life.ends is None or not life.credit or life.once or life.charge.proration == "none":
            return
        back = [each for each in self.asked[life] if each.kind == "credit"]
        for each in [each for each in self.asked[life] if each.kind == "charge"]:
            start = max(each.start, life.ends)
            if start < each.end and not any(start <= given.start < each.end for given in back):
                day = day_of(life.ends, self.zone)
                yield day, Asked("credit", life, each.period, start, each.end)

    def _days(self, each: Asked) -> list[date]:
        """Its days; the day of a change belongs to what comes after."""
        first, past = day_of(each.start, self.zone), day_of(each.end, self.zone)
        return [first + DAY * number for number in range((past - first).days)]

    def _shown(self, each: Asked) -> Days:
        days = self._days(each) or [day_of(each.start, self.zone)]
        return days[0], days[-1] + DAY

    def _unread(self, each: Asked, now: datetime) -> bool:
        return each.life.charge.meter in DAILY and any(
            gap.first <= day < gap.past and now < gap.until
            for gap in self.history.unread
            for day in self._days(each)
        )

    def _bill(self, day: date, due: list[Asked], now: datetime, look: date) -> Bill:
        """Given back, ahead, past; the minimum agreed upon; what is carried over or prepaid."""
        due.sort(
            key=lambda each: (
                each.kind != "credit",
                each.life.charge.timing != "advance",
                each.life.place,
                each.start,
            )
        )
        plain = [each for each in due if each.life.charge.kind != "commitment"]
        changed = [*self._corrected(look, now)]
        late = [line for _, line in changed]
        shown = [self._shown(each) for each in due]
        period = max(shown or [line.days for line in late if line.amount])
        moved = [(each, each.amount) for each, _ in changed]
        late += self._topped_up_anew(changed, moved)
        for each, line in changed:
            each.amount, each.known = each.amount + line.amount, now
        for each in plain:
            each.amount, each.known = self._amount(each, now), now
            self.asked[each.life].append(each)
        topped = [each for each in due if each.life.charge.kind == "commitment"]
        for each in topped:
            each.agreed, each.reached = self._amount(each, now), self._reached(each)
            each.amount = max(0, each.agreed - each.reached)
            self.asked[each.life].append(each)
        lines = [self._line(each) for each in (*plain, *topped)]
        lines += sorted(late, key=lambda line: (line.charge, line.days, line.amount))
        bill = Billed(day, now, [*plain, *topped])
        for each in bill.lines:
            each.bill = bill
        lines += self.coupons.back(plain, lambda each: self.asked[each.life])
        lines += self.coupons.corrected(moved, now)
        for amount in self.coupons.off(bill):
            lines.append(Line("discount", "discount", -amount, period))
        subtotal = sum(line.amount for line in lines)
        if subtotal < 0:
            lines.append(Line("carried", "balance", -subtotal, period))
            self.carried.append(Gift(now, -subtotal, 0, None))
        for amount in self._prepaid(max(0, subtotal), day, now):
            lines.append(Line("prepaid", "balance", -amount, period))
        left = sum(line.amount for line in lines)
        taxed = Fraction(left * self.history.tax_percent, 100)
        tax = rounded(taxed, self.history.tax_rounding)
        return Bill(day, tuple(lines), tax, left + tax, max(0, -subtotal))

    def _corrected(self, day: date, now: datetime) -> Iterator[tuple[Asked, Line]]:
        """Events that came or changed since: the difference to what was billed, before coupons."""
        for each in self._counted():
            known = each.known
            if known is None or each.end <= midnight(day, self.zone) - OPEN:
                continue
            if self._measured(each, now) != self._measured(each, known):
                amount = self._amount(each, now) - self._amount(each, known)
                yield each, Line("adjustment", each.life.charge.code, amount, self._shown(each))

    def _topped_up_anew(
        self, changed: list[tuple[Asked, Line]], moved: list[tuple[Asked, int]]
    ) -> Iterator[Line]:
        """What changed counts where it was used: a minimum of before asks for less, or more."""
        for each in [each for of_life in self.asked.values() for each in of_life]:
            past, before = midnight(each.period[1], self.zone), each.amount
            if each.kind != "charge" or each.life.charge.kind != "commitment":
                continue
            for late, line in changed:
                if each.start <= late.start < each.end and late.end <= past:
                    each.reached += line.amount
            each.amount = max(0, each.agreed - each.reached)
            if each.amount != before:
                moved.append((each, before))
                charge = each.life.charge.code
                yield Line("adjustment", charge, each.amount - before, self._shown(each))

    def _line(self, each: Asked) -> Line:
        commitment = each.life.charge.kind == "commitment" and each.kind == "charge"
        kind = "commitment" if commitment else each.kind
        return Line(kind, each.life.charge.code, each.amount, self._shown(each))

    def _amount(self, each: Asked, now: datetime, free: Fraction = ZERO) -> int:
        """What its part of a period costs: the price up to its end less the price up to its start.

        What is asked for once, or is used up by the piece, costs what it costs. Free units are
        taken off what is not included already.
        """
        life, charge = each.life, each.life.charge
        start, end = self._positions(each)
        quantity, events = self._measured(each, now)
        part = self._part(each)
        quantity -= min(free, beyond_included(charge, quantity, part))
        full = price(charge, quantity, events, part) * 10 ** CURRENCIES[self.history.currency]
        if life.once or by_piece(charge):
            return rounded(full, charge.rounding)
        amount = rounded(full * end, charge.rounding) - rounded(full * start, charge.rounding)
        return amount if each.kind != "credit" else -amount

    def _positions(self, each: Asked) -> tuple[Fraction, Fraction]:
        if each.life.charge.proration == "none" or each.life.once:
            return ZERO, Fraction(1)
        start, end = (
            position(each.life.charge, each.period, moment, self.zone)
            for moment in (each.start, each.end)
        )
        return start, end

    def _part(self, each: Asked) -> Fraction:
        """The part of what is included that is there: all of it where the price itself is cut."""
        start, end = self._positions(each)
        return end - start if by_piece(each.life.charge) else Fraction(1)

    def _measured(self, each: Asked, now: datetime) -> tuple[Fraction, int]:
        charge = each.life.charge
        if charge.meter in DAILY:
            days = [read(self.history, charge.meter, day) for day in self._days(each)]
            return over_days(str(charge.aggregation), days), 0
        if charge.meter is not None:
            return total(self.history.events, charge, each.start, each.end, known=now)
        return Fraction(each.life.quantity), 0

    def _beyond(self, each: Asked, now: datetime) -> Fraction:
        quantity, _ = self._measured(each, now)
        return beyond_included(each.life.charge, quantity, self._part(each))

    def _reached(self, commitment: Asked) -> int:
        """What the other charges of a commitment's period come to, less what is given back of them.

        A charge counts where it begins, if it does not reach beyond the commitment's whole period.
        """
        past = midnight(commitment.period[1], self.zone)
        reached = 0
        for life, asked in self.asked.items():
            if life.charge.kind == "commitment":
                continue
            counted = [
                each
                for each in asked
                if each.kind == "charge"
                and commitment.start <= each.start < commitment.end
                and each.end <= past
            ]
            reached += sum(each.amount for each in counted)
            reached += sum(
                each.amount
                for each in asked
                if each.kind == "credit"
                and any(one.start <= each.start < one.end for one in counted)
            )
        return reached

    def _prepaid(self, due: int, day: date, now: datetime) -> Iterator[int]:
        """What was carried over first; of grants the lowest number, then what expires first.

        What expires on a bill's day is no longer good on it.
        """
        mine = [gift for gift in self.history.gifts if gift.at <= now]
        mine.sort(key=lambda gift: (gift.priority, gift.expires_on or date.max, gift.at))
        for gift in (*self.carried, *mine):
            left = gift.amount - self.spent[gift]
            amount = min(due, left)
            if amount > 0 and (gift.expires_on is None or gift.expires_on > day):
                self.spent[gift] += amount
                due -= amount
                yield amount
