"""The control database and the one of pushed usage: declarative bases, engines, transactions."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, ClassVar, TypeVarTuple, cast
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Date,
    Dialect,
    Engine,
    MetaData,
    Numeric,
    Select,
    Text,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import psycopg as postgresql_psycopg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import visitors

from app.base import ids, secrets
from app.base.config import settings

OWNER_ROLE = "tenantry_owner"
APP_ROLE = "tenantry_app"
PROVISIONER_ROLE = "tenantry_provisioner"
# Signs in to tenant databases for the queries of declared meters, and can only read there.
METER_ROLE = "tenantry_meter"
WORK_CHANNEL = "tenantry_work"
# How long a connection may rest in the pool before the server is asked whether it still stands.
TRUSTED_SECONDS = 5.0
Columns = TypeVarTuple("Columns")
_DIALECT: Dialect = postgresql_psycopg.dialect()  # type: ignore[no-untyped-call]

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


_TYPES: dict[Any, Any] = {
    int: BigInteger,
    str: Text,
    UUID: PG_UUID(as_uuid=True),
    datetime: TIMESTAMP(timezone=True),
    date: Date,
    Decimal: Numeric(38, 12),
    dict[str, Any]: JSONB,
    list[Any]: JSONB,
}


class Base(DeclarativeBase):
    """The base of every table in the control database."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = _TYPES


class UsageBase(DeclarativeBase):
    """The base of every table of pushed usage, which may lie on a server of its own."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = _TYPES


class Keyed:
    """A row known by a time-ordered UUID."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=ids.uuid7)


def role_url(role: str, *, database: str | None = None) -> URL:
    """This function will return how one of our roles reaches the control cluster.

    Its password derives from the secret key, so no process needs to be told it.
    """
    return _as_role(admin_url(database=database), role)


def admin_url(*, database: str | None = None) -> URL:
    """This function will return the administrator's way in, as DATABASE_URL gives it."""
    return _address(settings().database_url, database)


def usage_is_apart() -> bool:
    """This function will tell whether pushed usage lies elsewhere than in the control database."""
    if not settings().usage_database_url:
        return False
    control, usage = admin_url(), usage_admin_url()
    return _place(control) != _place(usage)


def usage_role_url(role: str) -> URL:
    """This function will return how one of our roles reaches the database of pushed usage."""
    return _as_role(usage_admin_url(), role)


def usage_admin_url(*, database: str | None = None) -> URL:
    """This function will return the administrator's way in to where pushed usage lies."""
    return _address(settings().usage_database_url or settings().database_url, database)


def _address(configured: str, database: str | None) -> URL:
    url = make_url(configured).set(drivername="postgresql+psycopg")
    return url.set(database=database) if database else url


def _as_role(url: URL, role: str) -> URL:
    return url.set(username=role, password=secrets.derive(f"role:{role}"))


def _place(url: URL) -> tuple[str | None, int, str | None]:
    return url.host, url.port or 5432, url.database


@lru_cache(maxsize=1)
def control_engine() -> Engine:
    """This function will return this process's pool of connections to the control database."""
    return _pool(role_url(APP_ROLE))


def usage_engine() -> Engine:
    """This function will return this process's pool of connections to where pushed usage lies.

    By default that is the control database, and its pool.
    """
    return _usage_pool() if usage_is_apart() else control_engine()


@lru_cache(maxsize=1)
def _usage_pool() -> Engine:
    return _pool(usage_role_url(APP_ROLE))


def _pool(url: URL) -> Engine:
    pool = create_engine(
        url,
        pool_size=8,
        max_overflow=8,
        pool_timeout=10,
        pool_recycle=1800,
        skip_autocommit_rollback=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": "tenantry",
            "options": "-c timezone=UTC -c statement_timeout=60000 "
            "-c idle_in_transaction_session_timeout=60000",
        },
    )
    event.listen(pool, "rollback", _keep_prepared)
    event.listen(pool, "checkin", _note_return)
    event.listen(pool, "checkout", partial(_prove, pool.dialect))
    return pool


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = time.monotonic()


