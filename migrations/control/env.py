"""Alembic's way into the control database: as the owner of its schema, one runner at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

import app.base.models
import invoices.models
import jobs.models
import tenants.api_key_models
import tenants.business_models
import tenants.entitlement_models
import tenants.meter_models
import tenants.models
import tenants.rollup_models
import tenants.usage_models
from app.base.db import OWNER_ROLE, Base, UsageBase, role_url

ROOMS = (
    app.base.models,
    invoices.models,
    jobs.models,
    tenants.models,
    tenants.api_key_models,
    tenants.business_models,
    tenants.entitlement_models,
    tenants.meter_models,
)
PARTITIONS = ("visit_event_", "event_p2", "event_key_p")
# Of another history, though its tables may lie in this database.
USAGE = {"usage_version", *UsageBase.metadata.tables}


def include_object(item: object, *_about: object) -> bool:
    """This function will leave out partitions, which no model describes, and pushed usage."""
    table = str(getattr(getattr(item, "table", item), "name", ""))
    return not table.startswith(PARTITIONS) and table not in USAGE


def run() -> None:
    """This function will bring the schema up to the requested revision in one transaction."""
    engine = create_engine(role_url(OWNER_ROLE), poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('control schema'))"))
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_schemas=True,
            include_object=include_object,
            compare_server_default=False,
        )
        context.run_migrations()


run()
