"""The engine on a history, without a database: agenda and compose, as the run calls them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from app.base import ids
from app.base.money import Rounding
from invoices import commitments, composing, late_usage, periods, rating, schedule, vat
from invoices import items as subscription_items
from invoices.bill_lines import BillLine
from invoices.commitments import Asked, ToppedUp
from invoices.composing import Composed, Given
from invoices.corrected_discounts import Discounted, LineKey, Share
from invoices.discounts import Redeemed
from invoices.late_usage import Closed
from invoices.rating import Facts, ReadingRow, UsageTotal
from invoices.schedule import Span
from invoices.spending import CARRIED, CARRIED_PRIORITY, Grant, carry
from tenants import replay
from tests.model import reference
from tests.model.bills import Bill
from tests.model.contract import Contract
from tests.model.histories import DAILY, Gift, History, Level
from tests.model.translating import bill_of, coupon_of

ACCOUNT = UUID(int=1)  # there is no other


def bills(history: History) -> list[Bill]:
    """This function will say all bills of a history, in the order in which they are written."""
    contract, found = Contract(history), []
    run = Run(contract)
    for at, act in history.happenings():
        if act is None:
            found += run.visit(at)
        else:
            contract.act(act)
    return found


class Run:
    """The billing run over one contract, with dictionaries in place of tables."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.history, self.zone = contract.history, contract.zone
        self.prices = {price.price_id: price for plan in contract.plans.values() for price in plan}
        self.priced = {
            price.price_id: priced
            for plan, listed in self.history.plans.items()
            for price, priced in zip(contract.plans[plan], listed, strict=True)
        }
        self.spans: list[tuple[UUID, str, datetime, datetime]] = []
        self.amounts: list[Asked] = []
        self.topped: list[ToppedUp] = []
        self.gifts: dict[UUID, tuple[Gift, str]] = {
            ids.uuid7(): (gift, "purchase") for gift in self.history.gifts
        }
        self.used: dict[UUID, int] = defaultdict(int)
        self.used_from: dict[UUID, date] = {}
        self.discounted: dict[LineKey, Discounted] = {}
        self.composed: list[Composed] = []
        self.readings: dict[str, list[ReadingRow]] = {}
        self.totals: dict[tuple[UUID, datetime], tuple[Span, Closed]] = {}
        self.look_on: date | None = None

    def visit(self, now: datetime) -> list[Bill]:
        """The run comes by and passes until nothing is due that can be billed."""
        found: list[Bill] = []
        today = periods.local_day(now, self.zone)
        look, self.look_on = self.look_on, None
        while True:
            agenda = schedule.agenda(
                items=self.contract.items,
                billed=subscription_items.taken(self.spans),
                timezone=self.zone,
                today=today,
            )
            bills = agenda.bills
            days = [bill.bill_on for bill in bills] + [look] * (look is not None and look <= today)
            lines = self._adjustments(min(days), now) if days else []
            if days and not bills:
                alone = late_usage.bill_of(bill_on=min(days), lines=lines)
                bills = (alone,) if alone else ()
            account = composing.Account(
                currency=self.history.currency,
                terms=vat.Terms(
                    percent=self.history.tax_percent,
                    rounding=Rounding(self.history.tax_rounding),
                ),
                prices=self.prices,
                facts=self._facts(now),
                billed=list(self.amounts),
                grants=self._grants(now),
                given=self._given(),
                coupons=self._coupons(now),
                adjustments=lines,
                topped=self.topped,
                discounted=self._discounted(now),
            )
            for bill in bills:
                if any(self._waits(span, account) for span in bill.spans):
                    self.look_on = look
                    return found
                composed = composing.compose(bill=bill, account=account)
                carried = self._take(composed, bill.bill_on, now)
                carry(grants=account.grants, grant_id=carried, amount_minor=composed.carried_minor)
                found.append(bill_of(bill=bill, composed=composed))
            look = None
            if not bills:
                self.look_on = self._next_look(agenda.next_bill_on, today)
                return found

    def _next_look(self, next_bill_on: date | None, today: date) -> date | None:
        """When the run looks for late usage next, as `invoicing.bill` finds it."""
        if not self.totals:
            return None
        return late_usage.look_on(
            ended_at=max(was.total.end for _, was in self.totals.values()),
            next_bill_on=next_bill_on,
            after=today,
            timezone=self.zone,
        )

    def _facts(self, now: datetime) -> Callable[[Span], Facts]:
        def find(span: Span) -> Facts:
            meter = span.item.charge.meter
            if meter is None:
                return rating.NO_FACTS
            if meter in DAILY:
                return Facts(readings=self.read(meter, now))
            return Facts(total=self._total(span, now))

        return find

    def _total(self, span: Span, now: datetime) -> UsageTotal:
        priced = self.priced[span.item.price_id]
        quantity, events = reference.total(self.history, priced, span.start, span.end, known=now)
        return UsageTotal(
            meter=str(priced.meter),
            meter_version=1,
            start=span.start,
            end=span.end,
            quantity=Decimal(int(quantity * 10**12)).scaleb(-12),
            transactions=events,
            sha256="",
        )

    def _adjustments(self, day: date, now: datetime) -> list[BillLine]:
        """Totals that were billed and are others by now, as `late_usage.adjustments` finds them."""
        found = []
        opened_at = late_usage.opened_at(bill_on=day, timezone=self.zone)
        for span, was in self.totals.values():
            is_ = self._total(span, now)
            same = (is_.quantity, is_.transactions) == (was.total.quantity, was.total.transactions)
            if not same and was.total.end > opened_at:
                price = self.prices[span.item.price_id]
                found.append(
                    late_usage.line_of(
                        span=span, was=was, is_=is_, price=price, currency=self.history.currency
                    )
                )
        return found

    def read(self, meter: str, now: datetime) -> list[ReadingRow]:
        """This function will tell what is read by now: all days but those an outage holds back."""
        if not self.readings:
            self._read_all()
        today = periods.local_day(now, self.zone)
        return [
            row
            for row in self.readings[meter]
            if row.day < today
            and not any(
                gap.first <= row.day < gap.past and now < gap.until for gap in self.history.unread
            )
        ]

    def _read_all(self) -> None:
        first = periods.local_day(self.history.start, self.zone)
        last = periods.local_day(self.history.visits[-1], self.zone)
        days = [first + timedelta(days=number) for number in range((last - first).days)]
        midnight = periods.midnight(first, self.zone)
        seats_before, seats = _cut(self.history.seats, midnight)
        bytes_before, stored = _cut(self.history.bytes, midnight)
        self.readings = defaultdict(list)
        for reading in replay.read_days(
            days=days,
            timezone=self.zone,
            seats_before=seats_before,
            seat_changes=seats,
            bytes_before=bytes_before,
            storage_changes=stored,
        ):
            self.readings[reading.meter].append(
                ReadingRow(
                    meter=reading.meter,
                    day=reading.day,
                    quantity=reading.quantity,
                    evidence_sha256=reading.evidence_sha256,
                )
            )

    def _waits(self, span: Span, account: composing.Account) -> bool:
        return bool(
            rating.missing_days(
                charge=span.item.charge,
                stretch=span.stretch,
                readings=account.facts(span).readings,
            )
        )

    def _grants(self, now: datetime) -> list[Grant]:
        """What the customer has by now, in the order of `credits.open_grants`."""
        mine = [
            (grant_id, gift, source)
            for grant_id, (gift, source) in self.gifts.items()
            if gift.at <= now and gift.amount > self.used[grant_id]
        ]
        mine.sort(key=lambda each: (each[1].priority, each[1].expires_on or date.max, each[1].at))
        return [
            Grant(grant_id, gift.amount - self.used[grant_id], source, gift.expires_on)
            for grant_id, gift, source in mine
        ]

    def _coupons(self, now: datetime) -> list[Redeemed]:
        """The customer's coupons by now, each with the day its time began."""
        return [
            Redeemed(
                redemption_id=UUID(int=number),
                coupon=coupon_of(coupon, self.history.currency),
                starts_on=coupon.starts_on,
                ends_on=coupon.ends_on,
                used_from=self.used_from.get(UUID(int=number)),
                since=coupon.at,
            )
            for number, coupon in enumerate(self.history.coupons)
            if coupon.at <= now
        ]

    def _given(self) -> dict[tuple[UUID, datetime], Given]:
        """What coupons took off each charge, as `coupon_uses.given` finds it."""
        found = {}
        for number, composed in enumerate(self.composed):
            shares = [
                share
                for line in composed.lines
                if line.discount
                for share in line.discount.evidence["lines"]
            ]
            for position, line in enumerate(composed.lines, start=1):
                off = sum(share["amount_minor"] for share in shares if share["line"] == position)
                if off and line.span is not None:
                    key = line.span.item.item_id, line.span.end
                    found[key] = Given(line.amount_minor, off, str(number), position)
        return found

    def _keep(self, line: BillLine, now: datetime) -> None:
        """What a line was made from is kept; what corrects it takes its place."""
        if line.adjustment is not None:
            key = line.adjustment.item_id, line.adjustment.total.start
            span, was = self.totals[key]
            self.totals[key] = span, replace(was, total=line.adjustment.total)
        elif line.span is not None and line.kind == "charge":
            span, charge = line.span, line.span.item.charge
            if charge.meter is not None and not charge.from_readings:
                key, total = (span.item.item_id, span.start), self._total(span, now)
                group = tuple(charge.group.items())
                closed = Closed(ACCOUNT, ACCOUNT, span.item.item_id, group, 0, total, "1")
                self.totals[key] = span, closed

    def _discounted(self, now: datetime) -> dict[LineKey, Discounted]:
        """The bills as coupons left them, as `discounted_bills.lay_on` finds them."""
        coupons = self._coupons(now)
        for bill in self.discounted.values():
            bill.redeemed = coupons
        return dict(self.discounted)

    def _keep_discounts(self, composed: Composed, bill_on: date, now: datetime) -> None:
        bill = Discounted("1", bill_on, now)
        for position, line in enumerate(composed.lines, start=1):
            if line.span is not None and line.kind in ("charge", "commitment"):
                bill.places[line.span.item.item_id, line.span.start] = position
        keys = {position: key for key, position in bill.places.items()}
        self.discounted |= dict.fromkeys(bill.places, bill)
        for taken in [line.discount for line in composed.lines if line.discount]:
            redemption_id = taken.redeemed.redemption_id
            for share in taken.evidence["lines"]:
                units = Decimal(0 if share.get("held") else share.get("units", 0))
                of_coupon = bill.shares.setdefault(redemption_id, {})
                of_coupon[keys[share["line"]]] = Share(share["amount_minor"], units)
            if taken.redeemed.coupon.kind == "months_free":
                bill.began[redemption_id] = taken.used_from

    def _take(self, composed: Composed, bill_on: date, now: datetime) -> UUID:
        self._keep_discounts(composed, bill_on, now)
        self.amounts += commitments.changes(composed.lines)
        for line in composed.lines:
            self._keep(line, now)
            if line.span is not None:
                span = line.span
                self.spans.append((span.item.item_id, span.kind, span.start, span.end))
                if line.kind == "commitment":
                    agreed = line.evidence["committed_minor"], line.evidence["reached_minor"]
                    self.topped.append(ToppedUp(span, *agreed, line.amount_minor, "1"))
                else:
                    self.amounts.append(
                        Asked(span.item.item_id, span.start, span.end, line.amount_minor)
                    )
            if line.discount is not None:
                taken = line.discount
                before = self.used_from.get(taken.redeemed.redemption_id, taken.used_from)
                self.used_from[taken.redeemed.redemption_id] = min(before, taken.used_from)
            if line.use is not None:
                self.used[line.use.grant.grant_id] += line.use.amount_minor
        self.composed.append(composed)
        carried = ids.uuid7()
        if composed.carried_minor:
            self.gifts[carried] = Gift(now, composed.carried_minor, CARRIED_PRIORITY, None), CARRIED
        return carried


def _cut(levels: tuple[Level, ...], at: datetime) -> tuple[int, list[replay.Change]]:
    before = sum(level.delta for level in levels if level.at < at)
    after = [
        replay.Change(id=number, at=level.at, delta=level.delta, counts=level.delta > 0)
        for number, level in enumerate(levels)
        if level.at >= at
    ]
    return before, after
