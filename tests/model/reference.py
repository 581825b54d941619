"""What every bill should say: slow, obvious, and without a line of the engine's.

First what acts put in force, then what is asked for it and when, then what coupons take off; at
the end quantities, prices and the calendar. Money is a fraction until it is rounded once.
"""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, floor
from zoneinfo import ZoneInfo

from tests.model.bills import Bill, Days, Line
from tests.model.histories import CURRENCIES, DAILY, EVENTS, Act, Coupon, Gift, History, Priced

DAY, SECOND, TICK = timedelta(days=1), timedelta(seconds=1), timedelta(microseconds=1)
FOREVER = datetime.max.replace(tzinfo=UTC)
OPEN = timedelta(days=100)  # so long after its end billed time is corrected by what events say
ONCE = ("setup", "one_off")  # kinds of charges that are asked for once
KINDS = ("free_units", "months_free", "percentage", "amount")  # the order at the same priority
ZERO, ONE = Fraction(0), Fraction(1)


@dataclass(eq=False)
class Life:
    """A charge in force from one moment to another, `place` of its price list, so much of it."""

    plan: str
    place: int
    charge: Priced
    quantity: Decimal
    starts: datetime
    anchor: date
    ends: datetime = FOREVER
    credit: bool = True  # whether time that was paid for beyond its end is given back

    @property
    def whole(self) -> bool:
        """Whether its price is never cut."""
        return self.charge.proration == "none" or self.charge.kind in ONCE


@dataclass(eq=False)
class Asked:
    """A part of a life's time that is asked for, or given back."""

    kind: str  # charge, credit or commitment
    life: Life
    start: datetime
    end: datetime
    days: Days  # the day of a change belongs to what comes after
    period: Days  # the whole one that it is cut from
    over: tuple[Fraction, Fraction]  # how much of that is over as it starts and as it ends
    of: Asked | None = None  # the charge that a credit gives back
    amount: int = 0
    reached: int = 0  # what counts towards a commitment
    day: date = date.min  # its bill's
    billed: datetime = FOREVER
    bill: list[Asked] = field(default_factory=list)  # all that was asked for on it
    known: datetime = FOREVER  # when its events said what the amount comes from
    off: dict[Coupon, int] = field(default_factory=dict)
    units: dict[Coupon, Fraction] = field(default_factory=dict)  # free by a coupon

    @property
    def shown(self) -> Days:
        return self.days[0], max(self.days[0] + DAY, self.days[1])


def bills(history: History) -> list[Bill]:
    """This function will say all bills of a history, in the order in which they are written."""
    customer, account, found = Customer(history), Account(history), []
    for at, act in history.happenings():
        if act is None:
            found += account.visit(at, customer.lives + customer.fees)
        else:
            customer.act(act)
    return found


