"""The step `invoicing`: bills a chunk of due subscriptions, and parks the one that fails."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from app.base import clock
from app.base.db import control_session, usage_session
from invoices import invoicing
from jobs.steps import Step

log = structlog.get_logger(__name__)


def work() -> int:
    """This function will bill one chunk and return how many subscriptions it dealt with."""
    now = clock.now()
    with control_session() as session:
        claimed = invoicing.claim(control_session=session, now=now)
    _bill(claimed)
    return len(claimed)


def _bill(subscription_ids: list[UUID]) -> None:
    """This function will bill a chunk in one transaction; a failing one is halved to its cause."""
    if not subscription_ids:
        return
    try:
        with control_session() as session, usage_session() as usage:
            outcome = invoicing.bill(
                control_session=session,
                usage_session=usage,
                subscription_ids=subscription_ids,
                now=clock.now(),
            )
    except (OperationalError, InterfaceError):
        # The database is at fault, not a subscription: the leases run out and all is tried again.
        raise
    except Exception as error:
        if len(subscription_ids) == 1:
            _park(subscription_ids[0], error)
            return
        middle = len(subscription_ids) // 2
        _bill(subscription_ids[:middle])
        _bill(subscription_ids[middle:])
        return
    if outcome.issued or outcome.drafted or outcome.blocked:
        log.info(
            "invoicing.billed",
            issued=len(outcome.issued),
            drafted=len(outcome.drafted),
            blocked=len(outcome.blocked),
        )


def _park(subscription_id: UUID, error: Exception) -> None:
    log.exception("invoicing.parked", subscription=str(subscription_id))
    with control_session() as session:
        invoicing.park(
            control_session=session,
            subscription_id=subscription_id,
            error=f"invoicing: {type(error).__name__}: {error}",
        )


STEP = Step(name="invoicing", queue="default", due=invoicing.due, work=work)
