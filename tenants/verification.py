"""The last look before a tenant is let in: with its own key, its own door opens and no other does.

Everything is tried for real, as the tenant's role, and leaves nothing behind.
"""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from app.base.config import settings
from app.base.errors import Conflict
from tenants import clusters, databases
from tenants.databases import Placement

# Each must fail for want of a right: the shape of the tables is the schema owner's alone, and so is
# what the plan allows; what metering replays only grows.
FORBIDDEN = (
    "CREATE TABLE public.probe ()",
    "CREATE TEMPORARY TABLE probe ()",
    "CREATE SCHEMA probe",
    "ALTER TABLE member ADD COLUMN probe text",
    "DROP TABLE plan_limit",
    "INSERT INTO plan_limit (key) VALUES ('probe')",
    "UPDATE plan_limit SET value = NULL",
    "DELETE FROM plan_limit",
    "UPDATE seat_event SET delta = delta",
    "DELETE FROM seat_event",
    "UPDATE storage_event SET delta_bytes = delta_bytes",
    "DELETE FROM storage_event",
    "TRUNCATE storage_event",
    "CREATE ROLE probe",
    "SET ROLE tenantry_tenant_schema",
)
_ATTEMPTS = """
DO $do$
DECLARE attempt text;
BEGIN
    FOREACH attempt IN ARRAY ARRAY[{attempts}] LOOP
        BEGIN
            EXECUTE attempt;
            RAISE EXCEPTION 'was allowed to %', attempt;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END $do$
"""
_ROWS = """
WITH someone AS (
    INSERT INTO member (id, email, name, role, invited_at)
    VALUES (uuidv7(), 'probe-' || uuidv7(), 'probe', 'member', now()) RETURNING id
), seated AS (
    INSERT INTO seat_event (at, member_id, delta, seats_after, actor)
    SELECT now(), id, 1, 1, 'probe' FROM someone
), stored AS (
    INSERT INTO drawing (id, name, sha256, size_bytes, media_type, uploaded_by, uploaded_at)
    SELECT uuidv7(), 'probe', repeat('0', 64), 1, 'text/plain', id, now() FROM someone
    RETURNING id
), counted AS (
    INSERT INTO storage_event (at, drawing_id, delta_bytes, bytes_after, kind, actor)
    SELECT now(), id, 1, 1, 'upload', 'probe' FROM stored
), renamed AS (
    UPDATE member SET name = name
)
SELECT value FROM plan_limit
"""
_IDENTITY = """
SELECT session_user, current_database(),
       rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
FROM pg_roles WHERE rolname = session_user
"""
_OPEN_NEIGHBOURS = """
SELECT datname FROM pg_database
WHERE datname <> current_database() AND datallowconn
  AND has_database_privilege(oid, 'CONNECT')
  AND (datname IN ('postgres', 'template1', %(control)s)
       OR shobj_description(oid, 'pg_database') LIKE %(ours)s)
ORDER BY datname
"""


class VerificationFailed(Conflict):
    """The new tenant can do what it must not, or cannot do what it must."""


def verify(connection: psycopg.Connection[Any], place: Placement) -> None:
    """This function will try, signed in as the tenant's role, what it may and may not do.

    `connection` is such a sign-in to the tenant's own database.

    Raises: VerificationFailed naming what is wrong; psycopg.errors.InsufficientPrivilege when its
    own rows can't be written.
    """
    attempts = ", ".join(f"$try${statement}$try$" for statement in FORBIDDEN)
    with connection.pipeline():
        identity = connection.execute(_IDENTITY)
        neighbours = connection.execute(
            _OPEN_NEIGHBOURS, {"control": clusters.control_name(), "ours": clusters.mark("%")}
        )
        with connection.transaction(force_rollback=True):
            connection.execute(_ROWS)
    _check_identity(identity.fetchone(), place)
    _check_neighbours(neighbours.fetchall())
    try:
        connection.execute(_ATTEMPTS.format(attempts=attempts).encode())
    except psycopg.errors.RaiseException as error:
        raise VerificationFailed(f"The tenant's role: {error.diag.message_primary}") from error


def _check_identity(row: tuple[Any, ...] | None, place: Placement) -> None:
    who, where, strong = row or (None, None, True)
    if (who, where) != (place.role, place.database):
        raise VerificationFailed(
            f"Expected {place.role} in {place.database}, found {who}, {where}."
        )
    if strong:
        raise VerificationFailed("The tenant's role has rights over the whole cluster.")


def _check_neighbours(found: list[tuple[Any, ...]]) -> None:
    if found:
        names = ", ".join(name for (name,) in found)
        raise VerificationFailed(f"The tenant's role may connect to {names}.")


def check_doors_shut(place: Placement, *, neighbour: str | None) -> None:
    """This function will knock, with a tenant's key, where nobody may open: postgres, control and
    another tenant's database on the same cluster, if there is one yet.

    A right on paper says nothing of pg_hba or of another cluster.

    Raises: VerificationFailed; TenantDatabaseUnavailable.
    """
    doors = [(place.cluster_url, "postgres"), (_control_url(), clusters.control_name())]
    if neighbour is not None:
        doors.append((place.cluster_url, neighbour))
    attempts = [
        databases.knock(
            url, database=database, role=place.role, password_sealed=place.password_sealed
        )
        for url, database in doors
    ]
    for (_, database), attempt in zip(doors, attempts, strict=True):
        if databases.answer(attempt):
            raise VerificationFailed(f"The tenant's role signed in to {database}.")


def _control_url() -> str:
    return databases.without_login(make_url(settings().database_url))
