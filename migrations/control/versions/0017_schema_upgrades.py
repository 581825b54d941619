"""Tenants' databases brought to the newest revision, one row each as long as it takes

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "schema_upgrade",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        # What waits for a database goes with its place.
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant_database.tenant_id"],
            name=op.f("fk_schema_upgrade_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_schema_upgrade")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON schema_upgrade TO tenantry_app")
