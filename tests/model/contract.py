"""What a customer does, done to the engine's items by the same steps as `invoices.changes`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from app.base import ids
from app.base.errors import Conflict, Invalid
from invoices import amending, periods
from invoices.amending import Amendment
from invoices.charges import Offered
from invoices.schedule import Item
from tests.model.histories import Act, History
from tests.model.translating import charge_of


class Contract:
    """A subscription's items, and the plans that it may have."""

    def __init__(self, history: History) -> None:
        self.history, self.zone = history, history.zone
        self.plans = {
            plan: [
                Offered(
                    price_id=ids.uuid7(),
                    plan_code=plan,
                    plan_version=1,
                    position=position,
                    charge=charge_of(priced),
                )
                for position, priced in enumerate(listed, start=1)
            ]
            for plan, listed in history.plans.items()
        }
        self.items: list[Item] = []
        self.plan = ""
        self.anchor_on = date.min
        self.paused_at: datetime | None = None
        self.until: datetime | None = None
        self.next_plan: tuple[datetime, str] | None = None

    def act(self, act: Act) -> None:
        """Somebody does something; what is refused changes nothing."""
        kept = list(self.items), self.anchor_on, self.paused_at, self.until, self.next_plan
        try:
            getattr(self, f"_{act.verb}")(act)
        except (Conflict, Invalid):
            self.items, self.anchor_on, self.paused_at, self.until, self.next_plan = kept

    def _start(self, act: Act) -> None:
        self.plan = act.what
        self.anchor_on = periods.anchor_for(
            starts_on=periods.local_day(act.at, self.zone),
            billing_day=self.history.billing_day,
            interval=periods.MONTHLY,
        )
        for price in self.plans[act.what]:
            if not price.charge.optional and price.charge.kind != "one_off":
                self.items.append(
                    Item(
                        item_id=ids.uuid7(),
                        price_id=price.price_id,
                        charge=price.charge,
                        position=price.position,
                        quantity=Decimal(1),
                        starts_at=act.at,
                        ends_at=None,
                        anchor_on=self.anchor_on,
                    )
                )

    def _plan(self, act: Act) -> None:
        self._may_change(act)
        moment = self._moment(act)
        self._withdraw(act.at)
        self._apply(
            amending.to_plan(
                items=self.items,
                prices=self.plans[act.what],
                at=moment,
                anchor_on=self.anchor_on,
                timezone=self.zone,
            )
        )
        self.next_plan = moment, act.what

    def _quantity(self, act: Act) -> None:
        self._in_force(act)
        self._apply(
            amending.to_quantity(
                items=self.items,
                code=act.what,
                quantity=act.quantity,
                at=self._moment(act),
                timezone=self.zone,
            )
        )

    def _apply(self, amendment: Amendment) -> None:
        self.items = amendment.applied_to(self.items)
        for item in self.items:
            assert item.ends_at is None or item.ends_at >= item.starts_at, item

    def _may_change(self, act: Act) -> None:
        self._in_force(act)
        if self.until is not None:
            raise Conflict("It ends.")

    def _in_force(self, act: Act) -> None:
        if self.paused_at is not None or not amending.live(self.items, act.at):
            raise Conflict("It is not in force.")

    def _moment(self, act: Act) -> datetime:
        if act.when == "now":
            return act.at
        running = amending.period_on(items=self.items, at=act.at, timezone=self.zone)
        return periods.midnight(running.end, self.zone)

    def _add(self, act: Act) -> None:
        self._in_force(act)
        price = {each.charge.code: each for each in self.plans[self._plan_on(act.at)]}.get(act.what)
        if price is None:
            raise Conflict("The plan has no such charge.")
        self._apply(
            amending.add(
                items=self.items,
                price=price,
                quantity=act.quantity,
                at=act.at,
                anchor_on=self.anchor_on,
                until=self.until,
            )
        )

    def _plan_on(self, at: datetime) -> str:
        """The plan whose change has come."""
        if self.next_plan is not None and self.next_plan[0] <= at:
            self.plan, self.next_plan = self.next_plan[1], None
        return self.plan

    def _remove(self, act: Act) -> None:
        self._in_force(act)
        self._apply(amending.remove(items=self.items, code=act.what, at=self._moment(act)))

    def _pause(self, act: Act) -> None:
        self._may_change(act)
        self._withdraw(act.at)
        live = amending.live(self.items, act.at)
        self._apply(amending.rest_all(items=live, at=act.at, timezone=self.zone))
        self.paused_at = act.at

    def _resume(self, act: Act) -> None:
        if self.paused_at is None or self.until is not None:
            raise Conflict("It is not paused.")
        self._apply(amending.begin_again(items=self.items, rested_at=self.paused_at, at=act.at))
        self.paused_at = None

    def _cancel(self, act: Act) -> None:
        if self.until is not None:
            return
        in_force = self.paused_at is None and amending.live(self.items, act.at)
        moment = self._moment(act) if in_force else act.at
        self._plan_on(act.at)
        self._apply(amending.end_all(items=self.items, at=moment, credit=act.credit))
        self.until, self.next_plan = moment, None

    def _take_back(self, act: Act) -> None:
        if self.paused_at is not None or not amending.withdraw(self.items, act.at).ends:
            raise Conflict("Nothing lies ahead.")
        self._withdraw(act.at)
        self.until = None

    def _withdraw(self, at: datetime) -> None:
        self._apply(amending.withdraw(self.items, at))
        self._plan_on(at)
        self.next_plan = None

    def _billing_day(self, act: Act) -> None:
        self._may_change(act)
        self._withdraw(act.at)
        anchor_on = periods.anchor_for(
            starts_on=periods.local_day(act.at, self.zone),
            billing_day=int(act.what),
            interval=periods.MONTHLY,
        )
        self._apply(amending.to_anchor(items=self.items, at=act.at, anchor_on=anchor_on))
        self.anchor_on = anchor_on
