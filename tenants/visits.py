"""Visit: page views and actions of a visitor, written in bulk and read back as a trail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.errors import Invalid
from tenants.models import VisitEvent

KINDS = ("page", "action")
UTM_KEYS = ("source", "medium", "campaign", "term", "content")
# Under this name the doors keep records until they are written in bulk; older ones win when the
# list is full.
BUFFER = "visits"
BUFFER_LENGTH_MAX = 100_000
TRAIL_LENGTH_MAX = 200
_TEXT_LENGTH_MAX = 200
_PAGE_WORD = re.compile(r"[a-z][a-z-]{0,19}")
_ACTION = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


class VisitUnreadable(Invalid):
    """A buffered record is not one of ours."""


@dataclass(frozen=True, slots=True)
class VisitRecord:
    """One page view or action, as it waits in the buffer; no address, no agent, no query."""

    id: UUID
    at: datetime
    visitor_id: UUID
    kind: str
    page: str
    action: str | None = None
    referrer: str | None = None
    utm: dict[str, str] = field(default_factory=dict)
    language: str | None = None

    def as_json(self) -> dict[str, Any]:
        """This function will return the record in types that JSON knows."""
        return asdict(self) | {
            "id": str(self.id),
            "at": self.at.isoformat(),
            "visitor_id": str(self.visitor_id),
        }

    @classmethod
    def from_json(cls, data: Any) -> VisitRecord:
        """This function will read what `as_json` wrote.

        Raises: VisitUnreadable.
        """
        try:
            record = cls(
                **data
                | {
                    "id": UUID(data["id"]),
                    "at": datetime.fromisoformat(data["at"]),
                    "visitor_id": UUID(data["visitor_id"]),
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise VisitUnreadable("A buffered visit can't be read.") from error
        if record.kind not in KINDS or record.at.tzinfo is None:
            raise VisitUnreadable("A buffered visit can't be read.")
        return record


def clean_action(name: str) -> str:
    """This function will return the name of a button as our pages give it.

    Raises: Invalid for anything that is not such a name.
    """
    if not _ACTION.fullmatch(name):
        raise Invalid("An action is named in lower-case letters, digits, dots and dashes.")
    return name


def clean_page(path: str) -> str:
    """This function will return the path of a page without what could name a person.

    Links in mails carry a secret as a part of their path: only short plain words are kept.
    """
    kept = []
    for part in path[:_TEXT_LENGTH_MAX].partition("?")[0].split("/"):
        if part and not _PAGE_WORD.fullmatch(part):
            break
        kept.append(part)
    return "/" + "/".join(filter(None, kept))


def clean_referrer(url: str | None, *, own_host: str) -> str | None:
    """This function will return host and path of where a visitor came from, never the query.

    Our own pages follow from the trail itself, so they are left out.
    """
    try:
        parts = urlsplit((url or "")[:2000])
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or host == own_host.partition(":")[0]:
        return None
    return _printable(f"{host}{parts.path}")


def clean_utm(arguments: Iterable[tuple[str, str]]) -> dict[str, str]:
    """This function will pick the campaign's parameters out of a query: `{source, medium, …}`."""
    known = {f"utm_{key}": key for key in UTM_KEYS}
    return {known[name]: _printable(value) for name, value in arguments if name in known and value}


def _printable(text_: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text_)[
        :_TEXT_LENGTH_MAX
    ]


def store(*, control_session: Session, records: Sequence[VisitRecord]) -> int:
    """This function will write records in one statement and return how many were new.

    A record known already is skipped, so a chunk that is drained twice is written once.
    """
    if not records:
        return 0
    for month in sorted({_month(record.at) for record in records}):
        control_session.execute(
            text("SELECT ensure_month_partition('visit_event'::regclass, :month)"),
            {"month": month},
        )
    stored = control_session.execute(
        insert(VisitEvent)
        .values([asdict(record) for record in records])
        .on_conflict_do_nothing(index_elements=["at", "id"])
        .returning(VisitEvent.id)
    ).all()
    return len(stored)


def _month(at: datetime) -> date:
    return at.date().replace(day=1)


def trail(*, control_session: Session, visitor_id: UUID) -> list[VisitEvent]:
    """This function will return what a visitor did, oldest first, 200 events at most."""
    latest = control_session.scalars(
        select(VisitEvent)
        .where(VisitEvent.visitor_id == visitor_id)
        .order_by(VisitEvent.at.desc(), VisitEvent.id.desc())
        .limit(TRAIL_LENGTH_MAX)
    ).all()
    return list(reversed(latest))


def erase(*, control_session: Session, visitor_ids: Sequence[UUID]) -> None:
    """This function will delete every event of these visitors."""
    control_session.execute(delete(VisitEvent).where(VisitEvent.visitor_id.in_(visitor_ids)))


def erase_old(*, control_session: Session, now: datetime) -> int:
    """This function will drop the months that ended before the retention of visits began."""
    oldest = _month(now - timedelta(days=settings().visit_retention_days))
    return (
        control_session.scalar(
            text("SELECT drop_month_partitions_before('visit_event'::regclass, :month)"),
            {"month": oldest},
        )
        or 0
    )
