"""Signup: a trial application from the form to the confirmed e-mail, its status and its erasure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, or_, select, text
from sqlalchemy.orm import Session

from app.base import accounts, ids, messages, secrets, states
from app.base.accounts import LinkExpired, LinkUsed, OneTimeToken
from app.base.audit import VISITOR
from app.base.config import settings
from app.base.errors import NotFound
from tenants import business_status, consents
from tenants.application_erasure import erase, erase_overdue
from tenants.models import APPLICATION, Application, Tenant
from tenants.trial_form import CheckedForm, TrialForm, check

__all__ = [
    "ApplicationGone",
    "Status",
    "Submission",
    "confirm",
    "erase",
    "erase_overdue",
    "renew",
    "show_confirmation",
    "status",
    "status_link",
    "submit",
]

OPEN = ("submitted", "confirmed")
# A person who sends the same form again soon has double-clicked; later, they lost our mail.
AGAIN_AFTER = timedelta(minutes=10)
_CONFIRM = "application_confirm"
_STATUS = "status"


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a form: the application it is now, or already was."""

    application: Application
    is_new: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What an applicant may see: the application and, once approved, the tenant."""

    application: Application
    tenant: Tenant | None


class ApplicationGone(NotFound):
    """The application was erased, or the link was never complete."""


def submit(
    *,
    control_session: Session,
    form: TrialForm,
    visitor_id: UUID | None,
    now: datetime,
    plans: Collection[str] | None = None,
    channel: str = "web",
) -> Submission:
    """This function will turn a form into an application and mail a link that confirms it.

    While an application of the same content, or of the same e-mail, is open, that one stands:
    its owner is told by mail and the sender learns nothing that they did not know.

    Raises: trial_form.FormInvalid with every fault by field.
    """
    checked = check(form, plans=plans)
    # Two requests at once (a double click) take turns, so that the second finds the first.
    control_session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"application:{checked.email.lower()}"},
    )
    earlier = _earlier(control_session, checked)
    if earlier is not None:
        _tell_again(
            control_session, earlier, same=earlier.dedupe_hash == checked.dedupe_hash, now=now
        )
        return Submission(earlier, is_new=False)
    application = Application(
        reference=ids.reference("A"),
        state="submitted",
        dedupe_hash=checked.dedupe_hash,
        company=checked.company,
        country=checked.country,
        registration_number=checked.registration_number,
        contact_name=checked.contact_name,
        email=checked.email,
        email_domain=checked.email_domain,
        phone=checked.phone,
        seats_expected=checked.seats_expected,
        plan_code=checked.plan_code,
        message=checked.message,
        language=checked.language,
        visitor_id=visitor_id,
        submitted_at=now,
    )
    states.begin(
        control_session=control_session,
        machine=APPLICATION,
        row=application,
        actor=VISITOR,
        now=now,
    )
    # Asked by a step, some time: whoever applies waits for nobody's register.
    business_status.ask(
        control_session=control_session,
        number=application.registration_number,
        country=application.country,
        now=now,
    )
    consents.record(
        control_session=control_session,
        subject_id=application.id,
        answers={"privacy_notice": True, "terms": True, "marketing": form.marketing},
        language=application.language,
        channel=channel,
        now=now,
    )
    _mail(
        control_session,
        application,
        _CONFIRM,
        now,
        link=_confirm_link(control_session, application, now),
    )
    return Submission(application, is_new=True)


def _earlier(control_session: Session, checked: CheckedForm) -> Application | None:
    return control_session.scalar(
        select(Application)
        .where(
            or_(
                Application.dedupe_hash == checked.dedupe_hash,
                (func.lower(Application.email) == checked.email.lower())
                & Application.state.in_(OPEN),
            )
        )
        .order_by((Application.dedupe_hash == checked.dedupe_hash).desc(), Application.id)
        .limit(1)
    )


def _tell_again(
    control_session: Session, application: Application, *, same: bool, now: datetime
) -> None:
    """At most one mail an hour, so that the form can't be used to flood a stranger."""
    if same and now - application.submitted_at < AGAIN_AFTER:
        return
    event = f"again:{application.id}:{now:%Y%m%d%H}"
    if control_session.scalar(select(exists().where(messages.Message.dedupe_key == event))):
        return
    link = (
        _confirm_link(control_session, application, now)
        if application.state == "submitted"
        else status_link(application)
    )
    _mail(control_session, application, "application_again", now, link=link, event=event)


