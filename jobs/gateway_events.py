"""What gateways called in about: each event is checked against the gateway itself, once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import gateway_events, payment
from invoices.models import GatewayEvent
from jobs.steps import Step, anything_due, settle_each

CHUNK = 50


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether an event waits to be applied."""
    return anything_due(session, GatewayEvent, gateway_events.due())


def work() -> int:
    """This function will apply a chunk of events and return how many it took up."""
    return settle_each(
        step="gateway_events",
        model=GatewayEvent,
        due=gateway_events.due(),
        perform_one=_apply,
        limit=CHUNK,
        lease=payment.call_lease(),
    )


def _apply(event_id: UUID) -> None:
    with control_session() as session:
        question = gateway_events.begin(control_session=session, event_id=event_id)
    result = gateway_events.look(question=question) if question is not None else None
    with control_session() as session:
        gateway_events.record(
            control_session=session,
            event_id=event_id,
            question=question,
            result=result,
            now=clock.now(),
        )


STEP = Step("gateway_events", "default", due, work)
