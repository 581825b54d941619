"""Leases: how a job claims due rows so that a killed one gives them back and two never share one.

Leases and retry times follow the database's real clock, never the application's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.base import logs
from app.base.config import settings

BACKOFF_SECONDS = (1, 2, 5, 15, 60, 300, 900, 3600)


class Leased:
    """Columns of a row that jobs work on: who holds it until when, and how often it failed."""

    lease_until: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    last_error: Mapped[str | None]


def free(model: Any) -> ColumnElement[bool]:
    """This function will return the condition that a row is neither leased nor waiting to retry."""
    clock = func.clock_timestamp()
    condition: ColumnElement[bool] = and_(
        or_(model.lease_until.is_(None), model.lease_until < clock),
        or_(model.retry_at.is_(None), model.retry_at <= clock),
        model.attempts < settings().work_attempts_max,
    )
    return condition


def claim(
    *,
    control_session: Session,
    model: Any,
    due: ColumnElement[bool],
    limit: int,
    order_by: Any | None = None,
    lease: timedelta | None = None,
) -> list[Any]:
    """This function will lease up to `limit` due rows to the caller and return their keys.

    Rows that another worker holds are skipped, never waited for. `attempts` counts the claim, so
    a row that kills its worker runs out of attempts instead of killing workers for ever.
    """
    key = model.__mapper__.primary_key[0]
    # Apart, and so asked once: beneath IN some plans ask it anew for each row that they update; as
    # it skips what is locked, it then names another row each time, and its limit holds nothing.
    chosen = (
        select(key)
        .where(due, free(model))
        .order_by(order_by if order_by is not None else key)
        .limit(limit)
        .with_for_update(skip_locked=True, of=model)
        .cte("chosen")
        .prefix_with("MATERIALIZED")
    )
    held = lease or timedelta(seconds=settings().lease_seconds)
    claimed = control_session.execute(
        update(model)
        .where(key.in_(select(chosen)))
        .values(lease_until=func.clock_timestamp() + held, attempts=model.attempts + 1)
        .returning(key)
        .execution_options(synchronize_session=False)
    ).scalars()
    return sorted(claimed)


def release(*, control_session: Session, model: Any, keys: Sequence[Any]) -> None:
    """This function will give rows back after success and forget their failures."""
    key = model.__mapper__.primary_key[0]
    control_session.execute(
        update(model)
        .where(key.in_(keys))
        .values(lease_until=None, retry_at=None, attempts=0, last_error=None)
        .execution_options(synchronize_session=False)
    )


def fail(*, control_session: Session, model: Any, key: Any, error: str) -> None:
    """This function will give a row back after a failure, to be tried again after a pause.

    The pause grows with the attempts; at `work_attempts_max` the row stays put for a person. What
    an error quotes of people is taken out: it stays longer than they may.
    """
    column = model.__mapper__.primary_key[0]
    attempts = control_session.scalar(select(model.attempts).where(column == key)) or 1
    pause = BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS)) - 1]
    control_session.execute(
        update(model)
        .where(column == key)
        .values(
            lease_until=None,
            retry_at=func.clock_timestamp() + timedelta(seconds=pause),
            last_error=logs.scrub(error)[:2000],
        )
        .execution_options(synchronize_session=False)
    )
