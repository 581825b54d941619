"""The only maker of connections to tenant databases.

One Session serves one tenant for life. A session that could switch would hand out another tenant's
rows from its identity map, so ours is bound to one connection, refuses every other, and asks the
server for the database's name at the start of each transaction.

Only light imports here: every web process loads this module.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from select import select as select_ready
from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import PGconn, PollingStatus
from psycopg.pq.abc import PGconn as Attempt
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app.base import secrets
from app.base.config import settings
from app.base.db import METER_ROLE, PROVISIONER_ROLE
from app.base.errors import Conflict, Forbidden, NotFound, Unavailable
from tenants.models import LIVE_STATES, OPEN_STATES, Cluster, Tenant, TenantDatabase

CONNECT_TIMEOUT_SECONDS = 5
IDLE_TRANSACTION_TIMEOUT_MS = 60_000
# How many tenant connections one process may hold, and how long a caller waits for its turn: a
# thousand tenants share one cluster's max_connections.
SESSIONS_PER_PROCESS_MAX = 16
TURN_TIMEOUT_SECONDS = 10
PROVISIONER_STATEMENT_TIMEOUT_MS = 60_000
# How long a second worker waits for the first one on the same tenant before it comes back later.
LOCK_TIMEOUT_MS = 10_000
# For the passwords of tenants' roles, hashed on the provisioner's connection. 256 random bits
# cannot be guessed: stretching them 4,096 times would only make each connection slower.
SCRAM_ITERATIONS = 1


class NoSuchTenant(NotFound):
    """No tenant has this id."""


class NoDatabase(Conflict):
    """The tenant's database is not made yet, or not there any more."""


class WorkspaceClosed(Forbidden):
    """The tenant's workspace is shut: suspended, not ready yet, or on its way out."""


class TenantDatabaseUnavailable(Unavailable):
    """The cluster that holds the tenant's database does not answer, or is too busy."""


class TenantSwitched(Conflict):
    """A session of one tenant was about to speak to another database."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tenant's database is and how its own role signs in; holds no connection."""

    tenant_id: UUID
    cluster_url: str  # without credentials
    database: str
    role: str
    password_sealed: str = field(repr=False)
    placement_version: int = 1


def placement(
    control_session: Session, tenant_id: UUID, *, states: tuple[str, ...] = LIVE_STATES
) -> Placement:
    """This function will return where a tenant's database is, read anew from control.

    For jobs: suspended tenants are metered, exported and written to as well.

    Raises: NoSuchTenant; NoDatabase unless the tenant is in one of `states` and has one.
    """
    state, place = _find(control_session, tenant_id)
    if state not in states or place is None:
        raise NoDatabase("This tenant has no database to open.")
    return place


def open_workspace(control_session: Session, tenant_id: UUID) -> Placement:
    """This function will return the placement if the tenant's workspace may be entered now.

    Doors ask on every request: a suspension shuts the workspace at once, whatever is cached.

    Raises: NoSuchTenant; WorkspaceClosed outside OPEN_STATES.
    """
    state, place = _find(control_session, tenant_id)
    if state not in OPEN_STATES or place is None:
        raise WorkspaceClosed("This workspace is closed at the moment.")
    return place


