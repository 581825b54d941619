"""`flask bill --as-of DATE --dry-run`: each bill beside the one before it, odd ones first."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from click.testing import CliRunner
from sqlalchemy import func, select

from app.base.db import control_session
from app.cli.bill import bill_command
from invoices import invoicing
from invoices.models import Invoice
from tests.conftest import Scenario
from tests.factories import make_readings, make_subscription, make_tenant

START, NEXT = date(2026, 1, 31), date(2026, 2, 28)
ASKED = ("--as-of", NEXT.isoformat(), "--dry-run")


def billed_once() -> None:
    """Two customers who have had their first bill, of whom one's days were read since."""
    with control_session() as session:
        for name in ("읽은곳", "못읽은곳"):
            tenant = make_tenant(session, state="active", name=name)
            made = make_subscription(session, tenant=tenant, starts_on=START)
            if name == "읽은곳":
                make_readings(session, tenant_id=tenant.id, start=START, end=NEXT, seats=14)
            invoicing.bill(
                control_session=session,
                subscription_ids=[made.id],
                now=datetime(2026, 1, 31, 3, tzinfo=UTC),
            )


def test_shows_the_difference_for_each_and_in_total_and_writes_nothing(scenario: Scenario) -> None:
    billed_once()
    said = CliRunner().invoke(bill_command, ASKED)
    assert said.exit_code == 0, said.output
    odd, usual, total = said.output.splitlines()
    assert odd.startswith("! 2026-02-28")
    assert "못읽은곳  waits for seats: 2026-01-31" in odd
    # 190,000 and four seats above ten at 15,000, with VAT; the first bill had no seats in it.
    assert usual.split()[:6] == [
        "2026-02-28",
        "₩275,000",
        "before",
        "₩209,000",
        "₩66,000",
        "읽은곳",
    ]
    assert total.startswith("= 1 bill")
    assert "₩275,000, before ₩209,000, ₩66,000 more" in total
    told: list[Any] = [
        json.loads(line)
        for line in CliRunner().invoke(bill_command, [*ASKED, "--json"]).output.splitlines()
    ]
    assert [each.get("name") for each in told] == ["못읽은곳", "읽은곳", None]
    assert [told[place]["difference_minor"] for place in (1, 2)] == [66_000, 66_000]
    with control_session() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 2


def test_bills_nobody_by_hand() -> None:
    refused = CliRunner().invoke(bill_command, ["--as-of", NEXT.isoformat()])
    assert (refused.exit_code, "Say --dry-run" in refused.output) == (2, True)