def _confirm_link(control_session: Session, application: Application, now: datetime) -> str:
    token = accounts.issue_token(
        control_session=control_session,
        purpose=_CONFIRM,
        subject_id=application.id,
        valid_for=timedelta(hours=settings().confirmation_hours),
        now=now,
    )
    return f"{settings().public_url}/trial/confirm/{token}"


def status_link(application: Application) -> str:
    """This function will return the private address of an application's status page."""
    return f"{settings().public_url}/status/{secrets.sign(_STATUS, str(application.id))}"


def _mail(
    control_session: Session,
    application: Application,
    name: str,
    now: datetime,
    *,
    event: str | None = None,
    **context: Any,
) -> None:
    messages.queue_mail(
        control_session=control_session,
        room="tenants",
        name=name,
        to=application.email,
        language=application.language,
        context={"application": application, **context},
        now=now,
        regarding_id=application.id,
        dedupe_key=event,
    )


def show_confirmation(*, control_session: Session, token: str, now: datetime) -> Application:
    """This function will return what a link would confirm, and change nothing.

    Scanners of mail open every link before a person does, so only the button confirms.

    Raises: LinkExpired, LinkUsed.
    """
    subject_id = accounts.peek_token(
        control_session=control_session, purpose=_CONFIRM, token=token, now=now
    )
    return _confirmable(control_session, subject_id)


def confirm(*, control_session: Session, token: str, now: datetime) -> Application:
    """This function will use a link up and put its application into the queue of the reviewers.

    Raises: LinkExpired, LinkUsed.
    """
    subject_id = accounts.use_token(
        control_session=control_session, purpose=_CONFIRM, token=token, now=now
    )
    application = _confirmable(control_session, subject_id)
    states.move(
        control_session=control_session,
        machine=APPLICATION,
        row=application,
        to="confirmed",
        actor=VISITOR,
        now=now,
    )
    application.confirmed_at = now
    application.sla_due_at = now + timedelta(hours=settings().review_sla_hours)
    _mail(control_session, application, "application_received", now, link=status_link(application))
    _tell_sales(control_session, application, now)
    return application


def _confirmable(control_session: Session, application_id: UUID) -> Application:
    application = control_session.get(Application, application_id)
    if application is None or application.state == "erased":
        raise LinkExpired("This link has expired. Please apply again.")
    if application.state != "submitted":
        raise LinkUsed("This link was used already.")
    return application


def _tell_sales(control_session: Session, application: Application, now: datetime) -> None:
    link = f"{settings().public_url}/console/review/{application.id}"
    messages.queue_mail(
        control_session=control_session,
        room="tenants",
        name="application_for_review",
        to=settings().sales_email,
        language=settings().paper_language,
        context={"application": application, "link": link},
        now=now,
        regarding_id=application.id,
        dedupe_key=f"for_review:{application.id}",
    )
    # The chat is somebody else's server: it gets no name, address or number of a person.
    messages.queue_chat(
        control_session=control_session,
        text=f"{application.reference} · {application.plan_code} · "
        f"{application.seats_expected} seats\n{link}",
        now=now,
        regarding_id=application.id,
        dedupe_key=f"for_review_chat:{application.id}",
    )


def renew(*, control_session: Session, token: str, now: datetime) -> None:
    """This function will mail a fresh link to the owner of an expired one.

    Whoever holds the old link learns nothing by it: the new one goes to the same mailbox.

    Raises: LinkExpired when the link was never ours or its application is gone; LinkUsed.
    """
    subject_id = control_session.scalar(
        select(OneTimeToken.subject_id).where(
            OneTimeToken.purpose == _CONFIRM, OneTimeToken.token_hash == secrets.hash_token(token)
        )
    )
    if subject_id is None:
        raise LinkExpired("This link has expired. Please open the newest mail, or apply again.")
    _tell_again(control_session, _confirmable(control_session, subject_id), same=False, now=now)


def status(*, control_session: Session, signed: str) -> Status:
    """This function will return what the private status page shows, for as long as it lives.

    Raises: ApplicationGone.
    """
    application_id = UUID(secrets.unsign(_STATUS, signed))
    application = control_session.get(Application, application_id)
    if application is None or application.state == "erased":
        raise ApplicationGone("This application has been erased; nothing about it is kept.")
    tenant = control_session.scalar(select(Tenant).where(Tenant.application_id == application_id))
    return Status(application, tenant)
