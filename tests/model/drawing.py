"""Drawing histories from seeds: the same seed, the same history, on any machine.

`drop` leaves parts out and everything else as it was, so that a history in which engine and model
differ can be made smaller by hand.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from tests.model.granting import coupons, discounted, gifts
from tests.model.histories import (
    CURRENCIES,
    DAILY,
    EVENTS,
    Act,
    History,
    Priced,
    PriceTier,
)
from tests.model.using import (
    ROUND,
    after,
    corrected,
    events,
    levels,
    stragglers,
    unread,
)

ZONES = (
    "Asia/Seoul",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Asia/Kathmandu",  # 5:45 ahead
    "America/Sao_Paulo",
    "America/Santiago",  # summer begins at midnight: that day starts at 1:00
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",  # summer ends at 1:00: midnight comes twice
    "Pacific/Chatham",
    "Africa/Casablanca",
    "UTC",
)
ROUNDINGS = ("down", "up", "half_up", "half_even")
# What tells a level is asked for by whole periods only: two halves would both pay it in full.
LEVELS = ("max", "min", "latest", "weighted_sum")
# What `drop` knows.
PARTS = (
    *("acts", "aftermath", "bounds", "commitments", "corrections", "coupons", "discounted"),
    *("events", "grants", "groups"),
    *("included", "late", "outages", "readings", "seconds", "tax"),
)


def draw(seed: int, drop: Collection[str] = ()) -> History:
    """This function will draw the history of a seed; what is dropped changes nothing else."""
    if unknown := set(drop) - set(PARTS):
        raise ValueError(f"there is no {', '.join(sorted(unknown))} to drop")
    # Each part has its own stream, so that leaving one out leaves the others as they were.
    time, money, life, use, fixes, rest = (
        Random(f"{seed} {part}") for part in ("time", "money", "life", "use", "fixes", "rest")
    )
    zone, currency = time.choice(ZONES), money.choice(tuple(CURRENCIES))
    days = time.choice((35, 70, 100, 140, 200, 430))
    start = _moment(time, _first_day(time), zone)
    plans = {name: _plan(money, currency) for name in ("a", "b")}
    visits = _visits(time, start, days)
    acts = _acts(life, start, days, zone, plans)
    history = History(
        seed=seed,
        zone=zone,
        currency=currency,
        tax_percent=money.choice((0, 10, 19)),
        tax_rounding=money.choice(ROUNDINGS),
        plans=plans,
        billing_day=time.choice((None, None, 1, 15, 29, 30, 31)),
        acts=(Act(start, "start", "a"), *acts),
        visits=visits,
        seats=levels(use, start, days, 40),
        bytes=levels(use, start, days, 10**12),
        events=corrected(fixes, events(use, start, days, currency)),
        unread=unread(time, start, days),
        gifts=gifts(money, start, days, currency),
        coupons=coupons(money, start, days, plans),
    )
    if rest.random() < 0.35 and "aftermath" not in drop:
        history = _ended(rest, history, days)
    # Their own stream too: what was drawn before they were thought of stays as it was.
    late = Random(f"{seed} late coupons")
    if late.random() < 0.4 and "discounted" not in drop:
        history = discounted(late, history, days)
    return _without(history, set(drop))


def _ended(rest: Random, history: History, days: int) -> History:
    """Somebody leaves (or pauses), and for months more is heard of what they used before."""
    at = after(rest, history.start, days)
    verb = rest.choice(("cancel", "cancel", "pause"))
    when = rest.choice(("now", "period_end"))
    leaving = Act(at, verb, when=when, credit=rest.random() < 0.7)
    visits, last = list(history.visits), history.visits[-1] + timedelta(days=150)
    while visits[-1] < last:
        visits.append(
            visits[-1] + timedelta(seconds=rest.randrange(1, rest.choice((2, 20, 60)) * 86_400))
        )
    more = corrected(rest, stragglers(rest, history.start, days))
    return replace(
        history,
        acts=tuple(sorted((*history.acts, leaving), key=lambda act: act.at)),
        visits=tuple(visits),
        events=tuple(sorted((*history.events, *more), key=lambda event: event.at)),
    )


def _first_day(time: Random) -> date:
    awkward = (
        date(2024, 2, 29),
        date(2024, 1, 31),
        date(2025, 1, 30),
        date(2025, 1, 29),
        date(2024, 12, 31),
        date(2025, 3, 9),  # New York turns its clocks
        date(2025, 10, 5),  # Lord Howe does
        date(2024, 9, 8),  # Santiago leaves a midnight out
        date(2024, 11, 3),  # Havana has one twice
    )
    if time.random() < 0.4:
        return time.choice(awkward)
    return date(2024, 1, 1) + timedelta(days=time.randrange(1500))


def _moment(random: Random, day: date, zone: str) -> datetime:
    """Mostly a midnight there, otherwise any second of the day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    if random.random() < 0.5:
        return midnight
    seconds, thousandths = random.randrange(86_000), random.choice((0, 7))
    return midnight + timedelta(seconds=seconds, milliseconds=thousandths)


