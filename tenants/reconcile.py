"""What control says against what the clusters hold: it reports, and deletes nothing by itself.

Only objects with our own control database's mark are judged: others may share the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.db import APP_ROLE, METER_ROLE, OWNER_ROLE, PROVISIONER_ROLE
from app.base.installation import TENANT_ROWS_ROLE, TENANT_SCHEMA_ROLE
from tenants import clusters
from tenants.clusters import Connection, Found
from tenants.databases import provisioner_connection
from tenants.models import (
    LIVE_STATES,
    OPEN_STATES,
    Cluster,
    ProvisioningRun,
    Tenant,
    TenantDatabase,
)

# Steps after which the object must be there.
_AFTER_ROLE = ("role", "database", "lockdown", "migrate", "seed", "verify", "activate")
_AFTER_DATABASE = _AFTER_ROLE[1:]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it should be, and what a person can do about it."""

    kind: str
    cluster: str
    name: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A tenant's row in control, as far as the cluster should show it."""

    database: str
    role: str
    run: str | None
    state: str
    step: str | None


def findings(*, control_session: Session) -> list[Finding]:
    """This function will list what differs between control and every cluster it knows.

    A run or a destruction that is under way moves while we look: only what a second look confirms
    is reported.

    Raises: TenantDatabaseUnavailable when a cluster does not answer.
    """
    found: list[Finding] = []
    for cluster in control_session.scalars(select(Cluster).order_by(Cluster.name)).all():
        with provisioner_connection(cluster.url) as connection:
            first = set(_look(control_session, connection, cluster))
            if first:
                found += sorted(first & set(_look(control_session, connection, cluster)))
    return found


def _look(control_session: Session, connection: Connection, cluster: Cluster) -> list[Finding]:
    databases = {item.name: item for item in clusters.list_databases(connection)}
    roles = {item.name: item for item in clusters.list_roles(connection)}
    public = _open_to_public(connection)
    control_session.refresh(cluster)
    places = _places(control_session, cluster)
    return [
        *_miscounted(cluster, places),
        *_strays(cluster.name, databases, roles, places),
        *_missing(cluster.name, databases, roles, places),
        *_templates(cluster, databases),
        *(
            Finding("open_to_public", cluster.name, name, f"REVOKE ALL ON DATABASE {name}")
            for name in public
        ),
        *_disk_leftovers(connection, cluster.name),
    ]


def _places(control_session: Session, cluster: Cluster) -> list[_Place]:
    rows = control_session.execute(
        select(
            TenantDatabase.database_name,
            TenantDatabase.role_name,
            ProvisioningRun.run,
            Tenant.state,
            ProvisioningRun.step,
        )
        .join(Tenant, Tenant.id == TenantDatabase.tenant_id)
        .outerjoin(ProvisioningRun, ProvisioningRun.tenant_id == Tenant.id)
        .where(TenantDatabase.cluster_id == cluster.id)
    )
    return [_Place(*row) for row in rows]


def _miscounted(cluster: Cluster, places: list[_Place]) -> list[Finding]:
    if cluster.reserved == len(places):
        return []
    remedy = f"{cluster.reserved} places are counted as taken, {len(places)} are."
    return [Finding("miscounted", cluster.name, cluster.name, remedy)]


def _strays(
    cluster: str, databases: dict[str, Found], roles: dict[str, Found], places: list[_Place]
) -> list[Finding]:
    """Ours by their mark, or unmarked beside a role that is, but of no tenant's."""
    ours = clusters.mark("")
    known = {place.database for place in places}
    known |= {clusters.QUARANTINE_PREFIX + name for name in known}
    known_roles = {place.role for place in places}
    found = []
    for item in databases.values():
        comment = item.comment or ""
        if comment.startswith(clusters.mark("template")):
            continue
        beside = roles.get(item.name)
        spoken_for = not comment and beside is not None and (beside.comment or "").startswith(ours)
        if not (comment.startswith(ours) or spoken_for):
            continue
        if item.name not in known:
            remedy = f"Look what it holds, keep a dump, then DROP DATABASE {item.name}."
            found.append(Finding("orphan_database", cluster, item.name, remedy))
        elif item.connection_limit == clusters.INVALID_DATABASE:
            remedy = f"Its DROP was cut short; only DROP DATABASE {item.name} again helps."
            found.append(Finding("half_dropped", cluster, item.name, remedy))
    for item in roles.values():
        if (item.comment or "").startswith(ours) and item.name not in known_roles:
            remedy = f"No tenant signs in with it: DROP ROLE {item.name}."
            found.append(Finding("orphan_role", cluster, item.name, remedy))
    return found


