"""Lines and bills that are taken back are looked for by an index wherever something refers to them

Revision ID: 0029
Revises: 0028
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TAKEN_BACK = (
    ("billed_span", "line_id"),
    ("coupon_use", "line_id"),
    ("credit_use", "line_id"),
    ("credit_grant", "carried_by"),
)


def upgrade() -> None:
    for table, column in TAKEN_BACK:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    for table, column in TAKEN_BACK:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
