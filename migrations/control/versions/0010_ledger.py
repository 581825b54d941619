"""Many payments for one invoice, and what is too much kept as credit

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SETTLED = "paid_minor + credited_minor + written_off_minor"

GUARDS = """
-- Only a card's payment is proved by its slip.
CREATE OR REPLACE FUNCTION vat_evidence_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payment_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM payment WHERE id = NEW.payment_id AND invoice_id = NEW.invoice_id
           AND kind = 'card')
    THEN
        RAISE EXCEPTION 'no card paid invoice %', NEW.invoice_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def upgrade() -> None:
    _invoices()
    _payments()
    _credits()
    _ledger()
    op.execute(GUARDS)


def _replace_check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _invoices() -> None:
    for name in ("paid_minor", "credited_minor", "written_off_minor"):
        op.add_column(
            "invoice", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    op.execute("UPDATE invoice SET paid_minor = total_minor WHERE state = 'paid'")
    _replace_check(
        "invoice",
        "state",
        "state IN ('draft', 'issued', 'paid', 'credited', 'written_off', 'void')",
    )
    op.create_check_constraint(
        op.f("ck_invoice_not_oversettled"),
        "invoice",
        "paid_minor >= 0 AND credited_minor >= 0 AND written_off_minor >= 0"
        f" AND {SETTLED} <= total_minor",
    )
    op.create_check_constraint(
        op.f("ck_invoice_settled"),
        "invoice",
        f"state NOT IN ('paid', 'credited', 'written_off') OR {SETTLED} = total_minor",
    )


def _payments() -> None:
    """Payments never change; these columns are filled in for those that were written before."""
    op.execute("ALTER TABLE payment DISABLE TRIGGER payment_is_frozen")
    op.add_column("payment", sa.Column("kind", sa.Text(), nullable=True))
    op.add_column("payment", sa.Column("settled_minor", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE payment SET settled_minor = amount_minor,"
        " kind = CASE WHEN attempt_id IS NULL THEN 'transfer' ELSE 'card' END"
    )
    op.execute("ALTER TABLE payment ENABLE TRIGGER payment_is_frozen")
    op.alter_column("payment", "kind", nullable=False)
    op.alter_column("payment", "settled_minor", nullable=False)
    op.drop_constraint(op.f("uq_payment_invoice_id"), "payment")
    op.create_index(op.f("ix_payment_invoice_id"), "payment", ["invoice_id"])
    _replace_check("payment", "attempt", "(kind = 'card') = (attempt_id IS NOT NULL)")
    for name, condition in (
        ("kind", "kind IN ('card', 'transfer', 'virtual_account', 'credit')"),
        ("settled", "settled_minor BETWEEN 0 AND amount_minor"),
        ("credit", "kind <> 'credit' OR settled_minor = amount_minor"),
    ):
        op.create_check_constraint(op.f(f"ck_payment_{name}"), "payment", condition)


def _credits() -> None:
    for table in ("credit_grant", "credit_use"):
        op.add_column(table, sa.Column("payment_id", sa.UUID(), nullable=True))
        op.create_foreign_key(
            op.f(f"fk_{table}_payment_id"), table, "payment", ["payment_id"], ["id"]
        )
    op.create_unique_constraint(op.f("uq_credit_grant_payment_id"), "credit_grant", ["payment_id"])
    _replace_check(
        "credit_grant",
        "source",
        "source IN ('change', 'purchase', 'promotion', 'adjustment', 'rollover',"
        " 'overpayment', 'credit_note')",
    )
    op.create_check_constraint(
        op.f("ck_credit_grant_payment"),
        "credit_grant",
        "(source = 'overpayment') = (payment_id IS NOT NULL)",
    )
    op.alter_column("credit_use", "line_id", nullable=True)
    op.create_check_constraint(
        op.f("ck_credit_use_line_or_payment"),
        "credit_use",
        "(line_id IS NULL) <> (payment_id IS NULL)",
    )


def _ledger() -> None:
    op.alter_column("ledger_entry", "tenant_id", nullable=True)
    _replace_check(
        "ledger_entry",
        "kind",
        "kind IN ('issue', 'payment', 'void', 'recognition', 'credit_note', 'refund',"
        " 'refund_to_credit', 'write_off', 'grant', 'grant_end', 'fee', 'payout', 'dispute',"
        " 'difference')",
    )
    _replace_check(
        "ledger_line",
        "account",
        "account IN ('receivable', 'cash', 'fees', 'revenue', 'deferred_revenue', 'vat_payable',"
        " 'vat_receivable', 'credits', 'refunds', 'write_offs', 'differences')",
    )
    op.execute("ALTER TABLE ledger_line DISABLE TRIGGER row_is_final")
    op.add_column("ledger_line", sa.Column("place", sa.Text(), nullable=True))
    op.execute(
        "UPDATE ledger_line l SET place = p.gateway FROM ledger_entry e, payment p"
        " WHERE e.id = l.entry_id AND p.id = e.cause_id AND l.account = 'cash'"
    )
    op.execute("ALTER TABLE ledger_line ENABLE TRIGGER row_is_final")
    op.create_check_constraint(
        op.f("ck_ledger_line_place"), "ledger_line", "(account = 'cash') = (place IS NOT NULL)"
    )
