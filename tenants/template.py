"""The tenant template: a database that is built from the migrations and then only ever copied.

A template with a session on it blocks CREATE DATABASE, so nobody may connect to a finished one. It
is never edited: a new revision is a new template, and the cluster's row points to it.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy import create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app.base import ids
from app.base.config import CHECKOUT, settings
from app.base.installation import TENANT_ROWS_ROLE, TENANT_SCHEMA_ROLE
from tenants import clusters
from tenants.databases import provisioner_connection, provisioner_url, without_login
from tenants.models import Cluster

# Loaded by whoever migrates: a web process does not.
if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

MIGRATIONS = CHECKOUT / "migrations" / "tenant"
HOME_CLUSTER = "home"
# How long a migration waits for whoever uses a table, while everybody else queues up behind it.
LOCK_TIMEOUT_MS = 5_000


def build_template(*, control_session: Session, name: str = HOME_CLUSTER) -> str:
    """This function will give a cluster a template of the newest revision and return its name.

    The cluster's row stays locked meanwhile, so two set-ups never build at once. A template that
    was built from the same migrations is kept; one that is not pointed to any more is dropped.
    For `flask setup` alone: it holds its transaction over CREATE DATABASE.
    """
    cluster = ensure_home_cluster(control_session) if name == HOME_CLUSTER else None
    if cluster is None:
        cluster = control_session.scalars(
            select(Cluster).where(Cluster.name == name).with_for_update()
        ).one()
    with provisioner_connection(cluster.url) as connection:
        if not _is_current(connection, cluster.template_name):
            cluster.template_name = _build(connection, cluster.url)
            control_session.flush()
        _drop_superseded(connection, cluster.template_name)
    return str(cluster.template_name)


def ensure_home_cluster(control_session: Session) -> Cluster:
    """This function will return, locked, the row of the cluster that holds control as well.

    Its address follows DATABASE_URL, whose port may change from one start to the next.
    """
    address = without_login(make_url(settings().database_url))
    cluster = control_session.scalar(
        select(Cluster).where(Cluster.name == HOME_CLUSTER).with_for_update()
    )
    if cluster is None:
        cluster = Cluster(
            name=HOME_CLUSTER,
            url=address,
            capacity=settings().tenants_per_cluster_max,
        )
        control_session.add(cluster)
    cluster.url = address
    cluster.capacity = max(settings().tenants_per_cluster_max, cluster.reserved or 0)
    control_session.flush()
    return cluster


def _is_current(connection: psycopg.Connection[Any], name: str | None) -> bool:
    if name is None:
        return False
    found = clusters.find_database(connection, name)
    return (
        found is not None
        and not found.allows_connections
        and (found.comment or "").endswith(f" template {digest()}")
    )


def _build(connection: psycopg.Connection[Any], cluster_url: str) -> str:
    """A template that a crash leaves half-made is pointed to by nobody; the next build drops it."""
    name = f"tpl_{head_revision()}_{ids.opaque(10)}"
    database = sql.Identifier(name)
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
            database, sql.Identifier(TENANT_SCHEMA_ROLE)
        )
    )
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            database, sql.Literal(clusters.mark("template building"))
        )
    )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    migrate(cluster_url, name)
    with provisioner_connection(cluster_url, database=name) as inside:
        inside.execute("VACUUM (FREEZE, ANALYZE)")
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false; COMMENT ON DATABASE {} IS {}").format(
            database, database, sql.Literal(clusters.mark(f"template {digest()}"))
        )
    )
    return name


def _drop_superseded(connection: psycopg.Connection[Any], current: str | None) -> None:
    for found in clusters.list_databases(connection):
        if found.name != current and (found.comment or "").startswith(clusters.mark("template")):
            # One that is being copied at this moment stays until the next set-up.
            with contextlib.suppress(psycopg.errors.ObjectInUse):
                clusters.drop_any_database(connection, found.name)


def migrate(cluster_url: str, database: str, revision: str = "head") -> None:
    """This function will bring one tenant database to a revision, by default the newest.

    Alembic keeps its state in module globals: never from two threads of one process.
    """
    from alembic import command  # noqa: PLC0415

    url = provisioner_url(cluster_url, database=database).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        config.attributes["lock_timeout_ms"] = LOCK_TIMEOUT_MS
        command.upgrade(config, revision)


def alembic_config() -> Config:
    """This function will return the configuration of the tenants' history."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


@lru_cache(maxsize=1)
def head_revision() -> str:
    """This function will return the newest revision of the tenants' history."""
    head = _scripts().get_current_head()
    assert head is not None, "the tenants' history has a revision"
    return head


@lru_cache(maxsize=1)
def known_revisions() -> frozenset[str]:
    """This function will return every revision that this code can bring a database from or to."""
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory.from_config(alembic_config())


@lru_cache(maxsize=1)
def digest() -> str:
    """This function will return what the migrations hash to: an edited one means a new template."""
    total = hashlib.sha256(TENANT_ROWS_ROLE.encode())
    for path in sorted(MIGRATIONS.rglob("*.py")):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]
