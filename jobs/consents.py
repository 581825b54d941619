"""Consents to dearer prices: reminded of as their day draws near, and closed without an answer."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import price_consents
from invoices.models import PriceConsent
from jobs import stopping
from jobs.steps import Step

log = structlog.get_logger(__name__)

AT_ONCE = 200


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a consent is to be reminded of, or is over."""
    return bool(session.scalar(select(exists().where(price_consents.due(now)))))


def work() -> int:
    """This function will follow up a chunk of consents and return how many it concerned."""
    with control_session() as session:
        waiting = session.scalars(
            select(PriceConsent.id)
            .where(price_consents.due(clock.now()))
            .order_by(PriceConsent.moves_on)
            .limit(AT_ONCE)
        ).all()
    return sum(_followed_up(consent_id) for consent_id in waiting if not stopping.asked())


def _followed_up(consent_id: UUID) -> bool:
    try:
        with control_session() as session:
            price_consents.follow_up(
                control_session=session, consent_id=consent_id, now=clock.now()
            )
    except Exception:
        # The others have their turn; this one is looked at again at the next sweep.
        log.exception("consent.failed", consent_id=str(consent_id))
        return False
    return True


STEP = Step("consents", "default", due, work)