def _visits(time: Random, start: datetime, days: int) -> tuple[datetime, ...]:
    """Every day or week, with outages of up to months; the last one comes when all is over."""
    pace = time.choice((1, 7, 30, 90))
    moments, now = [], start
    while now < start + timedelta(days=days):
        moments.append(now)
        now += timedelta(seconds=time.randrange(1, 2 * pace * 86_400))
    return (*moments, start + timedelta(days=days + 1))


def _amount(money: Random, currency: str) -> Decimal:
    """A price as price lists have them: round ones, small ones and ones with many decimals."""
    digits = CURRENCIES[currency]
    scale = Decimal(10) ** -digits
    decimals = money.choice((0, 0, digits, digits + 2, 12))
    amount = Decimal(money.randrange(1, 300_000)) * scale * money.choice((1, 1, Decimal("0.013")))
    return amount.quantize(Decimal(1).scaleb(-decimals)) or scale


def _plan(money: Random, currency: str) -> tuple[Priced, ...]:
    """A price list: its base fee first, then whatever else it asks for."""
    rare = [(1, "month")] * 5 + [(3, "month"), (1, "year"), (1, "week"), (2, "week")]

    def terms() -> dict[str, object]:
        return {
            "every": money.choice(rare),
            "proration": money.choice(("day", "day", "second", "second", "none")),
            "rounding": money.choice(ROUNDINGS),
        }

    base = Priced(code="base", unit=_amount(money, currency), **terms())  # type: ignore[arg-type]
    others = [
        lambda: _sold(money, currency, "licences", "recurring", terms(), optional=False),
        lambda: _sold(money, currency, "support", "recurring", terms(), optional=True),
        lambda: _sold(money, currency, "setup", "setup", terms(), optional=False),
        lambda: _sold(
            money, currency, "training", "one_off", terms(), optional=money.random() < 0.5
        ),
        lambda: _counted(money, currency, "seats", ("seats", "peak"), terms()),
        lambda: _counted(money, currency, "storage", ("storage_gb_days", "average"), terms()),
        lambda: _counted(
            money, currency, "files", ("files_added", money.choice(("sum", "last"))), terms()
        ),
        lambda: _counted(money, currency, "calls", (money.choice(EVENTS), None), terms()),
        lambda: _counted(money, currency, "volume", ("sum", None), terms()),
        lambda: replace(
            base,
            code="least",
            kind="commitment",
            timing="arrears",
            unit=base.unit * money.choice((1, 2, 3)),
            proration=money.choice(("day", "second")),
            every=money.choice((base.every, (1, "month"))),
        ),
    ]
    chances = (0.6, 0.5, 0.3, 0.3, 0.4, 0.4, 0.3, 0.3, 0.3, 0.4)
    chosen = [
        make() for make, chance in zip(others, chances, strict=True) if money.random() < chance
    ]
    return (base, *chosen)


def _sold(
    money: Random, currency: str, code: str, kind: str, terms: dict[str, object], *, optional: bool
) -> Priced:
    timing = money.choice(("advance", "advance", "arrears")) if kind == "recurring" else "advance"
    model = money.choice(("flat", "per_unit", "graduated", "volume", "package", "stairstep"))
    if code == "licences":
        model = money.choice(("per_unit", "graduated", "volume", "package", "stairstep"))
    return replace(
        _modelled(money, currency, Priced(code=code, **terms), model),  # type: ignore[arg-type]
        kind=kind,
        timing=timing,
        optional=optional,
    )


def _counted(
    money: Random,
    currency: str,
    code: str,
    counts: tuple[str, str | None],
    terms: dict[str, object],
) -> Priced:
    model = money.choice(
        ("per_unit", "graduated", "volume", "package", "stairstep", "percentage", "per_unit")
    )
    made = _modelled(money, currency, Priced(code=code, **terms), model)  # type: ignore[arg-type]
    if counts[0] in LEVELS:
        made = replace(made, proration="none")
    group = money.choice("abc") if counts[1] is None and money.random() < 0.3 else None
    return replace(made, timing="arrears", meter=counts[0], aggregation=counts[1], group=group)


