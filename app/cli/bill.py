"""`flask bill --as-of DATE --dry-run`: what the billing run would do, without doing it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
from sqlalchemy import text

from app.base import clock
from app.base.config import settings
from app.base.db import control_session, usage_session
from app.base.money import Money


@click.command("bill")
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Everything due by the end of this day; today without it.",
)
@click.option("--dry-run", is_flag=True, help="Compose and print, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def bill_command(*, as_of: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Show each bill that is due with the one before it, those to look at first."""
    from invoices import rehearsal  # noqa: PLC0415 - loaded by this command alone

    if not dry_run:
        raise click.UsageError(
            "The workers bill by themselves. Say --dry-run to see what they would do."
        )
    day = as_of.date() if as_of else clock.today(clock.now(), settings().contract_timezone)
    with control_session() as session, usage_session() as usage:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        found = rehearsal.rehearse(control_session=session, usage_session=usage, as_of=day)
    for line in _as_json(found) if as_json else _as_text(found):
        click.echo(line)
    sys.exit(0)


def _as_json(found: Any) -> Iterator[str]:
    for each in found.bills:
        yield json.dumps(
            {
                "tenant": str(each.tenant_id),
                "name": each.tenant_name,
                "day": each.bill_on.isoformat(),
                "currency": each.currency,
                "total_minor": each.total_minor,
                "before_minor": each.before_minor,
                "difference_minor": each.difference_minor,
                "held_because": each.reason,
                "waits_for": each.waits_for or None,
                "draft": str(each.draft_id) if each.draft_id else None,
            },
            ensure_ascii=False,
        )
    for currency, (bills, total, before) in found.totals().items():
        yield json.dumps(
            {
                "currency": currency,
                "bills": bills,
                "total_minor": total,
                "before_minor": before,
                "difference_minor": total - before,
            }
        )


def _as_text(found: Any) -> Iterator[str]:
    for each in found.bills:
        total, difference = (
            str(Money(amount, each.currency))
            for amount in (each.total_minor, each.difference_minor)
        )
        before = "–" if each.before_minor is None else str(Money(each.before_minor, each.currency))
        note = each.waits_for and f"waits for {each.waits_for}"
        if each.reason is not None:
            note = f"held: {json.dumps(each.reason, ensure_ascii=False)}"
        mark = "!" if each.odd else " "
        yield (
            f"{mark} {each.bill_on} {total:>16} before {before:>16} {difference:>16}"
            f"  {each.tenant_name}{'  ' + note if note else ''}"
        )
    if not found.bills:
        yield "nothing is due"
    for currency, (bills, total, before) in found.totals().items():
        yield (
            f"= {bills} bills in {currency}: {Money(total, currency)},"
            f" before {Money(before, currency)}, {Money(total - before, currency)} more"
        )
