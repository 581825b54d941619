"""`flask gateways`: the merchant accounts, for scripts and for machines without a browser."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import click

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import TenantryError
from invoices import gateway_accounts
from invoices.gateway_accounts import NewAccount
from invoices.gateways import registry
from invoices.models import GatewayAccount


@click.group("gateways")
def gateways_commands() -> None:
    """Keep the accounts at payment gateways: list, add, check."""


@gateways_commands.command("list")
def list_accounts() -> None:
    """Name every account, its gateway and when it is used; never its credentials."""
    with control_session() as session:
        rows = gateway_accounts.listed(control_session=session)
        default = gateway_accounts.default_code(control_session=session)
    for code in registry.BUILT_IN:
        click.echo(f"{code:<20}  {code:<10}  {'default' if code == default else 'from settings'}")
    for row in rows:
        click.echo(f"{row.code:<20}  {row.gateway:<10}  {_use(row)}")


def _use(row: GatewayAccount) -> str:
    if row.disabled_at is not None:
        return f"disabled since {row.disabled_at:%Y-%m-%d}"
    places = ("default", "fallback", "offered")
    return next((place for place in places if getattr(row, f"is_{place}")), "not offered")


@gateways_commands.command("add")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
def add(*, file: TextIO) -> None:
    """Store the accounts of FILE, or new credentials of those that are there.

    FILE is JSON, by default from standard input: an account or a list of them, each with code,
    gateway, title_ko, title_en, credentials (an object of texts), and if you like currencies (a
    list) and use (default, fallback, offered or none). Credentials are no arguments: those can be
    read by everybody on the machine.
    """
    try:
        told = json.load(file)
        accounts = [_read(each) for each in (told if isinstance(told, list) else [told])]
    except (ValueError, TypeError, KeyError) as error:
        raise click.ClickException(f"This is no account: {error}") from error
    try:
        for account, place in accounts:
            _store(account, place)
    except TenantryError as error:
        field = f" ({error.field})" if error.field else ""
        raise click.ClickException(f"{error.message}{field}") from error


def _read(told: Any) -> tuple[NewAccount, str]:
    account = NewAccount(
        code=str(told["code"]),
        gateway=str(told["gateway"]),
        title_ko=str(told["title_ko"]),
        title_en=str(told["title_en"]),
        credentials={str(name): str(value) for name, value in told["credentials"].items()},
        currencies=tuple(str(each) for each in told.get("currencies", [])),
    )
    return account, str(told.get("use", "none"))


def _store(account: NewAccount, place: str) -> None:
    now = clock.now()
    with control_session() as session:
        if account.code in gateway_accounts.titles(control_session=session):
            gateway_accounts.rotate(
                control_session=session,
                code=account.code,
                credentials=account.credentials,
                actor=SYSTEM,
                now=now,
            )
        else:
            gateway_accounts.add(control_session=session, account=account, actor=SYSTEM, now=now)
            gateway_accounts.use(
                control_session=session, code=account.code, place=place, actor=SYSTEM, now=now
            )
    click.echo(f"{account.code}: webhooks come to {settings().public_url}/hooks/{account.code}")


@gateways_commands.command("check")
@click.argument("code")
def check(*, code: str) -> None:
    """Ask the account's gateway something harmless; end with 1 when it does not answer well."""
    try:
        answer = gateway_accounts.ask(code=code)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    click.echo(answer.said)
    sys.exit(0 if answer.well else 1)
