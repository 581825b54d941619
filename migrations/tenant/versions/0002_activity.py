"""Who was active when, and what a meter's own query may read

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The role of declared queries reads what can be counted; passwords and the history are not part.
RIGHTS = """
GRANT SELECT, INSERT ON member_activity TO tenantry_tenant_rows;
GRANT USAGE ON SCHEMA public TO tenantry_meter;
GRANT SELECT ON drawing, seat_event, storage_event, plan_limit, member_activity TO tenantry_meter;
GRANT SELECT (id, email, name, role, invited_at, activated_at, deactivated_at) ON member
    TO tenantry_meter;
"""


def upgrade() -> None:
    op.create_table(
        "member_activity",
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("quarter", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_member_activity_member_id")
        ),
        sa.PrimaryKeyConstraint("member_id", "quarter", name=op.f("pk_member_activity")),
    )
    op.create_index(op.f("ix_member_activity_quarter"), "member_activity", ["quarter"])
    op.execute(RIGHTS)
