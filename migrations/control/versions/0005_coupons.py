"""Coupons redeemed first come first served, and credits that lapse, roll over and are revoked

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

GUARDS = """
CREATE FUNCTION coupon_terms_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND to_jsonb(OLD) - ARRAY['redeemed', 'retired_at']
           = to_jsonb(NEW) - ARRAY['redeemed', 'retired_at']
       AND (OLD.retired_at IS NULL OR NEW.retired_at IS NOT DISTINCT FROM OLD.retired_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'coupon % cannot be changed', OLD.code USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER coupon_terms_are_final BEFORE UPDATE OR DELETE ON coupon
    FOR EACH ROW EXECUTE FUNCTION coupon_terms_are_final();
GRANT SELECT, INSERT, UPDATE ON coupon, coupon_redemption, coupon_use TO tenantry_app;
"""


def upgrade() -> None:
    _coupon()
    _redemption()
    _use()
    op.execute(GUARDS)
    _credits()


def _coupon() -> None:
    text, moment = sa.Text(), postgresql.TIMESTAMP(timezone=True)
    op.create_table(
        "coupon",
        sa.Column("code", text, nullable=False),
        sa.Column("name_ko", text, nullable=False),
        sa.Column("name_en", text, nullable=False),
        sa.Column("kind", text, nullable=False),
        sa.Column("percent", sa.Numeric(38, 12), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", text, nullable=True),
        sa.Column("units", sa.Numeric(38, 12), nullable=False),
        sa.Column("plans", postgresql.ARRAY(text), nullable=False),
        sa.Column("charges", postgresql.ARRAY(text), nullable=False),
        sa.Column("duration", text, nullable=False),
        sa.Column("months", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", moment, nullable=True),
        sa.Column("expires_at", moment, nullable=True),
        sa.Column("max_redemptions", sa.BigInteger(), nullable=True),
        sa.Column("per_customer_max", sa.BigInteger(), nullable=False),
        sa.Column("first_time_only", sa.Boolean(), nullable=False),
        sa.Column("redeemed", sa.BigInteger(), nullable=False),
        sa.Column("created_by", text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("retired_at", moment, nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('free_units', 'months_free', 'percentage', 'amount')", name=op.f("ck_coupon_kind")
        ),
        sa.CheckConstraint(
            "duration IN ('once', 'months', 'forever')", name=op.f("ck_coupon_duration")
        ),
        sa.CheckConstraint("redeemed >= 0", name=op.f("ck_coupon_counted")),
        sa.CheckConstraint(
            "max_redemptions IS NULL OR redeemed <= max_redemptions", name=op.f("ck_coupon_used_up")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon")),
        sa.UniqueConstraint("code", name=op.f("uq_coupon_code")),
    )


def _redemption() -> None:
    text, moment = sa.Text(), postgresql.TIMESTAMP(timezone=True)
    op.create_table(
        "coupon_redemption",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("coupon_id", sa.UUID(), nullable=False),
        sa.Column("subscription_id", sa.UUID(), nullable=True),
        sa.Column("state", text, nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("redeemed_by", text, nullable=False),
        sa.Column("redeemed_at", moment, nullable=False),
        sa.Column("released_at", moment, nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'released')", name=op.f("ck_coupon_redemption_state")
        ),
        sa.CheckConstraint(
            "(state = 'released') = (released_at IS NOT NULL)", name=op.f("ck_coupon_redemption_released")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_coupon_redemption_tenant_id")),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupon.id"], name=op.f("fk_coupon_redemption_coupon_id")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_coupon_redemption_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_redemption")),
    )
    op.create_index("ix_coupon_redemption_tenant_id", "coupon_redemption", ["tenant_id"])
    op.create_index("ix_coupon_redemption_coupon_id", "coupon_redemption", ["coupon_id"])


def _use() -> None:
    op.create_table(
        "coupon_use",
        sa.Column("redemption_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("used_from", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_coupon_use_positive")),
        sa.CheckConstraint("state IN ('used', 'void')", name=op.f("ck_coupon_use_state")),
        sa.ForeignKeyConstraint(
            ["redemption_id"], ["coupon_redemption.id"], name=op.f("fk_coupon_use_redemption_id")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_coupon_use_invoice_id")),
        sa.ForeignKeyConstraint(["line_id"], ["invoice_line.id"], name=op.f("fk_coupon_use_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_use")),
    )
    op.create_index("ix_coupon_use_redemption_id", "coupon_use", ["redemption_id"])
    op.create_index("ix_coupon_use_invoice_id", "coupon_use", ["invoice_id"])


def _credits() -> None:
    op.add_column(
        "credit_grant", sa.Column("lapsed_minor", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("credit_grant", sa.Column("granted_by", sa.Text(), nullable=False, server_default=""))
    for name in ("lapsed_minor", "granted_by"):
        op.alter_column("credit_grant", name, server_default=None)
    op.add_column("credit_grant", sa.Column("rollover_percent", sa.Numeric(38, 12), nullable=True))
    op.add_column("credit_grant", sa.Column("rollover_max_minor", sa.BigInteger(), nullable=True))
    op.add_column("credit_grant", sa.Column("rollover_days", sa.BigInteger(), nullable=True))
    op.add_column("credit_grant", sa.Column("rolled_from", sa.UUID(), nullable=True))
    op.add_column(
        "credit_grant", sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True)
    )
    op.create_foreign_key(
        op.f("fk_credit_grant_rolled_from"), "credit_grant", "credit_grant", ["rolled_from"], ["id"]
    )
    op.drop_constraint(op.f("ck_credit_grant_not_overdrawn"), "credit_grant")
    op.create_check_constraint(
        op.f("ck_credit_grant_not_overdrawn"),
        "credit_grant",
        "used_minor >= 0 AND lapsed_minor >= 0 AND used_minor + lapsed_minor <= amount_minor",
    )
    op.drop_index("ix_credit_grant_open", "credit_grant")
    op.create_index(
        "ix_credit_grant_open",
        "credit_grant",
        ["tenant_id"],
        postgresql_where="used_minor + lapsed_minor < amount_minor AND revoked_at IS NULL",
    )
