"""Messages: due mails and chat lines go out, at least once; a repeat bears the same Message-ID."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Any
from uuid import UUID

import httpx
import structlog
from sqlalchemy.orm import Session

from app.base import clock, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import Invalid, Unavailable
from app.base.messages import MESSAGE, Message
from jobs.steps import Step, anything_due, settle_each

log = structlog.get_logger(__name__)

MESSAGES_AT_ONCE = 20
PERMANENT_FROM = 500


class Undeliverable(Invalid):
    """The other side refuses this message for good."""


class DeliveryPostponed(Unavailable):
    """The other side can't take the message now."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as it leaves the database: all that sending it needs."""

    id: UUID
    channel: str
    recipient: str
    subject: str
    text: str
    html: str
    language: str
    advertising: bool
    created_at: datetime


def deliver(message_id: UUID) -> None:
    """This function will send one leased message and write down what became of it.

    Raises: DeliveryPostponed, so that the row is tried again after a pause.
    """
    with control_session() as session:
        row = session.get(Message, message_id)
        if row is None or row.state != "due":
            return
        outgoing = Outgoing(**{name: getattr(row, name) for name in Outgoing.__dataclass_fields__})
    try:
        send = send_mail if outgoing.channel == "mail" else send_chat
        send(outgoing)
    except Undeliverable as error:
        record(message_id, to="failed", why=error.message)
        log.warning("message.refused", message_id=str(message_id), why=error.message)
    else:
        record(message_id, to="sent")


def record(message_id: UUID, *, to: str, why: str | None = None) -> None:
    """This function will move a message on, unless it was erased meanwhile."""
    now = clock.now()
    with control_session() as session:
        row = session.get(Message, message_id)
        if row is None or row.state != "due":
            return
        if to == "sent":
            row.sent_at = now
        states.move(
            control_session=session,
            machine=MESSAGE,
            row=row,
            to=to,
            actor=Actor.job(STEP.name),
            now=now,
            why=why,
        )


def send_mail(outgoing: Outgoing) -> None:
    """This function will hand a mail to the SMTP server.

    Raises: Undeliverable for a recipient or text refused for good; DeliveryPostponed for
    anything that may pass, our own sign-in included.
    """
    try:
        mail = compose(outgoing)
        with _smtp() as server:
            server.send_message(mail)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
        code = _code(error)
        if code >= PERMANENT_FROM:
            raise Undeliverable(f"The mail server refused it for good ({code}).") from error
        raise DeliveryPostponed(f"The mail server put it off ({code}).") from error
    except (smtplib.SMTPNotSupportedError, ValueError) as error:
        raise Undeliverable("The address or the subject can't be sent.") from error
    except (smtplib.SMTPException, OSError) as error:
        reason = type(error).__name__
        raise DeliveryPostponed(f"The mail server can't be used now ({reason}).") from error


def _code(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> int:
    if isinstance(error, smtplib.SMTPDataError):
        return int(error.smtp_code)
    return min(code for code, _text in error.recipients.values())


def compose(outgoing: Outgoing) -> EmailMessage:
    """This function will build the mail: text and HTML of one content, an id that never changes.

    Raises: ValueError when a header would hold a line break.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = settings().mail_from
    mail["To"] = outgoing.recipient
    mail["Reply-To"] = settings().mail_reply_to
    mail["Subject"] = outgoing.subject
    mail["Date"] = format_datetime(outgoing.created_at)
    mail["Message-ID"] = f"<{outgoing.id}@{_own_domain()}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = outgoing.language
    if outgoing.advertising:
        mail["List-Unsubscribe"] = f"<mailto:{settings().mail_reply_to}?subject=unsubscribe>"
    mail.set_content(outgoing.text)
    mail.add_alternative(outgoing.html, subtype="html")
    return mail


def _own_domain() -> str:
    return parseaddr(settings().mail_from)[1].partition("@")[2] or "localhost"


def _smtp() -> smtplib.SMTP:
    s = settings()
    # Named, so that no name server is asked for our own name; certificates only where needed.
    terms: dict[str, Any] = {"timeout": s.smtp_timeout_seconds, "local_hostname": _own_domain()}
    context = None if s.smtp_tls == "none" else ssl.create_default_context()
    server: smtplib.SMTP
    if s.smtp_tls == "tls":
        server = smtplib.SMTP_SSL(s.smtp_host, s.smtp_port, context=context, **terms)
    else:
        server = smtplib.SMTP(s.smtp_host, s.smtp_port, **terms)
    try:
        if s.smtp_tls == "starttls":
            server.starttls(context=context)
        if s.smtp_username:
            server.login(s.smtp_username, s.smtp_password.get_secret_value())
    except BaseException:
        server.close()
        raise
    return server


def send_chat(outgoing: Outgoing) -> None:
    """This function will post one line to the configured Slack webhook.

    Raises: Undeliverable, DeliveryPostponed.
    """
    url = settings().slack_webhook_url.get_secret_value()
    if not url:
        raise Undeliverable("No chat webhook is configured any more.")
    try:
        # Slack reads <, > and & as markup; a company's name must not become a link or a call.
        answer = httpx.post(
            url,
            json={"text": escape(outgoing.text, quote=False)},
            timeout=settings().slack_timeout_seconds,
        )
    except httpx.HTTPError as error:
        raise DeliveryPostponed(f"Chat can't be reached ({type(error).__name__}).") from error
    if answer.status_code in (408, 425, 429) or answer.is_server_error:
        raise DeliveryPostponed(f"Chat put it off ({answer.status_code}).")
    if not answer.is_success:
        raise Undeliverable(f"Chat refused it ({answer.status_code}).")


def _due(control_session: Session, now: datetime) -> bool:
    del now
    return anything_due(control_session, Message, _DUE)


def _work() -> int:
    return settle_each(
        step=STEP.name,
        model=Message,
        due=_DUE,
        perform_one=deliver,
        limit=MESSAGES_AT_ONCE,
        order_by=Message.created_at,
    )


_DUE = Message.state == "due"
STEP = Step(name="messages", queue="default", due=_due, work=_work)
