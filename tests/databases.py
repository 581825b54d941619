"""A worker's control database: cloned once, wiped between tests, cloned anew when bent.

Wiping rows takes a tenth of what a new clone takes. Tests that change the schema itself (to plant
what the database refuses) are noticed by its fingerprint and cost a clone.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import sql

TEMPLATE = "control_template"
# Rows that `flask setup` leaves and every test expects.
KEPT = ("alembic_version", "usage_version", "cluster")
_SCHEMAS = "('public'::regnamespace, 'statutory'::regnamespace)"
# A row of the catalogue bears the number of whoever wrote it: no definition need be spelled out.
_FINGERPRINT = f"""
    SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
        SELECT concat('t', oid, ' ', xmin) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT concat('c', oid, ' ', xmin) FROM pg_constraint WHERE connamespace IN {_SCHEMAS}
        UNION ALL
        SELECT concat('r', oid, ' ', relname, relkind, relacl) FROM pg_class
        WHERE relnamespace IN {_SCHEMAS}
        UNION ALL
        SELECT concat('f', oid, ' ', xmin) FROM pg_proc WHERE pronamespace IN {_SCHEMAS}
        UNION ALL
        SELECT concat('k', id, name, url, capacity, template_name) FROM cluster
        UNION ALL
        SELECT concat('v', version_num) FROM alembic_version
        UNION ALL
        SELECT concat('u', version_num) FROM usage_version
    ) AS parts (part)
"""
_fingerprints: dict[str, str] = {}
# Signing in takes as long as wiping does: each worker's own connections are kept between tests.
# One asks and another wipes, because becoming a replica makes a connection forget all its plans,
# and to plan a question about every table takes longer than all the rest.
_ASKS, _WIPES = "tests ask", "tests wipe"
_kept: dict[tuple[str, str], psycopg.Connection[Any]] = {}


def url(name: str) -> str:
    """This function will return the superuser's address of a database of the tests' cluster."""
    return os.environ["TENANTRY_TEST_DATABASE"].rsplit("/", 1)[0] + f"/{name}"


def administrator(database: str = "postgres") -> psycopg.Connection[Any]:
    """This function will connect as the superuser of the tests' cluster."""
    return psycopg.connect(url(database), autocommit=True)


def clone(name: str) -> None:
    """This function will make a control database from the template."""
    from app.base.installation import lock_down_database

    with administrator() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER tenantry_owner").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
        lock_down_database(connection, name)
    with administrator(name) as connection:
        _fingerprints[name] = _fingerprint(connection)


def drop(name: str) -> None:
    """This function will drop a control database and whatever bears its mark."""
    for who in (_ASKS, _WIPES):
        if (name, who) in _kept:
            _kept.pop((name, who)).close()
    with administrator() as connection:
        _drop_database(connection, name)
        _drop_marked(connection, name)


def renew(name: str) -> None:
    """This function will bring a control database back to how it was cloned."""
    try:
        connection = _kept_open(name, _ASKS)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name <> ALL(%s)",
            (name, [_ASKS, _WIPES]),
        )
        _drop_marked(connection, name)
        if _fingerprint(connection) == _fingerprints[name]:
            _wipe(_filled(connection), _kept_open(name, _WIPES))
            return
    except (psycopg.OperationalError, psycopg.ProgrammingError):
        pass  # bent beyond wiping: a clone puts it right
    drop(name)
    clone(name)


def _kept_open(name: str, who: str) -> psycopg.Connection[Any]:
    place = (name, who)
    if place not in _kept or _kept[place].closed:
        _kept[place] = psycopg.connect(url(name), autocommit=True, application_name=who)
        _kept[place].execute("SET lock_timeout = '2s'")
    return _kept[place]


def _filled(connection: psycopg.Connection[Any]) -> list[tuple[str, int]]:
    """The tables that have rows, and their sizes."""
    tables = [
        table
        for (table,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            f" AND relnamespace IN {_SCHEMAS} AND relname <> ALL(%s)",
            (list(KEPT),),
        )
    ]
    return connection.execute(
        " UNION ALL ".join(
            f"SELECT '{table}', pg_relation_size('{table}') WHERE EXISTS (SELECT FROM {table})"
            for table in tables
        )
    ).fetchall()


def _wipe(filled: list[tuple[str, int]], connection: psycopg.Connection[Any]) -> None:
    # As a replica: no trigger and no foreign key has a say in what a test leaves behind.
    statements = ["BEGIN", "SET LOCAL session_replication_role = replica"]
    for table, size in filled:
        large = size > 4 * 1024 * 1024
        statements.append(f"TRUNCATE {table} CASCADE" if large else f"DELETE FROM {table}")
    statements += [
        "UPDATE cluster SET reserved = 0 WHERE reserved <> 0",
        "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence",
        "COMMIT",
    ]
    connection.execute("; ".join(statements))


def _fingerprint(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(_FINGERPRINT).fetchone()
    return str(row[0]) if row else ""


def _drop_database(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


def _drop_marked(connection: psycopg.Connection[Any], name: str) -> None:
    """Tenant databases and roles that the control database made."""
    mark = f"tenantry {name} %"
    for (database,) in connection.execute(
        "SELECT d.datname FROM pg_database d JOIN pg_shdescription s ON s.objoid = d.oid"
        " AND s.classoid = 'pg_database'::regclass WHERE s.description LIKE %s",
        (mark,),
    ).fetchall():
        _drop_database(connection, database)
    for (role,) in connection.execute(
        "SELECT r.rolname FROM pg_roles r JOIN pg_shdescription s ON s.objoid = r.oid"
        " AND s.classoid = 'pg_authid'::regclass WHERE s.description LIKE %s",
        (mark,),
    ).fetchall():
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
