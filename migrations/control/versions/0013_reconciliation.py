"""The books of gateways, line by line, and where they differ from ours

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

GUARDS = """
GRANT SELECT, INSERT, UPDATE ON reconciliation_day, settlement_line TO tenantry_app;
GRANT SELECT, INSERT ON reconciliation_difference, difference_settlement TO tenantry_app;

-- What a line says is evidence: only what of ours it stands for is found out later, and the day on
-- which it is paid out, once.
CREATE FUNCTION settlement_line_is_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found text[] := ARRAY['payment_id', 'refund_id', 'difference_id', 'paid_out_on'];
BEGIN
    IF to_jsonb(OLD) - found <> to_jsonb(NEW) - found
       OR (OLD.paid_out_on IS NOT NULL AND NEW.paid_out_on IS DISTINCT FROM OLD.paid_out_on)
    THEN
        RAISE EXCEPTION 'settlement line % cannot be changed', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER settlement_line_is_evidence BEFORE UPDATE ON settlement_line
    FOR EACH ROW EXECUTE FUNCTION settlement_line_is_evidence();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON reconciliation_difference
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON difference_settlement
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
"""


def upgrade() -> None:
    _days()
    _differences()
    _lines()
    op.execute(GUARDS)


def _days() -> None:
    op.create_table(
        "reconciliation_day",
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("lines_count", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_day")),
        sa.UniqueConstraint("gateway", "day", name=op.f("uq_reconciliation_day_gateway_day")),
    )
    op.create_index(
        "ix_reconciliation_day_due",
        "reconciliation_day",
        ["day"],
        postgresql_where=sa.text("done_at IS NULL"),
    )


def _differences() -> None:
    table = "reconciliation_difference"
    op.create_table(
        table,
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("is_booked", sa.Boolean(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.Column("refund_id", sa.UUID(), nullable=True),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('missing_here', 'missing_there', 'other_amount', 'other_day', 'duplicate',"
            " 'changed', 'refunded_there', 'disputed')",
            name=op.f(f"ck_{table}_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("key", name=op.f(f"uq_{table}_key")),
        *_references(table, tenant_id="tenant", payment_id="payment", refund_id="refund"),
    )
    op.create_index(op.f(f"ix_{table}_gateway_day"), table, ["gateway", "day"])
    op.create_index(op.f(f"ix_{table}_payment_id"), table, ["payment_id"])
    table = "difference_settlement"
    op.create_table(
        table,
        sa.Column("difference_id", sa.UUID(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("settled_by", sa.UUID(), nullable=True),
        sa.Column("settled_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "resolution IN ('matched', 'linked', 'accepted')", name=op.f(f"ck_{table}_resolution")
        ),
        sa.CheckConstraint(
            "(resolution = 'matched') = (settled_by IS NULL)", name=op.f(f"ck_{table}_who")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("difference_id", name=op.f(f"uq_{table}_difference_id")),
        *_references(table, difference_id="reconciliation_difference", settled_by="staff"),
    )


def _lines() -> None:
    table = "settlement_line"
    op.create_table(
        table,
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("gross_minor", sa.BigInteger(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("fee_tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("paid_out_on", sa.Date(), nullable=True),
        sa.Column("gateway_payment_id", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("read_at", MOMENT, nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.Column("refund_id", sa.UUID(), nullable=True),
        sa.Column("difference_id", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('payment', 'refund', 'dispute', 'fee', 'payout', 'other')",
            name=op.f(f"ck_{table}_kind"),
        ),
        sa.CheckConstraint(
            "gross_minor - fee_minor - fee_tax_minor = net_minor", name=op.f(f"ck_{table}_adds_up")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("gateway", "line_id", name=op.f(f"uq_{table}_gateway_line_id")),
        *_references(
            table,
            payment_id="payment",
            refund_id="refund",
            difference_id="reconciliation_difference",
        ),
    )
    op.create_index(op.f(f"ix_{table}_gateway_booked_on"), table, ["gateway", "booked_on"])
    for name, column, condition, unique in (
        ("uq_settlement_line_payment", "payment_id", "kind = 'payment'", True),
        ("uq_settlement_line_refund", "refund_id", "refund_id IS NOT NULL", True),
        ("ix_settlement_line_paid_out_on", "paid_out_on", "paid_out_on IS NOT NULL", False),
        ("ix_settlement_line_difference_id", "difference_id", "difference_id IS NOT NULL", False),
    ):
        op.create_index(name, table, [column], unique=unique, postgresql_where=sa.text(condition))


def _references(table: str, **to: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
        for column, other in to.items()
    ]
