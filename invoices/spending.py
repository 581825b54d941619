"""Spending what a tenant has with us on what a bill comes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

CARRIED = "change"
# Before all that people grant, which is 0 at first: it is the customer's own money.
CARRIED_PRIORITY = -1


@dataclass(frozen=True, slots=True)
class Grant:
    """What is left of one grant, in minor units, on the day of a bill."""

    grant_id: UUID
    left_minor: int
    source: str
    expires_on: date | None
    paid_for: bool = False  # money of the customer's own, not a gift


@dataclass(frozen=True, slots=True)
class Use:
    """So much of a grant, used up by one bill."""

    grant: Grant
    amount_minor: int


def carry(*, grants: list[Grant], grant_id: UUID, amount_minor: int) -> None:
    """This function will put what a bill gave back beyond its own sum before all that was granted.

    The next bill may be composed in the same pass: it has to find what a later pass would, and in
    the same order, what was carried over earlier first.
    """
    if amount_minor:
        place = sum(grant.source == CARRIED for grant in grants)
        grants.insert(place, Grant(grant_id, amount_minor, CARRIED, None, paid_for=True))


def spend(*, grants: list[Grant], due_minor: int, bill_on: date) -> list[Use]:
    """This function will use up grants in their order until nothing is due, and shorten the list.

    A grant that expires before the day of the bill is left alone.
    """
    uses: list[Use] = []
    for place, grant in enumerate(grants):
        if due_minor <= 0:
            break
        if grant.expires_on is not None and grant.expires_on <= bill_on:
            continue
        amount = min(due_minor, grant.left_minor)
        if amount > 0:
            uses.append(Use(grant, amount))
            left = grant.left_minor - amount
            grants[place] = replace(grant, left_minor=left)
            due_minor -= amount
    return uses
