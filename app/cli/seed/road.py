"""One company's way to its workspace and to a subscription, at the moments it happened."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import accounts, clock, ids, secrets
from app.base.accounts import Staff
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Unavailable
from app.cli.demo import cast as drawn
from app.cli.seed.cast import Applicant, Company, Customer
from invoices import catalogue, payment_methods, subscriptions
from invoices.subscriptions import ConversionConsent
from tenants import (
    admins,
    billing_profiles,
    databases,
    drawings,
    members,
    provisioning,
    review,
    signup,
    visits,
)
from tenants.models import Application, Tenant, TenantAdmin
from tenants.trial_form import TrialForm
from tenants.visits import VisitRecord

TRIAL_DAYS = 14
REASONS = {
    "ko": "도면 협업이 아닌 용도로 신청하셔서 이번에는 체험을 열어 드리지 못합니다.",
    "en": "This product serves teams that work on drawings.",
}
PROFILES = {
    "ko": {
        "representative": "대표자",
        "address": "서울특별시 종로구 세종대로 209",
        "business_type": "서비스업",
        "business_item": "설계",
    },
    "en": {"address": "12 Quay Street, Bristol BS1 4DJ, United Kingdom"},
}
SHEETS = ("ground-floor", "section-a", "section-b", "elevation-north", "site-plan", "detail-07")


def staff_id(session: Session, role: str) -> UUID:
    """This function will find the demo's own account of a role."""
    return session.scalars(select(Staff.id).where(Staff.email == f"{role}@tenantry.example")).one()


def play_applicant(applicant: Applicant, now: datetime) -> None:
    """This function will bring an application to where it waits, or to its refusal."""
    at = now - timedelta(hours=applicant.hours_ago)
    with control_session() as session:
        application = _submit(session, applicant.company, at)
        if applicant.state == "submitted":
            return
        _confirm(session, application.id, at + timedelta(minutes=12))
        sales = Actor.staff(staff_id(session, "sales"))
        if applicant.state == "claimed":
            review.claim(
                control_session=session, application_id=application.id, actor=sales, now=now
            )
        elif applicant.state == "rejected":
            review.reject(
                control_session=session,
                application_id=application.id,
                reason=REASONS[applicant.company.language],
                ground="not_a_fit",
                actor=sales,
                now=at + timedelta(hours=3),
            )
        elif applicant.state == "approved":
            # Approved this moment: the workers make its database while somebody looks.
            _approve(session, application.id, applicant.company, sales, now)


def _submit(session: Session, company: Company, at: datetime) -> Application:
    visitor_id = uuid4()
    _look_around(session, company, visitor_id, at)
    form = TrialForm(
        company=company.name,
        country=company.country,
        registration_number=company.number,
        contact_name="구매 담당" if company.language == "ko" else "Purchasing",
        email=company.email,
        phone=company.phone,
        seats_expected=str(company.seats),
        plan_code=company.plan,
        message=company.message,
        language=company.language,
    )
    return signup.submit(
        control_session=session, form=form, visitor_id=visitor_id, now=at, channel="demo"
    ).application


def _look_around(session: Session, company: Company, visitor_id: UUID, at: datetime) -> None:
    """What they looked at before they applied, as the pages would have noted it."""
    steps = (("home", None, 9), ("pricing", None, 7), ("pricing", f"price-{company.plan}", 5))
    records = [
        VisitRecord(
            id=ids.uuid7(),
            at=at - timedelta(minutes=minutes),
            visitor_id=visitor_id,
            kind="action" if action else "page",
            page=page,
            action=action,
            referrer="search.example" if minutes == 9 else None,
            utm={"source": "search", "campaign": company.plan} if minutes == 9 else {},
            language=company.language,
        )
        for page, action, minutes in (*steps, ("trial", None, 4))
    ]
    visits.store(control_session=session, records=records)


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


def _approve(
    session: Session, application_id: UUID, company: Company, actor: Actor, at: datetime
) -> Tenant:
    version = catalogue.current(
        control_session=session, plan_code=company.plan, currency=company.currency
    )
    return review.approve(
        control_session=session,
        application_id=application_id,
        trial_days=TRIAL_DAYS,
        plan_code=company.plan,
        limits=catalogue.limits_of(version),
        features=version.features,
        quotas=version.quotas,
        currency=company.currency,
        actor=actor,
        now=at,
    )


