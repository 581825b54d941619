"""What every tenant starts with

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# The tenant's role reads and writes rows; what metering replays it can only add to.
RIGHTS = """
GRANT USAGE ON SCHEMA public TO tenantry_tenant_rows;
GRANT SELECT, INSERT, UPDATE ON member, drawing TO tenantry_tenant_rows;
GRANT SELECT, INSERT ON seat_event, storage_event TO tenantry_tenant_rows;
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_limit TO tenantry_tenant_rows;
GRANT SELECT ON alembic_version TO tenantry_tenant_rows;
"""


def upgrade() -> None:
    op.create_table(
        "member",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("invited_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("activated_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deactivated_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'member')", name=op.f("ck_member_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_member")),
    )
    op.create_index("uq_member_email", "member", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "plan_limit",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("value >= 0", name=op.f("ck_plan_limit_value")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_plan_limit")),
    )
    op.create_table(
        "drawing",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("uploaded_by", sa.UUID(), nullable=False),
        sa.Column("uploaded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("deleted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_drawing_sha256")),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_drawing_size_bytes")),
        sa.ForeignKeyConstraint(
            ["uploaded_by"], ["member.id"], name=op.f("fk_drawing_uploaded_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drawing")),
    )
    op.create_index(op.f("ix_drawing_sha256"), "drawing", ["sha256"], unique=False)
    op.create_index(op.f("ix_drawing_uploaded_at"), "drawing", ["uploaded_at"], unique=False)
    op.create_table(
        "seat_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.Column("seats_after", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.CheckConstraint("delta IN (1, -1)", name=op.f("ck_seat_event_delta")),
        sa.CheckConstraint("seats_after >= 0", name=op.f("ck_seat_event_seats_after")),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_seat_event_member_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seat_event")),
    )
    op.create_index(op.f("ix_seat_event_at"), "seat_event", ["at"], unique=False)
    op.create_table(
        "storage_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("drawing_id", sa.UUID(), nullable=False),
        sa.Column("delta_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes_after", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'upload' AND delta_bytes >= 0) OR (kind = 'delete' AND delta_bytes <= 0)",
            name=op.f("ck_storage_event_kind"),
        ),
        sa.CheckConstraint("bytes_after >= 0", name=op.f("ck_storage_event_bytes_after")),
        sa.ForeignKeyConstraint(
            ["drawing_id"], ["drawing.id"], name=op.f("fk_storage_event_drawing_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_event")),
    )
    op.create_index(op.f("ix_storage_event_at"), "storage_event", ["at"], unique=False)
    op.execute(RIGHTS)
