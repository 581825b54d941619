"""Alembic's way into one tenant database: the caller connects, the schema's owner writes."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from app.base.installation import TENANT_SCHEMA_ROLE
from tenants.schema import TenantBase


def run() -> None:
    """This function will bring the schema up to the requested revision in one transaction."""
    connection = context.config.attributes["connection"]
    with connection.begin():
        connection.execute(text(f"SET LOCAL ROLE {TENANT_SCHEMA_ROLE}"))
        lock_timeout_ms = int(context.config.attributes["lock_timeout_ms"])
        connection.execute(text(f"SET LOCAL lock_timeout = {lock_timeout_ms}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('tenant schema'))"))
        context.configure(connection=connection, target_metadata=TenantBase.metadata)
        context.run_migrations()


run()
