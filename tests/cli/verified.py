"""Bills to verify, what is planted behind them, and what the command says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from click.testing import CliRunner
from sqlalchemy import select

from app.base.db import control_session
from app.cli.verify import verify_command
from invoices import invoicing
from invoices.models import Invoice
from tests.conftest import Scenario, administrator
from tests.factories import NOW, make_readings, make_subscription

START = date(2026, 1, 31)


AFTER = datetime(2026, 4, 1, 3, 0, tzinfo=UTC)


LINE = (
    " FROM invoice i WHERE i.id = l.invoice_id AND i.number_text = %(number)s"
    " AND l.charge = %(charge)s"
)


@dataclass
class Bills:
    """Two tenants with three bills each: the first ahead, the others with what was used."""

    scenario: Scenario
    tenant: UUID
    numbers: list[str]

    def plant(self, statement: str, **values: object) -> None:
        """Change as the superuser what triggers refuse to everybody else."""
        with administrator(self.scenario.database) as connection:
            connection.execute("SET session_replication_role = replica")
            done = connection.execute(statement, values)  # type: ignore[arg-type]
            assert done.rowcount > 0, "nothing was planted"


def bill(subscription_id: UUID, now: datetime) -> None:
    with control_session() as session:
        outcome = invoicing.bill(
            control_session=session, subscription_ids=[subscription_id], now=now
        )
        assert not outcome.blocked


def make_bills(scenario: Scenario) -> Bills:
    """This function will bill two tenants three times each."""
    with control_session() as session:
        subscriptions = []
        for _ in range(2):
            subscription = make_subscription(session, starts_on=START, now=NOW)
            make_readings(
                session,
                tenant_id=subscription.tenant_id,
                start=START,
                end=date(2026, 4, 30),
                seats=[14 + day % 3 for day in range(89)],
                gigabytes=Decimal("337.5"),
            )
            subscriptions.append(subscription)
    for subscription in subscriptions:
        bill(subscription.id, AFTER)
    with control_session() as session:
        numbers = session.scalars(
            select(Invoice.number_text)
            .where(Invoice.tenant_id == subscriptions[0].tenant_id)
            .order_by(Invoice.supplied_on)
        ).all()
    assert len(numbers) == 3
    return Bills(scenario, subscriptions[0].tenant_id, [str(number) for number in numbers])


def verify(*arguments: str) -> tuple[int, dict[str, list[tuple[int | None, str, str, str]]], Any]:
    """Run the command: its end, what differs by invoice, and its counts."""
    result = CliRunner().invoke(verify_command, ["--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    *verdicts, counts = (json.loads(line) for line in result.stdout.splitlines())
    return (
        result.exit_code,
        {
            verdict["number"]: [
                (each["line"], each["what"], each["expected"], each["found"])
                for each in verdict["differences"]
            ]
            for verdict in verdicts
            if verdict["differences"]
        },
        counts,
    )
