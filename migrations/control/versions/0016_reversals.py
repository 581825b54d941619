"""Payments whose money is not there any more, undone by rows of their own

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

GUARDS = """
GRANT SELECT, INSERT ON payment_reversal TO tenantry_app;
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON payment_reversal
    FOR EACH ROW EXECUTE FUNCTION row_is_final();

-- What came by card goes back as a refund or a dispute; and what is on its way back to its payer
-- is not undone beside that.
CREATE FUNCTION payment_reversal_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid payment%ROWTYPE;
BEGIN
    SELECT * INTO paid FROM payment WHERE id = NEW.payment_id FOR UPDATE;
    IF paid.kind = 'card'
       OR (paid.amount_minor, paid.currency) IS DISTINCT FROM (NEW.amount_minor, NEW.currency)
       OR EXISTS (SELECT FROM refund WHERE payment_id = NEW.payment_id
            AND state NOT IN ('succeeded', 'closed'))
    THEN
        RAISE EXCEPTION 'payment % cannot be reversed', NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_reversal_fits BEFORE INSERT ON payment_reversal
    FOR EACH ROW EXECUTE FUNCTION payment_reversal_fits();

-- Nothing goes back of what is not there any more.
CREATE OR REPLACE FUNCTION refund_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    settled bigint;
    asked bigint;
BEGIN
    SELECT settled_minor INTO settled FROM payment WHERE id = NEW.payment_id FOR UPDATE;
    IF EXISTS (SELECT FROM payment_reversal WHERE payment_id = NEW.payment_id) THEN
        settled := 0;
    END IF;
    SELECT coalesce(sum(amount_minor), 0) INTO asked FROM refund
    WHERE payment_id = NEW.payment_id AND state <> 'closed' AND id <> NEW.id;
    IF asked + NEW.amount_minor > settled THEN
        RAISE EXCEPTION 'refunds of payment % would exceed it', NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- A settled deposit waits again only once nothing stands that it paid.
CREATE OR REPLACE FUNCTION bank_transfer_is_the_banks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE kept text[] := ARRAY['state', 'invoice_id', 'score', 'settled_by', 'settled_at',
    'lease_until', 'retry_at', 'attempts', 'last_error'];
BEGIN
    IF TG_OP = 'UPDATE'
       AND (OLD.state <> 'settled' OR (OLD.state, OLD.invoice_id) = (NEW.state, NEW.invoice_id)
            OR NEW.state = 'open' AND NOT EXISTS (
                SELECT FROM payment p WHERE p.gateway = 'manual'
                    AND p.gateway_payment_id = 'statement-' || OLD.id
                    AND NOT EXISTS (SELECT FROM payment_reversal r WHERE r.payment_id = p.id)))
       AND to_jsonb(OLD) - kept
           = to_jsonb(NEW) - kept THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'bank transfer % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;

CREATE OR REPLACE FUNCTION settlement_line_is_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found text[] := ARRAY['payment_id', 'refund_id', 'reversal_id', 'difference_id',
        'paid_out_on'];
BEGIN
    IF to_jsonb(OLD) - found <> to_jsonb(NEW) - found
       OR (OLD.paid_out_on IS NOT NULL AND NEW.paid_out_on IS DISTINCT FROM OLD.paid_out_on)
    THEN
        RAISE EXCEPTION 'settlement line % cannot be changed', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def upgrade() -> None:
    _reversals()
    _payments()
    _lines()
    _ledger()
    op.execute(GUARDS)


def _reversals() -> None:
    op.create_table(
        "payment_reversal",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reversed_at", MOMENT, nullable=False),
        sa.Column("reversed_on", sa.Date(), nullable=False),
        sa.Column("reversed_by", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "source IN ('gateway', 'staff', 'credit')", name=op.f("ck_payment_reversal_source")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_reversal_amount")),
        sa.CheckConstraint(
            "(source = 'staff') = (reversed_by IS NOT NULL)", name=op.f("ck_payment_reversal_who")
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_payment_reversal_{column}")
            )
            for column, table in (
                ("tenant_id", "tenant"),
                ("payment_id", "payment"),
                ("reversed_by", "staff"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_reversal")),
        sa.UniqueConstraint("payment_id", name=op.f("uq_payment_reversal_payment_id")),
    )
    op.create_index(op.f("ix_payment_reversal_reversed_at"), "payment_reversal", ["reversed_at"])


def _payments() -> None:
    """A deposit that was taken back and made again is a payment of its own."""
    op.add_column(
        "payment", sa.Column("arrival", sa.BigInteger(), nullable=False, server_default="1")
    )
    op.drop_constraint(op.f("uq_payment_gateway_gateway_payment_id"), "payment")
    op.create_unique_constraint(
        op.f("uq_payment_gateway_gateway_payment_id_arrival"),
        "payment",
        ["gateway", "gateway_payment_id", "arrival"],
    )


def _lines() -> None:
    op.add_column("settlement_line", sa.Column("reversal_id", sa.UUID(), nullable=True))
    op.create_foreign_key(
        op.f("fk_settlement_line_reversal_id"),
        "settlement_line",
        "payment_reversal",
        ["reversal_id"],
        ["id"],
    )
    op.create_index(
        "uq_settlement_line_reversal",
        "settlement_line",
        ["reversal_id"],
        unique=True,
        postgresql_where="reversal_id IS NOT NULL",
    )


def _ledger() -> None:
    op.drop_constraint(op.f("ck_ledger_entry_kind"), "ledger_entry")
    op.create_check_constraint(
        op.f("ck_ledger_entry_kind"),
        "ledger_entry",
        "kind IN ('issue', 'payment', 'reversal', 'void', 'recognition', 'credit_note', 'refund',"
        " 'refund_kept', 'write_off', 'grant', 'grant_end', 'fee', 'payout', 'dispute',"
        " 'difference')",
    )
