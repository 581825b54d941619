"""Methods that gateways revoke and are yet to forget; disputes that are lost

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

FORGETTING = (
    sa.Column("named_digest", sa.Text()),
    sa.Column("forgotten_at", sa.DateTime(timezone=True)),
    sa.Column("lease_until", sa.DateTime(timezone=True)),
    sa.Column("retry_at", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
    sa.Column("last_error", sa.Text()),
)


# Name, table, and what it says from now on and said before.
CHECKS = (
    (
        "state",
        "payment_attempt",
        "state IN ('open', 'unknown', 'needs_person', 'succeeded', 'taken_back', 'declined')",
        "state IN ('open', 'unknown', 'needs_person', 'succeeded', 'declined')",
    ),
    (
        "source",
        "payment_reversal",
        "source IN ('gateway', 'staff', 'credit', 'dispute')",
        "source IN ('gateway', 'staff', 'credit')",
    ),
    (
        "who",
        "payment_reversal",
        "(source IN ('staff', 'dispute')) = (reversed_by IS NOT NULL)",
        "(source = 'staff') = (reversed_by IS NOT NULL)",
    ),
    (
        "resolution",
        "difference_settlement",
        "resolution IN ('matched', 'linked', 'accepted', 'taken_back', 'written_off')",
        "resolution IN ('matched', 'linked', 'accepted')",
    ),
)

GUARDS = """
-- What came by card is only undone by a dispute that is lost, and that undoes nothing else.
CREATE OR REPLACE FUNCTION payment_reversal_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid payment%ROWTYPE;
BEGIN
    SELECT * INTO paid FROM payment WHERE id = NEW.payment_id FOR UPDATE;
    IF {by_card}
       OR (paid.amount_minor, paid.currency) IS DISTINCT FROM (NEW.amount_minor, NEW.currency)
       OR EXISTS (SELECT FROM refund WHERE payment_id = NEW.payment_id
            AND state NOT IN ('succeeded', 'closed'))
    THEN
        RAISE EXCEPTION 'payment % cannot be reversed', NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def _check(name: str, table: str, says: str) -> None:
    named = op.f(f"ck_{table}_{name}")
    op.drop_constraint(named, table, type_="check")
    op.create_check_constraint(named, table, says)


def upgrade() -> None:
    for name, table, says, _ in CHECKS:
        _check(name, table, says)
    op.execute(GUARDS.replace("{by_card}", "(paid.kind = 'card') <> (NEW.source = 'dispute')"))
    for column in FORGETTING:
        op.add_column("payment_method", column.copy())
    op.create_index("ix_payment_method_named", "payment_method", ["gateway", "named_digest"])
    op.create_index(
        "ix_payment_method_to_forget",
        "payment_method",
        ["revoked_at"],
        postgresql_where=sa.text("revoked_at IS NOT NULL AND forgotten_at IS NULL"),
    )
    op.add_column("gateway_event", sa.Column("method_id", sa.Uuid()))
    op.create_foreign_key(
        op.f("fk_gateway_event_method_id_payment_method"),
        "gateway_event",
        "payment_method",
        ["method_id"],
        ["id"],
    )


def downgrade() -> None:
    op.execute(GUARDS.replace("{by_card}", "paid.kind = 'card'"))
    for name, table, _, said in CHECKS:
        _check(name, table, said)
    op.drop_column("gateway_event", "method_id")
    op.drop_index("ix_payment_method_to_forget", table_name="payment_method")
    op.drop_index("ix_payment_method_named", table_name="payment_method")
    for column in reversed(FORGETTING):
        op.drop_column("payment_method", column.name)
