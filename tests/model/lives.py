"""What acts of a customer put in force and end, told apart from the engine, and the bills of it.

What somebody asks for in vain changes nothing. A customer has one future: what a change of plan, a
pause or another billing day finds ahead of it is taken back first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from tests.model import reference
from tests.model.bills import Bill
from tests.model.days import begins, day_of, midnight, period_of
from tests.model.histories import Act, History, Life, Priced


def bills(history: History) -> list[Bill]:
    """This function will say all bills of a history, in the order in which they are written."""
    customer, account, found = Customer(history), reference.Account(history), []
    for at, act in history.happenings():
        if act is None:
            found += account.visit(at, customer.lives)
        else:
            customer.act(act)
    return found


class Customer:
    """One customer: what is in force from when to when, as far as it is known."""

    def __init__(self, history: History) -> None:
        self.history, self.zone = history, history.zone
        self.lives: list[Life] = []
        self.plan = ""
        self.anchor = date.min
        self.paused_at: datetime | None = None
        self.rested: list[Life] = []
        self.until: datetime | None = None
        self.next_plan: tuple[datetime, str] | None = None

    def act(self, act: Act) -> None:
        """Somebody does something, as far as it can be done."""
        if self.next_plan is not None and self.next_plan[0] <= act.at:
            self.plan, self.next_plan = self.next_plan[1], None
        before = [(life, life.ends, life.credit) for life in self.lives]
        if not getattr(self, f"_{act.verb}")(act):
            for life, ends, credit in before:
                life.ends, life.credit = ends, credit
            del self.lives[len(before) :]

    def _start(self, act: Act) -> bool:
        self.plan = act.what
        self.anchor = self._anchor(day_of(act.at, self.zone), self.history.billing_day)
        for charge in self._offered(act.what).values():
            if not charge.optional and charge.kind != "one_off":
                self._begin(act.what, charge, Decimal(1), act.at)
        return True

    def _plan(self, act: Act) -> bool:
        if not self._may_change(act.at):
            return False
        at = self._moment(act)
        self._withdraw(act.at)
        current = {life.charge.code: life for life in self._live(at) if not life.once}
        wanted = {
            code: charge
            for code, charge in self._offered(act.what).items()
            if charge.kind in ("recurring", "commitment")
            and (not charge.optional or code in current)
        }
        in_force = {(life.plan, code) for code, life in current.items()}
        if in_force == {(act.what, code) for code in wanted}:
            return False
        for code, life in current.items():
            if life.plan != act.what or code not in wanted:
                life.ends = self._takes_effect(life, at)
        for code, charge in wanted.items():
            old = current.get(code)
            if old is None:
                self._begin(act.what, charge, Decimal(1), at)
            elif old.plan != act.what:
                begun = self._begin(act.what, charge, old.quantity, old.ends or at)
                self._follow(old, begun)
        self.next_plan = at, act.what
        return True

    def _quantity(self, act: Act) -> bool:
        if not self._in_force(act.at):
            return False
        at = self._moment(act)
        found = [life for life in self._live(at) if life.charge.code == act.what]
        if not found or found[0].charge.meter or found[0].once or found[0].charge.model == "flat":
            return False
        life, moment = found[0], self._takes_effect(found[0], at)
        if life.quantity == act.quantity:
            return False
        for later in list(self.lives):
            # A change that lies ahead takes the new quantity along.
            if later.charge.code == act.what and later.starts > at and later.ends is None:
                self.lives.append(replace(later, quantity=act.quantity))
                later.ends = later.starts
        if life.ends is None or life.ends > moment:
            self.lives.append(replace(life, quantity=act.quantity, starts=moment))
            life.ends = moment
        return True

    def _add(self, act: Act) -> bool:
        charge = self._offered(self.plan).get(act.what)
        if not self._in_force(act.at) or charge is None or act.quantity < 1:
            return False
        there = {life.charge.code for life in self._live(act.at)}
        if not (charge.kind == "one_off" or charge.optional) or charge.code in there:
            return False
        added = self._begin(self.plan, charge, act.quantity, act.at)
        # What is asked for once is over in a minute, so that it can be asked for again.
        added.ends = act.at + timedelta(minutes=1) if added.once else self.until
        return True

    def _remove(self, act: Act) -> bool:
        if not self._in_force(act.at):
            return False
        at = self._moment(act)
        found = [life for life in self._live(at) if life.charge.code == act.what]
        if not found or not found[0].charge.optional:
            return False
        found[0].ends = at
        return True

    def _pause(self, act: Act) -> bool:
        if not self._may_change(act.at):
            return False
        self._withdraw(act.at)
        self.rested = self._live(act.at)
        for life in self.rested:
            # What is never cut was paid for to the end of its period.
            kept = not life.once and self._takes_effect(life, act.at)
            life.ends, life.credit = kept or act.at, True
        self.paused_at, self.next_plan = act.at, None
        return True

    def _resume(self, act: Act) -> bool:
        if self.paused_at is None or self.until is not None:
            return False
        for life in self.rested:
            if life.once or life.ends == life.starts:
                continue
            if not _over(life, act.at):
                life.ends = None  # it is paid for still, and goes on
            else:
                self.lives.append(replace(life, starts=act.at, ends=None, credit=True))
        self.paused_at = None
        return True

    def _cancel(self, act: Act) -> bool:
        if self.until is not None:
            return False
        at = self._moment(act) if self._in_force(act.at) else act.at
        for life in self.lives:
            if life.ends is None or life.ends > at:
                life.ends, life.credit = max(life.starts, at), act.credit
        self.until, self.next_plan = at, None
        return True

    def _take_back(self, act: Act) -> bool:
        if self.paused_at is not None or not self._withdraw(act.at):
            return False
        self.until, self.next_plan = None, None
        return True

    def _billing_day(self, act: Act) -> bool:
        if not self._may_change(act.at):
            return False
        self._withdraw(act.at)
        anchor = self._anchor(day_of(act.at, self.zone), int(act.what))
        # What is never cut keeps its own day: its period would be paid for twice.
        current = [
            life for life in self._live(act.at) if not life.once and life.charge.proration != "none"
        ]
        if all(life.anchor == anchor for life in current):
            return False
        for life in current:
            self.lives.append(replace(life, starts=act.at, anchor=anchor))
            life.ends = act.at
        self.anchor, self.next_plan = anchor, None
        return True

    def _offered(self, plan: str) -> dict[str, Priced]:
        return {charge.code: charge for charge in self.history.plans.get(plan, ())}

    def _begin(self, plan: str, charge: Priced, quantity: Decimal, at: datetime) -> Life:
        place = self.history.plans[plan].index(charge)
        self.lives.append(Life(plan, place, charge, quantity, at, self.anchor))
        return self.lives[-1]

    def _follow(self, old: Life, begun: Life) -> None:
        """What is never cut begins with a whole period where it follows on what was not either."""
        if old.charge.proration != "none" or begun.charge.proration != "none":
            return
        day = day_of(begun.starts, self.zone)
        if not begins(day, self.anchor, begun.charge.every):
            by_old = begins(day, old.anchor, begun.charge.every)
            begun.anchor = old.anchor if by_old else day

    def _anchor(self, day: date, billing_day: int | None) -> date:
        """The day itself, or the last January's that has the billing day."""
        while billing_day is not None and (day.month, day.day) != (1, billing_day):
            day -= timedelta(days=1)
        return day

    def _live(self, at: datetime) -> list[Life]:
        return [each for each in self.lives if each.starts <= at and not _over(each, at)]

    def _in_force(self, at: datetime) -> bool:
        return self.paused_at is None and bool(self._live(at))

    def _may_change(self, at: datetime) -> bool:
        return self._in_force(at) and self.until is None

    def _moment(self, act: Act) -> datetime:
        """Now, or as the running period of the first charge that everybody has ends."""
        if act.when == "now":
            return act.at
        main = [life for life in self._live(act.at) if not life.once and not life.charge.optional]
        return self._period_end(min(main, key=lambda life: life.place), act.at)

    def _takes_effect(self, life: Life, at: datetime) -> datetime:
        """At once; what is never cut changes with its own period."""
        first, _ = period_of(day_of(at, self.zone), life.anchor, life.charge.every)
        if life.charge.proration != "none" or at == midnight(first, self.zone):
            return at
        return self._period_end(life, at)

    def _period_end(self, life: Life, at: datetime) -> datetime:
        _, past = period_of(day_of(at, self.zone), life.anchor, life.charge.every)
        return midnight(past, self.zone)

    def _withdraw(self, at: datetime) -> bool:
        """What lies ahead never comes, and what it would have ended goes on."""
        ahead = False
        for life in self.lives:
            if not life.once and life.starts > at and life.ends != life.starts:
                life.ends, ahead = life.starts, True
            elif not life.once and life.starts <= at and life.ends is not None and life.ends > at:
                life.ends, ahead = None, True
        return ahead


def _over(life: Life, at: datetime) -> bool:
    return life.ends is not None and life.ends <= at
