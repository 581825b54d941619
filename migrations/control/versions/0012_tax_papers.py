"""The fate of tax invoices, their amendments, and cash receipts

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)

GUARDS = """
-- One evidence for a supply, and it fits: a card slip's charge paid this very invoice, a cash
-- receipt's transfer did, and a tax invoice or a cash receipt stands only where it was chosen.
CREATE OR REPLACE FUNCTION vat_evidence_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payment_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM payment WHERE id = NEW.payment_id AND invoice_id = NEW.invoice_id
           AND CASE NEW.kind WHEN 'card_slip' THEN kind = 'card'
               ELSE kind IN ('transfer', 'virtual_account') END)
    THEN
        RAISE EXCEPTION 'no payment of invoice % is proved by a %', NEW.invoice_id, NEW.kind
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION tax_invoice_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM vat_evidence WHERE id = NEW.evidence_id AND invoice_id = NEW.invoice_id
           AND kind = 'tax_invoice')
    THEN
        RAISE EXCEPTION 'the evidence of invoice % is no tax invoice', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.amends_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM tax_invoice WHERE id = NEW.amends_id AND invoice_id = NEW.invoice_id
           AND issue_id IS NOT NULL AND (amends_id IS NULL
               OR (amendment IN ('01', '05') AND sheet_number = 2)))
    THEN
        RAISE EXCEPTION 'tax invoice % amends none that was issued for its supply', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- What a tax invoice says stays from its first day; a number, once given, stays too. Its fate
-- (issued, sent, accepted, failed, amended, cancelled) moves on.
CREATE FUNCTION tax_invoice_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fate text[] := ARRAY['state', 'asked_at', 'batch_key', 'sent_at', 'accepted_at',
        'cancelled_at', 'look_at', 'cancel_reason', 'cancel_cause_id', 'error_code',
        'error', 'lease_until', 'retry_at', 'attempts', 'last_error'];
    number text[] := ARRAY['issue_id', 'issued_at', 'xml_sha256', 'xml_size_bytes'];
BEGIN
    IF to_jsonb(OLD) - fate - number <> to_jsonb(NEW) - fate - number
       OR (OLD.issue_id IS NOT NULL
           AND (OLD.issue_id, OLD.issued_at, OLD.xml_sha256, OLD.xml_size_bytes) IS DISTINCT FROM
               (NEW.issue_id, NEW.issued_at, NEW.xml_sha256, NEW.xml_size_bytes))
    THEN
        RAISE EXCEPTION 'tax invoice % cannot be changed', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER row_is_final ON tax_invoice;
CREATE TRIGGER tax_invoice_is_frozen BEFORE UPDATE ON tax_invoice
    FOR EACH ROW EXECUTE FUNCTION tax_invoice_is_frozen();

CREATE FUNCTION cash_receipt_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.evidence_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM vat_evidence WHERE id = NEW.evidence_id AND invoice_id = NEW.invoice_id
           AND kind = 'cash_receipt')
    THEN
        RAISE EXCEPTION 'the evidence of invoice % is no cash receipt', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND (
        (OLD.tenant_id, OLD.invoice_id, OLD.use, OLD.identity_masked, OLD.key, OLD.supply_minor,
            OLD.tax_minor, OLD.total_minor, OLD.cancels_id, OLD.cause_id)
        IS DISTINCT FROM
        (NEW.tenant_id, NEW.invoice_id, NEW.use, NEW.identity_masked, NEW.key, NEW.supply_minor,
            NEW.tax_minor, NEW.total_minor, NEW.cancels_id, NEW.cause_id)
        OR (OLD.evidence_id IS NOT NULL AND NEW.evidence_id IS DISTINCT FROM OLD.evidence_id)
        OR (OLD.number IS NOT NULL AND NEW.number IS DISTINCT FROM OLD.number))
    THEN
        RAISE EXCEPTION 'cash receipt % cannot be changed', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cash_receipt_fits BEFORE INSERT OR UPDATE ON cash_receipt
    FOR EACH ROW EXECUTE FUNCTION cash_receipt_fits();

