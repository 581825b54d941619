"""The control database: declarative base, engine, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Date, Engine, MetaData, Numeric, Text, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.base import ids, secrets
from app.base.config import settings

OWNER_ROLE = "tenantry_owner"
APP_ROLE = "tenantry_app"
PROVISIONER_ROLE = "tenantry_provisioner"
WORK_CHANNEL = "tenantry_work"

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every table in the control database."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        UUID: PG_UUID(as_uuid=True),
        datetime: TIMESTAMP(timezone=True),
        date: Date,
        Decimal: Numeric(38, 12),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Keyed:
    """A row known by a time-ordered UUID."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=ids.uuid7)


def role_url(role: str, *, database: str | None = None) -> URL:
    """This function will return how one of our roles reaches the control cluster.

    Its password derives from the secret key, so no process needs to be told it.
    """
    url = make_url(settings().database_url).set(
        drivername="postgresql+psycopg", username=role, password=secrets.derive(f"role:{role}")
    )
    return url.set(database=database) if database else url


def admin_url(*, database: str | None = None) -> URL:
    """This function will return the administrator's way in, as DATABASE_URL gives it."""
    url = make_url(settings().database_url).set(drivername="postgresql+psycopg")
    return url.set(database=database) if database else url


@lru_cache(maxsize=1)
def control_engine() -> Engine:
    """This function will return this process's pool of connections to the control database."""
    return create_engine(
        role_url(APP_ROLE),
        pool_size=8,
        max_overflow=8,
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 5,
            "application_name": "tenantry",
            "options": "-c timezone=UTC -c statement_timeout=60000 "
            "-c idle_in_transaction_session_timeout=60000",
        },
    )


@contextmanager
def control_session() -> Iterator[Session]:
    """This function will open a transaction on the control database for a door.

    It commits when the block ends and rolls back when the block raises.
    """
    with Session(control_engine(), expire_on_commit=False) as session, session.begin():
        yield session


def notify(control_session: Session, step: str) -> None:
    """This function will tell the dispatcher, at commit, that a step has work due.

    The notification carries the step's name only: the rows themselves are the to-do list.
    """
    control_session.execute(
        text("SELECT pg_notify(:channel, :step)"), {"channel": WORK_CHANNEL, "step": step}
    )


def forget_connections() -> None:
    """This function will drop pooled connections without closing them: call it after a fork."""
    control_engine().dispose(close=False)
