"""Consent to a dearer change that our staff makes for a customer: who gave it, when and how.

A customer who changes something by themselves agrees by doing so. What staff changes for them and
costs more is changed only with their consent, kept with the words of the change.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base.errors import Invalid
from invoices.price_rises import WITHIN_DAYS, check_day
from tenants.models import Consent
from tenants.texts import one_line

VERSION = "2026-11-21"
GIVEN_BY_LENGTH_MAX = 500


class GiverMissing(Invalid):
    """A consent that we write down for somebody names who gave it, and how."""


class GivenUnsound(Invalid):
    """The consent was given on no day, on one to come, or too long before the change."""


def record(
    *,
    control_session: Session,
    tenant_id: UUID,
    text: str,
    language: str,
    given_by: str,
    given_on: date | None,
    begins_on: date,
    today: date,
    staff_id: UUID,
    now: datetime,
) -> Consent:
    """This function will keep the consent that a customer gave to our staff for a dearer change.

    Raises: GiverMissing (field `given_by`), GivenUnsound (field `given_on`); TooFarAhead for a
    change that begins later than anybody can agree to now.
    """
    check_day(begins_on=begins_on, today=today)
    giver = one_line(given_by)[:GIVEN_BY_LENGTH_MAX]
    if not giver:
        raise GiverMissing("Please say who gave the consent, and how.", field="given_by")
    if given_on is None or given_on > today or (begins_on - given_on).days > WITHIN_DAYS:
        raise GivenUnsound(
            "Enter the day on which the consent was given, within the 30 days before the change.",
            field="given_on",
        )
    row = Consent(
        subject_id=tenant_id,
        kind="price_change",
        version=VERSION,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        granted=True,
        at=now,
        channel="staff",
        details={
            "language": language,
            "given_by": giver,
            "given_on": given_on.isoformat(),
            "begins_on": begins_on.isoformat(),
            "recorded_by": str(staff_id),
            "text": text,
        },
    )
    control_session.add(row)
    control_session.flush()
    return row
