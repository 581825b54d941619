"""`flask catalogue`: the price list as a file: write it, compare it, publish it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.errors import TenantryError
from invoices import catalogue, catalogue_changes, catalogue_file, plan_moves
from invoices.catalogue_changes import Difference, Step
from invoices.catalogue_file import CatalogueFile, CatalogueUnsound
from invoices.plan_moves import Move, Moves

CHANGED = 2
AT_ONCE = 50
_TITLES = {
    "new_plan": "+ {plan} {currency}: new, version {version}",
    "new_version": "~ {plan} {currency}: version {version}",
    "position": "~ {plan}",
    "retire": "- {plan}: retired, offered to nobody new",
    "restore": "+ {plan}: offered again",
}


@click.group("catalogue")
def catalogue_commands() -> None:
    """Keep plans and prices in a file: export, plan, apply, move."""


@catalogue_commands.command("export")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def export(*, file: Path | None) -> None:
    """Write the price list in force as YAML, to FILE or to the screen."""
    with control_session() as session:
        stored = catalogue_changes.stored(control_session=session)
        written = catalogue_file.write(
            stored, remarks=catalogue_changes.remarks(control_session=session)
        )
    if file is None:
        click.echo(written, nl=False)
        return
    file.write_text(written, encoding="utf-8")
    click.echo(f"{len(stored.plans)} plans written to {file}")


@catalogue_commands.command("plan")
@click.argument("file", type=click.Path(path_type=Path))
def plan(*, file: Path) -> None:
    """Show what publishing FILE would change and whom it touches; change nothing.

    Ends with 0 when nothing would change, with 2 when something would, with 1 when the file has
    faults: each is named with its line, column and field.
    """
    with control_session() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        try:
            found = catalogue_changes.difference(
                control_session=session, wanted=_read(session, file)
            )
        except TenantryError as error:
            raise click.ClickException(error.message) from error
    _show(found)
    sys.exit(CHANGED if found.steps else 0)


@catalogue_commands.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
def apply(*, file: Path) -> None:
    """Publish FILE: all of it or, when it has a fault, nothing.

    Versions that are published never change; whoever is on one stays on it until they are moved.
    Applying the same file again changes nothing. Ends with 0, or with 1 when the file has faults.
    """
    try:
        with control_session() as session:
            found = catalogue_changes.apply(
                control_session=session,
                wanted=_read(session, file),
                actor=SYSTEM,
                now=clock.now(),
            )
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    _show(found)
    if found.steps:
        click.echo("published")


@catalogue_commands.command("move")
@click.argument("plan_code", metavar="PLAN")
@click.option("--currency", default="KRW", show_default=True)
@click.option("--from", "from_version", type=click.IntRange(1), required=True)
@click.option("--to", "to_version", type=click.IntRange(1), required=True)
@click.option("--on", "on", type=click.DateTime(["%Y-%m-%d"]), required=True, metavar="DATE")
@click.option("--notice-days", type=click.IntRange(0), default=30, show_default=True)
@click.option("--dry-run", is_flag=True, help="Show who would be moved and when; write nothing.")
def move(
    *,
    plan_code: str,
    currency: str,
    from_version: int,
    to_version: int,
    on: datetime,
    notice_days: int,
    dry_run: bool,
) -> None:
    """Move subscribers of PLAN from one version to another, with notice.

    Each changes over with the first billing period that begins on DATE or later, and their admins
    get a mail with the old and the new price, the day and how to cancel. Moving the same people
    again changes nothing.
    """
    wanted = Move(
        plan_code=plan_code,
        currency=currency,
        from_version=from_version,
        to_version=to_version,
        on=on.date(),
        notice_days=notice_days,
    )
    found = Moves()
    try:
        with control_session() as session:
            tenants = plan_moves.subscribers(control_session=session, move=wanted, now=clock.now())
        for first in range(0, len(tenants), AT_ONCE):
            _move(wanted, tenants[first : first + AT_ONCE], found, dry_run)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    for each in found.moved:
        click.echo(f"{each.moves_on} {each.tenant_name}")
    for other in found.left:
        click.echo(f"left {other.tenant_name}: {other.why}")
    asked = sum(each.asked for each in found.moved)
    moved = len(found.moved) - asked
    words = ("would be moved", "would be asked") if dry_run else ("moved and told", "asked")
    click.echo(f"{moved} {words[0]}, {asked} {words[1]}, {len(found.left)} left as they are")


def _move(wanted: Move, tenants: list[UUID], found: Moves, dry_run: bool) -> None:
    """A few subscribers in one transaction, so that none of them waits for all the others."""
    with control_session() as session:
        for tenant_id in tenants:
            plan_moves.schedule(
                control_session=session,
                move=wanted,
                tenant_id=tenant_id,
                actor=SYSTEM,
                now=clock.now(),
                found=found,
            )
        if dry_run:
            session.rollback()


def _read(session: Session, file: Path) -> CatalogueFile:
    """This function will read a file, or end the command with all its faults, one a line."""
    try:
        written = file.read_text(encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file} can't be read: it is no text in UTF-8.") from error
    try:
        return catalogue_file.read(written, meters=catalogue.meters(control_session=session))
    except CatalogueUnsound as error:
        for fault in error.faults:
            click.echo(f"{file}: {fault}", err=True)
        raise click.ClickException(f"{len(error.faults)} faults; nothing was changed.") from error


def _show(found: Difference) -> None:
    for step in found.steps:
        for line in _lines(step):
            click.echo(line)
    if found.unmentioned:
        click.echo(f"not in the file, left as they are: {', '.join(found.unmentioned)}")
    if not found.steps:
        click.echo("nothing changes")


def _lines(step: Step) -> Iterator[str]:
    yield _TITLES[step.kind].format(
        plan=step.plan_code, currency=step.currency, version=step.version
    )
    for change in step.changes:
        yield f"    {change}"
    for each in step.in_use:
        who = "1 subscriber is" if each.subscribers == 1 else f"{each.subscribers} subscribers are"
        stay = "stays" if each.subscribers == 1 else "stay"
        yield f"    {who} on version {each.version} and {stay} on it"
