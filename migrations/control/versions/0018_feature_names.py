"""What features are called, beside what a plan version says of them

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "plan_version",
        sa.Column(
            "feature_names", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False
        ),
    )
