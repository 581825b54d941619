"""Where a level stood before a window, found without reading what it was before that

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_usage_rollup_level",
        "usage_rollup",
        ["tenant_id", "meter", "version", "group_key", "hour"],
        postgresql_where="first_at IS NOT NULL",
    )
