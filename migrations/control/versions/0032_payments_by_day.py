"""What came in on the days of a month is looked for by an index: the close read all payments

Revision ID: 0032
Revises: 0031
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_payment_gateway_received_on"), "payment", ["gateway", "received_on"])


def downgrade() -> None:
    op.drop_index(op.f("ix_payment_gateway_received_on"), "payment")
