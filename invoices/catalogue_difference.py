"""What changes from one price list to another, value by value, in the words of the file. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from invoices.catalogue_file import entry_of
from invoices.plan_terms import PlanTerms

# These are the plan's own, not a version's: changing them publishes nothing.
_OUTSIDE = ("plan", "currency", "position")
_LABELS = ("charge",)


@dataclass(frozen=True, slots=True)
class Change:
    """One value of the file, before and after; None is where there is none."""

    path: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"+ {self.path}: {self.new}"
        if self.new is None:
            return f"- {self.path}: {self.old}"
        return f"~ {self.path}: {self.old} → {self.new}"


def changes(old: PlanTerms | None, new: PlanTerms) -> list[Change]:
    """This function will list every value in which a plan's terms differ, in the file's order.

    Nothing differs exactly when publishing would make no version.
    """
    before = dict(_values(old)) if old else {}
    after = dict(_values(new))
    paths = [*after, *(path for path in before if path not in after)]
    found = [
        Change(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    ]
    if old and not found and old.charges != new.charges:
        order = [", ".join(each.code for each in terms.charges) for terms in (old, new)]
        found.append(Change("charges", order[0], order[1]))
    return found


def _values(terms: PlanTerms) -> Iterator[tuple[str, str]]:
    entry = {name: value for name, value in entry_of(terms).items() if name not in _OUTSIDE}
    yield from _flat("", entry)


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(f"{path}.{name}" if path else name, each)
    elif isinstance(value, list) and value:
        for number, each in enumerate(value, 1):
            label = _label(each) or number
            yield from _flat(f"{path}.{label}", each)
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def _label(value: Any) -> str | None:
    found = (value[name] for name in _LABELS if isinstance(value, dict) and name in value)
    return next(found, None)