class Customer:
    """What is in force from when to when, as far as it is known."""

    def __init__(self, history: History) -> None:
        self.history, self.zone = history, history.zone
        self.lives: list[Life] = []
        self.fees: list[Life] = []  # what is asked for once lives for a moment
        self.rested: list[Life] | None = None  # by a pause
        self.plans: list[tuple[datetime, str]] = []  # since when which
        self.anchor, self.until = date.min, FOREVER

    def act(self, act: Act) -> None:
        """Somebody does something; in vain, if it cannot be done."""
        in_force = self.rested is None and bool(self.live(act.at))
        endless = self.until == FOREVER
        may = {
            **dict.fromkeys(("plan", "pause", "billing_day"), in_force and endless),
            **dict.fromkeys(("quantity", "add", "remove"), in_force),
            "resume": self.rested is not None and endless,
            "cancel": endless,
            "take_back": self.rested is None and self.until > act.at,
        }
        if may.get(act.verb, True):
            getattr(self, act.verb)(act)

    def start(self, act: Act) -> None:
        self.anchor = self.anchored(act.at, self.history.billing_day)
        self.plan(act)
        for charge in self.history.plans[act.what]:
            if charge.kind == "setup" and not charge.optional:
                self.fees.append(self.begun(act.what, charge, Decimal(1), act.at, act.at + TICK))

    def plan(self, act: Act) -> None:
        """What both plans have keeps its quantity; an option goes on if the new plan has it too."""
        current, at = self.live(act.at), self.moment(act)
        lasting = [each for each in self.history.plans[act.what] if each.kind not in ONCE]
        wanted = {each.code: each for each in lasting if not each.optional or each.code in current}
        stay = {code for code in wanted if code in current and current[code].plan == act.what}
        if changing := {*current, *wanted} - stay:
            self.take_back(act)
            self.plans.append((at, act.what))
        for code in changing:
            old, since, quantity = current.get(code), at, Decimal(1)
            if old is not None:
                since = old.ends = self.takes_effect(old, at)
                quantity = old.quantity
            if code in wanted:
                life = self.begun(act.what, wanted[code], quantity, since)
                if old is not None and old.whole and life.whole:
                    self.follow(old, life)
                self.lives.append(life)

    def quantity(self, act: Act) -> None:
        """Of what is sold by the piece: nothing else has a quantity that can be changed."""
        at = self.moment(act)
        life = self.live(at).get(act.what)
        if life is None or life.charge.meter or life.charge.model == "flat":
            return
        if life.quantity != act.quantity:
            moment = self.takes_effect(life, at)
            for later in self.lives:  # a change that lies ahead takes the new quantity along
                if later.charge.code == act.what and later.starts > at and later.ends == FOREVER:
                    later.quantity = act.quantity
            if life.ends > moment:
                self.lives.append(replace(life, starts=moment, quantity=act.quantity))
                life.ends = moment

    def add(self, act: Act) -> None:
        """An option of the plan, if it is not there; a one-off again from a minute later on."""
        plan = [plan for since, plan in self.plans if since <= act.at][-1]
        charge = {each.code: each for each in self.history.plans[plan]}.get(act.what)
        soon = [each for each in self.fees if act.at - each.starts < timedelta(minutes=1)]
        there = {*self.live(act.at), *(fee.charge.code for fee in soon)}
        if charge is None or charge.code in there or not act.quantity:
            return
        if charge.kind == "one_off":
            self.fees.append(self.begun(plan, charge, act.quantity, act.at, act.at + TICK))
        elif charge.optional:
            self.lives.append(self.begun(plan, charge, act.quantity, act.at, self.until))

    def remove(self, act: Act) -> None:
        at = self.moment(act)
        life = self.live(at).get(act.what)
        if life is not None and life.charge.optional:
            life.ends = at

    def pause(self, act: Act) -> None:
        """Nothing runs, and what was paid for beyond is given back."""
        self.take_back(act)
        self.rested = [*self.live(act.at).values()]
        for life in self.rested:
            life.ends, life.credit = self.takes_effect(life, act.at), True
        self.fees = [fee for fee in self.fees if fee.starts < act.at]

    def resume(self, act: Act) -> None:
        for life in self.rested or ():
            if life.ends > act.at:
                life.ends = FOREVER  # it is paid for still, and goes on
            elif life.ends > life.starts:
                self.lives.append(replace(life, starts=act.at, ends=FOREVER))
        self.rested = None

    def cancel(self, act: Act) -> None:
        self.until = self.moment(act)
        for life in [each for each in self.lives if each.ends > self.until]:
            life.ends, life.credit = max(life.starts, self.until), act.credit
        self.fees = [fee for fee in self.fees if fee.starts < self.until]

    def take_back(self, act: Act) -> None:
        """What lies ahead never comes, and what it would have ended goes on.

        There is one future: a change of plan, a pause and another billing day begin with this.
        """
        self.lives = [life for life in self.lives if life.starts <= act.at]
        self.plans = [(since, plan) for since, plan in self.plans if since <= act.at]
        self.until = FOREVER
        for life in self.lives:
            if life.ends > act.at:
                life.ends, life.credit = FOREVER, True

    def billing_day(self, act: Act) -> None:
        anchor = self.anchored(act.at, int(act.what))
        # What is never cut keeps its own day: its period would be paid for twice.
        current = [life for life in self.live(act.at).values() if not life.whole]
        if any(life.anchor != anchor for life in current):
            self.take_back(act)
            self.anchor = anchor
            self.lives += [replace(life, starts=act.at, anchor=anchor) for life in current]
            for life in current:
                life.ends = act.at

    def live(self, at: datetime) -> dict[str, Life]:
        return {life.charge.code: life for life in self.lives if life.starts <= at < life.ends}

    def begun(
        self, plan: str, charge: Priced, quantity: Decimal, at: datetime, ends: datetime = FOREVER
    ) -> Life:
        place = self.history.plans[plan].index(charge)
        return Life(plan, place, charge, quantity, at, self.anchor, ends)

    def follow(self, old: Life, life: Life) -> None:
        """What is never cut begins with a whole period where it follows on what was not either."""
        day, every = day_of(life.starts, self.zone), life.charge.every
        anchors = (self.anchor, old.anchor, day)
        life.anchor = next(anchor for anchor in anchors if begins(day, anchor, every))

    def anchored(self, at: datetime, billing_day: int | None) -> date:
        """The day itself, or the last January's that has the billing day."""
        day = day_of(at, self.zone)
        while billing_day is not None and (day.month, day.day) != (1, billing_day):
            day -= DAY
        return day

    def moment(self, act: Act) -> datetime:
        """Now, or as the running period of the first charge that everybody has ends."""
        if act.when == "now" or self.rested is not None:
            return act.at
        main = [life for life in self.live(act.at).values() if not life.charge.optional]
        return self.period(min(main, key=lambda life: life.place), act.at)[1]

    def takes_effect(self, life: Life, at: datetime) -> datetime:
        """At once; what is never cut changes with its own period."""
        start, end = self.period(life, at)
        return end if life.whole and at != start else at

    def period(self, life: Life, at: datetime) -> tuple[datetime, datetime]:
        first, past = period_of(day_of(at, self.zone), life.anchor, life.charge.every)
        return midnight(first, self.zone), midnight(past, self.zone)


