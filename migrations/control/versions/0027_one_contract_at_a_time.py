"""One contract of a tenant at a time, so that no day is billed by two; when a pause began

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE subscription ADD CONSTRAINT ex_subscription_one_at_a_time EXCLUDE USING gist ("
        " uuidrange(tenant_id, tenant_id, '[]') WITH &&,"
        " daterange(starts_on, CASE WHEN ends_on < starts_on THEN starts_on ELSE ends_on END)"
        " WITH &&)"
    )
    op.add_column("subscription", sa.Column("paused_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("subscription", "paused_at")
    op.drop_constraint("ex_subscription_one_at_a_time", "subscription")
