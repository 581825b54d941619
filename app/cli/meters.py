"""`flask meters`: declare what is counted, look at it, and try it on real data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import yaml
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from app.base.errors import TenantryError
from app.cli import meter_prices
from invoices.periods import Period
from tenants import databases, live_usage, meter_definitions, metering, meters, rollups, sql_meters
from tenants.event_bodies import plain
from tenants.meter_definitions import MeterDefinition
from tenants.models import Tenant
from tenants.replay import DayReading

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group("meters")
def meters_commands() -> None:
    """Declare meters in a file, and try them: list, show, declare, try, read-again, rebuild."""


@meters_commands.command("list")
def list_() -> None:
    """Every meter in its newest version."""
    with control_session() as session:
        every = meters.current(control_session=session)
    for code in sorted(every):
        each = every[code]
        click.echo(f"{code:<24} v{each.version:<3} {_said(each):<40} {each.unit}")


def _said(definition: MeterDefinition) -> str:
    if definition.source != "events":
        return definition.source
    value = f" of {definition.value}" if definition.value else ""
    return f"{definition.aggregation}{value}, {definition.event_type}"


@meters_commands.command("show")
@click.argument("code")
def show(*, code: str) -> None:
    """Every version of the meter CODE, newest first."""
    with control_session() as session, _told():
        newest = meters.definitions(control_session=session, codes=[code])[code]
        rows = meters.history(control_session=session, code=code)
    click.echo(json.dumps(meter_definitions.facts(newest), ensure_ascii=False, indent=2))
    for row in rows:
        click.echo(f"v{row.version}  {row.declared_at:%Y-%m-%d %H:%M}  {row.declared_by}")


@meters_commands.command("declare")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def declare(*, file: Path) -> None:
    """Declare the meters of FILE; what is equal stays, what differs becomes the next version."""
    with control_session() as session, _told():
        done = meters.declare(
            control_session=session,
            definitions=meters.read_all(_decoded(file)),
            actor=SYSTEM,
            now=clock.now(),
        )
    for each in done:
        state = "declared" if each.changed else "as it was"
        click.echo(f"{each.definition.code:<24} v{each.definition.version:<3} {state}")


@meters_commands.command("try")
@click.argument("code")
@click.option("--tenant", "name", required=True, help="The tenant's id or short name.")
@click.option("--from", "first", required=True, type=_DAY, help="The first day.")
@click.option("--to", "last", required=True, type=_DAY, help="The last day.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Try the meter as this file has it; nothing is declared.",
)
def try_(*, code: str, name: str, first: datetime, last: datetime, file: Path | None) -> None:
    """Count the meter CODE over some days of a tenant, and price it by the tenant's plan."""
    if first > last:
        raise click.UsageError("--from lies after --to.")
    days = Period(first.date(), last.date() + timedelta(days=1))
    with control_session() as session, usage_session() as usage, _told():
        definition = _chosen(session, code, file)
        tenant = _tenant(session, name)
        if definition.source == "events":
            _show_events(usage, definition, tenant, days)
            find = meter_prices.of_events(
                usage_session=usage, definition=definition, tenant=tenant, days=days
            )
        else:
            find = meter_prices.of_readings(_of_days(session, definition, tenant, days))
        for line in meter_prices.lines(
            control_session=session, tenant=tenant, definition=definition, days=days, find=find
        ):
            click.echo(line)


def _chosen(control: Session, code: str, file: Path | None) -> MeterDefinition:
    if file is None:
        return meters.definitions(control_session=control, codes=[code])[code]
    for each in meters.read_all(_decoded(file)):
        if each.code == code:
            return each
    raise click.ClickException(f"{file} declares no meter {code}.")


def _tenant(control: Session, name: str) -> Tenant:
    try:
        known = or_(Tenant.id == UUID(name), Tenant.slug == name)
    except ValueError:
        known = Tenant.slug == name
    found = control.scalar(select(Tenant).where(known))
    if found is None:
        raise click.ClickException(f"No tenant is called {name}.")
    return found


def _show_events(usage: Session, definition: MeterDefinition, tenant: Tenant, days: Period) -> None:
    (course,) = live_usage.courses(
        usage_session=usage,
        definitions=[definition],
        tenant_id=tenant.id,
        first=days.start,
        last=days.end - timedelta(days=1),
        step="day",
        timezone=tenant.timezone,
    )
    for day, point in zip(days.each_day(), course.points, strict=True):
        click.echo(f"{day}  {plain(point.quantity):>20}  {point.transactions} events")
    click.echo(f"total       {plain(course.quantity):>20}  {course.transactions} events")


def _of_days(
    control: Session, definition: MeterDefinition, tenant: Tenant, days: Period
) -> list[DayReading]:
    """A number a day; what a period comes to is for the charge to say, so nothing is summed."""
    listed = list(days.each_day())
    why: dict[date, str] = {}
    if definition.source == "sql":
        taken, failed = sql_meters.read_days(
            place=databases.placement(control, tenant.id),
            definitions=[definition],
            days=listed,
            timezone=tenant.timezone,
        )
        why = {each.day: each.why for each in failed}
    else:
        rows = metering.readings(
            control_session=control, tenant_id=tenant.id, start=days.start, end=days.end
        )
        taken = [
            DayReading(row.meter, row.day, row.quantity, row.evidence_sha256)
            for row in rows
            if row.meter == definition.code
        ]
    read = {each.day: each.quantity for each in taken}
    for day in listed:
        told = plain(read[day]) if day in read else why.get(day, "not read")
        click.echo(f"{day}  {told:>20}")
    if lacking := len(listed) - len(read):
        words = "1 day gave no number: a bill would wait for it."
        if lacking > 1:
            words = f"{lacking} days gave no number: a bill would wait for them."
        raise click.ClickException(words)
    return taken


@meters_commands.command("read-again")
@click.option("--tenant", "name", help="The tenant's id or short name; by default everybody.")
@click.option("--from", "first", required=True, type=_DAY, help="The first day.")
@click.option("--to", "last", required=True, type=_DAY, help="The last day.")
def read_again(*, name: str | None, first: datetime, last: datetime) -> None:
    """Have days read once more, for a daily meter that did not exist when they were read."""
    with control_session() as session, _told():
        days = metering.read_again(
            control_session=session,
            start=first.date(),
            end=last.date() + timedelta(days=1),
            tenant_id=_tenant(session, name).id if name else None,
        )
    click.echo(f"{days} days are read again by the workers")


@meters_commands.command("rebuild")
@click.argument("codes", nargs=-1)
def rebuild(*, codes: Sequence[str]) -> None:
    """Roll up the meters CODES anew from their events, by default all; the workers do it."""
    with usage_session() as session:
        rollups.start_anew(usage_session=session, meters=list(codes))
    click.echo("The workers roll up anew; totals stay right meanwhile.")


def _decoded(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file} is no text in UTF-8.") from error
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file} is not YAML: {error}") from error


class _told:
    """Errors of the rooms become a line with the field at fault."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TenantryError):
            field = f"{error.field}: " if error.field else ""
            raise click.ClickException(f"{field}{error.message}") from error
