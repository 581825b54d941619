"""`flask seed`: a small business to look around in, with a past that its own rooms have made."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import click
from sqlalchemy import func, select

from app.base import accounts, clock, secrets
from app.base.accounts import Staff
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import TenantryError
from app.cli.seed import history
from app.cli.seed.cast import CUSTOMERS
from app.cli.staff import new_password
from invoices import catalogue
from tenants.models import Application, Tenant

DOMAIN = "tenantry.example"


@dataclass(frozen=True, slots=True)
class Login:
    """A way in for whoever looks around; as the supervisor prints it."""

    who: str
    url: str
    email: str
    password: str


@click.command("seed")
def seed_command() -> None:
    """Load the small demo; what is there already stays as it is."""
    if settings().environment == "production":
        raise click.ClickException("The demo is not for a production system.")
    path = settings().var_dir / "demo_logins.json"
    kept = _kept(path)
    logins = [_staff_login(role, {login.email: login for login in kept}) for role in accounts.ROLES]
    now = clock.now()
    with control_session() as session:
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=now)
        fresh = not session.scalar(select(func.count()).select_from(Application))
    ours = {login.email for login in logins}
    theirs = _customers(now) if fresh else [login for login in kept if login.email not in ours]
    _keep(path, [*logins, *theirs])
    # The supervisor prints them last of all; a log is no place for passwords.
    if not sys.stdout.isatty():
        click.echo(f"logins: {path}")
        return
    for login in (*logins, *theirs):
        click.echo(f"{login.email}  {login.password}  {login.who}  {login.url}")


def _kept(path: Path) -> list[Login]:
    """The logins of an earlier start, at today's address: the port may be another one."""
    try:
        kept = [Login(**entry) for entry in json.loads(path.read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []
    return [replace(login, url=_at_home(login.url)) for login in kept]


def _at_home(url: str) -> str:
    parts = urlsplit(url)
    return settings().public_url + urlunsplit(("", "", parts.path, parts.query, ""))


def _keep(path: Path, logins: list[Login]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(
        json.dumps([asdict(login) for login in logins], ensure_ascii=False, indent=1) + "\n"
    )
    fresh.replace(path)


def _staff_login(role: str, known: dict[str, Login]) -> Login:
    """The demo's own account of a role; its password is remembered, or made anew."""
    email = f"{role}@{DOMAIN}"
    now = clock.now()
    with control_session() as session:
        staff = session.scalar(select(Staff).where(func.lower(Staff.email) == email))
        remembered = known.get(email)
        if (
            staff is not None
            and remembered is not None
            and secrets.password_matches(staff.password_hash, remembered.password)
        ):
            return remembered
        if staff is None:
            staff = accounts.add_staff(
                control_session=session,
                email=email,
                name=f"Demo {role}",
                role=role,
                actor=SYSTEM,
                now=now,
            )
        password = new_password()
        accounts.set_staff_password(
            control_session=session, staff_id=staff.id, password=password, now=now
        )
    return Login(f"console, {role}", f"{settings().public_url}/console/", email, password)


def _customers(now: datetime) -> list[Login]:
    """The history, and the ways into the portal that it leaves behind."""
    cards = history.gateway_answers()
    if not cards:
        click.echo("The sandbox gateway does not answer: customers who pay by card are left out.")
    passwords = {customer.company.email: new_password() for customer in CUSTOMERS}
    tenants: dict[str, UUID] = {}
    try:
        history.play(now=now, cards=cards, passwords=passwords, tenants=tenants)
    except TenantryError as error:
        # The states of the rows are the to-do list: the workers go on from wherever it stopped.
        click.echo(f"The past breaks off: {error.message}", err=True)
    url = settings().public_url
    logins = [
        Login(
            f"portal, {customer.company.name}",
            f"{url}/portal/",
            customer.company.email,
            passwords[customer.company.email],
        )
        for customer in CUSTOMERS
        if customer.company.email in tenants
    ]
    if logins:
        with control_session() as session:
            slug = session.get_one(Tenant, tenants[logins[0].email]).slug
        entrance = f"{url}/workspace/sign-in?workspace={slug}"
        logins.append(
            replace(logins[0], who=logins[0].who.replace("portal", "workspace"), url=entrance)
        )
    return logins
