"""Meters: declared ways to count, each version once and for ever

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GUARDS = """
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON meter
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
GRANT SELECT, INSERT ON meter TO tenantry_app;
"""


def upgrade() -> None:
    op.create_table(
        "meter",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("declared_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("source IN ('events', 'sql', 'readings')", name=op.f("ck_meter_source")),
        sa.CheckConstraint("version > 0", name=op.f("ck_meter_version")),
        sa.PrimaryKeyConstraint("code", "version", name=op.f("pk_meter")),
    )
    op.execute(GUARDS)
