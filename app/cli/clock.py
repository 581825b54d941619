"""`flask clock`: what time the application believes it is; set in demonstrations and tests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click

from app.base import clock
from app.base.config import settings
from app.base.errors import TenantryError

_SPAN = re.compile(r"(\d+)\s*([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@click.group("clock")
def clock_commands() -> None:
    """Show or move the application clock (demo and test only)."""


@clock_commands.command("show")
def show() -> None:
    """Print the application's time and how far it is from the real one."""
    _print()


@clock_commands.command("set")
@click.argument("moment")
def set_(moment: str) -> None:
    """Set the clock to MOMENT, such as 2026-03-01T09:00 (in the contract's time zone)."""
    try:
        read = datetime.fromisoformat(moment)
        if read.tzinfo is None:
            read = read.replace(tzinfo=ZoneInfo(settings().contract_timezone))
        wanted = read.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("write it as 2026-03-01T09:00", param_hint="MOMENT") from error
    _move_to(wanted)


@clock_commands.command("advance")
@click.argument("span")
def advance(span: str) -> None:
    """Move the clock on by SPAN, such as 3d, 12h or "1d 6h"."""
    parts = _SPAN.findall(span)
    if not parts or _SPAN.sub("", span).strip():
        raise click.BadParameter("write it as 3d, 12h, 30m or '1d 6h'", param_hint="SPAN")
    try:
        far = sum((timedelta(**{_UNITS[unit]: int(many)}) for many, unit in parts), timedelta())
        wanted = clock.now() + far
    except OverflowError as error:
        raise click.BadParameter("write it as less than a lifetime", param_hint="SPAN") from error
    _move_to(wanted)


@clock_commands.command("reset")
def reset() -> None:
    """Let the application clock follow the real one again."""
    clock.reset()
    _print()


def _move_to(moment: datetime) -> None:
    try:
        clock.set_now(moment)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    _print()


def _print() -> None:
    zone = ZoneInfo(settings().contract_timezone)
    ahead = clock.now() - clock.real_now()
    click.echo(clock.now().astimezone(zone).isoformat(timespec="seconds"))
    if abs(ahead) > timedelta(seconds=1):
        click.echo(f"{ahead.total_seconds() / 86400:+.2f} days from the real clock", err=True)