def _modelled(money: Random, currency: str, blank: Priced, model: str) -> Priced:
    made = replace(blank, model=model)
    if model in ("flat", "per_unit", "package"):
        made = replace(made, unit=_amount(money, currency))
    if model in ("graduated", "volume", "stairstep"):
        tops = sorted(money.sample(ROUND, money.randrange(0, 4)))
        tiers = [_tier(money, currency, model, top) for top in (*tops, None)]
        made = replace(made, tiers=tuple(tiers))
    if model == "package":
        made = replace(made, package_size=Decimal(money.choice(("1", "5", "12.5", "100"))))
    if model == "percentage":
        percent = Decimal(money.randrange(1, 10_000)) / 1000
        fixed = _amount(money, currency) if money.random() < 0.5 else Decimal(0)
        made = replace(made, percent=percent, fixed=fixed)
    if model != "flat" and money.random() < 0.4:
        made = replace(made, included=Decimal(money.choice(("1", "3", "2.5", "10", "0.001"))))
    low, high = sorted((_amount(money, currency), _amount(money, currency)))
    if money.random() < 0.2:
        made = replace(made, minimum=low)
    if money.random() < 0.2:
        made = replace(made, maximum=high)
    return made


def _tier(money: Random, currency: str, model: str, top: int | None) -> PriceTier:
    unit = _amount(money, currency) if model != "stairstep" else Decimal(0)
    flat = _amount(money, currency) if model == "stairstep" or money.random() < 0.3 else Decimal(0)
    return PriceTier(up_to=None if top is None else Decimal(top), unit=unit, flat=flat)


def _acts(
    life: Random, start: datetime, days: int, zone: str, plans: dict[str, tuple[Priced, ...]]
) -> list[Act]:
    """What the customer does, sensible or not: what is refused changes nothing."""
    codes = sorted({charge.code for plan in plans.values() for charge in plan})
    acts = []
    for _ in range(life.choice((0, 1, 2, 4, 6, 9))):
        at = after(life, start, days)
        if life.random() < 0.3:
            at = max(start, _midnight(at, zone))
        verb = life.choice(
            (
                *("plan", "plan", "plan", "quantity", "quantity", "quantity", "add", "add"),
                *("remove", "pause", "resume", "resume", "resume", "cancel"),
                *("take_back", "take_back", "billing_day"),
            )
        )
        what = {
            "plan": life.choice(("a", "b")),
            "quantity": life.choice(("licences", "licences", *codes)),
            "add": life.choice(("support", "training", *codes)),
            "remove": life.choice(("support", *codes)),
            "billing_day": str(life.choice((1, 5, 15, 28, 29, 30, 31))),
        }.get(verb, "")
        quantity = Decimal(life.choice((0, *ROUND)))
        when = life.choice(("now", "period_end"))
        acts.append(Act(at, verb, what, quantity, when, life.random() < 0.7))
        if verb == "quantity" and life.random() < 0.3:  # there and back on one day
            soon = at + timedelta(seconds=life.randrange(1, 40_000))
            acts.append(Act(soon, verb, what, Decimal(life.choice(ROUND)), when))
    return sorted(acts, key=lambda act: act.at)


def _midnight(at: datetime, zone: str) -> datetime:
    day = at.astimezone(ZoneInfo(zone)).date()
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _without(history: History, drop: set[str]) -> History:
    """This function will leave parts out of a history."""

    def kept(charge: Priced) -> Priced | None:
        if "commitments" in drop and charge.kind == "commitment":
            return None
        if charge.meter in DAILY and "readings" in drop:
            return None
        if charge.meter in EVENTS and "events" in drop:
            return None
        if "bounds" in drop:
            charge = replace(charge, minimum=None, maximum=None)
        if "included" in drop:
            charge = replace(charge, included=Decimal(0))
        if "groups" in drop:
            charge = replace(charge, group=None)
        if "seconds" in drop and charge.proration == "second":
            charge = replace(charge, proration="day")
        return charge

    plans = {
        name: tuple(each for each in map(kept, plan) if each is not None)
        for name, plan in history.plans.items()
    }
    return replace(
        history,
        plans=plans,
        acts=history.acts[:1] if "acts" in drop else history.acts,
        events=tuple(
            replace(
                each,
                received_at=each.at if "late" in drop else each.received_at,
                fixes=() if "corrections" in drop else each.fixes,
            )
            for each in history.events
        ),
        unread=() if "outages" in drop else history.unread,
        gifts=() if "grants" in drop else history.gifts,
        coupons=() if "coupons" in drop else history.coupons,
        tax_percent=0 if "tax" in drop else history.tax_percent,
    )
