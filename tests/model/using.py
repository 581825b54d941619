"""Drawing what a customer uses and when it is known: seats, bytes, events and their corrections."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from tests.model.histories import Level, Sent, Unread

# Where tiers end and how much is bought, so that one often meets the other.
ROUND = (1, 2, 5, 10, 20, 50)


def after(random: Random, start: datetime, days: int) -> datetime:
    return start + timedelta(seconds=random.randrange(1, days * 86_400))


def levels(use: Random, start: datetime, days: int, most: int) -> tuple[Level, ...]:
    changes = [Level(start - timedelta(days=2), use.randrange(1, most))]
    level = changes[0].delta
    moments = sorted(after(use, start, days) for _ in range(use.randrange(0, 12)))
    for at in moments:
        target = use.choice(ROUND) if most < 100 else use.randrange(0, most)
        changes.append(Level(at, target - level))
        level = target
    return tuple(changes)


def events(use: Random, start: datetime, days: int, currency: str) -> tuple[Sent, ...]:
    sent = []
    for _ in range(use.choice((0, 5, 30))):
        at = after(use, start, days)
        late = use.choice((0, 0, 0, 3600, 5 * 86_400))
        value = Decimal(use.randrange(60_000)).scaleb(-use.choice((0, 1, 3)))
        sent.append(Sent(at, at + timedelta(seconds=late), value, use.choice("abc")))
    return tuple(sorted(sent, key=lambda event: event.at))


def stragglers(late: Random, start: datetime, days: int) -> tuple[Sent, ...]:
    """Events that come up to five weeks after they happened."""
    found = []
    for _ in range(late.choice((1, 4, 12))):
        at = after(late, start, days)
        value = Decimal(late.randrange(60_000)).scaleb(-late.choice((0, 1, 3)))
        weeks = timedelta(seconds=late.randrange(1, 35 * 86_400))
        found.append(Sent(at, at + weeks, value, late.choice("abc")))
    return tuple(sorted(found, key=lambda event: event.at))


def corrected(fixes: Random, events: tuple[Sent, ...]) -> tuple[Sent, ...]:
    """Some say another amount, customer or time, soon after they came or months later."""
    found = []
    for sent in events:
        said, at, made = sent, sent.received_at, []
        while fixes.random() < 0.2:
            at += timedelta(seconds=fixes.randrange(1, fixes.choice((1, 40, 160)) * 86_400))
            if fixes.random() < 0.3:
                made.append((at, None))
                break
            said = _amended(fixes, said, at)
            made.append((at, said))
        found.append(replace(sent, fixes=tuple(made)))
    return tuple(found)


def _amended(fixes: Random, said: Sent, at: datetime) -> Sent:
    """One thing becomes another; an event can move to where a new one would be taken at `at`."""
    what = fixes.choice(("value", "value", "customer", "time"))
    if what == "value":
        return replace(said, value=said.value + fixes.randrange(1, 50_000))
    if what == "customer":
        return replace(said, customer=fixes.choice("abc".replace(said.customer, "")))
    moved = said.at + timedelta(seconds=fixes.randrange(-40 * 86_400, 40 * 86_400))
    return replace(said, at=min(max(moved, at - timedelta(days=30)), at))


def unread(time: Random, start: datetime, days: int) -> tuple[Unread, ...]:
    if time.random() < 0.75:
        return ()
    first = (start + timedelta(days=time.randrange(days))).date()
    past = first + timedelta(days=time.randrange(1, 40))
    until = datetime(past.year, past.month, past.day, 5, tzinfo=UTC) + timedelta(days=2)
    return (Unread(first, past, until),)
