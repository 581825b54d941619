"""Many payments for one invoice, revenue earned day by day, credit notes, refunds and write-offs

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

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

GRANT SELECT, INSERT, UPDATE ON deferral TO tenantry_app;
GRANT SELECT, INSERT ON recognition, credit_end, write_off TO tenantry_app;
GRANT SELECT, INSERT, UPDATE ON credit_note, refund, correction_request TO tenantry_app;

-- No more goes back of a payment than it brought to its invoice, however many ask at once.
CREATE FUNCTION refund_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    settled bigint;
    asked bigint;
BEGIN
    SELECT settled_minor INTO settled FROM payment WHERE id = NEW.payment_id FOR UPDATE;
    SELECT coalesce(sum(amount_minor), 0) INTO asked FROM refund
    WHERE payment_id = NEW.payment_id AND state <> 'closed' AND id <> NEW.id;
    IF asked + NEW.amount_minor > settled THEN
        RAISE EXCEPTION 'refunds of payment % would exceed it', NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refund_fits BEFORE INSERT ON refund FOR EACH ROW EXECUTE FUNCTION refund_fits();

-- Of a refund only its fate moves on.
CREATE FUNCTION refund_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The job that settled it still gives its lease back.
    lease text[] := ARRAY['lease_until', 'retry_at', 'attempts', 'last_error'];
BEGIN
    IF TG_OP = 'DELETE' OR (OLD.state IN ('succeeded', 'closed')
            AND to_jsonb(OLD) - lease <> to_jsonb(NEW) - lease)
       OR (OLD.payment_id, OLD.credit_note_id, OLD.amount_minor, OLD.currency, OLD.idempotency_key)
       IS DISTINCT FROM
          (NEW.payment_id, NEW.credit_note_id, NEW.amount_minor, NEW.currency, NEW.idempotency_key)
    THEN
        RAISE EXCEPTION 'refund % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refund_is_frozen BEFORE UPDATE OR DELETE ON refund
    FOR EACH ROW EXECUTE FUNCTION refund_is_frozen();

-- A credit note stays as it was issued; only that its tax paper was made is noted on it.
CREATE FUNCTION credit_note_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - 'evidence_at' = to_jsonb(NEW) - 'evidence_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'credit note % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER credit_note_is_frozen BEFORE UPDATE OR DELETE ON credit_note
    FOR EACH ROW EXECUTE FUNCTION credit_note_is_frozen();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON write_off
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON recognition
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON credit_end
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
"""


def upgrade() -> None:
    _invoices()
    _payments()
    _credits()
    _ledger()
    _deferrals()
    _notes()
    _refunds()
    _write_offs()
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
    op.add_column(
        "credit_grant",
        sa.Column("paid_for", sa.Boolean(), nullable=False, server_default="false"),
    )
    op.alter_column("credit_use", "line_id", nullable=True)
    op.create_check_constraint(
        op.f("ck_credit_use_line_or_payment"),
        "credit_use",
        "(line_id IS NULL) <> (payment_id IS NULL)",
    )


