"""`flask ledger`: the books of a month, as files for an accountant."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Invalid


@click.group("ledger")
def ledger_commands() -> None:
    """Write a month's books: journal, trial-balance."""


def _statement(kind: str) -> click.Command:
    @click.option("--month", help="Such as 2026-03; this month without it.")
    @click.option("--output", type=click.Path(dir_okay=False), help="A file; else the terminal.")
    @click.option("--language", type=click.Choice(["ko", "en"]), default="ko", show_default=True)
    def command(*, month: str | None, output: str | None, language: str) -> None:
        from app.web import ledger_tables  # noqa: PLC0415 - loaded by this command alone

        asked = month or f"{clock.today(clock.now(), settings().contract_timezone):%Y-%m}"
        ending = Path(output).suffix.lstrip(".") if output else "csv"
        if ending not in ("csv", "xlsx"):
            raise click.UsageError("The file's name must end in .csv or .xlsx.")
        try:
            with control_session() as session:
                written = ledger_tables.file(
                    control_session=session,
                    kind=kind,
                    month=asked,
                    ending=ending,
                    language=language,
                )
        except Invalid as error:
            raise click.UsageError(error.message) from error
        with written:
            if output:
                with Path(output).open("wb") as target:
                    shutil.copyfileobj(written, target)
            else:
                sys.stdout.write(written.read().decode("utf-8-sig"))

    command.__doc__ = f"The {kind.replace('-', ' ')} of a month, as CSV or by its name as XLSX."
    return click.command(kind)(command)


for _kind in ("journal", "trial-balance"):
    ledger_commands.add_command(_statement(_kind))
