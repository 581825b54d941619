"""The steps of a destruction on a cluster: the tenant's database and role go, and are seen gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.errors import Conflict, Unavailable
from tenants import clusters, databases
from tenants.models import Cluster, ProvisioningRun, TenantDatabase

STEPS = ("close", "quarantine", "database", "role", "absence")


class StillThere(Unavailable):
    """Something of the tenant was found after it was removed: the run goes on, nothing is done."""


class ClusterTrouble(Unavailable):
    """The cluster did not do what a step asked of it; the run goes on later."""


class PlaceUnknown(Conflict):
    """A database was made for this tenant, and where it stands is no longer written down."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tenant's database stood, and the run that marks what is ours."""

    cluster_url: str
    database: str
    role: str
    run: str


def place_of(*, control_session: Session, tenant_id: UUID) -> Place | None:
    """This function will return where a tenant's database stands, if one was ever made.

    A tenant that was never provisioned has none; one that was must have one until the end.

    Raises: PlaceUnknown.
    """
    provisioned = control_session.get(ProvisioningRun, tenant_id)
    row = control_session.execute(
        select(Cluster.url, TenantDatabase.database_name, TenantDatabase.role_name)
        .join(TenantDatabase, TenantDatabase.cluster_id == Cluster.id)
        .where(TenantDatabase.tenant_id == tenant_id)
    ).first()
    if provisioned is None and row is None:
        return None
    if provisioned is None or row is None:
        raise PlaceUnknown("Where this tenant's database stands is not written down. Please look.")
    return Place(row.url, row.database_name, row.role_name, provisioned.run)


def restore(*, place: Place) -> bool:
    """This function will open a database that was closed or renamed, and tell whether it stands.

    Raises: ClusterTrouble, NotOurs.
    """
    with _on_cluster(place) as connection:
        return clusters.reopen(connection, database=place.database, run=place.run)


def perform(*, step: str, place: Place) -> dict[str, Any]:
    """This function will do one step, or find that it is done, and return what it saw absent.

    Raises: ClusterTrouble, NotOurs, StillThere.
    """
    with _on_cluster(place) as connection:
        return _perform(step, connection, place)


@contextmanager
def _on_cluster(place: Place) -> Iterator[psycopg.Connection[Any]]:
    """Under the lock of the run: a killed worker's last statement may still be at work."""
    try:
        with databases.provisioner_connection(place.cluster_url) as connection:
            connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))", (clusters.mark(place.run),)
            )
            yield connection
    except psycopg.Error as error:
        raise ClusterTrouble(f"The cluster: {error}") from error


def _perform(step: str, connection: psycopg.Connection[Any], place: Place) -> dict[str, Any]:
    quarantined = f"{clusters.QUARANTINE_PREFIX}{place.database}"
    match step:
        case "close":
            clusters.close(connection, database=place.database, run=place.run)
        case "quarantine":
            clusters.quarantine(connection, database=place.database, run=place.run)
        case "database":
            for name in (place.database, quarantined):
                clusters.drop_database(connection, database=name, run=place.run)
        case "role":
            clusters.drop_role(connection, role=place.role, run=place.run)
        case "absence":
            if not clusters.is_absent(connection, run=place.run):
                raise StillThere("The tenant's database or role is still on the cluster.")
            return {"database": 0, "role": 0}
    return {}
