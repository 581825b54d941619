"""Databases and roles on a cluster, as the provisioner sees, makes and removes them.

A name that merely fits is never ours: our objects carry a comment, `tenantry <control> <run>`,
and a role is born in one transaction with it. CREATE DATABASE can't be, so a database is born with
nobody allowed in; one that still is, without a comment and beside its marked role, is our own
creation cut short, was never entered, and may be made again.

Everything here may be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from app.base.config import settings
from app.base.db import METER_ROLE
from app.base.errors import Conflict
from app.base.installation import TENANT_ROWS_ROLE, TENANT_SCHEMA_ROLE

INVALID_DATABASE = -2  # datconnlimit after an interrupted DROP: only dropping again works
QUARANTINE_PREFIX = "gone_"


class NotOurs(Conflict):
    """Something on the cluster has our name but not our mark; a person has to look."""


@dataclass(frozen=True, slots=True)
class Found:
    """A database or a role as the catalogue shows it."""

    name: str
    owner: str | None
    comment: str | None
    allows_connections: bool
    connection_limit: int


Connection = psycopg.Connection[tuple[Any, ...]]

# These need not reach the disk one by one: the seed's commit takes all of the cluster's log along,
# and a run that is resumed looks at every step again.
_UNHURRIED = "SET LOCAL synchronous_commit = off;"

_DATABASES = """
SELECT datname, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
       datallowconn, datconnlimit FROM pg_database
"""
_ROLES = """
SELECT rolname, NULL, shobj_description(oid, 'pg_authid'), rolcanlogin, rolconnlimit FROM pg_roles
"""


def control_name() -> str:
    """This function will return the control database's name, which our marks carry."""
    return make_url(settings().database_url).database or "tenantry"


def object_name(run: str) -> str:
    """This function will return the name of a run's database and role: opaque to other tenants."""
    return f"t_{run}"


def mark(text: str) -> str:
    """This function will return the comment that makes an object ours: `text` is a run or a use."""
    return f"tenantry {control_name()} {text}"


def find_database(connection: Connection, name: str) -> Found | None:
    """This function will return a database of this name, ours or not."""
    return _one(connection, _DATABASES + "WHERE datname = %s", name)


def find_role(connection: Connection, name: str) -> Found | None:
    """This function will return a role of this name, ours or not."""
    return _one(connection, _ROLES + "WHERE rolname = %s", name)


def _one(connection: Connection, query: str, name: str) -> Found | None:
    row = connection.execute(query.encode(), (name,)).fetchone()
    return Found(*row) if row else None


def list_databases(connection: Connection) -> list[Found]:
    """This function will return every database of the cluster."""
    return [Found(*row) for row in connection.execute(_DATABASES.encode()).fetchall()]


def list_roles(connection: Connection) -> list[Found]:
    """This function will return every role of the cluster."""
    return [Found(*row) for row in connection.execute(_ROLES.encode()).fetchall()]


def create_role(connection: Connection, *, run: str, role: str, password: str) -> None:
    """This function will make a tenant's role with its mark and its limits, all or nothing.

    Its password is hashed here, so no log of the server sees it.

    Raises: NotOurs when a role has the name but not the mark.
    """
    if _is_there(find_role(connection, role), run):
        return
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    timeout_ms = settings().tenant_statement_timeout_seconds * 1000
    connection.execute(
        sql.SQL(
            _UNHURRIED + "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT"
            " CONNECTION LIMIT {limit} PASSWORD {verifier} IN ROLE {rows};"
            "ALTER ROLE {role} SET statement_timeout = {timeout};"
            "COMMENT ON ROLE {role} IS {comment}"
        ).format(
            role=sql.Identifier(role),
            limit=sql.Literal(settings().tenant_connection_limit),
            verifier=sql.Literal(verifier),
            rows=sql.Identifier(TENANT_ROWS_ROLE),
            timeout=sql.Literal(timeout_ms),
            comment=sql.Literal(mark(run)),
        )
    )


def create_database(connection: Connection, *, run: str, database: str, template: str) -> None:
    """This function will copy the template into a database that nobody may enter yet.

    Raises: NotOurs when a database has the name but not the mark.
    """
    found = find_database(connection, database)
    if found is not None and _is_cut_short(connection, found, run):
        drop_any_database(connection, database)
    elif _is_there(found, run):
        return
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} ALLOW_CONNECTIONS false").format(
            sql.Identifier(database), sql.Identifier(TENANT_SCHEMA_ROLE), sql.Identifier(template)
        )
    )
    connection.execute(
        sql.SQL(_UNHURRIED + "COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(database), sql.Literal(mark(run))
        )
    )


