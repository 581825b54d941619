"""Which open invoice a deposit is for, by its number, its amount and its payer's name. Pure.

Each of the three gives points. Only a deposit that names one invoice beyond doubt is settled by
itself; every other is left to a person, with what comes nearest.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from app.base.money import Money

NUMBER_POINTS, AMOUNT_POINTS, NAME_POINTS, LIKE_POINTS = 50, 30, 20, 10
# Below this a proposal would only be noise: a name alone that is merely alike.
PROPOSED_FROM = 20
PROPOSALS_MAX = 5
# A bank cuts names off; fewer letters than these in common say nothing.
ALIKE_LETTERS_MIN = 3
_FORMS = re.compile(
    r"\((주|유|사|재|합)\)|주식회사|유한회사|유한책임회사|합자회사|사단법인|재단법인"
    r"|\b(co\.?,?\s*ltd|ltd|inc|llc|corp|gmbh)\b\.?",
)
_NUMBER = re.compile(r"(?:inv)?[^0-9]{0,2}(20[0-9]{2})[^0-9]{0,2}([0-9]{6})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An invoice as matching sees it; `open` is zero for one that is settled already."""

    invoice_id: UUID
    tenant_id: UUID
    number: str
    open: Money
    due_on: date
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An invoice that a deposit may be for, with its points and what gave them."""

    candidate: Candidate
    score: int
    why: tuple[str, ...]  # number | amount | name | alike | more | less | settled


@dataclass(frozen=True, slots=True)
class Book:
    """The candidates, found by what a deposit may say of them."""

    by_number: dict[str, Candidate] = field(default_factory=dict)
    by_amount: dict[Money, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[str, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    by_beginning: dict[str, list[Candidate]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Book:
        """This function will file candidates by number, amount and names."""
        book = cls()
        for each in candidates:
            if number := _number(each.number):
                book.by_number[number] = each
            if not each.open.amount_minor:
                # Settled already: it is found by its number alone.
                continue
            book.by_amount[each.open].append(each)
            for name in {plain_name(name) for name in each.names} - {""}:
                book.by_name[name].append(each)
                book.by_beginning[name[:ALIKE_LETTERS_MIN]].append(each)
        return book


def proposals(*, amount: Money, payer: str, memo: str, book: Book) -> list[Proposal]:
    """This function will list the invoices that a deposit may be for, the likeliest first."""
    named = _number(memo) or _number(payer)
    names = {plain_name(payer), plain_name(memo)} - {""}
    near: dict[UUID, Candidate] = {}
    if named and named in book.by_number:
        near[book.by_number[named].invoice_id] = book.by_number[named]
    for each in book.by_amount.get(amount, ()):
        near[each.invoice_id] = each
    for name in names:
        for each in (*book.by_name.get(name, ()), *book.by_beginning.get(name[:3], ())):
            near[each.invoice_id] = each
    found = [
        proposal
        for each in near.values()
        if each.open.currency == amount.currency
        and (proposal := _weigh(each, amount, names, named)).score >= PROPOSED_FROM
    ]
    found.sort(key=lambda p: (-p.score, p.candidate.due_on, p.candidate.number))
    return found[:PROPOSALS_MAX]


def certain(found: Sequence[Proposal]) -> Proposal | None:
    """This function will return the one proposal that is beyond doubt, if there is one.

    The exact amount, and the invoice's number or the payer's exact name. Of several that are
    equally good the oldest is meant if all are of one company; otherwise a person decides.
    """
    if not found:
        return None
    best = found[0]
    exact = "amount" in best.why and ("number" in best.why or "name" in best.why)
    rivals = {p.candidate.tenant_id for p in found if p.score == best.score}
    return best if exact and len(rivals) == 1 else None


def _weigh(each: Candidate, amount: Money, names: set[str], named: str | None) -> Proposal:
    why: list[str] = []
    score = 0
    if named is not None and named == _number(each.number):
        score, why = score + NUMBER_POINTS, [*why, "number"]
    if not each.open.amount_minor:
        why.append("settled")
    elif amount == each.open:
        score, why = score + AMOUNT_POINTS, [*why, "amount"]
    else:
        why.append("more" if amount.amount_minor > each.open.amount_minor else "less")
    theirs = {plain_name(name) for name in each.names} - {""}
    if names & theirs:
        score, why = score + NAME_POINTS, [*why, "name"]
    elif any(_alike(a, b) for a in names for b in theirs):
        score, why = score + LIKE_POINTS, [*why, "alike"]
    return Proposal(each, score, tuple(why))


def plain_name(text: str) -> str:
    """This function will return a company's name without its legal form, blanks and signs."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in _FORMS.sub("", normal) if letter.isalnum())


def _alike(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return len(short) >= ALIKE_LETTERS_MIN and long.startswith(short)


def _number(text: str) -> str | None:
    found = _NUMBER.search(unicodedata.normalize("NFKC", text).casefold())
    return f"{found[1]}{found[2]}" if found else None
