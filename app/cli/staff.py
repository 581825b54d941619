"""`flask staff`: accounts for the console, when nobody who has one can help."""

from __future__ import annotations

import secrets

import click
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import func, select

from app.base import accounts, clock, sessions
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Invalid, TenantryError


@click.group("staff")
def staff_commands() -> None:
    """Add people of ours, or give them a new password."""


@staff_commands.command("add")
@click.argument("email")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(accounts.ROLES), default="viewer", show_default=True)
@click.option("--password", envvar="TENANTRY_STAFF_PASSWORD", help="Without it, one is made.")
def add(*, email: str, name: str, role: str, password: str | None) -> None:
    """Add EMAIL with a role, and print the first password."""
    try:
        made = add_person(email=email, name=name, role=role, password=password)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    _print_access(email, made if password is None else None)


@staff_commands.command("reset")
@click.argument("email")
@click.option("--password", envvar="TENANTRY_STAFF_PASSWORD", help="Without it, one is made.")
def reset(*, email: str, password: str | None) -> None:
    """Give EMAIL a new password, enable the account and end its sessions."""
    chosen = password or new_password()
    now = clock.now()
    try:
        with control_session() as session:
            staff = session.scalar(
                select(accounts.Staff).where(
                    func.lower(accounts.Staff.email) == email.strip().lower()
                )
            )
            if staff is None:
                raise click.ClickException("There is no such account.")
            accounts.set_staff_password(
                control_session=session, staff_id=staff.id, password=chosen, now=now
            )
            accounts.set_staff_access(
                control_session=session, staff_id=staff.id, actor=SYSTEM, now=now, disabled=False
            )
            sessions.end_all(control_session=session, user_id=staff.id)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    _print_access(email, chosen if password is None else None)


def add_person(*, email: str, name: str, role: str, password: str | None) -> str:
    """This function will add a member of staff and return the password that works.

    Raises: StaffExists, PasswordTooWeak, Invalid.
    """
    try:
        address = validate_email(email, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise Invalid("That is no e-mail address.", field="email") from error
    chosen = password or new_password()
    now = clock.now()
    with control_session() as session:
        staff = accounts.add_staff(
            control_session=session, email=address, name=name, role=role, actor=SYSTEM, now=now
        )
        accounts.set_staff_password(
            control_session=session, staff_id=staff.id, password=chosen, now=now
        )
    return chosen


def new_password() -> str:
    """This function will make a password that a person can type."""
    alphabet = "abcdefghjkmnpqrstvwxyz23456789"
    groups = ["".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4)]
    return "-".join(groups)


def _print_access(email: str, password: str | None) -> None:
    click.echo(f"{email} may sign in at {settings().public_url}/console/")
    if password is not None:
        click.echo(f"password: {password}")
