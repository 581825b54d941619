"""Destruction: what is left of a tenant when its retention is over is a line in a ledger.

Persisted steps, each of which looks before it acts: cut short at any line, the run goes on from
there. A payment or a conversion wins until the very DROP: what touches the database is done under
the tenant's lock, which both take (`tenants.rescue`). Nothing is called destroyed before its
absence was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.orm import Session

from app.base import files, states
from app.base.errors import Conflict, NotFound, Unavailable
from tenants import destruction_on_cluster, events, lifecycle, personal_data, rescue
from tenants.destruction_on_cluster import Place, StillThere
from tenants.destruction_start import JOB, MOVED_ON, MOVED_ON_DAYS_MAX, begin, due, retention_over
from tenants.models import (
    TENANT,
    DestructionRun,
    Erasure,
    TenantExport,
)
from tenants.provisioning import release_place

__all__ = [
    "JOB",
    "MOVED_ON",
    "MOVED_ON_DAYS_MAX",
    "STEPS",
    "Order",
    "Papers",
    "advance",
    "begin",
    "due",
    "due_condition",
    "next_step",
    "perform",
    "record",
    "retention_over",
]

# settled: nothing of the tenant's money or papers is under way. database: the statutory papers are
# set apart, by the invoices' room, and the database is dropped. usage: pushed events, wherever they
# lie. records: personal data in control.
STEPS = (
    "settled",
    "close",
    "quarantine",
    "database",
    "role",
    "files",
    "usage",
    "records",
    "absence",
)
LEGAL_BASIS = "PIPA §21"
DATA_CLASSES = [
    "tenant database",
    "database role",
    "files",
    "exports",
    "usage events",
    "papers beyond those kept by law",
    *personal_data.DATA_CLASSES,
]
# On the way to the DROP, and under the lock of whoever might still come back.
_UNDER_LOCK = ("close", "quarantine", rescue.POINT_OF_NO_RETURN)

Transaction = Callable[[], AbstractContextManager[Session]]
AfterStep = Callable[[str, str], None]


class NoSuchRun(NotFound):
    """Nobody has begun to destroy this tenant."""


class RunMoved(Conflict):
    """Another worker has taken this run further in the meantime."""


class ExportBeingWritten(Unavailable):
    """A worker is still copying the tenant's files into an export."""


@dataclass(frozen=True, slots=True)
class Order:
    """The next step of one destruction; holds no connection."""

    tenant_id: UUID
    step: str
    steps_done: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Papers:
    """What the invoices' room has to say, written down to this one by the job.

    `look` refuses while money or a paper is under way, and calls the destruction off where it has
    lost its reason; `set_apart` saves what the law makes us keep and forgets the rest; `left`
    forgets what had to wait, and counts what still names the customer.
    """

    look: Callable[[Session, UUID, datetime], object]
    set_apart: Callable[[Session, UUID, datetime], object]
    left: Callable[[Session, UUID, datetime], dict[str, int]]


def due_condition() -> ColumnElement[bool]:
    """This function will return the condition that a destruction has steps left to do."""
    return DestructionRun.finished_at.is_(None)


def advance(
    *,
    transaction: Transaction,
    usage_transaction: Transaction,
    tenant_id: UUID,
    now: Callable[[], datetime],
    papers: Papers,
    after_step: AfterStep = lambda _step, _what: None,
) -> None:
    """This function will take one destruction from wherever it stands to its line in the ledger.

    `transaction` opens one on control, for each step its own; `usage_transaction` opens one where
    pushed usage lies. `after_step` is told of each boundary. A run that was called off is left.

    Raises: NoSuchRun, ClusterTrouble, NotOurs, StillThere, PlaceUnknown, whatever `papers` refuses;
    the run may be advanced again after any of them.
    """
    with transaction() as session:
        order = next_step(control_session=session, tenant_id=tenant_id)
    while order is not None:
        done = order.step
        if done in _UNDER_LOCK:
            order = _under_lock(order, transaction, now, papers, after_step)
        else:
            proof = perform(order)
            proof |= _perform_on_usage(order, transaction, usage_transaction, now())
            after_step(done, "performed")
            with transaction() as session:
                if not _goes_on(session, order, papers, now()):
                    return
                if done == "absence":
                    proof |= _no_paper_left(session, tenant_id, papers, now())
                order = record(control_session=session, order=order, proof=proof, now=now())
        after_step(done, "recorded")


def _under_lock(
    order: Order,
    transaction: Transaction,
    now: Callable[[], datetime],
    papers: Papers,
    after_step: AfterStep,
) -> Order | None:
    """A step on the database, while nobody can convert; None when somebody did before.

    The one work on a cluster that is done inside a transaction on control: let go before the DROP,
    the lock would let a conversion pass that finds no database a moment later.
    """
    with transaction() as session:
        if not _goes_on(session, order, papers, now()):
            return None
        if order.step == rescue.POINT_OF_NO_RETURN:
            papers.set_apart(session, order.tenant_id, now())
        perform(order)
        after_step(order.step, "performed")
        return record(control_session=session, order=order, proof={}, now=now())


def _goes_on(session: Session, order: Order, papers: Papers, now: datetime) -> bool:
    """Read again under the tenant's lock: whoever came first has won."""
    if STEPS.index(order.step) > STEPS.index(rescue.POINT_OF_NO_RETURN):
        return True
    lifecycle.locked(session, order.tenant_id)
    papers.look(session, order.tenant_id, now)
    return lifecycle.locked(session, order.tenant_id).state == "destroying"


