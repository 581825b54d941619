"""What is done on the cluster: one step at a time, each looking before it acts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from app.base import secrets
from app.base.errors import Unavailable
from tenants import clusters, databases, limits, template, verification
from tenants.databases import Placement
from tenants.provisioning.order import Order

_SEED = """
WITH invited AS (
    INSERT INTO member (id, email, name, role, invited_at)
    VALUES (%(id)s, %(email)s, %(name)s, 'admin', %(now)s) ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO seat_event (at, member_id, delta, seats_after, actor)
SELECT %(now)s, id, 1, 1, 'job:provisioning' FROM invited
"""


class ClusterTrouble(Unavailable):
    """The cluster did not do what a step asked of it; the run goes on later."""


@dataclass(slots=True)
class Site:
    """The cluster while one run works on it: connections are made once and shared by its steps."""

    cluster: psycopg.Connection[Any]
    _stack: ExitStack
    _inside: psycopg.Connection[Any] | None = None
    _doors: Future[None] | None = None

    def inside(self, place: Placement) -> psycopg.Connection[Any]:
        """This function will return a connection inside the new database, as its own role.

        The first connection to a cold database is the dear one; verification goes on with it.
        """
        if self._inside is None:
            self._inside = self._stack.enter_context(
                databases.sign_in(
                    place.cluster_url,
                    database=place.database,
                    role=place.role,
                    password_sealed=place.password_sealed,
                )
            )
        return self._inside

    def doors(self, order: Order) -> Future[None]:
        """This function will try the doors that must be shut to the role, beside all other work.

        They depend on the role alone, so they are tried while its database is being copied.
        """
        if self._doors is None:
            aside = self._stack.enter_context(ThreadPoolExecutor(max_workers=1))
            self._doors = aside.submit(
                verification.check_doors_shut, order.place, neighbour=order.neighbour
            )
        return self._doors


@dataclass(slots=True)
class Crew:
    """The provisioner's connections that a chunk of runs shares, one a cluster."""

    _stack: ExitStack
    _connections: dict[str, psycopg.Connection[Any]]

    def connection(self, cluster_url: str) -> psycopg.Connection[Any]:
        """This function will return a connection that is open, as far as we know."""
        known = self._connections.get(cluster_url)
        if known is None or known.closed:
            known = self._stack.enter_context(databases.provisioner_connection(cluster_url))
            self._connections[cluster_url] = known
        return known


@contextmanager
def gather_crew() -> Iterator[Crew]:
    """This function will keep connections for the runs of one chunk and close them after it."""
    with ExitStack() as stack:
        yield Crew(stack, {})


@contextmanager
def open_site(order: Order, crew: Crew) -> Iterator[Site]:
    """This function will hold one run's lock on its cluster while its steps work there.

    A killed worker's last statement may still be running: its server process holds the lock until
    it ends, and the next worker waits for it.

    Raises: TenantDatabaseUnavailable; ClusterTrouble when somebody else holds the lock for long.
    """
    with ExitStack() as stack:
        stack.enter_context(_trouble_named())
        cluster = crew.connection(order.place.cluster_url)
        lock = (clusters.mark(order.run),)
        cluster.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", lock)
        try:
            yield Site(cluster, stack)
        finally:
            if not cluster.closed:
                cluster.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", lock)


@contextmanager
def _trouble_named() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        raise ClusterTrouble(f"The cluster: {error}") from error


def perform(order: Order, site: Site, *, now: datetime) -> None:
    """This function will do one step on the cluster, or find that it is done; control is not asked.

    Raises: NotOurs, VerificationFailed, psycopg.Error.
    """
    place = order.place
    match order.step:
        case "role":
            clusters.create_role(
                site.cluster,
                run=order.run,
                role=place.role,
                password=secrets.decrypt(place.password_sealed),
            )
            site.doors(order)
        case "database":
            clusters.create_database(
                site.cluster,
                run=order.run,
                database=place.database,
                template=order.template,
            )
        case "lockdown":
            clusters.lock_down(site.cluster, database=place.database, role=place.role)
        case "migrate":
            _migrate(site.inside(place), place)
        case "seed":
            _seed(site.inside(place), order, now)
        case "verify":
            verification.verify(site.inside(place), place)
            site.doors(order).result()
        case "activate":
            pass  # Control's alone: see `record`.


def _migrate(inside: psycopg.Connection[Any], place: Placement) -> None:
    """The template may have been one revision behind when it was copied."""
    found = inside.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is None or found[0] != template.head_revision():
        template.migrate(place.cluster_url, place.database)


def _seed(inside: psycopg.Connection[Any], order: Order, now: datetime) -> None:
    """The first member takes a seat once, however often this runs; the limits are not its own."""
    inside.execute(
        _SEED,
        {
            "id": order.admin_id,
            "email": order.admin_email,
            "name": order.admin_name,
            "now": now,
        },
    )
    limits.put(order.place, order.limits)
