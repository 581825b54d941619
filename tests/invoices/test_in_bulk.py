"""A chunk is billed by as many statements as it has tables to read, however many are in it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from invoices import invoicing
from tests.factories import make_readings, make_subscription
from tests.invoices.monthly import START, bill, seoul

NEXT = date(2026, 2, 28)


def chunk(session: Session, count: int) -> list[UUID]:
    """Subscriptions that were billed once, and whose next month was read."""
    made = [make_subscription(session, starts_on=START, now=seoul(START)) for _ in range(count)]
    for each in made:
        make_readings(session, tenant_id=each.tenant_id, start=START, end=NEXT, seats=14)
    bill(session, *made, on=START)
    session.flush()
    found = [each.id for each in made]
    # What the session remembers would not be asked for.
    session.expunge_all()
    return found


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that rows are written into by COPY, from now on."""
    seen: list[str] = []
    copy = psycopg.Cursor.copy

    def noted(cursor: Any, statement: Any, *more: Any, **options: Any) -> Any:
        seen.append(str(statement.as_string(cursor)).split('"')[1])
        return copy(cursor, statement, *more, **options)

    monkeypatch.setattr(psycopg.Cursor, "copy", noted)
    return seen


def test_more_subscriptions_take_no_more_statements(
    control_session: Session, copied: list[str]
) -> None:
    connection, told = control_session.connection(), []

    def note(*given: Any) -> None:
        told.append(given[2])

    found = []
    for count in (2, 9):
        made = chunk(control_session, count)
        told.clear()
        copied.clear()
        event.listen(connection, "before_cursor_execute", note)
        outcome = invoicing.bill(
            control_session=control_session, subscription_ids=made, now=seoul(NEXT)
        )
        event.remove(connection, "before_cursor_execute", note)
        assert len(outcome.issued) == count
        found.append((Counter(told), Counter(copied)))
    (few, few_copied), (many, many_copied) = found
    assert many.total() <= few.total(), many - few
    assert many_copied == few_copied
    assert {"invoice", "invoice_line", "billed_span"} <= many_copied.keys()
