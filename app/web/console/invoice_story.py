"""How an invoice came to be where it is: acts, attempts and money in one line of time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, bindparam, or_, select

from app.base.audit import AuditEvent
from app.web.db import control
from app.web.event_words import said, staff_names
from app.web.i18n import gettext
from invoices.models import Invoice, PaymentAttempt

EVENTS_MAX = 100
_Attempt = Row[UUID, int, datetime, str | None, str | None]
# By columns: an attempt has many more than are told of it.
_ATTEMPTS = select(
    PaymentAttempt.id,
    PaymentAttempt.attempt_number,
    PaymentAttempt.begun_at,
    PaymentAttempt.decline_code,
    PaymentAttempt.decline_message,
).where(PaymentAttempt.invoice_id == bindparam("invoice"))
_EVENTS = (
    select(AuditEvent)
    .where(
        or_(
            and_(
                AuditEvent.subject_kind == "invoice",
                AuditEvent.subject_id == bindparam("invoice"),
            ),
            and_(
                AuditEvent.subject_kind == "payment_attempt",
                AuditEvent.subject_id.in_(bindparam("attempts", expanding=True)),
            ),
        )
    )
    .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    .limit(EVENTS_MAX)
)


def story(invoice: Invoice) -> list[dict[str, Any]]:
    """This function will return an invoice's events, newest first, as the timeline prints them."""
    attempts = {
        str(attempt.id): attempt
        for attempt in control().execute(_ATTEMPTS, {"invoice": invoice.id})
    }
    told_of = {"invoice": str(invoice.id), "attempts": list(attempts)}
    events = list(control().scalars(_EVENTS, told_of))
    names = staff_names(events)
    return [_entry(event, names, attempts) for event in events] + _begun(attempts, events)


def _entry(
    event: AuditEvent, names: dict[str, str], attempts: dict[str, _Attempt]
) -> dict[str, Any]:
    entry = said(event, names)
    attempt = attempts.get(event.subject_id)
    if attempt is not None:
        entry["what"] = gettext(
            "%(what)s (attempt %(number)s)", what=entry["what"], number=attempt.attempt_number
        )
        if event.to_state == "declined" and attempt.decline_message:
            entry["why"] = f"{attempt.decline_code}: {attempt.decline_message}"
    return entry


def _begun(attempts: dict[str, _Attempt], events: list[AuditEvent]) -> list[dict[str, Any]]:
    """Attempts that nothing has been written about yet: under way this very moment."""
    told = {event.subject_id for event in events}
    return [
        {
            "at": attempt.begun_at,
            "who": gettext("Job: %(step)s", step="collection"),
            "what": gettext(
                "Card charge begun (attempt %(number)s)", number=attempt.attempt_number
            ),
            "why": "",
            "tone": "calm",
        }
        for attempt_id, attempt in attempts.items()
        if attempt_id not in told
    ]