def _no_paper_left(
    session: Session, tenant_id: UUID, papers: Papers, now: datetime
) -> dict[str, int]:
    left = papers.left(session, tenant_id, now)
    if any(left.values()):
        raise StillThere(f"There are papers of this tenant left: {left}.")
    return left


def next_step(*, control_session: Session, tenant_id: UUID) -> Order | None:
    """This function will return the step that comes next; None says that the run is finished.

    Raises: NoSuchRun, PlaceUnknown.
    """
    run = control_session.get(DestructionRun, tenant_id, populate_existing=True)
    if run is None:
        raise NoSuchRun("Nobody has begun to destroy this tenant.")
    if run.finished_at is not None:
        return None
    done = len(run.steps_done)
    place = destruction_on_cluster.place_of(control_session=control_session, tenant_id=tenant_id)
    return Order(tenant_id, STEPS[done], done, place)


def perform(order: Order) -> dict[str, Any]:
    """This function will do one step outside control, or find that it is done.

    It returns what was seen to be absent, for the ledger; before the last step that is nothing.

    Raises: ClusterTrouble, NotOurs, StillThere.
    """
    proof: dict[str, Any] = {}
    if order.step in destruction_on_cluster.STEPS and order.place is not None:
        proof |= destruction_on_cluster.perform(step=order.step, place=order.place)
    if order.step in ("files", "absence"):
        # Once more at the end: an export may have been on its way when the files went.
        files.delete_all(prefix=f"tenants/{order.tenant_id}")
    if order.step == "absence":
        if not files.is_empty(prefix=f"tenants/{order.tenant_id}"):
            raise StillThere("There are files of this tenant left.")
        proof["files"] = 0
    return proof


def _perform_on_usage(
    order: Order, transaction: Transaction, usage_transaction: Transaction, now: datetime
) -> dict[str, Any]:
    """Each part in a transaction of its own: a tenant's end must be seen before its events go."""
    if order.step == "usage":
        with transaction() as control_session, usage_transaction() as usage_session:
            events.end(
                usage_session=usage_session,
                control_session=control_session,
                tenant_id=order.tenant_id,
                now=now,
            )
        erased = 1
        while erased:
            with usage_transaction() as usage_session:
                erased = events.erase(usage_session=usage_session, tenant_id=order.tenant_id)
    if order.step != "absence":
        return {}
    with usage_transaction() as usage_session:
        left = events.left(usage_session=usage_session, tenant_id=order.tenant_id)
    if any(left.values()):
        raise StillThere(f"There is usage of this tenant left: {left}.")
    return dict(left)


def record(
    *, control_session: Session, order: Order, proof: dict[str, Any], now: datetime
) -> Order | None:
    """This function will write down that a step is done and return the next one, if there is any.

    Raises: RunMoved when the run is not where the order was taken; what a step raises.
    """
    moved = control_session.execute(
        text(
            "UPDATE destruction_run SET steps_done = steps_done || jsonb_build_array("
            "   jsonb_build_object('step', CAST(:step AS text), 'at', CAST(:at AS text)))"
            " WHERE tenant_id = :tenant_id AND jsonb_array_length(steps_done) = :done"
            "   AND finished_at IS NULL RETURNING 1"
        ),
        {
            "step": order.step,
            "at": now.isoformat(),
            "tenant_id": order.tenant_id,
            "done": order.steps_done,
        },
    ).first()
    if moved is None:
        raise RunMoved("Another worker has taken this run further.")
    if order.step == STEPS[0]:
        _wait_for_exports(control_session, order.tenant_id)
    if order.step == "records":
        personal_data.wait_for_last_mail(
            control_session=control_session, tenant_id=order.tenant_id, now=now
        )
        personal_data.erase(
            control_session=control_session, tenant_id=order.tenant_id, actor=JOB, now=now
        )
    if order.step == "absence":
        _finish(control_session, order.tenant_id, proof, now)
        return None
    return next_step(control_session=control_session, tenant_id=order.tenant_id)


def _wait_for_exports(control_session: Session, tenant_id: UUID) -> None:
    """One that is being written now would put its file down after all files are gone."""
    writing = control_session.scalar(
        select(
            exists().where(
                TenantExport.tenant_id == tenant_id,
                TenantExport.lease_until > func.clock_timestamp(),
            )
        )
    )
    if writing:
        raise ExportBeingWritten("An export of this tenant is being written. Waiting for its end.")


def _finish(
    control_session: Session, tenant_id: UUID, proof: dict[str, Any], now: datetime
) -> None:
    """One transaction: the last look, the place on the cluster, the ledger, the state."""
    tenant = lifecycle.locked(control_session, tenant_id)
    # A sign-in or a mail may have slipped in since; the count afterwards has to be nothing.
    left = personal_data.erase(
        control_session=control_session, tenant_id=tenant_id, actor=JOB, now=now
    )
    if any(left.values()):
        raise StillThere(f"After erasing there is still {left}.")
    release_place(control_session=control_session, tenant_id=tenant_id)
    run = control_session.get_one(DestructionRun, tenant_id, populate_existing=True)
    control_session.add(
        Erasure(
            subject_kind="tenant",
            subject_id=tenant_id,
            data_classes=DATA_CLASSES,
            created_on=tenant.created_at.date(),
            destroyed_at=now,
            reason=f"retention over, {run.reason}",
            legal_basis=LEGAL_BASIS,
            operator="destruction",
            approver=run.approver,
            verified={**proof, **left},
        )
    )
    run.finished_at = now
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="destroyed",
        actor=JOB,
        now=now,
        values={"destroyed_at": now},
    )
