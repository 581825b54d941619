"""What corrects earlier bills is found by the customer's invoices, never by reading everybody's."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.base import ids
from invoices import billed_commitments, discounted_bills
from invoices.models import BilledSpan
from tests.invoices.metered import bill, subscribe

# Every row is read, of the table or of an index of it.
WHOLE = re.compile(
    r"Seq Scan on (invoice|billed_span)"
    r"|Index Scan using \S+ on (invoice|billed_span)[^\n]*\n\s+(Filter|->)"
)


def plans(session: Session, ask: Callable[[], object]) -> list[str]:
    """How PostgreSQL goes about each statement where it may not read a whole table."""
    connection, asked = session.connection(), []

    def note(*told: Any) -> None:
        asked.append(told[2:4])

    event.listen(connection, "before_cursor_execute", note)
    ask()
    event.remove(connection, "before_cursor_execute", note)
    session.execute(text("SET LOCAL enable_seqscan = off"))
    return [
        "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", told).scalars())
        for statement, told in asked
    ]


@pytest.mark.parametrize("what", ["commitments", "commitments of a void", "discounts"])
def test_they_are(control_session: Session, what: str) -> None:
    subscription = subscribe(control_session, minimum=20_000)
    bill(control_session, subscription, date(2026, 4, 1))
    span = control_session.query(BilledSpan).first()
    assert span is not None
    asks: dict[str, Callable[[], object]] = {
        "commitments": lambda: billed_commitments.read(
            control_session=control_session,
            timezones={},
            items={},
            subscription_ids={ids.uuid7()},
        ),
        "commitments of a void": lambda: billed_commitments.corrected_by(
            control_session=control_session, invoice_id=span.invoice_id
        ),
        "discounts": lambda: discounted_bills.read(
            control_session=control_session, keys={(span.item_id, span.span.lower)}
        ),
    }
    found = plans(control_session, asks[what])
    assert found
    for plan in found:
        assert not WHOLE.search(plan), plan
