"""Features and quotas of plans, overrides of a tenant, and alerts as quotas fill

Revision ID: 0008
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
JSONB = postgresql.JSONB(astext_type=sa.Text())

GUARDS = """
-- An override is ended, never rewritten: what was agreed when stays to be read.
CREATE FUNCTION entitlement_override_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL
       AND to_jsonb(OLD) - ARRAY['ended_at', 'ended_by']
           = to_jsonb(NEW) - ARRAY['ended_at', 'ended_by'] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'entitlement override % cannot be changed', OLD.id
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER entitlement_override_is_final BEFORE UPDATE OR DELETE ON entitlement_override
    FOR EACH ROW EXECUTE FUNCTION entitlement_override_is_final();
GRANT SELECT, INSERT, UPDATE ON entitlement_override TO tenantry_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_quota TO tenantry_app;
GRANT SELECT, INSERT ON quota_alert TO tenantry_app;
"""


def upgrade() -> None:
    for table, name in (
        ("plan_version", "features"),
        ("plan_version", "quotas"),
        ("tenant", "plan_grants"),
    ):
        op.add_column(table, sa.Column(name, JSONB, nullable=False, server_default="{}"))
        op.alter_column(table, name, server_default=None)
    op.execute("UPDATE tenant SET plan_grants = jsonb_build_object('limits', limits)")
    _overrides()
    _quotas()
    op.execute(GUARDS)


def _tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f(f"fk_{table}_tenant_id"))


def _overrides() -> None:
    op.create_table(
        "entitlement_override",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('feature', 'limit', 'quota')", name=op.f("ck_entitlement_override_kind")
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_entitlement_override_ended")
        ),
        _tenant("entitlement_override"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_override")),
    )
    op.create_index(
        "uq_entitlement_override_in_force",
        "entitlement_override",
        ["tenant_id", "kind", "code"],
        unique=True,
        postgresql_where="ended_at IS NULL",
    )
    op.create_index(
        "ix_entitlement_override_expires_at",
        "entitlement_override",
        ["expires_at"],
        postgresql_where="ended_at IS NULL AND expires_at IS NOT NULL",
    )


def _quotas() -> None:
    op.create_table(
        "tenant_quota",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("soft", sa.Numeric(38, 12), nullable=True),
        sa.Column("hard", sa.Numeric(38, 12), nullable=True),
        sa.Column("alerts", JSONB, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=True),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("used", sa.Numeric(38, 12), nullable=False),
        sa.Column("counted_at", MOMENT, nullable=True),
        _tenant("tenant_quota"),
        sa.PrimaryKeyConstraint("tenant_id", "meter", name=op.f("pk_tenant_quota")),
    )
    op.create_index(op.f("ix_tenant_quota_counted_at"), "tenant_quota", ["counted_at"])
    op.create_table(
        "quota_alert",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("bound", sa.Text(), nullable=False),
        sa.Column("percent", sa.BigInteger(), nullable=False),
        sa.Column("quota", sa.Numeric(38, 12), nullable=False),
        sa.Column("used", sa.Numeric(38, 12), nullable=False),
        sa.Column("reached_at", MOMENT, nullable=False),
        sa.CheckConstraint("bound IN ('soft', 'hard')", name=op.f("ck_quota_alert_bound")),
        _tenant("quota_alert"),
        sa.PrimaryKeyConstraint(
            "tenant_id", "meter", "starts_at", "bound", "percent", name=op.f("pk_quota_alert")
        ),
    )
