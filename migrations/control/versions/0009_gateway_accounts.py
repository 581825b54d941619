"""Merchant accounts at payment gateways

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
JSONB = postgresql.JSONB(astext_type=sa.Text())

GUARDS = """
-- Payments, methods and webhooks name an account by its code: it may never mean another one.
CREATE FUNCTION gateway_account_keeps_its_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.code <> NEW.code OR OLD.gateway <> NEW.gateway THEN
        RAISE EXCEPTION 'gateway account % keeps its code and its gateway', OLD.code
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER gateway_account_keeps_its_name BEFORE UPDATE ON gateway_account
    FOR EACH ROW EXECUTE FUNCTION gateway_account_keeps_its_name();
GRANT SELECT, INSERT, UPDATE ON gateway_account TO tenantry_app;
"""


def upgrade() -> None:
    op.create_table(
        "gateway_account",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("title_ko", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=False),
        sa.Column("credentials_sealed", sa.Text(), nullable=False),
        sa.Column("currencies", JSONB, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("is_fallback", sa.Boolean(), nullable=False),
        sa.Column("is_offered", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("credentials_set_at", MOMENT, nullable=False),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9-]{1,39}$'", name=op.f("ck_gateway_account_code")),
        sa.CheckConstraint(
            "code NOT IN ('sandbox', 'manual')", name=op.f("ck_gateway_account_built_in")
        ),
        sa.CheckConstraint(
            "NOT (is_default AND is_fallback)", name=op.f("ck_gateway_account_one_place")
        ),
        sa.CheckConstraint(
            "disabled_at IS NULL OR NOT (is_default OR is_fallback)",
            name=op.f("ck_gateway_account_disabled"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_account")),
        sa.UniqueConstraint("code", name=op.f("uq_gateway_account_code")),
    )
    for place in ("default", "fallback"):
        op.create_index(
            f"uq_gateway_account_{place}",
            "gateway_account",
            [f"is_{place}"],
            unique=True,
            postgresql_where=sa.text(f"is_{place}"),
        )
    op.execute(GUARDS)