def _is_cut_short(connection: Connection, found: Found, run: str) -> bool:
    """A DROP cut short keeps the mark; a CREATE cut short has none, and its role speaks for it."""
    if found.connection_limit == INVALID_DATABASE and found.comment in (None, mark(run)):
        return True
    role = find_role(connection, object_name(run))
    return (
        found.comment is None
        and not found.allows_connections
        and found.owner == TENANT_SCHEMA_ROLE
        and role is not None
        and role.comment == mark(run)
    )


def _check_mark(found: Found, run: str) -> None:
    if found.comment != mark(run):
        raise NotOurs(f"{found.name} exists on the cluster without our mark. Please look at it.")


def lock_down(connection: Connection, *, database: str, role: str) -> None:
    """This function will shut a database to PUBLIC, open it to its own role, and let that one in.

    ACLs are not copied from a template: PUBLIC may CONNECT to each new database until this.
    """
    connection.execute(
        sql.SQL(
            _UNHURRIED + "REVOKE ALL ON DATABASE {database} FROM PUBLIC;"
            "GRANT CONNECT ON DATABASE {database} TO {role}, {meter};"
            "ALTER DATABASE {database} ALLOW_CONNECTIONS true"
        ).format(
            database=sql.Identifier(database),
            role=sql.Identifier(role),
            meter=sql.Identifier(METER_ROLE),
        )
    )


def close(connection: Connection, *, database: str, run: str) -> None:
    """This function will let nobody into a database any more and end the sessions in it.

    Raises: NotOurs.
    """
    if not _is_there(find_database(connection, database), run):
        return
    _shut(connection, database)


def _shut(connection: Connection, database: str) -> None:
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database))
    )
    # A superuser's session is not ours to end: the DROP will name it.
    connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = %s AND pg_has_role(usesysid, 'USAGE')",
        (database,),
    )


def quarantine(connection: Connection, *, database: str, run: str) -> str:
    """This function will rename a closed database out of everybody's way; its mark stays on it.

    Raises: NotOurs.
    """
    name = f"{QUARANTINE_PREFIX}{database}"
    if _is_there(find_database(connection, database), run):
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(database), sql.Identifier(name)
            )
        )
    return name


def reopen(connection: Connection, *, database: str, run: str) -> bool:
    """This function will take back `close` and `quarantine`, and tell whether there is a database.

    One whose DROP was cut short is none any more.

    Raises: NotOurs.
    """
    quarantined = f"{QUARANTINE_PREFIX}{database}"
    for name in (database, quarantined):
        found = find_database(connection, name)
        if found is None or found.connection_limit == INVALID_DATABASE:
            continue
        _check_mark(found, run)
        if name == quarantined:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(quarantined), sql.Identifier(database)
                )
            )
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database))
        )
        return True
    return False


def drop_database(connection: Connection, *, database: str, run: str) -> None:
    """This function will drop a tenant's database, if it is there, whoever is connected to it.

    Raises: NotOurs when it has neither our mark nor the looks of our creation cut short.
    """
    found = find_database(connection, database)
    if found is not None and not _is_cut_short(connection, found, run):
        _check_mark(found, run)
    drop_any_database(connection, database)


def drop_any_database(connection: Connection, database: str) -> None:
    """This function will drop a database without asking whose it is: ask first.

    Not WITH (FORCE): unless a superuser asks, that is refused while an autovacuum worker is inside,
    whereas a plain DROP sends such a worker away.
    """
    found = find_database(connection, database)
    if found is None:
        return
    if found.connection_limit != INVALID_DATABASE:
        _shut(connection, database)
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))


def drop_role(connection: Connection, *, role: str, run: str) -> None:
    """This function will drop a tenant's role if it is there; its database must be gone.

    Raises: NotOurs.
    """
    if _is_there(find_role(connection, role), run):
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _is_there(found: Found | None, run: str) -> bool:
    if found is None:
        return False
    _check_mark(found, run)
    return True


def is_absent(connection: Connection, *, run: str) -> bool:
    """This function will tell whether nothing on the cluster bears the mark or name of a run."""
    found = [*list_databases(connection), *list_roles(connection)]
    return not any(item.comment == mark(run) or run in item.name for item in found)
