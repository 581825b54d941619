"""Drafts with a grace period, held or released by people, and the usage totals that were billed

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
JSONB = postgresql.JSONB(astext_type=sa.Text())

GUARDS = """
-- A second person agrees to what the first one asked for, and to nothing else.
CREATE FUNCTION run_release_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.approved_by IS NULL
       AND to_jsonb(OLD) - ARRAY['approved_by', 'approved_at']
           = to_jsonb(NEW) - ARRAY['approved_by', 'approved_at'] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the release of the run of % cannot be changed', OLD.bill_on
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER run_release_is_final BEFORE UPDATE OR DELETE ON run_release
    FOR EACH ROW EXECUTE FUNCTION run_release_is_final();
GRANT SELECT, INSERT, UPDATE ON run_release TO tenantry_app;
GRANT SELECT, INSERT, DELETE ON usage_total TO tenantry_app;
-- Drafts are composed anew until they are issued; what was issued the guards keep.
GRANT DELETE ON coupon_use TO tenantry_app;

-- Lines come before their invoice, so that it can be written as issued: one that is not there yet
-- is no more frozen than a draft. Who writes lines checks the foreign key once at the end.
CREATE OR REPLACE FUNCTION invoice_line_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
    standing text;
BEGIN
    SELECT state INTO standing FROM invoice WHERE id = owner;
    IF FOUND AND standing <> 'draft' THEN
        RAISE EXCEPTION 'the lines of invoice % are issued and cannot be changed', owner
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""


def upgrade() -> None:
    _drafts()
    _releases()
    _totals()
    op.execute(GUARDS)


def _drafts() -> None:
    op.add_column("invoice", sa.Column("issue_at", MOMENT, nullable=True))
    op.add_column("invoice", sa.Column("held", JSONB, nullable=True))
    op.add_column("invoice", sa.Column("released_minor", sa.BigInteger(), nullable=True))
    op.create_check_constraint(
        op.f("ck_invoice_not_waiting"),
        "invoice",
        "state IN ('draft', 'void') OR (issue_at IS NULL AND held IS NULL)",
    )
    op.create_check_constraint(
        op.f("ck_invoice_held"), "invoice", "held IS NULL OR issue_at IS NULL"
    )
    draft = "state = 'draft'"
    op.create_index("ix_invoice_draft", "invoice", ["subscription_id"], postgresql_where=draft)
    op.create_index(
        "ix_invoice_draft_run",
        "invoice",
        ["supplied_on", "currency"],
        postgresql_include=["total_minor", "issue_at"],
        postgresql_where=draft,
    )
    op.create_index("ix_invoice_issue_at", "invoice", ["issue_at"], postgresql_where=draft)
    op.drop_constraint(op.f("fk_invoice_line_invoice_id"), "invoice_line")
    op.create_foreign_key(
        op.f("fk_invoice_line_invoice_id"),
        "invoice_line",
        "invoice",
        ["invoice_id"],
        ["id"],
        deferrable=True,
    )


def _releases() -> None:
    op.create_table(
        "run_release",
        sa.Column("bill_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("invoices", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("needs_second", sa.Boolean(), nullable=False),
        sa.Column("asked_by", sa.UUID(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("approved_by", sa.UUID(), nullable=True),
        sa.Column("approved_at", MOMENT, nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("approved_by <> asked_by", name=op.f("ck_run_release_second_person")),
        sa.CheckConstraint(
            "(approved_by IS NULL) = (approved_at IS NULL)", name=op.f("ck_run_release_approved")
        ),
        sa.CheckConstraint(
            "approved_by IS NULL OR needs_second", name=op.f("ck_run_release_asked_for")
        ),
        sa.ForeignKeyConstraint(["asked_by"], ["staff.id"], name=op.f("fk_run_release_asked_by")),
        sa.ForeignKeyConstraint(
            ["approved_by"], ["staff.id"], name=op.f("fk_run_release_approved_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_release")),
    )
    op.create_index(op.f("ix_run_release_bill_on_currency"), "run_release", ["bill_on", "currency"])


def _totals() -> None:
    links = {
        "subscription_id": "subscription",
        "tenant_id": "tenant",
        "item_id": "subscription_item",
        "invoice_id": "invoice",
        "line_id": "invoice_line",
    }
    op.create_table(
        "usage_total",
        *(sa.Column(name, sa.UUID(), nullable=False) for name in links),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("meter_version", sa.BigInteger(), nullable=False),
        sa.Column("meter_group", JSONB, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("quantity", sa.Numeric(38, 12), nullable=False),
        sa.Column("transactions", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_usage_total_span")),
        sa.CheckConstraint("revision >= 0", name=op.f("ck_usage_total_revision")),
        *(
            sa.ForeignKeyConstraint([name], [f"{table}.id"], name=op.f(f"fk_usage_total_{name}"))
            for name, table in links.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_total")),
        sa.UniqueConstraint("line_id", name=op.f("uq_usage_total_line_id")),
    )
    op.create_index(
        op.f("ix_usage_total_subscription_id_ends_at"),
        "usage_total",
        ["subscription_id", "ends_at"],
    )
    op.create_index(op.f("ix_usage_total_invoice_id"), "usage_total", ["invoice_id"])
