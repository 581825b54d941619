"""Lines that are written together are checked together

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

GUARDS = """
-- A run writes thousands of lines in one statement, and its first ones while there is no invoice at
-- all: a plan made then reads the whole table, and a function keeps its plans. EXECUTE plans anew.
CREATE FUNCTION invoice_lines_join_drafts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
BEGIN
    EXECUTE 'SELECT invoice.id FROM added JOIN invoice ON invoice.id = added.invoice_id'
        ' WHERE invoice.state <> ''draft'' LIMIT 1' INTO owner;
    IF owner IS NOT NULL THEN
        RAISE EXCEPTION 'the lines of invoice % are issued and cannot be changed', owner
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_join_drafts AFTER INSERT ON invoice_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION invoice_lines_join_drafts();

DROP TRIGGER invoice_line_is_frozen ON invoice_line;
CREATE OR REPLACE FUNCTION invoice_line_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM invoice WHERE id = OLD.invoice_id AND state <> 'draft') THEN
        RAISE EXCEPTION 'the lines of invoice % are issued and cannot be changed', OLD.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER invoice_line_is_frozen BEFORE UPDATE OR DELETE ON invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoice_line_is_frozen();
"""


def upgrade() -> None:
    op.execute(GUARDS)


EACH_BY_ITSELF = """
DROP TRIGGER invoice_lines_join_drafts ON invoice_line;
DROP FUNCTION invoice_lines_join_drafts();
DROP TRIGGER invoice_line_is_frozen ON invoice_line;
CREATE OR REPLACE FUNCTION invoice_line_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
BEGIN
    IF EXISTS (SELECT FROM invoice WHERE id = owner AND state <> 'draft') THEN
        RAISE EXCEPTION 'the lines of invoice % are issued and cannot be changed', owner
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER invoice_line_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoice_line_is_frozen();
"""


def downgrade() -> None:
    op.execute(EACH_BY_ITSELF)
