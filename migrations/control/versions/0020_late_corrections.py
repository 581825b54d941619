"""When late usage is looked for on a contract without a bill to come, and each revision only once

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# Whoever is done has no bill to come; what usage was billed of them lately is looked at once more.
ENDED = """
UPDATE subscription s SET next_bill_on = NULL, next_correction_on = CASE
    WHEN EXISTS (SELECT FROM usage_total u WHERE u.subscription_id = s.id AND u.state = 'billed'
        AND u.ends_at > now() - interval '100 days') THEN s.ends_on END
WHERE s.state = 'cancelled';
"""
VOIDED = """
UPDATE usage_total u SET state = 'void' FROM invoice i
WHERE i.id = u.invoice_id AND i.state = 'void';
"""


def upgrade() -> None:
    op.add_column("subscription", sa.Column("next_correction_on", sa.Date(), nullable=True))
    op.add_column(
        "usage_total",
        sa.Column("state", sa.Text(), server_default=sa.text("'billed'"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_usage_total_state"), "usage_total", "state IN ('billed', 'void')"
    )
    op.execute(VOIDED)
    op.create_index(
        "uq_usage_total_once",
        "usage_total",
        ["item_id", "starts_at", "revision"],
        unique=True,
        postgresql_where="state <> 'void'",
    )
    op.execute("GRANT UPDATE (state) ON usage_total TO tenantry_app")
    op.execute(ENDED)
    op.drop_index("ix_subscription_next_bill_on", "subscription")
    for column in ("next_bill_on", "next_correction_on"):
        op.create_index(
            f"ix_subscription_{column}",
            "subscription",
            [column],
            postgresql_where=f"{column} IS NOT NULL",
        )


def downgrade() -> None:
    op.drop_index("ix_subscription_next_correction_on", "subscription")
    op.drop_index("ix_subscription_next_bill_on", "subscription")
    op.create_index(
        "ix_subscription_next_bill_on",
        "subscription",
        ["next_bill_on"],
        postgresql_where="state <> 'cancelled'",
    )
    op.execute("REVOKE UPDATE (state) ON usage_total FROM tenantry_app")
    op.drop_index("uq_usage_total_once", "usage_total")
    op.drop_constraint(op.f("ck_usage_total_state"), "usage_total")
    op.drop_column("usage_total", "state")
    op.drop_column("subscription", "next_correction_on")