def _prove(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _lent: object) -> None:
    """This function will see to it that a pooled connection still stands before it is used.

    To ask the server is a trip. So a connection that came back a moment ago is only looked at: one
    that the server has ended since has something to read, be it the end itself.

    Raises: InvalidatePoolError, upon which the pool connects anew.
    """
    returned_at = record.info.get("returned_at")
    if returned_at is None:
        return  # just made
    try:
        rested_seconds = time.monotonic() - returned_at
        if rested_seconds > TRUSTED_SECONDS or _has_something_to_read(connection):
            dialect.do_ping(connection)
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def _has_something_to_read(connection: psycopg.Connection[Any]) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _keep_prepared(connection: Connection) -> None:
    """This function will roll back so that the driver does not forget its prepared statements.

    The driver forgets them at each ROLLBACK that it sends, lest one of them names a table that was
    made in the same transaction; our role makes none. A page that only reads ends with a rollback:
    without this, every statement of every page is planned anew, which often takes longer than to
    run it. After an error the driver does it all, and whatever may be wrong is forgotten.
    """
    if connection.closed or connection.invalidated:
        return  # the server is gone: there is nothing to roll back, and nothing to ask
    driver: psycopg.Connection[Any] | None = connection.connection.driver_connection
    if driver is None or driver.pgconn.transaction_status != TransactionStatus.INTRANS:
        return
    # A connection that is lost under this stays in its transaction: the driver's turn comes next,
    # finds it out and says so in the usual way.
    with suppress(psycopg.Error):
        driver.pgconn.exec_(b"ROLLBACK")


@contextmanager
def control_session() -> Iterator[Session]:
    """This function will open a transaction on the control database for a door.

    It commits when the block ends and rolls back when the block raises.
    """
    with Session(control_engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def control_statements() -> Iterator[Connection]:
    """This function will open a connection to control whose every statement commits by itself.

    For a door whose call is one statement: it saves two trips to the server.
    """
    with _each_by_itself(control_engine()).connect() as connection:
        yield connection


@contextmanager
def usage_session() -> Iterator[Session]:
    """This function will open a transaction on the database of pushed usage for a door.

    It is never the same transaction as control's, even where both lie in one database.
    """
    with Session(usage_engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def usage_statements() -> Iterator[Connection]:
    """The same where pushed usage lies."""
    with _each_by_itself(usage_engine()).connect() as connection:
        yield connection


@lru_cache(maxsize=4)
def _each_by_itself(pool: Engine) -> Engine:
    """The same pool, without transactions of several statements."""
    return pool.execution_options(isolation_level="AUTOCOMMIT")


def planned_once(statement: Select[*Columns]) -> Select[*Columns]:
    """This function will write a statement's own constants into it, so that its plan can be kept.

    For a statement that is built once, with named parameters for what differs from call to call.
    A kept plan may use a partial index only where its condition is spelled out: for `state = $1`
    in the place of `state = 'draft'` the server plans anew at each use, to see what $1 is.
    """

    def spelled_out(element: Any, **_: Any) -> Any:
        constant = isinstance(element, BindParameter) and not element.required
        return _written_out(element) if constant else None

    return cast("Select[*Columns]", visitors.replacement_traverse(statement, {}, spelled_out))


def _written_out(constant: BindParameter[Any]) -> Any:
    """A constant as SQL, once and for all: SQLAlchemy would fill it in at each use anew."""
    written = str(constant.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    if "%" in written or "\\" in written:  # how these are escaped, a connection has to say
        return constant.render_literal_execute()
    return literal_column(written, constant.type)


def notify(control_session: Session, step: str) -> None:
    """This function will tell the dispatcher, at commit, that a step has work due.

    The notification carries the step's name only: the rows themselves are the to-do list.
    """
    control_session.execute(
        text("SELECT pg_notify(:channel, :step)"), {"channel": WORK_CHANNEL, "step": step}
    )


def forget_connections() -> None:
    """This function will drop pooled connections without closing them: call it after a fork."""
    for engine in (control_engine(), usage_engine()):
        engine.dispose(close=False)


def close_connections() -> None:
    """This function will close every pool; the next use opens it as the settings then say."""
    for pool in (control_engine, _usage_pool):
        if pool.cache_info().currsize:
            pool().dispose()
            pool.cache_clear()