def _deferrals() -> None:
    op.create_table(
        "deferral",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("recognised_minor", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("recognised_on", sa.Date(), nullable=True),
        sa.Column("stopped_minor", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_deferral_amount")),
        sa.CheckConstraint("ends_on > starts_on", name=op.f("ck_deferral_days")),
        sa.CheckConstraint(
            "abs(recognised_minor) <= abs(amount_minor)"
            " AND recognised_minor::numeric * amount_minor >= 0",
            name=op.f("ck_deferral_recognised"),
        ),
        sa.CheckConstraint(
            "stopped_minor = 0 OR recognised_minor + stopped_minor = amount_minor",
            name=op.f("ck_deferral_stopped"),
        ),
        _to("deferral", "tenant_id", "tenant"),
        _to("deferral", "invoice_id", "invoice"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deferral")),
    )
    op.create_index(op.f("ix_deferral_invoice_id"), "deferral", ["invoice_id"])
    op.create_index(
        "ix_deferral_open",
        "deferral",
        ["starts_on"],
        postgresql_where="recognised_minor + stopped_minor <> amount_minor",
    )
    op.create_table(
        "recognition",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("deferrals", sa.BigInteger(), nullable=False),
        sa.Column("recognised_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recognition")),
    )
    op.create_table(
        "credit_end",
        sa.Column("grant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("carried_minor", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("kind IN ('lapsed', 'revoked')", name=op.f("ck_credit_end_kind")),
        sa.CheckConstraint(
            "amount_minor > 0 AND carried_minor BETWEEN 0 AND amount_minor",
            name=op.f("ck_credit_end_sums"),
        ),
        _to("credit_end", "grant_id", "credit_grant"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_end")),
    )
    op.create_index(op.f("ix_credit_end_grant_id"), "credit_end", ["grant_id"])


def _notes() -> None:
    op.create_table(
        "credit_note",
        *(
            sa.Column(name, sa.UUID(), nullable=False)
            for name in ("tenant_id", "invoice_id", "issued_by")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("series", "number_text")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("currency", "reason")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in (
                *("year", "number", "subtotal_minor", "tax_minor", "total_minor"),
                *("open_minor", "refund_minor", "kept_minor"),
            )
        ),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("approved_by", sa.UUID(), nullable=True),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.Column("evidence_at", MOMENT, nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "subtotal_minor + tax_minor = total_minor", name=op.f("ck_credit_note_adds_up")
        ),
        sa.CheckConstraint(
            "total_minor > 0 AND open_minor >= 0 AND refund_minor >= 0 AND kept_minor >= 0"
            " AND open_minor + refund_minor + kept_minor = total_minor",
            name=op.f("ck_credit_note_settled"),
        ),
        _to("credit_note", "tenant_id", "tenant"),
        _to("credit_note", "invoice_id", "invoice"),
        _to("credit_note", "issued_by", "staff"),
        _to("credit_note", "approved_by", "staff"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note")),
        sa.UniqueConstraint("number_text", name=op.f("uq_credit_note_number_text")),
        sa.UniqueConstraint(
            "series", "year", "number", name=op.f("uq_credit_note_series_year_number")
        ),
    )
    for column in ("invoice_id", "tenant_id"):
        op.create_index(op.f(f"ix_credit_note_{column}"), "credit_note", [column])
    op.create_index(
        "ix_credit_note_evidence_due",
        "credit_note",
        ["issued_at"],
        postgresql_where="evidence_at IS NULL",
    )
    op.add_column("credit_grant", sa.Column("credit_note_id", sa.UUID(), nullable=True))
    op.create_foreign_key(
        op.f("fk_credit_grant_credit_note_id"),
        "credit_grant",
        "credit_note",
        ["credit_note_id"],
        ["id"],
    )
    op.create_check_constraint(
        op.f("ck_credit_grant_credit_note"),
        "credit_grant",
        "(source = 'credit_note') = (credit_note_id IS NOT NULL)",
    )


def _refunds() -> None:
    op.create_table(
        "refund",
        sa.Column("state", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.UUID(), nullable=False)
            for name in ("tenant_id", "credit_note_id", "payment_id")
        ),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("gateway", "gateway_payment_id", "currency", "idempotency_key")
        ),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("key_expires_at", MOMENT, nullable=True),
        sa.Column("refunded_before_minor", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("gateway_refund_id", "decline_code", "decline_message", "sent_from")
        ),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('due', 'open', 'unknown', 'needs_person', 'by_hand', 'succeeded', 'closed')",
            name=op.f("ck_refund_state"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refund_amount")),
        _to("refund", "tenant_id", "tenant"),
        _to("refund", "credit_note_id", "credit_note"),
        _to("refund", "payment_id", "payment"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_refund_idempotency_key")),
    )
    op.create_index(
        "uq_refund_under_way",
        "refund",
        ["payment_id"],
        unique=True,
        postgresql_where="state IN ('open', 'unknown', 'needs_person')",
    )
    for column in ("payment_id", "credit_note_id"):
        op.create_index(op.f(f"ix_refund_{column}"), "refund", [column])
    for name, states in (
        ("due", "('due', 'open', 'unknown')"),
        ("person", "('needs_person', 'by_hand')"),
    ):
        op.create_index(
            f"ix_refund_{name}", "refund", ["asked_at"], postgresql_where=f"state IN {states}"
        )


def _write_offs() -> None:
    op.create_table(
        "write_off",
        *(
            sa.Column(name, sa.UUID(), nullable=False)
            for name in ("tenant_id", "invoice_id", "written_by")
        ),
        sa.Column("approved_by", sa.UUID(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("written_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_write_off_amount")),
        _to("write_off", "tenant_id", "tenant"),
        _to("write_off", "invoice_id", "invoice"),
        _to("write_off", "written_by", "staff"),
        _to("write_off", "approved_by", "staff"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_write_off")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_write_off_invoice_id")),
    )
    op.create_index(op.f("ix_write_off_tenant_id"), "write_off", ["tenant_id"])
    op.create_table(
        "correction_request",
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "currency", "reason")),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("keep", sa.Boolean(), nullable=False),
        sa.Column("asked_by", sa.UUID(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.UUID(), nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("agreed", sa.Boolean(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('credit_note', 'write_off')", name=op.f("ck_correction_request_kind")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_correction_request_amount")),
        sa.CheckConstraint(
            "decided_by <> asked_by OR NOT agreed", name=op.f("ck_correction_request_second_person")
        ),
        sa.CheckConstraint(
            "(decided_by IS NULL) = (decided_at IS NULL)"
            " AND (decided_by IS NULL) = (agreed IS NULL)",
            name=op.f("ck_correction_request_decided"),
        ),
        _to("correction_request", "invoice_id", "invoice"),
        _to("correction_request", "asked_by", "staff"),
        _to("correction_request", "decided_by", "staff"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction_request")),
    )
    op.create_index(
        "uq_correction_request_waiting",
        "correction_request",
        ["invoice_id"],
        unique=True,
        postgresql_where="decided_at IS NULL",
    )


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))


def _ledger() -> None:
    op.create_index(op.f("ix_ledger_entry_booked_on"), "ledger_entry", ["booked_on"])
    op.alter_column("ledger_entry", "tenant_id", nullable=True)
    _replace_check(
        "ledger_entry",
        "kind",
        "kind IN ('issue', 'payment', 'void', 'recognition', 'credit_note', 'refund',"
        " 'refund_kept', 'write_off', 'grant', 'grant_end', 'fee', 'payout', 'dispute',"
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
