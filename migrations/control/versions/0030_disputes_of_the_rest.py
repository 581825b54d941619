"""A dispute may take what refunds left of a payment; what is owed again may be given up again

Revision ID: 0030
Revises: 0029
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

GUARD = """
-- What came by card is only undone by a dispute that is lost, and that undoes nothing else{less}.
CREATE OR REPLACE FUNCTION payment_reversal_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid payment%ROWTYPE;
BEGIN
    SELECT * INTO paid FROM payment WHERE id = NEW.payment_id FOR UPDATE;
    IF (paid.kind = 'card') <> (NEW.source = 'dispute')
       OR paid.currency IS DISTINCT FROM NEW.currency
       OR {amount}
       OR EXISTS (SELECT FROM refund WHERE payment_id = NEW.payment_id
            AND state NOT IN ('succeeded', 'closed'))
    THEN
        RAISE EXCEPTION 'payment % cannot be reversed', NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
WHOLE = "paid.amount_minor IS DISTINCT FROM NEW.amount_minor"
REST = """(paid.amount_minor <> NEW.amount_minor AND (NEW.source <> 'dispute'
            OR NEW.amount_minor IS DISTINCT FROM paid.amount_minor - (
                SELECT sum(amount_minor) FROM refund
                WHERE payment_id = NEW.payment_id AND state = 'succeeded'
                  AND sent_from = paid.gateway)))"""


def upgrade() -> None:
    op.execute(
        GUARD.format(less=";\n-- of all that was not refunded through its gateway", amount=REST)
    )
    op.drop_constraint(op.f("uq_write_off_invoice_id"), "write_off", type_="unique")
    op.create_index(op.f("ix_write_off_invoice_id"), "write_off", ["invoice_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_write_off_invoice_id"), "write_off")
    op.create_unique_constraint(op.f("uq_write_off_invoice_id"), "write_off", ["invoice_id"])
    op.execute(GUARD.format(less="", amount=WHOLE))
