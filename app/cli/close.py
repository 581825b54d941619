"""`flask close --month 2026-10`: what hinders a month's close, and the close itself."""

from __future__ import annotations

import sys

import click

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Conflict, Invalid


@click.command("close")
@click.option("--month", required=True, help="Such as 2026-10.")
@click.option("--check", "only_check", is_flag=True, help="Say what hinders it, and close nothing.")
@click.option("--language", type=click.Choice(["ko", "en"]), default="en", show_default=True)
def close_command(*, month: str, only_check: bool, language: str) -> None:
    """Check a month and lock it: afterwards nothing is booked into it.

    It ends with 1 where something hinders the close. A closed month is opened again in the
    console, by an admin.
    """
    from invoices import closing  # noqa: PLC0415 - loaded by this command alone

    now = clock.now()
    try:
        with control_session() as session:
            seen = closing.look(control_session=session, month=month, now=now)
            _tell(seen, language)
            if seen.closed is not None:
                click.echo(f"{month} is closed already, since {seen.closed.closed_at:%Y-%m-%d}.")
                return
            if not only_check and not seen.hindrances:
                closing.close(control_session=session, month=month, actor=SYSTEM, now=now)
                click.echo(f"{month} is closed: nothing is booked into it any more.")
    except Invalid as error:
        raise click.UsageError(error.message) from error
    except Conflict as error:
        raise click.ClickException(error.message) from error
    if seen.hindrances:
        click.echo(f"{month} cannot be closed yet.")
    sys.exit(int(bool(seen.hindrances)))


def _tell(seen: object, language: str) -> None:
    from app.web import closing_words  # noqa: PLC0415 - likewise
    from invoices.closing import Look  # noqa: PLC0415 - likewise

    assert isinstance(seen, Look)
    root = settings().public_url.rstrip("/")
    for finding in seen.findings:
        mark = "OPEN" if finding.is_open else "note" if finding.count else "ok  "
        click.echo(f"{mark} {closing_words.name(finding.code, language)}: {finding.count}")
        for example in finding.examples:
            path = closing_words.path(example.kind, example.id)
            what = closing_words.said(example.what, language)
            click.echo(f"       {example.name}: {what}{f'  {root}{path}' if path else ''}")
