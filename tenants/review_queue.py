"""What a reviewer sees: the queue with its counts, and everything known of one application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from app.base.accounts import Staff
from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.errors import NotFound
from tenants import visits
from tenants.models import Application, Tenant, VisitEvent
from tenants.texts import one_line

# Each tab of the queue is a state; `confirmed` is the to-do list, its most urgent first.
TABS = ("confirmed", "submitted", "approved", "rejected")
# One screen of a reviewer; the whole queue is worked off from its top.
PAGE_SIZE = 20
PAGE_MAX = 10_000
DUPLICATES_MAX = 20
HISTORY_MAX = 100
# Mailboxes that anybody may open: two strangers share such a domain without being one company.
FREE_MAIL = frozenset(
    (
        "gmail.com",
        "googlemail.com",
        "naver.com",
        "daum.net",
        "hanmail.net",
        "kakao.com",
        "nate.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "msn.com",
        "yahoo.com",
        "yahoo.co.jp",
        "yahoo.co.kr",
        "icloud.com",
        "me.com",
        "mac.com",
        "aol.com",
        "gmx.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "mail.com",
        "mail.ru",
        "yandex.com",
        "yandex.ru",
        "qq.com",
        "163.com",
        "126.com",
        "proton.me",
        "protonmail.com",
        "zoho.com",
        "fastmail.com",
        "tutanota.com",
        "korea.com",
        "dreamwiz.com",
        "hanmir.com",
        "paran.com",
        "empas.com",
        "freechal.com",
        "lycos.co.kr",
    )
)


class ApplicationNotFound(NotFound):
    """No application has this id."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the queue and how many rows its filter has."""

    rows: Sequence[Application]
    total: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another application that may be the same company; `shared` names what they have in common."""

    application: Application
    shared: tuple[str, ...]  # registration_number | email | email_domain | phone


@dataclass(frozen=True, slots=True)
class Details:
    """All that is known of one application; `staff` are the names of those who had a part."""

    application: Application
    trail: Sequence[VisitEvent]
    duplicates: Sequence[Duplicate]
    history: Sequence[AuditEvent]
    staff: dict[str, str]
    tenant: Tenant | None
    free_mail: bool


_COUNTS = (
    select(Application.state, func.count())
    .where(Application.state.in_(TABS))
    .group_by(Application.state)
)


def counts(*, control_session: Session) -> dict[str, int]:
    """This function will return how many applications each tab holds."""
    found = control_session.execute(_COUNTS).all()
    return dict.fromkeys(TABS, 0) | {row.state: row[1] for row in found}


def queue(
    *,
    control_session: Session,
    tab: str = "confirmed",
    search: str = "",
    page: int = 1,
    total: int | None = None,
) -> Page:
    """This function will return a page of one tab: breaching and most urgent first.

    Who has counted what it picks already gives that as `total`.
    """
    condition = Application.state == (tab if tab in TABS else TABS[0])
    wanted = one_line(search)
    if wanted:
        condition = and_(condition, _matches(wanted))
    order: Any = Application.sla_due_at
    if tab == "submitted":
        order = Application.submitted_at.desc()
    elif tab in ("approved", "rejected"):
        order = Application.decided_at.desc()
    rows = control_session.scalars(
        select(Application)
        .where(condition)
        .order_by(order, Application.id)
        .limit(PAGE_SIZE)
        .offset((min(max(page, 1), PAGE_MAX) - 1) * PAGE_SIZE)
    ).all()
    if total is None:
        counted = select(func.count()).select_from(Application).where(condition)
        total = control_session.scalar(counted)
    return Page(rows, total or 0)


def _matches(search: str) -> ColumnElement[bool]:
    digits = "".join(c for c in search if c in "0123456789")
    conditions: list[ColumnElement[bool]] = [
        column.icontains(search, autoescape=True)
        for column in (
            Application.company,
            Application.email,
            Application.reference,
            Application.contact_name,
        )
    ]
    if len(digits) >= 4:
        conditions.append(Application.registration_number.contains(digits, autoescape=True))
        conditions.append(Application.phone.contains(digits.lstrip("0"), autoescape=True))
    return or_(*conditions)


def next_waiting(
    *, control_session: Session, staff_id: UUID, now: datetime, besides: UUID | None = None
) -> UUID | None:
    """This function will return the most urgent application that nobody else is working on."""
    return control_session.scalar(
        select(Application.id)
        .where(
            Application.state == "confirmed",
            Application.id != besides if besides else Application.id.is_not(None),
            or_(
                Application.claimed_by.is_(None),
                Application.claimed_by == staff_id,
                Application.claimed_at < stale_before(now),
            ),
        )
        .order_by(Application.sla_due_at, Application.id)
        .limit(1)
    )


def stale_before(now: datetime) -> datetime:
    """This function will return the moment before which a claim is taken for abandoned."""
    return now - timedelta(minutes=settings().review_claim_minutes)


_HISTORY = (
    select(AuditEvent)
    .where(
        AuditEvent.subject_kind == "application",
        AuditEvent.subject_id == bindparam("application"),
    )
    .order_by(AuditEvent.at, AuditEvent.id)
    .limit(HISTORY_MAX)
)
_TENANT = select(Tenant).where(Tenant.application_id == bindparam("application"))


def details(*, control_session: Session, application_id: UUID) -> Details:
    """This function will gather an application, its trail, its likely duplicates and its history.

    Raises: ApplicationNotFound.
    """
    application = control_session.get(Application, application_id)
    if application is None:
        raise ApplicationNotFound("There is no such application.")
    history = control_session.scalars(_HISTORY, {"application": str(application_id)}).all()
    trail = (
        visits.trail(control_session=control_session, visitor_id=application.visitor_id)
        if application.visitor_id
        else []
    )
    return Details(
        application=application,
        trail=trail,
        duplicates=_duplicates(control_session, application),
        history=history,
        staff=_names(control_session, application, history),
        tenant=control_session.scalar(_TENANT, {"application": application_id}),
        free_mail=application.email_domain in FREE_MAIL,
    )


# What two applications may share. What one of them lacks is null, which nothing equals.
_SHARED: dict[str, ColumnElement[bool]] = {
    "registration_number": and_(
        Application.registration_number == bindparam("registration_number"),
        Application.country == bindparam("country"),
    ),
    "email": func.lower(Application.email) == bindparam("email"),
    "email_domain": Application.email_domain == bindparam("email_domain"),
    "phone": Application.phone == bindparam("phone"),
}
_WAYS = tuple(_SHARED)
# Each condition has an index of its own, so the hints stay quick with many applications.
_ALIKE = union_all(
    *(
        select(
            select(Application.id, literal(place).label("by"))
            .where(condition, Application.id != bindparam("application"))
            .order_by(Application.id.desc())
            .limit(DUPLICATES_MAX)
            .subquery()
        )
        for place, condition in enumerate(_SHARED.values())
    )
).subquery()
_DUPLICATES = (
    select(Application, _ALIKE.c.by)
    .join(_ALIKE, _ALIKE.c.id == Application.id)
    .order_by(_ALIKE.c.by, Application.id.desc())
)


def _duplicates(control_session: Session, application: Application) -> list[Duplicate]:
    domain = application.email_domain
    shared = {
        "application": application.id,
        "registration_number": application.registration_number or None,
        "country": application.country,
        "email": application.email.lower() if application.email else None,
        "email_domain": domain if domain and domain not in FREE_MAIL else None,
        "phone": application.phone or None,
    }
    found: dict[UUID, tuple[Application, list[str]]] = {}
    for other, by in control_session.execute(_DUPLICATES, shared):
        found.setdefault(other.id, (other, []))[1].append(_WAYS[by])
    return [
        Duplicate(other, tuple(n for n in ways if n != "email_domain" or "email" not in ways))
        for other, ways in list(found.values())[:DUPLICATES_MAX]
    ]


def _names(
    control_session: Session, application: Application, history: Sequence[AuditEvent]
) -> dict[str, str]:
    ids = {UUID(e.actor_id) for e in history if e.actor_kind == "staff" and e.actor_id}
    ids |= {i for i in (application.claimed_by, application.decided_by) if i}
    if not ids:
        return {}
    rows = control_session.execute(select(Staff.id, Staff.name).where(Staff.id.in_(ids))).all()
    return {str(staff_id): name for staff_id, name in rows}