def _find(control_session: Session, tenant_id: UUID) -> tuple[str, Placement | None]:
    row = control_session.execute(
        select(
            Tenant.state,
            Cluster.url,
            TenantDatabase.database_name,
            TenantDatabase.role_name,
            TenantDatabase.password_sealed,
            TenantDatabase.placement_version,
        )
        .outerjoin(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
        .outerjoin(Cluster, Cluster.id == TenantDatabase.cluster_id)
        .where(Tenant.id == tenant_id)
    ).one_or_none()
    if row is None:
        raise NoSuchTenant("There is no such tenant.")
    if row.database_name is None:
        return row.state, None
    return row.state, Placement(
        tenant_id=tenant_id,
        cluster_url=row.url,
        database=row.database_name,
        role=row.role_name,
        password_sealed=row.password_sealed,
        placement_version=row.placement_version,
    )


class TenantSession(Session):
    """A Session that knows one connection and refuses to use any other."""

    def __init__(self, connection: Connection, placement: Placement) -> None:
        super().__init__(bind=connection, expire_on_commit=False)
        self._own = connection
        self.placement = placement

    def get_bind(self, mapper: Any = None, *, bind: Any = None, **_arguments: Any) -> Connection:
        """This function will return the one connection of this session.

        Raises: TenantSwitched when a statement or an assignment names another one.
        """
        if self.bind is not self._own or (bind is not None and bind is not self._own):
            raise TenantSwitched("A session belongs to one tenant and can't be turned to another.")
        return self._own


@contextmanager
def tenant_session(placement: Placement) -> Iterator[TenantSession]:
    """This function will open one transaction in a tenant's database, as the tenant's own role.

    It commits when the block ends and rolls back when the block raises.

    Raises: TenantDatabaseUnavailable; TenantSwitched when the server is not where it should be.
    """
    with (
        _turn(placement.cluster_url),
        _faults_named(),
        _connected(placement) as connection,
        TenantSession(connection, placement) as session,
        session.begin(),
    ):
        yield session


@event.listens_for(TenantSession, "after_begin")
def _check_database(session: TenantSession, _transaction: Any, connection: Connection) -> None:
    """A wrong address must never show as another tenant's rows."""
    place = session.placement
    here = connection.execute(text("SELECT current_database(), session_user")).one()
    if tuple(here) != (place.database, place.role):
        raise TenantSwitched(f"Expected {place.database} as {place.role}, found {tuple(here)}.")


@contextmanager
def _turn(cluster_url: str) -> Iterator[None]:
    turns = _turns(cluster_url)
    if not turns.acquire(timeout=TURN_TIMEOUT_SECONDS):
        raise TenantDatabaseUnavailable("Too much is going on. Please try again in a moment.")
    try:
        yield
    finally:
        turns.release()


@lru_cache(maxsize=64)
def _turns(_cluster_url: str) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(SESSIONS_PER_PROCESS_MAX)


@contextmanager
def _faults_named() -> Iterator[None]:
    """Lost, refused and overrun connections become errors that doors know; others pass."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError):
            raise TenantDatabaseUnavailable(
                "The workspace's database does not answer. Please try again in a moment."
            ) from error
        raise


_target: ContextVar[Placement] = ContextVar("tenant whose connection is being made")


@contextmanager
def _connected(placement: Placement) -> Iterator[Connection]:
    token = _target.set(placement)
    try:
        connection = _engine(placement.cluster_url).connect()
    finally:
        _target.reset(token)
    with connection:
        yield connection


@lru_cache(maxsize=64)
def _engine(cluster_url: str) -> Engine:
    """One engine a cluster: an engine a tenant would keep half a megabyte for each of thousands."""
    engine = create_engine(
        make_url(cluster_url).set(drivername="postgresql+psycopg"), poolclass=NullPool
    )
    event.listen(engine, "do_connect", _route)
    return engine


def _route(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    place = _target.get()
    statement_ms = settings().tenant_statement_timeout_seconds * 1000
    parameters |= {
        "dbname": place.database,
        "user": place.role,
        "password": secrets.decrypt(place.password_sealed),
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": "tenantry workspace",
        "options": f"-c timezone=UTC -c statement_timeout={statement_ms} "
        f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT_MS}",
    }


@contextmanager
def provisioner_connection(
    cluster_url: str, *, database: str = "postgres"
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """This function will connect to a cluster as the provisioner, in autocommit.

    CREATE and DROP DATABASE run in no transaction; the role may do both and is no superuser.

    Raises: TenantDatabaseUnavailable when the cluster does not answer.
    """
    url = provisioner_url(cluster_url, database=database)
    try:
        connection = psycopg.connect(
            url.render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="tenantry provisioning",
            # Inheriting from the roles it makes, it may end their sessions before a DROP.
            options=f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS} "
            f"-c scram_iterations={SCRAM_ITERATIONS} "
            f"-c statement_timeout={PROVISIONER_STATEMENT_TIMEOUT_MS} "
            "-c createrole_self_grant=inherit",
        )
    except psycopg.OperationalError as error:
        raise TenantDatabaseUnavailable(f"The cluster can't be reached: {error}") from error
    with connection:
        yield connection


@contextmanager
def reading_connection(place: Placement) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """This function will open one transaction in a tenant's database that can only read.

    As the role of declared queries, which may read a few tables and nothing else. A query ran in
    it already, so that not even a setting inside a statement could make it writable.

    Raises: TenantDatabaseUnavailable.
    """
    password = secrets.derive(f"role:{METER_ROLE}")
    url = _with_login(place.cluster_url, METER_ROLE, password).set(database=place.database)
    statement_ms = settings().tenant_statement_timeout_seconds * 1000
    with _turn(place.cluster_url):
        try:
            connection = psycopg.connect(
                url.render_as_string(hide_password=False),
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="tenantry meter",
                options=f"-c timezone=UTC -c search_path=public -c lock_timeout={LOCK_TIMEOUT_MS} "
                f"-c statement_timeout={statement_ms} -c default_transaction_read_only=on "
                f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT_MS}",
            )
        except psycopg.OperationalError as error:
            raise TenantDatabaseUnavailable(f"The database can't be read: {error}") from error
        with connection, connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute("SELECT 1")
            yield connection


def provisioner_url(cluster_url: str, *, database: str) -> URL:
    """This function will return how the provisioner reaches a database of a cluster."""
    password = secrets.derive(f"role:{PROVISIONER_ROLE}")
    return _with_login(cluster_url, PROVISIONER_ROLE, password).set(database=database)


def sign_in(
    cluster_url: str, *, database: str, role: str, password_sealed: str
) -> psycopg.Connection[tuple[Any, ...]]:
    """This function will try a door with a tenant's key: verification wants most of them shut.

    Raises: psycopg.OperationalError when the door is shut.
    """
    url = _with_login(cluster_url, role, secrets.decrypt(password_sealed))
    return psycopg.connect(
        url.set(database=database).render_as_string(hide_password=False),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name="tenantry verification",
    )


def knock(cluster_url: str, *, database: str, role: str, password_sealed: str) -> Attempt:
    """This function will begin a sign-in that is expected to be refused; `answer` ends it.

    The server works on several of them at once.
    """
    url = _with_login(cluster_url, role, secrets.decrypt(password_sealed)).set(database=database)
    return PGconn.connect_start(url.render_as_string(hide_password=False).encode())


def answer(attempt: Attempt) -> bool:
    """This function will tell whether a sign-in was let in, and close it.

    Raises: TenantDatabaseUnavailable when nobody answers in time: silence is no refusal.
    """
    try:
        while (status := attempt.connect_poll()) not in (PollingStatus.OK, PollingStatus.FAILED):
            reading = [attempt.socket] if status == PollingStatus.READING else []
            writing = [] if reading else [attempt.socket]
            if not any(select_ready(reading, writing, [], CONNECT_TIMEOUT_SECONDS)):
                raise TenantDatabaseUnavailable("A database did not answer a sign-in in time.")
        return bool(status == PollingStatus.OK)
    finally:
        attempt.finish()


def without_login(url: URL) -> str:
    """This function will return a cluster's address as its row keeps it: host, port, no names."""
    return str(URL.create("postgresql", host=url.host, port=url.port, query=url.query))


def _with_login(cluster_url: str, role: str, password: str) -> URL:
    return make_url(cluster_url).set(drivername="postgresql", username=role, password=password)
