"""What is still to be done about supplies and tax papers, found without reading years of them

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

OPEN = (
    "tax_invoice.state IN ('due', 'sent', 'failed')"
    " OR (tax_invoice.state = 'issued' AND tax_invoice.issuer <> 'offline')"
)


def upgrade() -> None:
    op.drop_index("ix_invoice_evidence_due", table_name="invoice")
    op.create_index(
        "ix_invoice_evidence_due",
        "invoice",
        ["supplied_on", "id"],
        postgresql_where="evidence_at IS NULL AND state IN ('issued', 'paid', 'written_off')",
    )
    op.create_index(
        "ix_tax_invoice_open", "tax_invoice", ["written_on", "id"], postgresql_where=OPEN
    )
    op.create_index(
        "ix_tax_invoice_offline",
        "tax_invoice",
        ["written_on"],
        postgresql_where="issuer = 'offline' AND state IN ('issued', 'amended')",
    )


def downgrade() -> None:
    op.drop_index("ix_tax_invoice_offline", table_name="tax_invoice")
    op.drop_index("ix_tax_invoice_open", table_name="tax_invoice")
    op.drop_index("ix_invoice_evidence_due", table_name="invoice")
    op.create_index(
        "ix_invoice_evidence_due",
        "invoice",
        ["supplied_on"],
        postgresql_where="evidence_at IS NULL AND state IN ('issued', 'paid')",
    )
