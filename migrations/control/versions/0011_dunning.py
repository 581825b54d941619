"""How debts are followed up, money by bank, and consents that are asked for before a price rises

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

GUARDS = """
-- What a deposit is was written by the bank; only what became of it is ours to write, and once.
CREATE FUNCTION bank_transfer_is_the_banks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE kept text[] := ARRAY['state', 'invoice_id', 'score', 'settled_by', 'settled_at',
    'lease_until', 'retry_at', 'attempts', 'last_error'];
BEGIN
    IF TG_OP = 'UPDATE'
       AND (OLD.state <> 'settled' OR (OLD.state, OLD.invoice_id) = (NEW.state, NEW.invoice_id))
       AND to_jsonb(OLD) - kept
           = to_jsonb(NEW) - kept THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'bank transfer % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER bank_transfer_is_the_banks BEFORE UPDATE OR DELETE ON bank_transfer
    FOR EACH ROW EXECUTE FUNCTION bank_transfer_is_the_banks();
GRANT SELECT, INSERT, UPDATE, DELETE ON dunning_rule TO tenantry_app;
GRANT SELECT, INSERT, UPDATE ON dunning_hold, virtual_account, statement_layout, bank_transfer,
    price_consent TO tenantry_app;
GRANT SELECT, INSERT ON dunning_waiver TO tenantry_app;
GRANT SELECT, INSERT, UPDATE ON bank_statement TO tenantry_app;
"""


def upgrade() -> None:
    op.add_column(
        "tenant", sa.Column("suspend_after", postgresql.TIMESTAMP(timezone=True), nullable=True)
    )
    op.create_check_constraint(
        op.f("ck_tenant_warned"), "tenant", "suspend_after IS NULL OR past_due_at IS NOT NULL"
    )
    _dunning()
    _transfers()
    _consents()
    op.execute(GUARDS)


def _dunning() -> None:
    op.create_table(
        "dunning_rule",
        sa.Column("plan_code", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("retry_days", sa.Text(), nullable=True),
        sa.Column("grace_days", sa.BigInteger(), nullable=True),
        sa.Column("warning_days", sa.BigInteger(), nullable=True),
        sa.Column("set_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(plan_code IS NULL) <> (tenant_id IS NULL)", name=op.f("ck_dunning_rule_of_one")
        ),
        sa.CheckConstraint(
            "grace_days >= 0 AND warning_days >= 1", name=op.f("ck_dunning_rule_days")
        ),
        sa.ForeignKeyConstraint(
            ["plan_code"], ["plan.code"], name=op.f("fk_dunning_rule_plan_code")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_dunning_rule_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_rule")),
    )
    op.create_index(
        "uq_dunning_rule_plan_code",
        "dunning_rule",
        ["plan_code"],
        unique=True,
        postgresql_where="plan_code IS NOT NULL",
    )
    op.create_index(
        "uq_dunning_rule_tenant_id",
        "dunning_rule",
        ["tenant_id"],
        unique=True,
        postgresql_where="tenant_id IS NOT NULL",
    )
    op.create_table(
        "dunning_hold",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("set_by", sa.UUID(), nullable=False),
        sa.Column("lifted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL)", name=op.f("ck_dunning_hold_lifted")
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_dunning_hold_time")),
        sa.ForeignKeyConstraint(
            ["lifted_by"], ["staff.id"], name=op.f("fk_dunning_hold_lifted_by")
        ),
        sa.ForeignKeyConstraint(["set_by"], ["staff.id"], name=op.f("fk_dunning_hold_set_by")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_dunning_hold_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_hold")),
    )
    op.create_index(
        "uq_dunning_hold_standing",
        "dunning_hold",
        ["tenant_id"],
        unique=True,
        postgresql_where="lifted_at IS NULL",
    )
    op.create_table(
        "dunning_waiver",
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("waived_by", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_dunning_waiver_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_dunning_waiver_tenant_id")
        ),
        sa.ForeignKeyConstraint(
            ["waived_by"], ["staff.id"], name=op.f("fk_dunning_waiver_waived_by")
        ),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_dunning_waiver")),
    )
    op.create_index(
        op.f("ix_dunning_waiver_tenant_id"), "dunning_waiver", ["tenant_id"], unique=False
    )


def _transfers() -> None:
    op.create_table(
        "virtual_account",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("bank_asked", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("key_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("asked_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("gateway_payment_id", sa.Text(), nullable=True),
        sa.Column("bank", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("secret_sealed", sa.Text(), nullable=True),
        sa.Column("look_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("heard_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('opening', 'refused') OR number IS NOT NULL",
            name=op.f("ck_virtual_account_opened"),
        ),
        sa.CheckConstraint(
            "state IN ('opening', 'waiting', 'deposited', 'expired', 'refused')",
            name=op.f("ck_virtual_account_state"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_virtual_account_amount")),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_virtual_account_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_virtual_account_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_virtual_account")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_virtual_account_idempotency_key")),
        sa.UniqueConstraint("order_id", name=op.f("uq_virtual_account_order_id")),
    )
    op.create_index(
        "ix_virtual_account_look_at",
        "virtual_account",
        ["look_at"],
        unique=False,
        postgresql_where="look_at IS NOT NULL",
    )
    op.create_index(
        "uq_virtual_account_open",
        "virtual_account",
        ["invoice_id"],
        unique=True,
        postgresql_where="state IN ('opening', 'waiting')",
    )
    op.create_table(
        "statement_layout",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("columns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("day_format", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("saved_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_layout")),
        sa.UniqueConstraint("name", name=op.f("uq_statement_layout_name")),
    )
    op.create_table(
        "bank_statement",
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("deposits_count", sa.BigInteger(), nullable=False),
        sa.Column("new_count", sa.BigInteger(), nullable=False),
        sa.Column("imported_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("imported_by", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["imported_by"], ["staff.id"], name=op.f("fk_bank_statement_imported_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_statement")),
        sa.UniqueConstraint("file_sha256", name=op.f("uq_bank_statement_file_sha256")),
    )
    op.create_table(
        "bank_transfer",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("statement_id", sa.UUID(), nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=True),
        sa.Column("score", sa.BigInteger(), nullable=True),
        sa.Column("settled_by", sa.UUID(), nullable=True),
        sa.Column("settled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'settled') = (invoice_id IS NOT NULL)", name=op.f("ck_bank_transfer_settled")
        ),
        sa.CheckConstraint(
            "state IN ('new', 'open', 'ignored', 'settled')", name=op.f("ck_bank_transfer_state")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_bank_transfer_amount")),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_bank_transfer_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["settled_by"], ["staff.id"], name=op.f("fk_bank_transfer_settled_by")
        ),
        sa.ForeignKeyConstraint(
            ["statement_id"], ["bank_statement.id"], name=op.f("fk_bank_transfer_statement_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_transfer")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_bank_transfer_fingerprint")),
    )
    op.create_index(
        op.f("ix_bank_transfer_invoice_id"), "bank_transfer", ["invoice_id"], unique=False
    )
    op.create_index(
        op.f("ix_bank_transfer_statement_id"), "bank_transfer", ["statement_id"], unique=False
    )
    op.create_index(
        "ix_bank_transfer_waiting",
        "bank_transfer",
        ["state", "booked_on"],
        unique=False,
        postgresql_where="state IN ('new', 'open')",
    )


def _consents() -> None:
    op.create_table(
        "price_consent",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("subscription_id", sa.UUID(), nullable=False),
        sa.Column("from_version_id", sa.UUID(), nullable=False),
        sa.Column("to_version_id", sa.UUID(), nullable=False),
        sa.Column("moves_on", sa.Date(), nullable=False),
        sa.Column("opens_on", sa.Date(), nullable=False),
        sa.Column("asked_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("asked_by", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("told_days", sa.BigInteger(), nullable=True),
        sa.Column("consent_id", sa.UUID(), nullable=True),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(state = 'given') = (consent_id IS NOT NULL)", name=op.f("ck_price_consent_given")
        ),
        sa.CheckConstraint(
            "state IN ('asked', 'refused', 'given', 'lapsed', 'withdrawn')",
            name=op.f("ck_price_consent_state"),
        ),
        sa.CheckConstraint("opens_on < moves_on", name=op.f("ck_price_consent_time")),
        sa.ForeignKeyConstraint(
            ["consent_id"], ["consent.id"], name=op.f("fk_price_consent_consent_id")
        ),
        sa.ForeignKeyConstraint(
            ["from_version_id"], ["plan_version.id"], name=op.f("fk_price_consent_from_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_price_consent_subscription_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_price_consent_tenant_id")
        ),
        sa.ForeignKeyConstraint(
            ["to_version_id"], ["plan_version.id"], name=op.f("fk_price_consent_to_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_consent")),
    )
    op.create_index(
        "ix_price_consent_due",
        "price_consent",
        ["opens_on"],
        unique=False,
        postgresql_where="state IN ('asked', 'refused')",
    )
    op.create_index(
        "uq_price_consent_open",
        "price_consent",
        ["subscription_id"],
        unique=True,
        postgresql_where="state IN ('asked', 'refused')",
    )
