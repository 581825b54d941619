"""The port of a business checker: what is asked of one, and what comes back, in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from app.base.errors import Unavailable

# No call asks about more.
CALL_MAX = 100


class CheckerUnavailable(Unavailable):
    """The checker did not answer, or made no sense: nothing is known by it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a number: `status` is active, suspended, closed or unregistered."""

    status: str
    tax_kind: str = ""
    ended_on: date | None = None


@dataclass(frozen=True, slots=True)
class Business:
    """What a registration certificate says, to be held against the register."""

    number: str
    opened_on: date
    representative: str


class BusinessChecker(Protocol):
    """Somebody who knows the register of businesses."""

    def status(self, *, numbers: Sequence[str]) -> Mapping[str, Found]:
        """This function will ask about at most `CALL_MAX` numbers of ten digits.

        A number that the answer leaves out is not known. Raises: CheckerUnavailable.
        """
        ...

    def validate(self, *, businesses: Sequence[Business]) -> Mapping[str, bool]:
        """This function will tell of each whether the register says the same.

        True of a business that is closed too: ask for its status besides. Raises:
        CheckerUnavailable.
        """
        ...
