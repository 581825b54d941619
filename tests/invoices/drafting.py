"""What tests of drafts share: billing at an hour in Seoul, what came of it, and other settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.config import settings
from app.base.invariants import offences
from invoices import invoicing
from invoices.checks import INVARIANTS
from invoices.models import Invoice, Subscription

START = date(2026, 1, 31)
FINANCE = Actor("staff", "finance")


def seoul(day: date, hour: int = 9) -> datetime:
    """An hour of a day in Seoul."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def bill(session: Session, *subscriptions: Subscription, at: datetime) -> invoicing.Outcome:
    return invoicing.bill(
        control_session=session, subscription_ids=[each.id for each in subscriptions], now=at
    )


def invoices_of(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on, Invoice.created_at)
        )
    )


def states_of(session: Session, subscription: Subscription) -> list[str]:
    return [invoice.state for invoice in invoices_of(session, subscription)]


def broken_rules(session: Session) -> list[Any]:
    session.flush()
    session.expire_all()
    return [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]


def locks_of(session: Session, act: Callable[[], object]) -> list[tuple[str, str]]:
    """What an act locks, one after the other: the table, and how."""
    connection, found = session.connection(), []

    def note(*told: Any) -> None:
        statement = " ".join(told[2].split())
        found.extend(re.findall(r"FROM (\w+) .*?((?:ORDER BY \S+ )?FOR .*)", statement))

    event.listen(connection, "before_cursor_execute", note)
    act()
    event.remove(connection, "before_cursor_execute", note)
    return found


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Changes settings, by their names, for this test."""

    def change(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"TENANTRY_{name.upper()}", str(value))
        settings.cache_clear()

    yield change
    monkeypatch.undo()
    settings.cache_clear()