-- A cash receipt that was asked for goes only when its tenant does, after it was set apart.
CREATE FUNCTION cash_receipt_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.evidence_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM statutory.paper WHERE kind = 'cash_receipt' AND source_id = OLD.id)
    THEN
        RAISE EXCEPTION 'cash receipt % is not set apart', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER cash_receipt_is_kept BEFORE DELETE ON cash_receipt
    FOR EACH ROW EXECUTE FUNCTION cash_receipt_is_kept();
GRANT SELECT, INSERT, UPDATE, DELETE ON cash_receipt TO tenantry_app;
"""


def upgrade() -> None:
    _evidence()
    _tax_invoices()
    _cash_receipts()
    op.execute(GUARDS)


def _replace_check(table: str, name: str, condition: str, *, was: str | None = None) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{was or name}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _evidence() -> None:
    _replace_check(
        "vat_evidence",
        "kind",
        "kind IN ('card_slip', 'cash_receipt', 'tax_invoice', 'none_foreign', 'by_hand')",
    )
    _replace_check(
        "vat_evidence",
        "payment",
        "(kind IN ('card_slip', 'cash_receipt')) = (payment_id IS NOT NULL)",
        was="card_slip",
    )
    op.create_unique_constraint(
        op.f("uq_vat_evidence_payment_id"), "vat_evidence", ["payment_id"]
    )


def _tax_invoices() -> None:
    """What there is was numbered here and signed by nobody: it is due, under its own serial."""
    op.execute("ALTER TABLE tax_invoice DISABLE TRIGGER row_is_final")
    for name, kind in (
        ("issuer", sa.Text()),
        ("management_key", sa.Text()),
        ("serial", sa.BigInteger()),
        ("created_at", MOMENT),
    ):
        op.add_column("tax_invoice", sa.Column(name, kind, nullable=True))
    for name, kind in (
        ("amends_id", sa.UUID()),
        ("amendment", sa.Text()),
        ("cause_id", sa.UUID()),
        ("reason", sa.Text()),
        ("xml_sha256", sa.Text()),
        ("xml_size_bytes", sa.BigInteger()),
        ("asked_at", MOMENT),
        ("batch_key", sa.Text()),
        ("sent_at", MOMENT),
        ("accepted_at", MOMENT),
        ("cancelled_at", MOMENT),
        ("look_at", MOMENT),
        ("cancel_reason", sa.Text()),
        ("cancel_cause_id", sa.UUID()),
        ("error_code", sa.Text()),
        ("error", sa.Text()),
        ("lease_until", MOMENT),
        ("retry_at", MOMENT),
        ("last_error", sa.Text()),
    ):
        op.add_column("tax_invoice", sa.Column(name, kind, nullable=True))
    for name, kind, default in (
        ("direction", sa.Text(), "forward"),
        ("sheet_number", sa.BigInteger(), "1"),
        ("attempts", sa.BigInteger(), "0"),
    ):
        op.add_column(
            "tax_invoice", sa.Column(name, kind, nullable=False, server_default=default)
        )
    op.drop_constraint(op.f("ck_tax_invoice_state"), "tax_invoice")
    op.alter_column("tax_invoice", "issue_id", nullable=True)
    op.alter_column("tax_invoice", "issued_at", nullable=True)
    op.execute(
        "UPDATE tax_invoice SET state = 'due', issuer = 'offline', management_key = issue_id,"
        " serial = substr(issue_id, 17)::bigint, created_at = issued_at, issue_id = NULL,"
        " issued_at = NULL"
    )
    op.execute("ALTER TABLE tax_invoice ENABLE TRIGGER row_is_final")
    for name in ("issuer", "management_key", "serial", "created_at"):
        op.alter_column("tax_invoice", name, nullable=False)
    _tax_invoice_rules()


def _tax_invoice_rules() -> None:
    for name, condition in (
        (
            "state",
            "state IN ('due', 'issued', 'sent', 'accepted', 'failed', 'amended', 'cancelled')",
        ),
        ("direction", "direction IN ('forward', 'reverse', 'consigned')"),
        ("management_key", "length(management_key) <= 24"),
        ("amendment_code", "amendment IN ('01', '02', '03', '04', '05', '06')"),
        ("amendment", "(amends_id IS NULL) = (amendment IS NULL)"),
        (
            "issued",
            "(issue_id IS NULL) = (issued_at IS NULL)"
            " AND (issue_id IS NOT NULL OR state IN ('due', 'failed', 'cancelled'))",
        ),
        (
            "offline",
            "issuer <> 'offline' OR (sent_at IS NULL AND accepted_at IS NULL"
            " AND (issue_id IS NULL) = (xml_sha256 IS NULL))",
        ),
        ("accepted", "state <> 'accepted' OR accepted_at IS NOT NULL"),
        ("cancelled", "(state = 'cancelled') = (cancelled_at IS NOT NULL)"),
    ):
        op.create_check_constraint(op.f(f"ck_tax_invoice_{name}"), "tax_invoice", condition)
    for name in ("evidence_id", "invoice_id"):
        op.drop_constraint(op.f(f"uq_tax_invoice_{name}"), "tax_invoice")
        op.create_index(op.f(f"ix_tax_invoice_{name}"), "tax_invoice", [name])
    op.create_unique_constraint(
        op.f("uq_tax_invoice_management_key"), "tax_invoice", ["management_key"]
    )
    op.create_foreign_key(
        op.f("fk_tax_invoice_amends_id"), "tax_invoice", "tax_invoice", ["amends_id"], ["id"]
    )
    op.create_index(op.f("ix_tax_invoice_amends_id"), "tax_invoice", ["amends_id"])
    for name, columns, condition, unique in (
        ("uq_tax_invoice_original", ["invoice_id"], "amends_id IS NULL AND state <> 'cancelled'", 1),
        (
            "uq_tax_invoice_cause",
            ["cause_id", "sheet_number"],
            "cause_id IS NOT NULL AND state <> 'cancelled'",
            1,
        ),
        ("ix_tax_invoice_due", ["written_on"], "state = 'due'", 0),
        ("ix_tax_invoice_look", ["look_at"], "look_at IS NOT NULL OR cancel_reason IS NOT NULL", 0),
        ("ix_tax_invoice_failed", ["written_on"], "state = 'failed'", 0),
    ):
        op.create_index(
            name, "tax_invoice", columns, unique=bool(unique), postgresql_where=sa.text(condition)
        )


def _cash_receipts() -> None:
    op.create_table(
        "cash_receipt",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("evidence_id", sa.UUID(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("use", sa.Text(), nullable=False),
        sa.Column("identity_sealed", sa.Text(), nullable=False),
        sa.Column("identity_masked", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("issuer_reference", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("traded_on", sa.Date(), nullable=True),
        sa.Column("supply_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("cancels_id", sa.UUID(), nullable=True),
        sa.Column("cause_id", sa.UUID(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("asked_at", MOMENT, nullable=True),
        sa.Column("issued_at", MOMENT, nullable=True),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("look_at", MOMENT, nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text(), nullable=True),
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_cash_receipt_{name}"))
            for name, condition in (
                (
                    "state",
                    "state IN ('wanted', 'due', 'issued', 'confirmed', 'failed', 'withdrawn',"
                    " 'cancelled')",
                ),
                ("use", "\"use\" IN ('income_deduction', 'expense_proof')"),
                ("adds_up", "supply_minor + tax_minor = total_minor"),
                ("total", "total_minor > 0"),
                ("key", "length(key) <= 24"),
                ("evidence", "state IN ('wanted', 'withdrawn') OR evidence_id IS NOT NULL"),
                ("number", "state <> 'confirmed' OR number IS NOT NULL"),
            )
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_cash_receipt_{column}")
            )
            for column, table in (
                ("tenant_id", "tenant"),
                ("invoice_id", "invoice"),
                ("evidence_id", "vat_evidence"),
                ("cancels_id", "cash_receipt"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_receipt")),
        sa.UniqueConstraint("key", name=op.f("uq_cash_receipt_key")),
    )
    op.create_index(op.f("ix_cash_receipt_invoice_id"), "cash_receipt", ["invoice_id"])
    for name, column, condition, unique in (
        (
            "uq_cash_receipt_original",
            "invoice_id",
            "cancels_id IS NULL AND state <> 'withdrawn'",
            True,
        ),
        ("uq_cash_receipt_cause", "cause_id", "cause_id IS NOT NULL", True),
        ("ix_cash_receipt_due", "created_at", "state = 'due'", False),
        ("ix_cash_receipt_look", "look_at", "look_at IS NOT NULL", False),
    ):
        op.create_index(
            name, "cash_receipt", [column], unique=unique, postgresql_where=sa.text(condition)
        )
