"""Events to push, and what became of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.db import control_session as commit_session
from app.base.db import usage_session as usage_transaction
from tenants import events
from tenants.events import Outcome
from tenants.models import Tenant
from tenants.usage_models import Event


def event(of: Tenant, now: datetime, /, **fields: Any) -> dict[str, Any]:
    values = {"id": "e1", "tenant": str(of.id), "type": "api.call", "time": now.isoformat()}
    return {key: value for key, value in (values | fields).items() if value is not ...}


def words(outcomes: list[Outcome]) -> list[str]:
    return [o.refusal.reason if o.outcome == "refused" else o.outcome for o in outcomes]  # type: ignore[union-attr]


def stored(session: Session, **columns: Any) -> int:
    return session.scalar(select(func.count()).select_from(Event).filter_by(**columns)) or 0


def push(batch: list[Any], now: datetime) -> list[str]:
    """This function will push a batch as a door does: what it calls accepted is committed."""
    with commit_session() as control, usage_transaction() as usage:
        taken = events.accept(usage_session=usage, control_session=control, events=batch, now=now)
    return words(taken)


def set_state(tenant_id: UUID, state: str) -> None:
    with commit_session() as session:
        session.get_one(Tenant, tenant_id).state = state


def end(tenant_id: UUID, now: datetime) -> None:
    with commit_session() as control, usage_transaction() as usage:
        events.end(usage_session=usage, control_session=control, tenant_id=tenant_id, now=now)


def nothing_left(session: Session, tenant_id: UUID) -> bool:
    found = events.left(usage_session=session, tenant_id=tenant_id)
    assert found.keys() >= {"event", "event_key"}
    return not any(found.values())
