"""Commitments: what counts towards the minimum agreed upon for a period, also afterwards. Pure.

Usage that comes late belongs to the period in which it was used, whatever bill it stands on: a
commitment that is billed later counts it, and one that is billed already is worked out again, so
that nobody pays for usage that the minimum has paid for.

Source: docs/decisions/late-usage-counts-where-it-was-used.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from invoices.bill_lines import CORRECTED, BillLine, Corrects, named, names_of, plain
from invoices.schedule import Span


class Asked(NamedTuple):
    """What was asked for, or given back, for `[start, end)` of an item's time."""

    item_id: UUID
    start: datetime
    end: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """A commitment as it was billed last: what was agreed, reached, and asked for on top of that.

    `invoice` is the number of the bill that asked for it first.
    """

    span: Span
    committed_minor: int
    reached_minor: int
    asked_minor: int
    invoice: str

    def with_(self, changed: Iterable[Asked]) -> ToppedUp:
        """This function will work the same commitment out again after some usage changed."""
        reached_minor = self.reached_minor + sum(
            each.amount_minor for each in changed if counts(self.span, each.start, each.end)
        )
        asked_minor = max(0, self.committed_minor - reached_minor)
        return replace(self, reached_minor=reached_minor, asked_minor=asked_minor)


def tops_up(span: Span) -> bool:
    """This function will tell whether a span is a commitment's."""
    return span.item.charge.kind == "commitment"


def counts(commitment: Span, start: datetime, end: datetime) -> bool:
    """This function will tell whether what was asked for a time counts towards a commitment.

    It counts where it begins, if it reaches no further than the commitment's whole period.
    """
    return commitment.start <= start < commitment.end and end <= commitment.period_ends_at


def reached(commitment: Span, billed: Sequence[Asked]) -> int:
    """This function will sum up what a commitment's period was charged for, credits taken off.

    What is given back, or corrected, counts where its charge does: both have one item and one end,
    and the charge begins first. So a change halfway leaves to each side what its own charges come
    to.
    """
    begun: dict[tuple[UUID, datetime], datetime] = {}
    for each in billed:
        key = each.item_id, each.end
        begun[key] = min(begun.get(key, each.start), each.start)
    return sum(
        each.amount_minor
        for each in billed
        if counts(commitment, begun[each.item_id, each.end], each.end)
    )


def changes(adjustments: Iterable[BillLine]) -> list[Asked]:
    """This function will return what corrections of usage ask for, and for which time."""
    return [
        Asked(
            line.adjustment.item_id,
            line.adjustment.total.start,
            line.adjustment.total.end,
            line.amount_minor,
        )
        for line in adjustments
        if line.adjustment is not None
    ]


def anew(
    *,
    changed: Sequence[Asked],
    topped: list[ToppedUp],
    currency: str,
) -> Iterator[BillLine]:
    """This function will ask for what billed minimums lack by now, less what they asked for then.

    `topped` is brought up to date.
    """
    for place, was in enumerate(topped):
        is_ = topped[place] = was.with_(changed)
        if is_.asked_minor == was.asked_minor:
            continue
        item = was.span.item
        evidence = {
            "rule": "topped_up_anew",
            "invoice": was.invoice,
            "item": str(item.item_id),
            "from": was.span.start.astimezone(UTC).isoformat(),
            "committed_minor": is_.committed_minor,
            "reached_minor": is_.reached_minor,
            "was_minor": was.asked_minor,
            "is_minor": is_.asked_minor,
        }
        period = was.span.stretch.shown
        amount_minor = is_.asked_minor - was.asked_minor
        yield replace(
            plain("adjustment", amount_minor, period, currency, evidence),
            charge=item.charge.code,
            names=named(CORRECTED, names_of(item.charge)),
            price_id=item.price_id,
            corrects=Corrects(was.span, was.asked_minor, is_.asked_minor),
        )
