"""The link in a mail that leads to where another card is registered.

It is signed, so that nobody makes one up, and it expires; it opens nothing by itself: whoever
follows it signs in first, as an administrator of the company that it was sent to.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from app.base import clock, secrets
from app.base.config import settings
from app.base.errors import Invalid

PURPOSE = "card-link"


class CardLinkExpired(Invalid):
    """The link is too old."""


def link(*, tenant_id: UUID, now: datetime) -> str:
    """This function will return the address of the card page for one tenant's administrators."""
    until = int((now + timedelta(days=settings().card_link_days)).timestamp())
    token = secrets.sign(PURPOSE, f"{tenant_id.hex}-{until}")
    return f"{settings().public_url}/portal/card/{token}"


def last_day(*, now: datetime) -> date:
    """This function will return the last day on which a link made now still leads there."""
    until = now + timedelta(days=settings().card_link_days)
    return clock.today(until, settings().contract_timezone)


def tenant_of(*, token: str, now: datetime) -> UUID:
    """This function will return whose card page a link leads to.

    Raises: SignatureWrong for one that is not ours; CardLinkExpired.
    """
    tenant, _, until = secrets.unsign(PURPOSE, token).partition("-")
    if datetime.fromtimestamp(int(until), UTC) <= now:
        raise CardLinkExpired("This link has expired. Sign in to the portal to change the card.")
    return UUID(hex=tenant)
