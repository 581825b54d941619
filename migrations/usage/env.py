"""Alembic's way to the tables of pushed usage, which lie in control or on a server of their own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

import tenants.rollup_models
import tenants.usage_models
from app.base.db import OWNER_ROLE, UsageBase, usage_role_url

ROOMS = (tenants.usage_models, tenants.rollup_models)


def include_object(item: object, _name: object, _kind: object, reflected: bool, _: object) -> bool:
    """This function will look at our own tables alone: control's may lie beside them."""
    table = getattr(item, "table", item)
    return not reflected or str(getattr(table, "name", "")) in UsageBase.metadata.tables


def run() -> None:
    """This function will bring the tables up to the requested revision in one transaction."""
    engine = create_engine(usage_role_url(OWNER_ROLE), poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('usage schema'))"))
        context.configure(
            connection=connection,
            target_metadata=UsageBase.metadata,
            version_table="usage_version",
            include_object=include_object,
            compare_server_default=False,
        )
        context.run_migrations()


run()
