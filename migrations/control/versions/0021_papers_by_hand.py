"""What people say of supplies whose evidence they made elsewhere

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

GUARDS = """
GRANT SELECT, INSERT ON paper_by_hand TO tenantry_app;
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON paper_by_hand
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
"""


def upgrade() -> None:
    op.create_table(
        "paper_by_hand",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("evidence_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("noted_by", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(number IS NULL) = (issued_on IS NULL)", name=op.f("ck_paper_by_hand_issued")
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_paper_by_hand_{column}")
            )
            for column, table in (
                ("tenant_id", "tenant"),
                ("evidence_id", "vat_evidence"),
                ("noted_by", "staff"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_by_hand")),
    )
    op.create_index(
        op.f("ix_paper_by_hand_evidence_id_noted_at"), "paper_by_hand", ["evidence_id", "noted_at"]
    )
    op.execute(GUARDS)


def downgrade() -> None:
    op.drop_table("paper_by_hand")
