"""What the plan allows is read by the tenant's role and written by the schema's owner alone

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REVOKE INSERT, UPDATE, DELETE ON plan_limit FROM tenantry_tenant_rows")
