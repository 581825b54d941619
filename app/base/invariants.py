"""Named rules over the whole database, each a query that returns the rows that break it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base.db import usage_session

OFFENCES_MAX = 200

Found = Iterator[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Offence:
    """A row that breaks a rule: what it is, its id, and what is wrong with it."""

    invariant: str
    kind: str
    id: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule by its code (`I3`) and name; `sql` selects (kind, id, wrong) of what breaks it.

    The query may use `:now`. Where a rule needs our own code over every row, `look` yields the
    same three instead; `look_at_usage` does it with control's session and that of pushed usage.
    """

    code: str
    name: str
    says: str
    sql: str = ""
    look: Callable[[Session], Found] | None = None
    look_at_usage: Callable[[Session, Session], Found] | None = None


def offences(
    *, control_session: Session, invariant: Invariant, now: datetime, limit: int = OFFENCES_MAX
) -> list[Offence]:
    """This function will return what breaks one rule, up to `limit` rows."""
    rows: Iterable[Any]
    if invariant.look_at_usage is not None:
        with usage_session() as usage:
            rows = list(islice(invariant.look_at_usage(control_session, usage), limit))
    elif invariant.look is not None:
        rows = islice(invariant.look(control_session), limit)
    else:
        query = f"SELECT kind, id::text, wrong FROM ({invariant.sql}) AS found LIMIT :most"  # noqa: S608 - our own text
        parameters: dict[str, Any] = {"most": limit}
        if ":now" in invariant.sql:
            parameters["now"] = now
        rows = control_session.execute(text(query), parameters)
    return [Offence(invariant.code, kind, str(row_id), wrong) for kind, row_id, wrong in rows]
