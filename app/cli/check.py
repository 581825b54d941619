"""`flask check`: the invariants over the whole database; ends with 1 and names what breaks them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from sqlalchemy import text

from app.base import clock, invariants
from app.base.db import control_session
from app.base.invariants import Invariant


@click.command("check")
@click.option("--list", "listing", is_flag=True, help="Name the invariants and check nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--only", multiple=True, metavar="CODE", help="Check these alone, such as I3.")
def check_command(*, listing: bool, as_json: bool, only: tuple[str, ...]) -> None:
    """Assert every invariant of the books, papers and tenants."""
    chosen = [one for one in all_invariants() if not only or one.code in only]
    if only and not chosen:
        raise click.ClickException("No invariant has that code; see flask check --list.")
    if listing:
        for one in chosen:
            line = {"code": one.code, "name": one.name, "says": one.says}
            click.echo(json.dumps(line) if as_json else f"{one.code:<4} {one.name}: {one.says}")
        return
    found = 0
    for one in chosen:
        # One snapshot for each rule: money in flight is either before or after, never halfway.
        with control_session() as session:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            broken = invariants.offences(control_session=session, invariant=one, now=clock.now())
        found += len(broken)
        if as_json:
            lines = [asdict(offence) for offence in broken]
            click.echo(
                json.dumps(
                    {"code": one.code, "name": one.name, "ok": not broken, "offences": lines}
                )
            )
            continue
        click.echo(f"{one.code:<4} {'ok ' if not broken else 'BROKEN'} {one.name}")
        for offence in broken:
            click.echo(f"       {offence.kind} {offence.id}: {offence.wrong}")
    if not as_json:
        click.echo("every invariant holds" if not found else f"{found} rows break an invariant")
    sys.exit(1 if found else 0)


def all_invariants() -> list[Invariant]:
    """This function will return every rule, in the order of their codes."""
    from invoices import checks as invoices_checks  # noqa: PLC0415 - loaded by this command alone
    from tenants import checks as tenants_checks  # noqa: PLC0415 - likewise

    rules = [*invoices_checks.INVARIANTS, *tenants_checks.INVARIANTS]
    return sorted(rules, key=lambda rule: (int(rule.code[1:]), rule.name))
