"""The method that a customer allows to stand in for another, and imports that finance discards

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "payment_method",
        sa.Column("is_fallback", sa.Boolean(), server_default="false", nullable=False),
    )
    op.create_index(
        "uq_payment_method_fallback",
        "payment_method",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL AND is_fallback"),
    )
    op.create_check_constraint(
        op.f("ck_payment_method_one_place"), "payment_method", "NOT (is_default AND is_fallback)"
    )
    op.add_column(
        "bank_statement", sa.Column("discarded_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("bank_statement", sa.Column("discarded_by", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_bank_statement_discarded_by"), "bank_statement", "staff", ["discarded_by"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_bank_statement_discarded"),
        "bank_statement",
        "(discarded_at IS NULL) = (discarded_by IS NULL)",
    )
    op.drop_constraint(op.f("uq_bank_statement_file_sha256"), "bank_statement", type_="unique")
    op.create_index(
        "uq_bank_statement_file",
        "bank_statement",
        ["file_sha256"],
        unique=True,
        postgresql_where=sa.text("discarded_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_bank_statement_file", table_name="bank_statement")
    op.create_unique_constraint(
        op.f("uq_bank_statement_file_sha256"), "bank_statement", ["file_sha256"]
    )
    op.drop_constraint(op.f("ck_bank_statement_discarded"), "bank_statement", type_="check")
    op.drop_constraint(op.f("fk_bank_statement_discarded_by"), "bank_statement", type_="foreignkey")
    op.drop_column("bank_statement", "discarded_by")
    op.drop_column("bank_statement", "discarded_at")
    op.drop_constraint(op.f("ck_payment_method_one_place"), "payment_method", type_="check")
    op.drop_index("uq_payment_method_fallback", table_name="payment_method")
    op.drop_column("payment_method", "is_fallback")
