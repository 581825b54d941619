"""How VAT applies to charges and customers, and what is known of business registration numbers

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

GUARDS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON business_status TO tenantry_app;
GRANT SELECT, INSERT, DELETE ON vat_decision TO tenantry_app;
CREATE TRIGGER row_is_final BEFORE UPDATE ON vat_decision
    FOR EACH ROW EXECUTE FUNCTION row_is_final();

-- A decision goes only when its tenant does, after it was set apart.
CREATE FUNCTION vat_decision_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM statutory.paper WHERE kind = 'vat_decision' AND source_id = OLD.id)
    THEN
        RAISE EXCEPTION 'vat decision % is not set apart', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER vat_decision_is_kept BEFORE DELETE ON vat_decision
    FOR EACH ROW EXECUTE FUNCTION vat_decision_is_kept();
"""


def upgrade() -> None:
    _prices()
    _decisions()
    _businesses()
    op.execute(GUARDS)


def _prices() -> None:
    op.add_column("price", sa.Column("vat", sa.Text(), nullable=False, server_default="taxable"))
    op.add_column(
        "price", sa.Column("vat_included", sa.Boolean(), nullable=False, server_default="false")
    )
    for name, condition in (
        ("vat", "vat IN ('taxable', 'zero_rated', 'exempt')"),
        ("vat_included", "NOT vat_included OR vat = 'taxable'"),
    ):
        op.create_check_constraint(op.f(f"ck_price_{name}"), "price", condition)


def _decisions() -> None:
    op.create_table(
        "vat_decision",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_vat_decision_{name}"))
            for name, condition in (
                ("treatment", "treatment IN ('taxable', 'zero_rated', 'exempt', 'foreign')"),
                ("reason", "btrim(reason) <> ''"),
                ("proved", "treatment <> 'zero_rated' OR file_sha256 IS NOT NULL"),
                (
                    "file",
                    "(file_sha256 IS NULL) = (file_name IS NULL)"
                    " AND (file_sha256 IS NULL) = (media_type IS NULL)"
                    " AND (file_sha256 IS NULL) = (size_bytes IS NULL)",
                ),
            )
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_vat_decision_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vat_decision")),
    )
    op.create_index(
        op.f("ix_vat_decision_tenant_id_decided_at"), "vat_decision", ["tenant_id", "decided_at"]
    )


def _businesses() -> None:
    op.create_table(
        "business_status",
        sa.Column("registration_number", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, server_default="unchecked"),
        sa.Column("tax_kind", sa.Text(), nullable=True),
        sa.Column("ended_on", sa.Date(), nullable=True),
        sa.Column("ask_at", MOMENT, nullable=True),
        sa.Column("asked_at", MOMENT, nullable=True),
        sa.Column("checked_at", MOMENT, nullable=True),
        sa.Column("changed_at", MOMENT, nullable=True),
        sa.Column("opened_on", sa.Date(), nullable=True),
        sa.Column("representative", sa.Text(), nullable=True),
        sa.Column("genuine", sa.Boolean(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text(), nullable=True),
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_business_status_{name}"))
            for name, condition in (
                (
                    "status",
                    "status IN ('unchecked', 'unknown', 'active', 'suspended', 'closed',"
                    " 'unregistered')",
                ),
                (
                    "checked",
                    "status NOT IN ('active', 'suspended', 'closed', 'unregistered')"
                    " OR checked_at IS NOT NULL",
                ),
                ("registration_number", "registration_number ~ '^[0-9]{10}$'"),
                ("genuine", "genuine IS NULL OR opened_on IS NOT NULL"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_business_status")),
        sa.UniqueConstraint(
            "registration_number", name=op.f("uq_business_status_registration_number")
        ),
    )
    for name, column, condition in (
        ("ix_business_status_due", "ask_at", "ask_at IS NOT NULL"),
        (
            "ix_business_status_flagged",
            "status",
            "status IN ('suspended', 'closed', 'unregistered')",
        ),
    ):
        op.create_index(
            name, "business_status", [column], postgresql_where=sa.text(condition)
        )
