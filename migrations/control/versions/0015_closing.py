"""Months that are closed, so that nothing is booked into them, and quotations

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

GUARDS = """
GRANT SELECT, INSERT, UPDATE ON month_close TO tenantry_app;
GRANT SELECT, INSERT ON quotation TO tenantry_app;
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON quotation
    FOR EACH ROW EXECUTE FUNCTION row_is_final();

-- A close is history: only its reopening is written to it, once.
CREATE FUNCTION month_close_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    later text[] := ARRAY['reopened_at', 'reopened_by', 'reopened_why'];
BEGIN
    IF OLD.reopened_at IS NOT NULL OR to_jsonb(OLD) - later <> to_jsonb(NEW) - later THEN
        RAISE EXCEPTION 'the close of % cannot be changed', OLD.month
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER month_close_is_kept BEFORE UPDATE ON month_close
    FOR EACH ROW EXECUTE FUNCTION month_close_is_kept();

-- Whoever books holds the lock shared until the end of its transaction, whoever closes or reopens
-- holds it alone: so no booking is under way unseen while a month is closed.
CREATE FUNCTION month_close_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('month close'));
    RETURN NULL;
END $$;
CREATE TRIGGER month_close_alone BEFORE INSERT OR UPDATE ON month_close
    FOR EACH STATEMENT EXECUTE FUNCTION month_close_alone();

CREATE FUNCTION month_is_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    closed date;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('month close'));
    SELECT c.month INTO closed FROM month_close c
     WHERE c.reopened_at IS NULL
       AND c.month IN (SELECT date_trunc('month', booked_on)::date FROM booked) LIMIT 1;
    IF closed IS NOT NULL THEN
        RAISE EXCEPTION 'the month of % is closed', closed USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER month_is_open AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS booked
    FOR EACH STATEMENT EXECUTE FUNCTION month_is_open();
"""


def upgrade() -> None:
    _closes()
    _quotations()
    op.execute(GUARDS)


def _closes() -> None:
    op.create_table(
        "month_close",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=False),
        sa.Column("closed_by", sa.UUID(), nullable=True),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("reopened_at", MOMENT, nullable=True),
        sa.Column("reopened_by", sa.UUID(), nullable=True),
        sa.Column("reopened_why", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f("ck_month_close_month")),
        sa.CheckConstraint(
            "(reopened_at IS NULL) = (reopened_why IS NULL)"
            " AND (reopened_at IS NULL) = (reopened_by IS NULL)",
            name=op.f("ck_month_close_reopened"),
        ),
        sa.ForeignKeyConstraint(["closed_by"], ["staff.id"], name=op.f("fk_month_close_closed_by")),
        sa.ForeignKeyConstraint(
            ["reopened_by"], ["staff.id"], name=op.f("fk_month_close_reopened_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_month_close")),
    )
    op.create_index(
        "uq_month_close_month",
        "month_close",
        ["month"],
        unique=True,
        postgresql_where=sa.text("reopened_at IS NULL"),
    )


def _quotations() -> None:
    references = {
        "tenant_id": "tenant",
        "application_id": "application",
        "plan_version_id": "plan_version",
        "made_by": "staff",
    }
    op.create_table(
        "quotation",
        sa.Column("number_text", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("application_id", sa.UUID(), nullable=True),
        sa.Column("plan_version_id", sa.UUID(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("months", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("made_by", sa.UUID(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(tenant_id IS NULL) <> (application_id IS NULL)", name=op.f("ck_quotation_whose")
        ),
        sa.CheckConstraint("valid_until >= issued_on", name=op.f("ck_quotation_validity")),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_quotation_{column}"))
            for column, table in references.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotation")),
        sa.UniqueConstraint("number_text", name=op.f("uq_quotation_number_text")),
    )
    for column in ("tenant_id", "application_id"):
        op.create_index(op.f(f"ix_quotation_{column}"), "quotation", [column])
