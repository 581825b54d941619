"""The control database that a bench works in: made for it, dropped after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from app.base import ids, installation
from app.base.config import settings
from app.base.db import (
    admin_url,
    close_connections,
    control_session,
    usage_admin_url,
    usage_is_apart,
)


@contextmanager
def scratch_control() -> Iterator[str]:
    """A whole control database, set up as `flask setup` does it; dropped with all that is its own.

    This process works in it meanwhile, with a folder of its own for files.
    """
    from tenants import template  # noqa: PLC0415 - a bench without tenants needs none of it

    name = f"bench_{ids.opaque()}"
    names = ("DATABASE_URL", "USAGE_DATABASE_URL", "TENANTRY_VAR_DIR")
    before = {key: os.environ.get(key) for key in names}
    addresses: dict[str, str | None] = {"DATABASE_URL": _renamed(admin_url(), name)}
    if usage_is_apart():
        addresses["USAGE_DATABASE_URL"] = _renamed(usage_admin_url(), f"{name}_usage")
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        turn_to(addresses)
        try:
            with installation.administrator() as connection:
                installation.prepare_cluster(connection)
                installation.create_control_database(connection)
            installation.prepare_usage()
            turn_to({"TENANTRY_VAR_DIR": folder})
            installation.migrate_control()
            installation.migrate_usage()
            with control_session() as session:
                template.build_template(control_session=session)
            yield name
        finally:
            close_connections()
            _drop(name)
            turn_to(before)


def _renamed(url: URL, database: str) -> str:
    return installation.conninfo(url.set(database=database))


def turn_to(values: dict[str, str | None]) -> None:
    """This function will set what the environment says, or take it out, and read it anew."""
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
    settings.cache_clear()
    close_connections()


def sizes(connection: psycopg.Connection) -> list[tuple[str, int, float]]:
    """This function will return what the planner believes of each table: its pages and rows."""
    return connection.execute(
        "SELECT relname, relpages, reltuples FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace"
    ).fetchall()


def forget_statistics(
    connection: psycopg.Connection, before: Sequence[tuple[str, int, float]]
) -> None:
    """This function will have the planner believe what it did before, and nobody tell it better.

    The tables themselves stay as they are after a VACUUM: only the statistics are old.
    """
    for table, pages, rows in before:
        connection.execute(
            sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(table))
        )
        connection.execute(
            "SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', %s::text,"
            " 'relpages', %s::integer, 'reltuples', %s::real)",
            (table, pages, rows),
        )
        connection.execute(
            "SELECT pg_clear_attribute_stats('public', %s, attname, false) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (table, table),
        )


def _drop(name: str) -> None:
    """The control database and every tenant database, template and role that bears its mark."""
    mark = f"tenantry {name} %"
    if usage_is_apart():
        with installation.usage_administrator() as connection:
            _drop_database(connection, f"{name}_usage")
    with installation.administrator() as connection:
        marked = connection.execute(
            "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE %s",
            (mark,),
        ).fetchall()
        for (database,) in [*marked, (name,)]:
            _drop_database(connection, database)
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE %s",
            (mark,),
        ).fetchall()
        for (role,) in roles:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _drop_database(connection: psycopg.Connection, name: str) -> None:
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )
