"""Histories: what happened to one customer, as plain data. Neither engine nor model.

A history is price lists, acts of the customer, raw facts (seats taken, bytes stored, events sent)
and the moments at which the billing run came by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

CURRENCIES = {"KRW": 0, "USD": 2, "KWD": 3}
DAILY = ("seats", "storage_gb_days", "files_added")
EVENTS = ("count", "sum", "max", "min", "unique", "latest", "weighted_sum")


@dataclass(frozen=True, kw_only=True)
class PriceTier:
    """Up to and including `up_to`, each unit and the tier itself cost so much."""

    up_to: Decimal | None
    unit: Decimal
    flat: Decimal


@dataclass(frozen=True, kw_only=True)
class Priced:
    """One charge of a price list; amounts in major units."""

    code: str
    kind: str = "recurring"
    timing: str = "advance"
    every: tuple[int, str] = (1, "month")
    model: str = "flat"
    unit: Decimal = Decimal(0)
    tiers: tuple[PriceTier, ...] = ()
    package_size: Decimal | None = None
    percent: Decimal | None = None
    fixed: Decimal = Decimal(0)
    included: Decimal = Decimal(0)
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    meter: str | None = None
    aggregation: str | None = None
    group: str | None = None  # the one of `Sent.customer` whose events count
    proration: str = "day"
    rounding: str = "down"
    optional: bool = False


@dataclass(frozen=True)
class Act:
    """Somebody does something at a moment; `what` is the plan, the charge, the day or the grant."""

    at: datetime
    verb: str
    what: str = ""
    quantity: Decimal = Decimal(1)
    when: str = "now"
    credit: bool = True


@dataclass(frozen=True)
class Level:
    """So many seats or bytes more (or fewer) from a moment on."""

    at: datetime
    delta: int


@dataclass(frozen=True)
class Sent:
    """An event that happened at a moment and reached us at another.

    `fixes` are what it was corrected to and when; nothing stands for one that was taken back.
    """

    at: datetime
    received_at: datetime
    value: Decimal
    customer: str
    fixes: tuple[tuple[datetime, Sent | None], ...] = ()

    def known(self, by: datetime) -> Sent | None:
        """This function will tell what the event says by then, if it is there."""
        said = [self if self.received_at <= by else None]
        return [*said, *(says for at, says in self.fixes if at <= by)][-1]


@dataclass(frozen=True)
class Unread:
    """Days of `[first, past)` whose readings were not there before `until`."""

    first: date
    past: date
    until: datetime


@dataclass(frozen=True, eq=False)
class Gift:
    """Money that the customer has with us from a moment on, in minor units."""

    at: datetime
    amount: int
    priority: int
    expires_on: date | None


@dataclass(frozen=True)
class Coupon:
    """What a coupon takes off bills of `[starts_on, ends_on)`; redeemed at a moment."""

    code: str
    at: datetime
    kind: str
    value: Decimal
    starts_on: date
    ends_on: date | None = None
    charges: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    duration: str = "once"
    months: int = 0
    priority: int = 100


@dataclass(frozen=True, kw_only=True)
class History:
    """All that a bill may depend on, and when the run came by."""

    seed: int
    zone: str
    currency: str
    tax_percent: int
    tax_rounding: str
    plans: dict[str, tuple[Priced, ...]]
    billing_day: int | None
    acts: tuple[Act, ...]
    visits: tuple[datetime, ...]
    seats: tuple[Level, ...] = ()
    bytes: tuple[Level, ...] = ()
    events: tuple[Sent, ...] = ()
    unread: tuple[Unread, ...] = ()
    gifts: tuple[Gift, ...] = ()
    coupons: tuple[Coupon, ...] = ()

    @property
    def start(self) -> datetime:
        """When the subscription began."""
        return self.acts[0].at

    def happenings(self) -> list[tuple[datetime, Act | None]]:
        """This function will list acts and visits of the run as they came; acts before visits."""
        acts: list[tuple[datetime, Act | None]] = [(act.at, act) for act in self.acts]
        visits: list[tuple[datetime, Act | None]] = [(visit, None) for visit in self.visits]
        return sorted(acts + visits, key=lambda each: each[0])
