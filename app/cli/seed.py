"""`flask seed`: a small demo to look around in: price list, staff, applications in each state."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import accounts, clock, secrets
from app.base.accounts import Staff
from app.base.audit import SYSTEM, Actor
from app.base.config import settings
from app.base.db import control_session
from app.cli.staff import new_password
from invoices import catalogue
from tenants import review, signup
from tenants.models import Application, TenantAdmin
from tenants.trial_form import TrialForm

DOMAIN = "tenantry.example"
TRIAL_DAYS = 14


@dataclass(frozen=True, slots=True)
class Login:
    """A way in for whoever looks around; as the supervisor prints it."""

    who: str
    url: str
    email: str
    password: str


@dataclass(frozen=True, slots=True)
class Prospect:
    """An application to be, and how far the demo takes it."""

    company: str
    number: str
    domain: str
    seats: str
    plan: str
    until: str  # submitted | confirmed | rejected | approved
    days_ago: int = 0
    language: str = "ko"
    country: str = "KR"


PROSPECTS = (
    Prospect("주식회사 한빛도면", "1018612346", "hanbit-drawing", "8", "team", "approved", 3),
    Prospect("(주)새길건축사사무소", "1388118051", "saegil-arch", "12", "team", "approved", 2),
    Prospect("주식회사 가온설비", "1758123761", "gaon-hvac", "3", "starter", "confirmed", 2),
    Prospect("(주)누리기계", "2128129477", "nuri-machine", "40", "studio", "confirmed", 1),
    Prospect(
        "Alder & Finch Architects Ltd", "", "alder-finch", "6", "team", "confirmed", 0, "en", "GB"
    ),
    Prospect(
        "주식회사 다온구조엔지니어링", "2498635184", "daon-structure", "5", "team", "submitted"
    ),
    Prospect("(주)라온금형", "2868140890", "raon-mould", "2", "starter", "rejected", 4),
)


@click.command("seed")
def seed_command() -> None:
    """Load the small demo; what is there already stays as it is."""
    if settings().environment == "production":
        raise click.ClickException("The demo is not for a production system.")
    path = settings().var_dir / "demo_logins.json"
    known = {login.email: login for login in _kept(path)}
    logins = [_staff_login(role, known) for role in accounts.ROLES]
    now = clock.now()
    with control_session() as session:
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=now)
        fresh = not session.scalar(select(func.count()).select_from(Application))
    portal: list[Login] = []
    if fresh:
        for prospect in PROSPECTS:
            portal += _play(prospect, now)
    else:
        portal = [login for login in known.values() if login.url.endswith("/portal/")]
    _keep(path, [*logins, *portal])
    for login in (*logins, *portal):
        click.echo(f"{login.who:<28} {login.url}  {login.email}  {login.password}")


def _kept(path: Path) -> list[Login]:
    try:
        return [Login(**entry) for entry in json.loads(path.read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


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


def _play(prospect: Prospect, now: datetime) -> list[Login]:
    """One company's way from the form to where the demo leaves it."""
    at = now - timedelta(days=prospect.days_ago)
    with control_session() as session:
        application = _submit(session, prospect, at)
        if prospect.until == "submitted":
            return []
        _confirm(session, application.id, at + timedelta(minutes=20))
        sales = Actor.staff(_staff_id(session, "sales"))
        if prospect.until == "rejected":
            review.reject(
                control_session=session,
                application_id=application.id,
                reason="도면 협업이 아닌 용도로 신청하셔서 이번에는 체험을 열어 드리지 못합니다."
                if prospect.language == "ko"
                else "This product serves teams that work on drawings.",
                actor=sales,
                now=at + timedelta(hours=3),
            )
        if prospect.until != "approved":
            return []
        currency = "KRW" if prospect.country == "KR" else "USD"
        version = catalogue.current(
            control_session=session, plan_code=prospect.plan, currency=currency
        )
        tenant = review.approve(
            control_session=session,
            application_id=application.id,
            trial_days=TRIAL_DAYS,
            plan_code=prospect.plan,
            limits=catalogue.limits_of(version),
            currency=currency,
            actor=sales,
            now=now,
        )
        session.flush()
        admin = session.scalars(select(TenantAdmin).where(TenantAdmin.tenant_id == tenant.id)).one()
        password = new_password()
        admin.password_hash = secrets.hash_password(password)
    url = f"{settings().public_url}/portal/"
    return [Login(f"portal, {prospect.company}", url, admin.email, password)]


def _submit(session: Session, prospect: Prospect, at: datetime) -> Application:
    form = TrialForm(
        company=prospect.company,
        country=prospect.country,
        registration_number=prospect.number,
        contact_name="구매담당" if prospect.language == "ko" else "Purchasing",
        email=f"buyer@{prospect.domain}.example",
        phone="+82 2 555 0100" if prospect.country == "KR" else "+44 20 7946 0958",
        seats_expected=prospect.seats,
        plan_code=prospect.plan,
        message="",
        language=prospect.language,
    )
    return signup.submit(
        control_session=session, form=form, visitor_id=None, now=at, channel="demo"
    ).application


def _confirm(session: Session, application_id: UUID, at: datetime) -> None:
    """The link in the first mail, followed; a fresh one, since only its hash is stored."""
    token = accounts.issue_token(
        control_session=session,
        purpose="application_confirm",
        subject_id=application_id,
        valid_for=timedelta(hours=settings().confirmation_hours),
        now=at,
    )
    session.flush()
    signup.confirm(control_session=session, token=token, now=at)


def _staff_id(session: Session, role: str) -> UUID:
    return session.scalars(select(Staff.id).where(Staff.email == f"{role}@{DOMAIN}")).one()
