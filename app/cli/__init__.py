"""The door of operators: every command of `flask …`, each in a module that it alone loads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import redis
from flask import Flask
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.base.errors import TenantryError

# PostgreSQL's word for a table that is not there.
_UNDEFINED_TABLE = "42P01"

# The word after `flask`, and where its command stands. Loaded when called: `flask clock` needs no
# printer of papers, and no command of ours weighs on the web process.
COMMANDS = {
    "setup": "app.cli.setup:setup_command",
    "seed": "app.cli.seed:seed_command",
    "doctor": "app.cli.doctor:doctor_command",
    "check": "app.cli.check:check_command",
    "bill": "app.cli.bill:bill_command",
    "ledger": "app.cli.ledger:ledger_commands",
    "close": "app.cli.close:close_command",
    "reconcile": "app.cli.reconcile:reconcile_command",
    "verify": "app.cli.verify:verify_command",
    "whatif": "app.cli.whatif:whatif_command",
    "scheduler": "app.cli.running:scheduler_command",
    "worker": "app.cli.running:worker_command",
    "catalogue": "app.cli.catalogue:catalogue_commands",
    "meters": "app.cli.meters:meters_commands",
    "gateways": "app.cli.gateways:gateways_commands",
    "clock": "app.cli.clock:clock_commands",
    "tenants": "app.cli.tenants:tenants_commands",
    "staff": "app.cli.staff:staff_commands",
    "bench": "app.cli.bench:bench_command",
    "supervise": "app.cli.supervise:supervise_command",
    "demo": "app.cli.demo:demo_command",
    "sandbox-gateway": "app.sandbox.command:sandbox_gateway_command",
    "mail-catcher": "app.mailbox.command:mail_catcher_command",
}


class LaterCommand(click.Command):
    """Stands for a command until it is called, then loads it and steps aside."""

    def __init__(self, *, name: str, path: str) -> None:
        super().__init__(name=name)
        self._path = path

    def load(self) -> click.Command:
        """This function will import the command that this one stands for."""
        module, _, attribute = self._path.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """This function will run the real command and say in a line what it trips over."""
        with in_words():
            return self.load().invoke(ctx)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """This function will let the real command read its own arguments, and then run."""
        with in_words():
            context = self.load().make_context(info_name, args, parent, **extra)
        context.command = self  # so that it is this one which is invoked
        return context

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """This function will return the real command's options and arguments."""
        return self.load().get_params(ctx)

    def get_usage(self, ctx: click.Context) -> str:
        """This function will return the real command's usage line, which errors begin with."""
        return self.load().get_usage(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        """This function will show the real command's first line in the list of commands."""
        return self.load().get_short_help_str(limit)


@contextmanager
def in_words() -> Iterator[None]:
    """This function will make one line of what an operator can mend; our own faults keep a trace.

    Raises: click.ClickException.
    """
    try:
        yield
    except TenantryError as error:
        field = f"{error.field}: " if error.field else ""
        raise click.ClickException(f"{field}{error.message}") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        if error.filename is None:
            raise
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from error
    except OperationalError as error:
        raise click.ClickException(
            f"PostgreSQL does not answer as it should; flask doctor says more. ({error.orig})"
        ) from error
    except redis.ConnectionError as error:
        raise click.ClickException(
            f"Valkey does not answer; flask doctor says more. ({error})"
        ) from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _UNDEFINED_TABLE:
            raise
        raise click.ClickException(
            "The database lacks a table: run flask setup, and flask doctor if that mends nothing."
        ) from error


def register(app: Flask) -> None:
    """This function will add our commands to the Flask command line."""
    for name, path in COMMANDS.items():
        app.cli.add_command(LaterCommand(name=name, path=path), name)
