"""Payment methods that gateways revoke, and those that they are yet to forget

Revision ID: 0025
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0028"
branch_labels = None
depends_on = None

FORGETTING = (
    sa.Column("named_digest", sa.Text()),
    sa.Column("forgotten_at", sa.DateTime(timezone=True)),
    sa.Column("lease_until", sa.DateTime(timezone=True)),
    sa.Column("retry_at", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("last_error", sa.Text()),
)


def upgrade() -> None:
    for column in FORGETTING:
        op.add_column("payment_method", column.copy())
    op.create_index("ix_payment_method_named", "payment_method", ["gateway", "named_digest"])
    op.create_index(
        "ix_payment_method_to_forget",
        "payment_method",
        ["revoked_at"],
        postgresql_where=sa.text("revoked_at IS NOT NULL AND forgotten_at IS NULL"),
    )
    op.add_column("gateway_event", sa.Column("method_id", sa.Uuid()))
    op.create_foreign_key(
        op.f("fk_gateway_event_method_id_payment_method"),
        "gateway_event",
        "payment_method",
        ["method_id"],
        ["id"],
    )


def downgrade() -> None:
    op.drop_column("gateway_event", "method_id")
    op.drop_index("ix_payment_method_to_forget", table_name="payment_method")
    op.drop_index("ix_payment_method_named", table_name="payment_method")
    for column in reversed(FORGETTING):
        op.drop_column("payment_method", column.name)
