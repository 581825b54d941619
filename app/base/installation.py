"""What `flask setup` does once: roles, our two databases, their lock-down and their schemas.

Only this module signs in as the cluster's administrator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from app.base import secrets
from app.base.config import CHECKOUT, settings
from app.base.db import (
    APP_ROLE,
    METER_ROLE,
    OWNER_ROLE,
    PROVISIONER_ROLE,
    admin_url,
    usage_admin_url,
    usage_is_apart,
)

if TYPE_CHECKING:
    from alembic.config import Config

# Owns every table inside tenant databases; nobody signs in as it.
TENANT_SCHEMA_ROLE = "tenantry_tenant_schema"
# May read and write rows inside tenant databases; each tenant's own role is a member.
TENANT_ROWS_ROLE = "tenantry_tenant_rows"
LOGIN_ROLES = {
    OWNER_ROLE: "",
    APP_ROLE: "",
    PROVISIONER_ROLE: "CREATEDB CREATEROLE",
    METER_ROLE: "",
}
# A server that holds pushed usage alone makes no tenant's database, so nobody there could.
USAGE_LOGIN_ROLES = {OWNER_ROLE: "", APP_ROLE: ""}


def administrator(*, database: str = "postgres") -> psycopg.Connection:
    """This function will connect as the administrator named in DATABASE_URL, in autocommit."""
    return psycopg.connect(conninfo(admin_url(database=database)), autocommit=True)


def usage_administrator(*, database: str = "postgres") -> psycopg.Connection:
    """This function will connect as the administrator of where pushed usage lies, in autocommit."""
    return psycopg.connect(conninfo(usage_admin_url(database=database)), autocommit=True)


def conninfo(url: URL) -> str:
    """This function will turn one of our URLs into what psycopg and libpq take."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def prepare_cluster(connection: psycopg.Connection) -> None:
    """This function will make our roles and shut the doors that PostgreSQL leaves open to PUBLIC.

    A superuser's part, safe to repeat; passwords are hashed here, so no log sees them.
    """
    _ensure_login_roles(connection, LOGIN_ROLES)
    for role in (TENANT_SCHEMA_ROLE, TENANT_ROWS_ROLE):
        _ensure_role(connection, role, "NOLOGIN")
        connection.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT TRUE, SET TRUE").format(
                sql.Identifier(role), sql.Identifier(PROVISIONER_ROLE)
            )
        )
    _shut_public_doors(connection)
    provisioner = sql.Identifier(PROVISIONER_ROLE)
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE postgres TO {}").format(provisioner))
    # A crash inside CREATE DATABASE leaves a folder that no catalogue shows: let it be looked for.
    connection.execute(
        sql.SQL("GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO {}").format(provisioner)
    )


def prepare_usage() -> None:
    """This function will make roles and database of a usage server; none is needed in control.

    The two roles that are needed there, and no other, may enter.
    """
    if not usage_is_apart():
        return
    with usage_administrator() as connection:
        _ensure_login_roles(connection, USAGE_LOGIN_ROLES)
        _shut_public_doors(connection)
        _create_database(connection, usage_admin_url().database or "tenantry_usage")


def _ensure_login_roles(connection: psycopg.Connection, roles: dict[str, str]) -> None:
    for role, rights in roles.items():
        _ensure_role(connection, role, f"LOGIN NOSUPERUSER {rights}")
        verifier = connection.pgconn.encrypt_password(
            secrets.derive(f"role:{role}").encode(), role.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
        )


def _shut_public_doors(connection: psycopg.Connection) -> None:
    for database in ("postgres", "template1"):
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
        )


def _ensure_role(connection: psycopg.Connection, role: str, options: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    verb = "ALTER" if known else "CREATE"
    connection.execute(
        sql.SQL("{} ROLE {} {}").format(sql.SQL(verb), sql.Identifier(role), sql.SQL(options))
    )


def create_control_database(connection: psycopg.Connection) -> None:
    """This function will make the control database if it is not there, and lock it down."""
    _create_database(connection, make_url(settings().database_url).database or "tenantry")


def _create_database(connection: psycopg.Connection, name: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    if not known:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(OWNER_ROLE)
            )
        )
    lock_down_database(connection, name)


def lock_down_database(connection: psycopg.Connection, name: str) -> None:
    """This function will let only our own roles into a database of ours: ACLs are not cloned."""
    database = sql.Identifier(name)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(APP_ROLE))
    )


def migrate_control(revision: str = "head") -> None:
    """This function will bring the control schema to a revision, by default the newest."""
    from alembic import command  # noqa: PLC0415 - a web process migrates nothing

    command.upgrade(alembic_config(), revision)


def migrate_usage(revision: str = "head") -> None:
    """This function will bring the tables of pushed usage to a revision, wherever they lie."""
    from alembic import command  # noqa: PLC0415 - likewise

    command.upgrade(usage_alembic_config(), revision)


def alembic_config() -> Config:
    """This function will return the configuration of the control history."""
    return _history("control")


def usage_alembic_config() -> Config:
    """This function will return the configuration of the history of pushed usage."""
    return _history("usage")


def _history(name: str) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - likewise

    config = Config()
    config.set_main_option("script_location", str(CHECKOUT / "migrations" / name))
    config.set_main_option("path_separator", "os")
    return config