def _missing(
    cluster: str, databases: dict[str, Found], roles: dict[str, Found], places: list[_Place]
) -> list[Finding]:
    found = []
    for place in places:
        expected = place.state in LIVE_STATES or place.state == "approved"
        live = place.state in LIVE_STATES
        if expected and (live or place.step in _AFTER_ROLE) and place.role not in roles:
            remedy = "Restore the role, or the tenant can't be served."
            found.append(Finding("missing_role", cluster, place.role, remedy))
        if not expected or not (live or place.step in _AFTER_DATABASE):
            continue
        database = databases.get(place.database)
        if database is None:
            remedy = "Restore the database from its backup."
            found.append(Finding("missing_database", cluster, place.database, remedy))
        elif place.run is not None and database.comment != clusters.mark(place.run):
            remedy = "It has a tenant's name but not our mark: find out where it comes from."
            found.append(Finding("not_ours", cluster, place.database, remedy))
        elif place.state in OPEN_STATES and not database.allows_connections:
            remedy = f"ALTER DATABASE {place.database} ALLOW_CONNECTIONS true"
            found.append(Finding("closed", cluster, place.database, remedy))
    return found


def _templates(cluster: Cluster, databases: dict[str, Found]) -> list[Finding]:
    found = []
    if cluster.template_name is None or cluster.template_name not in databases:
        remedy = "flask setup builds one; until then no tenant can be provisioned here."
        name = cluster.template_name or "template"
        found.append(Finding("missing_template", cluster.name, name, remedy))
    for item in databases.values():
        ours = (item.comment or "").startswith(clusters.mark("template"))
        if ours and item.name != cluster.template_name:
            remedy = "flask setup drops it."
            found.append(Finding("unused_template", cluster.name, item.name, remedy))
    return found


def _open_to_public(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datallowconn"
        " AND has_database_privilege('public', oid, 'CONNECT')"
        " AND (starts_with(shobj_description(oid, 'pg_database'), %s)"
        "      OR datname IN ('postgres', 'template1', %s))",
        (clusters.mark(""), clusters.control_name()),
    ).fetchall()
    return [name for (name,) in rows]


def _disk_leftovers(connection: Connection, cluster: str) -> list[Finding]:
    """A backend killed inside CREATE DATABASE leaves a folder that no catalogue row names.

    Seen only where the administrator let the provisioner list the folder.
    """
    row = connection.execute(
        "SELECT has_function_privilege('pg_ls_dir(text)', 'EXECUTE')"
    ).fetchone()
    if row is None or not row[0]:
        return []
    folders = connection.execute(
        "SELECT folder FROM pg_ls_dir('base') AS folder WHERE folder ~ '^[0-9]+$'"
    ).fetchall()
    # A CREATE DATABASE of this moment has its folder before its row: it locks its template.
    # Locks first, then rows: what ends in between has its row by then.
    busy = connection.execute(
        "SELECT FROM pg_locks WHERE classid = 'pg_database'::regclass AND mode = 'ShareLock'"
    ).fetchone()
    if busy is not None:
        return []
    known = connection.execute("SELECT oid::text FROM pg_database").fetchall()
    remedy = "Stop the cluster and remove the folder, once no CREATE DATABASE is running."
    return [
        Finding("disk_leftover", cluster, f"base/{folder}", remedy)
        for (folder,) in set(folders) - set(known)
    ]


_ROLE_RIGHTS = """
SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolcanlogin FROM pg_roles
WHERE rolname = ANY(%s)
"""
# role: (superuser, creates databases, creates roles, signs in)
_EXPECTED_RIGHTS = {
    OWNER_ROLE: (False, False, False, True),
    APP_ROLE: (False, False, False, True),
    PROVISIONER_ROLE: (False, True, True, True),
    TENANT_SCHEMA_ROLE: (False, False, False, False),
    TENANT_ROWS_ROLE: (False, False, False, False),
    METER_ROLE: (False, False, False, True),
}


def doctor(connection: Connection, *, cluster: str = "home") -> list[Finding]:
    """This function will list where a cluster is not locked down as `flask setup` leaves it.

    Anybody may ask the catalogue: the connection may be the provisioner's.
    """
    remedy = "Run flask setup with the administrator's DATABASE_URL."
    found = [
        Finding("open_to_public", cluster, name, remedy) for name in _open_to_public(connection)
    ]
    rights: dict[str, Any] = {
        name: tuple(rest)
        for name, *rest in connection.execute(_ROLE_RIGHTS, (list(_EXPECTED_RIGHTS),)).fetchall()
    }
    for role, expected in _EXPECTED_RIGHTS.items():
        if role not in rights:
            found.append(Finding("missing_role", cluster, role, remedy))
        elif rights[role] != expected:
            found.append(Finding("role_rights", cluster, role, remedy))
    control = connection.execute(
        "SELECT rolname FROM pg_roles, pg_database WHERE datname = %s"
        " AND has_database_privilege(pg_roles.oid, pg_database.oid, 'CONNECT')"
        " AND NOT rolsuper AND rolname <> ALL(%s)",
        (clusters.control_name(), [OWNER_ROLE, APP_ROLE]),
    ).fetchall()
    found += [Finding("enters_control", cluster, name, remedy) for (name,) in control]
    return found
