"""How long a tenant's database takes to make, against PostgreSQL's own part of it.

Runs in a control database made for it: rows stay there; databases and roles are dropped again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from uuid import UUID

from psycopg import sql
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import ids, states
from app.base.audit import SYSTEM
from tenants import clusters, provisioning
from tenants.clusters import Connection
from tenants.databases import provisioner_connection
from tenants.models import TENANT, Cluster, ProvisioningRun, Tenant, TenantAdmin

Transaction = Callable[[], AbstractContextManager[Session]]
WARM_UP = 2


def compare_provisioning(
    *, n: int, transaction: Transaction, now: datetime
) -> tuple[list[float], list[float]]:
    """This function will return the seconds of `n` runs, ours and a bare CREATE DATABASE each.

    Interleaved on one machine at one time, because absolute numbers drift. Ours is the whole run,
    as the job does it in a chunk: eight steps with their transactions, the tenant's own sign-in,
    the doors found shut, the mail.
    """
    with transaction() as session:
        cluster = session.scalars(select(Cluster).where(Cluster.template_name.is_not(None))).first()
        assert cluster is not None, "flask setup has built a template"
        url, template = cluster.url, str(cluster.template_name)
    ours: list[float] = []
    floor: list[float] = []
    warm_up = min(WARM_UP, n)
    with provisioner_connection(url) as connection, provisioning.gather_crew() as crew:
        for _ in range(n + warm_up):
            floor.append(_time_bare_copy(connection, template))
            ours.append(_time_our_run(connection, crew, transaction, now))
    return ours[warm_up:], floor[warm_up:]


def _time_bare_copy(connection: Connection, template: str) -> float:
    name = f"bench_{ids.opaque()}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    started = time.perf_counter()
    connection.execute(statement)
    took = time.perf_counter() - started
    clusters.drop_any_database(connection, name)
    return took


def _time_our_run(
    connection: Connection, crew: provisioning.Crew, transaction: Transaction, now: datetime
) -> float:
    with _approved(connection, transaction, now) as tenant_id:
        started = time.perf_counter()
        provisioning.advance(
            transaction=transaction, tenant_id=tenant_id, now=lambda: now, crew=crew
        )
        return time.perf_counter() - started


def approve(*, control_session: Session, now: datetime) -> tuple[UUID, str]:
    """This function will write a tenant as review leaves it, and return its id and its run's."""
    run = ids.opaque()
    tenant = Tenant(
        slug=f"bench-{run}",
        name="Bench",
        country="KR",
        language="ko",
        timezone="Asia/Seoul",
        currency="KRW",
        plan_code="team",
        limits={"seats": 10, "storage_bytes": 10**10},
        trial_days=14,
        created_at=now,
    )
    states.begin(control_session=control_session, machine=TENANT, row=tenant, actor=SYSTEM, now=now)
    admin = {"email": f"{run}@customer.example", "name": "Bench", "created_at": now}
    control_session.add(TenantAdmin(tenant_id=tenant.id, **admin))
    control_session.add(ProvisioningRun(tenant_id=tenant.id, run=run, started_at=now))
    return tenant.id, run


@contextmanager
def _approved(connection: Connection, transaction: Transaction, now: datetime) -> Iterator[UUID]:
    """A tenant as review leaves it; afterwards its database and role are gone again."""
    with transaction() as session:
        tenant_id, run = approve(control_session=session, now=now)
    try:
        yield tenant_id
    finally:
        name = clusters.object_name(run)
        clusters.drop_database(connection, database=name, run=run)
        clusters.drop_role(connection, role=name, run=run)
        with transaction() as session:
            provisioning.release_place(control_session=session, tenant_id=tenant_id)
