"""`flask reconcile --date DAY`: a day of gateways' books held against ours, here and now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import click

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import TenantryError
from app.base.money import Money

SHOWN_MAX = 1_000


@click.command("reconcile")
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day, with the week before it; yesterday without it.",
)
@click.option("--account", help="The code of one merchant account; all without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def reconcile_command(*, day: datetime | None, account: str | None, as_json: bool) -> None:
    """Hold what gateways say of a day against our books, and list the open differences.

    It ends with 1 where differences are open, and with 2 where a gateway could not be asked.
    """
    from invoices import reconciliation  # noqa: PLC0415 - loaded by this command alone

    now = clock.now()
    today = clock.today(now, settings().contract_timezone)
    asked = day.date() if day else today - timedelta(days=1)
    if asked > today:
        raise click.BadParameter("no gateway knows the future", param_hint="--date")
    with control_session() as session:
        codes = [account] if account else reconciliation.accounts(control_session=session)
    unasked, open_ = 0, 0
    for code in codes:
        try:
            found = _held_against(code, asked, now)
        except TenantryError as error:
            unasked += 1
            found = {"account": code, "date": asked.isoformat(), "error": error.message}
        open_ += len(found.get("differences", ()))
        click.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(_told(found)))
    sys.exit(2 if unasked else int(open_ > 0))


def _held_against(code: str, day: Any, now: datetime) -> dict[str, Any]:
    from invoices import reconciliation  # noqa: PLC0415 - likewise
    from jobs.reconciliation import reconcile  # noqa: PLC0415 - likewise

    with control_session() as session:
        day_id = reconciliation.ask(control_session=session, gateway=code, day=day, now=now)
    new = reconcile(day_id)
    with control_session() as session:
        open_ = reconciliation.work_list(control_session=session, gateway=code, limit=SHOWN_MAX)
        return {
            "account": code,
            "date": day.isoformat(),
            "new_lines": new,
            "differences": [
                {
                    "id": str(each.id),
                    "day": each.day.isoformat(),
                    "kind": each.kind,
                    "cause": each.cause,
                    "amount_minor": each.amount_minor,
                    "currency": each.currency,
                    "payment": str(each.payment_id) if each.payment_id else None,
                }
                for each in open_
            ],
        }


def _told(found: dict[str, Any]) -> Iterator[str]:
    if "error" in found:
        yield f"{found['account']}  {found['date']}  NOT ASKED: {found['error']}"
        return
    differences = found["differences"]
    yield (
        f"{found['account']}  {found['date']}  {found['new_lines']} new lines, "
        f"{len(differences)} open differences"
    )
    for each in differences:
        amount = Money(each["amount_minor"], each["currency"])
        yield f"  {each['day']}  {each['kind']:<14} {each['cause']:<22} {amount}  {each['id']}"
