"""What a person says of a credit note's paper, and of papers that they handed in

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

OFFLINE = "issuer = 'offline' AND state IN ('issued', 'amended')"
HANDED_IN = (
    "num_nulls(handed_in_at, handed_in_on, handed_in_number, handed_in_by) IN (0, 4)"
    " AND (handed_in_at IS NULL OR issuer = 'offline')"
)

GUARDS = """
-- Money that was kept as credit is proved by the slip of the card that it came from.
CREATE OR REPLACE FUNCTION vat_evidence_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payment_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM payment WHERE id = NEW.payment_id AND invoice_id = NEW.invoice_id
           AND CASE NEW.kind WHEN 'card_slip' THEN kind IN ({slip})
               ELSE kind IN ('transfer', 'virtual_account') END)
    THEN
        RAISE EXCEPTION 'no payment of invoice % is proved by a %', NEW.invoice_id, NEW.kind
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- A credit note stays as it was issued; only what became of its tax paper is noted on it.
CREATE OR REPLACE FUNCTION credit_note_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paper text[] := ARRAY[{paper}];
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - paper = to_jsonb(NEW) - paper THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'credit note % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;

CREATE OR REPLACE FUNCTION tax_invoice_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fate text[] := ARRAY['state', 'asked_at', 'batch_key', 'sent_at', 'accepted_at',
        'cancelled_at', 'look_at', 'cancel_reason', 'cancel_cause_id', 'error_code',
        'error', 'lease_until', 'retry_at', 'attempts', 'last_error'{handed_in}];
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
"""
NOW = {
    "slip": "'card', 'credit'",
    "paper": "'evidence_at', 'evidence_error', 'covered_by'",
    "handed_in": ",\n        'handed_in_at', 'handed_in_on', 'handed_in_number', 'handed_in_by'",
}
BEFORE = {"slip": "'card'", "paper": "'evidence_at'", "handed_in": ""}


def upgrade() -> None:
    for name, kind in (("evidence_error", sa.Text()), ("covered_by", sa.UUID())):
        op.add_column("credit_note", sa.Column(name, kind, nullable=True))
    op.add_column("paper_by_hand", sa.Column("credit_note_id", sa.UUID(), nullable=True))
    op.create_foreign_key(
        op.f("fk_paper_by_hand_credit_note_id"),
        "paper_by_hand",
        "credit_note",
        ["credit_note_id"],
        ["id"],
    )
    op.create_index(op.f("ix_paper_by_hand_credit_note_id"), "paper_by_hand", ["credit_note_id"])
    for name, kind in (
        ("handed_in_at", sa.TIMESTAMP(timezone=True)),
        ("handed_in_on", sa.Date()),
        ("handed_in_number", sa.Text()),
        ("handed_in_by", sa.UUID()),
    ):
        op.add_column("tax_invoice", sa.Column(name, kind, nullable=True))
    op.create_foreign_key(
        op.f("fk_tax_invoice_handed_in_by"), "tax_invoice", "staff", ["handed_in_by"], ["id"]
    )
    op.create_check_constraint(op.f("ck_tax_invoice_handed_in"), "tax_invoice", HANDED_IN)
    op.create_unique_constraint(
        op.f("uq_tax_invoice_handed_in_number"), "tax_invoice", ["handed_in_number"]
    )
    _watch_offline(f"{OFFLINE} AND handed_in_at IS NULL")
    op.create_index(
        "ix_tax_invoice_less_by_hand",
        "tax_invoice",
        ["invoice_id"],
        postgresql_where=sa.text("amendment IN ('03', '05')"),
    )
    op.execute(GUARDS.format(**NOW))


def _watch_offline(condition: str) -> None:
    op.drop_index("ix_tax_invoice_offline", "tax_invoice")
    op.create_index(
        "ix_tax_invoice_offline",
        "tax_invoice",
        ["written_on"],
        postgresql_where=sa.text(condition),
    )


def downgrade() -> None:
    op.execute(GUARDS.format(**BEFORE))
    _watch_offline(OFFLINE)
    op.drop_index("ix_tax_invoice_less_by_hand", "tax_invoice")
    op.drop_constraint(op.f("ck_tax_invoice_handed_in"), "tax_invoice")
    for name in ("handed_in_by", "handed_in_number", "handed_in_on", "handed_in_at"):
        op.drop_column("tax_invoice", name)
    op.drop_column("paper_by_hand", "credit_note_id")
    for name in ("covered_by", "evidence_error"):
        op.drop_column("credit_note", name)