class Account:
    """What was asked of a customer so far, and what they have with us."""

    def __init__(self, history: History) -> None:
        self.history, self.zone = history, history.zone
        self.asked: list[Asked] = []  # bill by bill
        self.look: date | None = None
        self.spent, self.carried = defaultdict[Gift, int](int), list[Gift]()
        # Of grants the lowest number goes first, then what expires first.
        gifts = {gift: (gift.priority, gift.expires_on or date.max) for gift in history.gifts}
        self.gifts = sorted(gifts, key=lambda gift: (*gifts[gift], gift.at))
        self.coupons = sorted(
            history.coupons,
            key=lambda one: (one.priority, KINDS.index(one.kind), one.starts_on, one.at),
        )
        self.used_from: dict[Coupon, date] = {}

    def visit(self, now: datetime, lives: Sequence[Life]) -> list[Bill]:
        """The run comes by: every day that something was due on is a bill, the oldest first.

        A bill that waits for a reading holds up those after it. Where none is due, what changed
        since is a bill of its own on the day to look for that, if it comes to any money; a bill
        that comes after such a day has what was to be found then.
        """
        due = defaultdict(list)
        for day, each in self.due(lives, now):
            due[day].append(each)
        found, look, self.look = [], self.look, None
        for day in sorted(due):
            if any(self.unread(each, now) for each in due[day]):
                self.look = look
                return found
            found.append(self.bill(day, due[day], now, min(day, look or day)))
        alone = not due and look is not None and midnight(look, self.zone) <= now
        if look and alone and any(self.late(look, now).values()):
            found.append(self.bill(look, [], now, look))
        self.look = self.next_look(lives, now)
        return found

    def due(self, lives: Sequence[Life], now: datetime) -> Iterator[tuple[date, Asked]]:
        """Time in force that was not asked for yet, cut where periods end, and the day to ask.

        What was asked for beyond a life's end is given back, if that was agreed, as it ends.
        """
        for life in lives:
            asked = [each for each in self.asked if each.life is life]
            charged = [each for each in asked if each.of is None]
            kind = "commitment" if life.charge.kind == "commitment" else "charge"
            start = max([life.starts, *(each.end for each in charged)])
            while start < life.ends and start <= now:
                period = period_of(day_of(start, self.zone), life.anchor, life.charge.every)
                end = min(life.ends, midnight(period[1], self.zone))
                moment = start if life.charge.timing == "advance" else end
                # What is never cut was asked for with its whole period.
                again = life.whole and period in [each.period for each in charged]
                if moment <= now and not again:
                    yield day_of(moment, self.zone), self.part(kind, life, period, start, end)
                start = end
            for each in charged if life.credit and life.ends <= now and not life.whole else ():
                if each.end > life.ends and each not in [one.of for one in asked]:
                    start = max(each.start, life.ends)
                    credit = self.part("credit", life, each.period, start, each.end, each)
                    yield day_of(life.ends, self.zone), credit

    def part(
        self, kind: str, life: Life, period: Days, start: datetime, end: datetime, *of: Asked
    ) -> Asked:
        """A part is cut from a period by days or by seconds."""
        days, (first, past) = (day_of(start, self.zone), day_of(end, self.zone)), period
        over = [Fraction((day - first).days, (past - first).days) for day in days]
        if life.charge.proration == "second":
            opens, closes = midnight(first, self.zone), midnight(past, self.zone)
            over = [
                Fraction((at - opens) // SECOND, (closes - opens) // SECOND) for at in (start, end)
            ]
        if life.whole:
            over = [ZERO, ONE]
        return Asked(kind, life, start, end, days, period, (over[0], over[1]), *of)

    def unread(self, each: Asked, now: datetime) -> bool:
        return each.life.charge.meter in DAILY and any(
            max(gap.first, each.days[0]) < min(gap.past, each.days[1]) and now < gap.until
            for gap in self.history.unread
        )

    def next_look(self, lives: Sequence[Life], now: datetime) -> date | None:
        """Each month after usage was billed last, while it may change and no bill comes."""
        counted = [each.end for each in self.asked if each.life.charge.meter in EVENTS]
        if not counted:
            return None
        last, past = day_of(max(counted), self.zone), max(counted) + OPEN
        if any(midnight(day, self.zone) < past for day, _ in self.due(lives, past)):
            return None
        looks = [midnight(months_later(last, number), self.zone) for number in range(1, 5)]
        return next((day_of(look, self.zone) for look in looks if now < look < past), None)

    def bill(self, day: date, due: list[Asked], now: datetime, look: date) -> Bill:
        """Given back, ahead, past; the minimum agreed upon; what changed; coupons; balances; tax.

        What changed counts where it was used: a minimum of before asks for less, or more.
        """
        late, before = self.late(look, now), {each: each.amount for each in self.asked}
        for each, more in late.items():
            each.amount, each.known = each.amount + more, now
        for least in [each for each in self.asked if each.kind == "commitment"]:
            least.reached += sum(more for each, more in late.items() if self.counts(each, least))
            least.amount = max(0, self.amount(least, now) - least.reached)
        was = {each: was for each, was in before.items() if each in late or each.amount != was}
        due.sort(
            key=lambda each: (each.life.charge.timing != "advance", each.life.place, each.start)
        )
        due.sort(key=lambda each: ("credit", "charge", "commitment").index(each.kind))
        for each in due:
            each.bill, each.day, each.billed, each.known = due, day, now, now
            each.amount = self.amount(each, now)
            if each.kind == "commitment":
                counted = [one.amount for one in self.asked if self.counts(one.of or one, each)]
                each.reached = sum(counted)
                each.amount = max(0, each.amount - each.reached)
            self.asked.append(each)
        lines = [self.line(each.kind, each, each.amount) for each in due]
        anew = [self.line("adjustment", each, each.amount - was[each]) for each in was]
        lines += sorted(anew, key=lambda line: (line.charge, line.days, line.amount))
        lines += [*self.discounts_back(due), *self.discounts_anew(was, now)]
        period = max(each.shown for each in (due or late) if due or late[each])
        lines += [Line("discount", "discount", -off, period) for off in self.discounts(day, due)]
        subtotal = sum(line.amount for line in lines)
        lines += [Line("prepaid", "balance", -use, period) for use in self.use(subtotal, day, now)]
        if subtotal < 0:
            lines.append(Line("carried", "balance", -subtotal, period))
            self.carried.append(Gift(now, -subtotal, 0, None))
        left = sum(line.amount for line in lines)
        tax = rounded(Fraction(left * self.history.tax_percent, 100), self.history.tax_rounding)
        return Bill(day, tuple(lines), tax, left + tax, max(0, -subtotal))

    def line(self, kind: str, each: Asked, amount: int) -> Line:
        return Line(kind, each.life.charge.code, amount, each.shown)

    def late(self, day: date, now: datetime) -> dict[Asked, int]:
        """Events that came or changed since: the difference to what was billed, before coupons."""
        since = midnight(day, self.zone) - OPEN
        counted = [each for each in self.asked if each.life.charge.meter in EVENTS]
        return {
            each: self.amount(each, now) - self.amount(each, each.known)
            for each in counted
            if each.end > since and self.measured(each, now) != self.measured(each, each.known)
        }

    def counts(self, each: Asked, least: Asked) -> bool:
        """A charge counts where it begins, unless it reaches beyond the minimum's whole period."""
        past = midnight(least.period[1], self.zone)
        return each.kind == "charge" and least.start <= each.start < least.end and each.end <= past

    def use(self, due: int, day: date, now: datetime) -> Iterator[int]:
        """What was carried over goes first. What expires on a bill's day is not good on it."""
        for gift in (*self.carried, *self.gifts):
            amount = min(due, gift.amount - self.spent[gift])
            if amount > 0 and gift.at <= now and day < (gift.expires_on or date.max):
                self.spent[gift] += amount
                due -= amount
                yield amount

    def amount(self, each: Asked, now: datetime, free: Fraction = ZERO) -> int:
        """What a part of a period costs: the price up to its end less the price up to its start."""
        # What is used up by the piece costs what it costs.
        charge, (start, end) = each.life.charge, (ZERO, ONE) if by_piece(each) else each.over
        units, _, events = self.measured(each, now)
        full = price(charge, max(ZERO, units - free), events)
        full *= 10 ** CURRENCIES[self.history.currency]
        amount = rounded(full * end, charge.rounding) - rounded(full * start, charge.rounding)
        return -amount if each.kind == "credit" else amount

    def measured(self, each: Asked, now: datetime) -> tuple[Fraction, Fraction, int]:
        """The units that cost, all units, and how many events say so."""
        charge, quantity, events = each.life.charge, Fraction(each.life.quantity), 0
        if charge.meter in EVENTS:
            quantity, events = total(self.history, charge, each.start, each.end, known=now)
        elif charge.meter in DAILY:
            first, past = each.days
            days = [first + DAY * number for number in range((past - first).days)]
            quantity = over_days(charge, [reading(self.history, charge, day) for day in days])
        included = Fraction(charge.included)
        if by_piece(each):  # a part of a period includes a part, counted up at its twelfth decimal
            included = Fraction(ceil(included * (each.over[1] - each.over[0]) * 10**12), 10**12)
        return max(ZERO, quantity - included), quantity, events

    def discounts(self, day: date, due: list[Asked]) -> Iterator[int]:
        """Coupon after coupon takes off what the ones before it left of the lines it is for."""
        left = {each: each.amount for each in due if each.amount > 0}
        for coupon in self.coupons:
            unused = coupon not in self.used_from or coupon.kind == "months_free"
            if not runs(coupon, day) or not (unused or self.lasts(coupon, day)):
                continue
            scope = {each: left[each] for each in left if left[each] and covers(coupon, each)}
            began = self.used_from.get(coupon, day)
            if coupon.kind == "months_free":  # they begin with the first line that is free by them
                firsts = [each.shown[0] for each in scope]
                began = self.used_from.get(coupon) or min(firsts, default=day)
                past = months_later(began, coupon.months)
                off = {each: scope[each] for each in scope if began <= each.shown[0] < past}
            elif coupon.kind == "free_units":
                off = {each: self.saved(coupon, each, scope[each], each.billed) for each in scope}
            else:
                off = dealt(coupon, scope)
            if any(off.values()):
                self.used_from[coupon] = began
                for each, amount in off.items():
                    left[each] -= amount
                    each.off[coupon] = amount
                yield sum(off.values())

    def discounts_back(self, due: list[Asked]) -> Iterator[Line]:
        """What is given back had a discount: the same part of it is taken back, rounded down."""
        for each in [each for each in due if each.of and each.amount]:
            if back := sum(each.of.off.values()) * -each.amount // each.of.amount:
                yield self.line("discount", each, back)

    def discounts_anew(self, was: dict[Asked, int], now: datetime) -> Iterator[Line]:
        """A line that changed asks its bill's coupons anew; other lines keep what they have."""
        for each, base in was.items():
            before, left, units, off = base, each.amount, {**each.units}, {**each.off}
            for coupon in self.coupons:
                if not covers(coupon, each) or not self.belongs(coupon, each):
                    continue
                had, off[coupon] = each.off.get(coupon, 0), left  # of a free month
                if coupon.kind == "percentage":
                    off[coupon] = had + percent(coupon, left) - percent(coupon, before)
                elif coupon.kind == "amount":
                    others = sum(one.off.get(coupon, 0) for one in each.bill if one is not each)
                    off[coupon] = int(coupon.value) - others
                elif coupon.kind == "free_units":
                    off[coupon] = self.saved(coupon, each, left, now)
                off[coupon] = min(left, max(0, off[coupon]))
                before, left = before - had, left - off[coupon]
            if all(off[coupon] == each.off.get(coupon, 0) for coupon in off):
                each.units = units
            else:
                back, each.off = sum(each.off.values()) - sum(off.values()), off
                yield self.line("discount", each, back)

    def saved(self, coupon: Coupon, each: Asked, left: int, now: datetime) -> int:
        """Units come off the top; of what is used up by the piece a bill has only so many."""
        there = Fraction(coupon.value)
        if by_piece(each):
            others = [one for one in each.bill if one is not each and by_piece(one)]
            there -= sum(one.units.get(coupon, ZERO) for one in others)
        free = max(ZERO, min(there, self.measured(each, now)[0]))
        saved = max(0, min(left, each.amount - self.amount(each, now, free)))
        each.units[coupon] = free if saved else ZERO
        return saved

    def belongs(self, coupon: Coupon, each: Asked) -> bool:
        """Whether a coupon belongs to what was billed: it took something off, or would have."""
        had = any(coupon in one.off for one in each.bill)
        if coupon.kind == "months_free":
            return (had or runs(coupon, each.day)) and self.lasts(coupon, each.shown[0])
        return had or (runs(coupon, each.day) and self.lasts(coupon, each.day))

    def lasts(self, coupon: Coupon, day: date) -> bool:
        """Whether a coupon that was used is good on a day."""
        began = self.used_from.get(coupon)
        if coupon.duration == "months" and began is not None:
            return began <= day < months_later(began, coupon.months)
        return coupon.duration == "forever"


def runs(coupon: Coupon, day: date) -> bool:
    return coupon.starts_on <= day < (coupon.ends_on or date.max)


def covers(coupon: Coupon, each: Asked) -> bool:
    """Units are free of all but minimums, months of what recurs and begins with the coupon."""
    plan, code, kind = each.life.plan, each.life.charge.code, each.life.charge.kind
    fits = {
        "free_units": kind != "commitment",
        "months_free": kind == "recurring" and coupon.starts_on <= each.shown[0],
    }.get(coupon.kind, True)
    mine = plan in (coupon.plans or [plan]) and code in (coupon.charges or [code])
    return fits and mine and coupon.at <= each.billed


def percent(coupon: Coupon, amount: int) -> int:
    return rounded(amount * Fraction(coupon.value) / 100, "half_up")


def dealt(coupon: Coupon, among: dict[Asked, int]) -> dict[Asked, int]:
    """A coupon's amount in shares that are as the lines; the largest remainders get the rest."""
    whole = sum(among.values())
    amount = percent(coupon, whole) if coupon.kind == "percentage" else int(coupon.value)
    exact = {each: Fraction(min(amount, whole) * part, whole) for each, part in among.items()}
    off = {each: floor(share) for each, share in exact.items()}
    rest = min(amount, whole) - sum(off.values())
    for each in sorted(off, key=lambda each: off[each] - exact[each])[:rest]:
        off[each] += 1
    return off


def by_piece(each: Asked) -> bool:
    """Whether units are used up one by one; of all else half of the time costs half."""
    charge = each.life.charge
    return charge.meter is not None and charge.aggregation in (None, "sum")


def price(charge: Priced, units: Fraction, events: int) -> Fraction:
    """What so many units beyond what is included cost in a whole period, in major units."""
    unit, fixed = Fraction(charge.unit), Fraction(charge.fixed)
    amount = {
        "flat": lambda: unit,
        "per_unit": lambda: units * unit,
        "package": lambda: ceil(units / Fraction(charge.package_size or 1)) * unit,
        "percentage": lambda: units * Fraction(charge.percent or 0) / 100 + events * fixed,
    }.get(charge.model, lambda: tiered(charge, units))()
    amount = max(amount, Fraction(charge.minimum or 0))
    return min(amount, Fraction(charge.maximum)) if charge.maximum is not None else amount


def tiered(charge: Priced, units: Fraction) -> Fraction:
    """What was entered of each tier, and its flat part; by volume all is of the last one."""
    bottom, entered = ZERO, []
    for tier in charge.tiers:
        top = units if tier.up_to is None else min(units, Fraction(tier.up_to))
        if top > bottom:
            entered.append((top - bottom, tier))
            bottom = top
    if charge.model != "graduated":
        entered = [(units, tier) for _, tier in entered[-1:]]
    return sum((own * Fraction(tier.unit) + Fraction(tier.flat) for own, tier in entered), ZERO)


def rounded(amount: Fraction, how: str) -> int:
    """A fraction of a unit is dropped, counted as one, or as one from the half on."""
    whole, rest = divmod(abs(amount), 1)
    up = {
        "down": False,
        "up": rest > 0,
        "half_up": 2 * rest >= 1,
        "half_even": 2 * rest > 1 or (2 * rest == 1 and whole % 2 == 1),
    }[how]
    return (whole + up) * (1 if amount >= 0 else -1)


def reading(history: History, charge: Priced, day: date) -> Fraction:
    """What a daily meter reads: the most seats at once, gigabytes over the day, files added."""
    start, end = midnight(day, history.zone), midnight(day + DAY, history.zone)
    changes = history.seats if charge.meter == "seats" else history.bytes
    levels = [*accumulate(each.delta for each in changes)]
    if charge.meter == "files_added":
        return Fraction(sum(start <= each.at < end and each.delta > 0 for each in changes))
    if charge.meter == "seats":
        before = sum(each.at < start for each in changes)
        until = sum(each.at < end for each in changes)
        return Fraction(max(levels[max(0, before - 1) : until]))
    stored = zip((each.at for each in changes), levels, strict=True)
    return average([[(at, Fraction(level, 10**9)) for at, level in stored]], start, end)


def over_days(charge: Priced, days: Sequence[Fraction]) -> Fraction:
    """The quantity of a period from that of its days; an average in whole thousandths."""
    if not days:
        return ZERO
    mean = Fraction(floor(sum(days) / len(days) * 1000), 1000)
    of = {"average": mean, "peak": max(days), "sum": sum(days), "last": days[-1]}
    return Fraction(of[str(charge.aggregation)])


def total(
    history: History, charge: Priced, start: datetime, end: datetime, known: datetime
) -> tuple[Fraction, int]:
    """What events come to in a time, by what they said at a moment, and how many they are."""
    said = [each for event in history.events if (each := event.known(known)) is not None]
    said = [each for each in said if charge.group in (None, each.customer)]
    said.sort(key=lambda each: each.at)
    found = [each for each in said if start <= each.at < end]
    values = [Fraction(each.value) for each in found] or [ZERO]
    levels = defaultdict(list)
    for each in said:
        levels[each.customer].append((each.at, Fraction(each.value)))
    quantity = {
        "count": lambda: len(found),
        "sum": lambda: sum(values),
        "max": lambda: max(values),
        "min": lambda: min(values),
        "latest": lambda: values[-1],
        "unique": lambda: len({each.customer for each in found}),
        "weighted_sum": lambda: average(levels.values(), start, end),
    }[str(charge.meter)]()
    return Fraction(quantity), len(found)


Steps = Sequence[tuple[datetime, Fraction]]


def average(levels: Iterable[Steps], start: datetime, end: datetime) -> Fraction:
    """All levels over a time, each as set until it is set again, to the twelfth decimal."""
    held = ZERO
    for steps in levels:
        for (at, level), (until, _) in pairwise([*steps, (end, ZERO)]):
            held += level * max(0, (min(until, end) - max(at, start)) // TICK)
    return Fraction(rounded(held / ((end - start) // TICK) * 10**12, "half_even"), 10**12)


@cache
def midnight(day: date, zone: str) -> datetime:
    """The first moment at which the clocks there show that day."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while day_of(moment, zone) < day:
        moment += timedelta(minutes=15)  # where and when all clocks here are turned
    return moment


def day_of(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


@cache
def period_of(day: date, anchor: date, every: tuple[int, str]) -> Days:
    """The whole period that a day lies in."""
    first, past = day, day + DAY
    while not begins(first, anchor, every):
        first -= DAY
    while not begins(past, anchor, every):
        past += DAY
    return first, past


def begins(day: date, anchor: date, every: tuple[int, str]) -> bool:
    """Whether a period begins on a day: weeks on its weekday, months on its day or their last."""
    count, unit = every
    if unit == "week":
        return (day - anchor).days % (7 * count) == 0
    months = (day.year - anchor.year) * 12 + day.month - anchor.month
    of_month = min(anchor.day, monthrange(day.year, day.month)[1])
    return day.day == of_month and months % (12 * count if unit == "year" else count) == 0


def months_later(day: date, months: int) -> date:
    """The same day so many months later, or that month's last one."""
    return period_of(day, day, (months, "month"))[1]