def open_workspace(
    customer: Customer, *, at: datetime, until: datetime, password: str, crew: provisioning.Crew
) -> UUID:
    """This function will approve a customer at `at`, make its database and let people work there.

    The workers must not run yet: they would make the database now, and not then.
    """
    company = customer.company
    with control_session() as session:
        application = _submit(session, company, at - timedelta(hours=5))
        _confirm(session, application.id, at - timedelta(hours=4))
        sales = Actor.staff(staff_id(session, "sales"))
        tenant_id = _approve(session, application.id, company, sales, at).id
    provisioning.advance(
        transaction=control_session, tenant_id=tenant_id, now=lambda: at, crew=crew
    )
    with control_session() as session:
        admin = session.scalars(select(TenantAdmin).where(TenantAdmin.tenant_id == tenant_id)).one()
        _choose_password(session, admin, password, at + timedelta(minutes=20))
        place = databases.placement(session, tenant_id)
        tenant = session.get_one(Tenant, tenant_id)
        billing_profiles.update(
            control_session=session,
            tenant_id=tenant_id,
            typed={**billing_profiles.profile_of(tenant), **PROFILES[company.language]},
            actor=Actor.admin(admin.id),
            now=at + timedelta(minutes=25),
        )
    with databases.tenant_session(place) as session_there:
        _work(session_there, customer, admin, at + timedelta(minutes=30), until)
    return tenant_id


def _choose_password(session: Session, admin: TenantAdmin, password: str, at: datetime) -> None:
    """The invitation followed, by a fresh link as above."""
    token = accounts.issue_token(
        control_session=session,
        purpose=admins.INVITATION,
        subject_id=admin.id,
        valid_for=timedelta(days=1),
        now=at,
    )
    session.flush()
    admins.choose_password(
        control_session=session,
        purpose=admins.INVITATION,
        token=token,
        password=password,
        now=at,
    )


def _work(
    session: databases.TenantSession,
    customer: Customer,
    admin: TenantAdmin,
    begin: datetime,
    until: datetime,
) -> None:
    """Colleagues come one by one, and a drawing is stored every few days."""
    holder = members.set_password(
        tenant_session=session,
        email=admin.email,
        password_hash=admin.password_hash or "",
        now=begin,
    )
    actor = Actor("member", str(holder.id))
    korean = customer.company.language == "ko"
    # Nobody signs in as one of them, so they may share a password that nobody knows.
    unknown = secrets.hash_password(ids.token())
    for number in range(1, customer.members):
        at = begin + timedelta(days=(number - 1) // 2, hours=number % 5)
        if at > until:
            break
        member = members.invite(
            tenant_session=session,
            email=f"member{number}@{customer.company.domain}.example",
            name=f"팀원 {number:02d}" if korean else f"Member {number:02d}",
            role="member",
            actor=actor,
            now=at,
        )
        members.activate(
            tenant_session=session,
            member_id=member.id,
            password_hash=unknown,
            now=at,
        )
    days = (until - begin).days
    for number, day in enumerate([*range(0, days, max(days // 8, 1)), days - 1]):
        drawings.upload(
            tenant_session=session,
            name=f"{SHEETS[number % len(SHEETS)]}-r{number + 1}.dxf",
            stream=BytesIO(drawn.dxf(lines=1_500 + 400 * number + day)),
            member_id=holder.id,
            actor=actor,
            now=begin + timedelta(days=day, hours=2),
        )


def convert(customer: Customer, tenant_id: UUID, at: datetime) -> None:
    """This function will register the customer's card, if any, and subscribe them with consent."""
    with control_session() as session:
        actor = Actor.admin(
            session.scalars(select(TenantAdmin.id).where(TenantAdmin.tenant_id == tenant_id)).one()
        )
    if customer.card:
        _register_card(customer.card, tenant_id, actor, at)
    company = customer.company
    with control_session() as session:
        version = catalogue.current(
            control_session=session, plan_code=company.plan, currency=company.currency
        )
        terms = subscriptions.conversion_terms(
            version=version,
            language=company.language,
            method=customer.method,
            starts_on=clock.today(at, settings().contract_timezone),
        )
        subscriptions.convert(
            control_session=session,
            tenant_id=tenant_id,
            plan_code=company.plan,
            currency=company.currency,
            consent=ConversionConsent(
                accepted=True,
                text_sha256=terms.sha256,
                language=company.language,
                method=customer.method,
                channel="demo",
            ),
            actor=actor,
            now=at,
        )


def _register_card(number: str, tenant_id: UUID, actor: Actor, at: datetime) -> None:
    """As a browser does it, on the gateway's own page."""
    with control_session() as session:
        registration = payment_methods.begin_registration(
            control_session=session, tenant_id=tenant_id, now=at
        )
    page = payment_methods.registration_page(registration=registration, language="ko")
    try:
        sent = httpx.post(page, data={"number": number}, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        raise Unavailable("The sandbox gateway's card page does not answer.") from error
    params = dict(parse_qsl(urlsplit(sent.headers.get("location", "")).query))
    registered = payment_methods.exchange(registration=registration, params=params)
    with control_session() as session:
        payment_methods.complete_registration(
            control_session=session,
            registration_id=registration.id,
            registered=registered,
            actor=actor,
            now=at,
        )
