"""`flask setup`: everything an installation needs once; safe to run before every start."""

from __future__ import annotations

import sys

import click
import psycopg
from flask import current_app
from sqlalchemy import exists, func, select

from app.base import accounts, clock, installation, metrics
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import close_connections, control_session, usage_is_apart
from app.base.errors import TenantryError
from app.cli.staff import add_person
from app.web.compiled import compile_templates
from invoices import catalogue
from invoices.models import Plan


@click.command("setup")
@click.option("--admin-email", help="The first admin of the console.")
@click.option("--admin-name", help="How the first admin is called there.")
@click.option("--admin-password", envvar="TENANTRY_ADMIN_PASSWORD", help="Without it, one is made.")
@click.option("--tenants", is_flag=True, help="Migrate the tenants' databases as well.")
def setup_command(
    *, admin_email: str | None, admin_name: str | None, admin_password: str | None, tenants: bool
) -> None:
    """Make roles, databases, schema and the tenant template; add the first admin."""
    from tenants import template  # noqa: PLC0415 - Alembic's histories are loaded by set-up alone

    try:
        with installation.administrator() as connection:
            installation.prepare_cluster(connection)
            installation.create_control_database(connection)
        installation.prepare_usage()
    except psycopg.OperationalError as error:
        raise click.ClickException(
            f"PostgreSQL does not let the administrator of {_names()} in. Set it to "
            f"postgresql://superuser:password@host:port/database ({type(error).__name__})."
        ) from error
    click.echo("roles and control database: ready")
    installation.migrate_control()
    installation.migrate_usage()
    close_connections()
    click.echo("control schema: newest")
    click.echo(f"usage schema: newest, {'on its own' if usage_is_apart() else 'in control'}")
    with control_session() as session:
        name = template.build_template(control_session=session)
    click.echo(f"tenant template: {name}")
    if tenants:
        _tenant_databases()
    _templates()
    _price_list()
    metrics.forget_ended_processes()
    _first_admin(admin_email, admin_name, admin_password)


def _tenant_databases() -> None:
    """One that stays behind keeps nobody from starting: the doctor names it."""
    from app.cli.tenants import upgrade_all  # noqa: PLC0415 - Alembic's histories, as above

    click.echo("tenant databases: ", nl=False)
    upgrade_all()


def _templates() -> None:
    """While people write at templates, compiled ones are old at once: each process does its own."""
    if settings().environment != "production":
        return
    try:
        click.echo(f"templates: {compile_templates(current_app)} compiled")
    except OSError as error:
        click.echo(f"templates: every process compiles its own ({error.strerror})")


def _names() -> str:
    return "DATABASE_URL or USAGE_DATABASE_URL" if usage_is_apart() else "DATABASE_URL"


def _price_list() -> None:
    """Without plans nobody can apply: begin with the default ones, to be replaced by versions."""
    with control_session() as session:
        if session.scalar(select(exists().where(Plan.code.is_not(None)))):
            click.echo("price list: there already")
            return
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=clock.now())
    click.echo("price list: the default plans")


def _first_admin(email: str | None, name: str | None, password: str | None) -> None:
    with control_session() as session:
        known = session.scalar(
            select(func.count()).where(
                accounts.Staff.role == "admin", accounts.Staff.disabled_at.is_(None)
            )
        )
        taken = email is not None and session.scalar(
            select(accounts.Staff.id).where(func.lower(accounts.Staff.email) == email.lower())
        )
    if taken or (known and email is None):
        click.echo("admin: there already")
        return
    if email is None:
        if not sys.stdin.isatty():
            click.echo("admin: none yet. Add one: flask setup --admin-email … --admin-name …")
            return
        email = click.prompt("E-mail of the first admin")
    name = name or (click.prompt("Name") if sys.stdin.isatty() else "Admin")
    try:
        made = add_person(email=str(email), name=str(name), role="admin", password=password)
    except TenantryError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"admin: {email}")
    if password is None:
        click.echo(f"password: {made}")
