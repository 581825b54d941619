"""What a step of the jobs is, and the shape that most of them share.

A step is a small module `jobs/<name>.py` with a constant `STEP`. Its name is what a transition
sends by NOTIFY, what the dispatcher puts on the queue, and what the logs say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session

from app.base import leases, logs
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import TenantryError
from jobs import stopping

log = structlog.get_logger(__name__)

Queue = Literal["default", "documents"]


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of work: `due` is a cheap EXISTS, `work` settles a chunk and returns how many.

    `work` opens its own transactions and reads `app.base.clock` itself, since it is the door. It
    is called again until it returns 0.
    """

    name: str
    queue: Queue
    due: Callable[[Session, datetime], bool]
    work: Callable[[], int]


def anything_due(control_session: Session, model: Any, due: ColumnElement[bool]) -> bool:
    """This function will tell whether a row is due that nobody holds and no pause keeps back."""
    return bool(control_session.scalar(select(exists().where(due, leases.free(model)))))


def settle_each(
    *,
    step: str,
    model: Any,
    due: ColumnElement[bool],
    perform_one: Callable[[Any], object],
    limit: int,
    order_by: Any | None = None,
    lease: timedelta | None = None,
) -> int:
    """This function will claim up to `limit` due rows and settle each on its own.

    `perform_one(key)` does one row, in transactions of its own. When it returns, the lease is
    given back; when it raises, the row is parked with its error and tried again after a pause,
    and the next row has its turn. It returns how many rows were claimed.
    """
    held = lease or timedelta(seconds=settings().lease_seconds)
    # Before the claim: the lease runs from within it, however long the rest of it takes.
    leased_at = time.monotonic()
    with control_session() as session:
        keys: Sequence[Any] = leases.claim(
            control_session=session,
            model=model,
            due=due,
            limit=limit,
            order_by=order_by,
            lease=held,
        )
        keys = _in_order(session, model, keys, order_by)
    for done, key in enumerate(keys):
        if stopping.asked():
            _give_back(model, keys[done:])
            break
        elapsed = timedelta(seconds=time.monotonic() - leased_at)
        if elapsed > held:
            # The rest ran out while we worked: others may hold it, so it is not ours to touch.
            log.warning("lease.outrun", step=step, rows=len(keys) - done)
            break
        if elapsed > held / 2:
            leased_at = time.monotonic()
            _renew(model, keys[done:], held)
        with logs.bound(**{_name(model): str(key)}):
            _settle(step, model, key, perform_one)
    return len(keys)


def each_tenant(tenant_ids: Sequence[UUID], act: Callable[[Session, UUID], bool]) -> int:
    """This function will act on tenants, each in a transaction of its own, and count whom it moved.

    One that fails keeps no other back, and is looked at again at the next sweep: it never spins.
    """
    moved = 0
    for tenant_id in tenant_ids:
        if stopping.asked():
            break
        try:
            with control_session() as session:
                moved += act(session, tenant_id)
        except TenantryError as error:
            log.warning("tenant.refused", tenant_id=str(tenant_id), error=type(error).__name__)
        except Exception:
            log.exception("tenant.failed", tenant_id=str(tenant_id))
    return moved


def _name(model: Any) -> str:
    """What a row's key is called in logs: `tenant_id` where the row is a tenant's only one."""
    column: str = model.__mapper__.primary_key[0].name
    return column if column != "id" else f"{model.__tablename__}_id"


def _in_order(
    control_session: Session, model: Any, keys: Sequence[Any], order_by: Any | None
) -> Sequence[Any]:
    """The claim says which rows; the oldest of them is still to be the first."""
    if order_by is None or len(keys) < 2:
        return keys
    key = model.__mapper__.primary_key[0]
    return control_session.scalars(select(key).where(key.in_(keys)).order_by(order_by, key)).all()


def _settle(step: str, model: Any, key: Any, perform_one: Callable[[Any], object]) -> None:
    table = model.__tablename__
    try:
        perform_one(key)
    except TenantryError as error:
        _park(step, model, key, error)
        log.warning("row.refused", step=step, table=table, key=str(key), error=type(error).__name__)
    except Exception as error:
        # Whatever one row holds, the others have their turn; the error stays on the row.
        _park(step, model, key, error)
        log.exception("row.failed", step=step, table=table, key=str(key))
    else:
        with control_session() as session:
            leases.release(control_session=session, model=model, keys=[key])


def _park(step: str, model: Any, key: Any, error: Exception) -> None:
    with control_session() as session:
        leases.fail(
            control_session=session,
            model=model,
            key=key,
            error=f"{step}: {type(error).__name__}: {error}",
        )


def _renew(model: Any, keys: Sequence[Any], held: timedelta) -> None:
    key = model.__mapper__.primary_key[0]
    with control_session() as session:
        session.execute(
            update(model)
            .where(key.in_(keys), model.lease_until.is_not(None))
            .values(lease_until=func.clock_timestamp() + held)
            .execution_options(synchronize_session=False)
        )


def _give_back(model: Any, keys: Sequence[Any]) -> None:
    """A stopping worker hands back what it has not begun; the claim does not count as a try."""
    key = model.__mapper__.primary_key[0]
    with control_session() as session:
        session.execute(
            update(model)
            .where(key.in_(keys))
            .values(lease_until=None, attempts=func.greatest(model.attempts - 1, 0))
            .execution_options(synchronize_session=False)
        )
