"""What a day's bills come to is known before the first goes out, and a release names its drafts

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# What had been let go so far was told by when it was written.
COVERED = """
UPDATE invoice SET run_release_id = (
    SELECT r.id FROM run_release r
    WHERE r.bill_on = invoice.supplied_on AND r.currency = invoice.currency
      AND r.asked_at >= invoice.created_at
    ORDER BY r.approved_at IS NOT NULL DESC, r.asked_at DESC LIMIT 1)
WHERE state = 'draft' AND coalesce(held->>'rule', 'run') = 'run'
"""


def upgrade() -> None:
    op.add_column("invoice", sa.Column("run_release_id", sa.UUID(), nullable=True))
    op.add_column(
        "invoice", sa.Column("gathers", sa.Boolean(), server_default="false", nullable=False)
    )
    op.create_foreign_key(
        op.f("fk_invoice_run_release_id"), "invoice", "run_release", ["run_release_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_invoice_gathers"),
        "invoice",
        "NOT gathers OR (state IN ('draft', 'void') AND issue_at IS NOT NULL)",
    )
    op.create_index(
        "ix_invoice_run",
        "invoice",
        ["supplied_on", "currency"],
        postgresql_include=["total_minor"],
        postgresql_where="state NOT IN ('draft', 'void')",
    )
    op.create_index(
        "ix_invoice_run_release_id",
        "invoice",
        ["run_release_id"],
        postgresql_where="run_release_id IS NOT NULL",
    )
    op.execute(COVERED)


def downgrade() -> None:
    op.drop_column("invoice", "gathers")
    op.drop_column("invoice", "run_release_id")
    op.drop_index("ix_invoice_run", "invoice")
