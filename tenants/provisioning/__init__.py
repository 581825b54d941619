"""Provisioning: from an approved application to a database of the tenant's own, in persisted steps.

Each step looks before it acts, so it may be cut short at any line and run again; what is done is
written down in transactions of its own, several short steps in one. Steps on the cluster run under
a lock held there, because a lease can run out under a slow worker and CREATE DATABASE knows no
transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.errors import Conflict
from tenants import clusters
from tenants.models import Cluster, ProvisioningRun, TenantDatabase
from tenants.provisioning.activation import invite
from tenants.provisioning.order import (
    NOTED,
    STEPS,
    Done,
    NoRoom,
    NoSuchRun,
    Order,
    RunMoved,
    begin,
    is_reserved,
    record,
    stands,
)
from tenants.provisioning.site import ClusterTrouble, Crew, Site, gather_crew, open_site, perform

__all__ = [
    "NOTED",
    "STEPS",
    "ClusterTrouble",
    "Crew",
    "Done",
    "NoRoom",
    "NoSuchRun",
    "Order",
    "RunFinished",
    "RunMoved",
    "Site",
    "advance",
    "begin",
    "due_condition",
    "gather_crew",
    "invite",
    "open_site",
    "perform",
    "record",
    "release_place",
    "undo",
]

Transaction = Callable[[], AbstractContextManager[Session]]
AfterStep = Callable[[str, str], None]


class RunFinished(Conflict):
    """The tenant is in already; what was made can't be taken back here."""


def due_condition() -> ColumnElement[bool]:
    """This function will return the condition under which a run has steps left to do."""
    return ProvisioningRun.finished_at.is_(None)


def advance(
    *,
    transaction: Transaction,
    tenant_id: UUID,
    now: Callable[[], datetime],
    after_step: AfterStep = lambda _step, _what: None,
    crew: Crew | None = None,
) -> None:
    """This function will take one run from wherever it stands to a tenant on trial.

    `transaction` opens one on control, for each note its own; `after_step` is told of each
    boundary: `(step, "performed")` of every step on the cluster, `(step, "recorded")` of those in
    NOTED. Runs that follow one another share their connections through a `crew`.

    Raises: NoSuchRun, NoRoom, ClusterTrouble, VerificationFailed, NotOurs; the run may be
    advanced again after any of them.
    """
    with transaction() as session:
        order = begin(control_session=session, tenant_id=tenant_id, now=now())
    if order is None:
        return
    after_step("reserve", "recorded")
    with _crew(crew) as workers, open_site(order, workers) as site:
        with transaction() as session:
            # Waiting for the lock takes time, and whoever held it may have gone on.
            if not stands(control_session=session, order=order):
                order = begin(control_session=session, tenant_id=tenant_id, now=now())
        if order is not None:
            # What a crash of the server took back after it was noted is made good first.
            for step in STEPS[1 : STEPS.index(order.step)]:
                perform(replace(order, step=step), site, now=now())
        while order is not None:
            order = _stretch(order, site, transaction=transaction, now=now, after_step=after_step)


def _stretch(
    order: Order,
    site: Site,
    *,
    transaction: Transaction,
    now: Callable[[], datetime],
    after_step: AfterStep,
) -> Order | None:
    """The steps up to the next note, and the note."""
    done: list[Done] = []
    for step in STEPS[STEPS.index(order.step) :]:
        perform(replace(order, step=step), site, now=now())
        after_step(step, "performed")
        done.append(Done(step, now()))
        if step in NOTED:
            break
    with transaction() as session:
        order_after = record(control_session=session, order=order, done=done)
    after_step(done[-1].step, "recorded")
    return order_after


def _crew(crew: Crew | None) -> AbstractContextManager[Crew]:
    return gather_crew() if crew is None else nullcontext(crew)


def undo(*, transaction: Transaction, tenant_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will take back what an unfinished run has made, down to its reservation.

    For a run whose later steps keep failing: its next `advance` begins from nothing. One that has
    reserved nothing is left as it is: it may be the want of room that it waits for.

    Raises: NoSuchRun; RunFinished once the tenant is on trial; ClusterTrouble, NotOurs.
    """
    with transaction() as session:
        if not is_reserved(control_session=session, tenant_id=tenant_id):
            return
        order = begin(control_session=session, tenant_id=tenant_id, now=now)
    if order is None:
        raise RunFinished("This tenant is on trial already. Suspend it and let it be destroyed.")
    with gather_crew() as crew, open_site(order, crew) as site:
        clusters.drop_database(site.cluster, database=order.place.database, run=order.run)
        clusters.drop_role(site.cluster, role=order.place.role, run=order.run)
        with transaction() as session:
            release_place(control_session=session, tenant_id=tenant_id)
            session.execute(
                update(ProvisioningRun)
                .where(ProvisioningRun.tenant_id == tenant_id)
                .values(step=None, steps_done=[])
            )
            audit.append(
                control_session=session,
                actor=actor,
                action="provisioning.undone",
                subject_kind="tenant",
                subject_id=tenant_id,
                tenant_id=tenant_id,
                now=now,
            )


def release_place(*, control_session: Session, tenant_id: UUID) -> bool:
    """This function will give a tenant's place on its cluster back, once, and forget its address.

    Its database and role must be gone. It returns whether there was a place to give back.
    """
    cluster_id = control_session.scalar(
        delete(TenantDatabase)
        .where(TenantDatabase.tenant_id == tenant_id)
        .returning(TenantDatabase.cluster_id)
    )
    if cluster_id is None:
        return False
    control_session.execute(
        update(Cluster).where(Cluster.id == cluster_id).values(reserved=Cluster.reserved - 1)
    )
    return True
