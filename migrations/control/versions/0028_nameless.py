"""A deposit and a consent forget who they name once a copy is set apart

Revision ID: 0028
Revises: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

DEPOSITS = """
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
    END IF;{nameless}
    RAISE EXCEPTION 'bank transfer % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;
"""
# Who sent it is forgotten with whom it paid for, and nothing else of it ever changes.
NAMELESS = """
    IF TG_OP = 'UPDATE' AND NEW.payer = '' AND NEW.memo = ''
       AND to_jsonb(OLD) - ARRAY['payer', 'memo'] = to_jsonb(NEW) - ARRAY['payer', 'memo']
       AND EXISTS (SELECT FROM invoice WHERE id = OLD.invoice_id AND set_apart_at IS NOT NULL) THEN
        RETURN NEW;
    END IF;"""
CONSENTS = """
-- What was agreed on never changes; who gave it, and in which words, is kept with the papers alone
-- once their tenant is gone.
CREATE FUNCTION consent_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'details' = to_jsonb(NEW) - 'details'
       AND NEW.details = OLD.details - ARRAY['given_by', 'text']
       AND EXISTS (
           SELECT FROM statutory.paper WHERE kind = 'consent' AND source_id = OLD.id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'consent % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER consent_is_final BEFORE UPDATE ON consent
    FOR EACH ROW EXECUTE FUNCTION consent_is_final();
GRANT UPDATE (details) ON consent TO tenantry_app;
"""


def upgrade() -> None:
    op.execute(DEPOSITS.format(nameless=NAMELESS))
    op.execute(CONSENTS)


def downgrade() -> None:
    op.execute("REVOKE UPDATE (details) ON consent FROM tenantry_app")
    op.execute("DROP TRIGGER consent_is_final ON consent")
    op.execute("DROP FUNCTION consent_is_final()")
    op.execute(DEPOSITS.format(nameless=""))
