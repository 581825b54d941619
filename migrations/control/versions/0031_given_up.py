"""A tenant that can't be made is given up by a word on its run; a worker undoes it

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("provisioning_run", sa.Column("given_up", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("provisioning_run", "given_up")
