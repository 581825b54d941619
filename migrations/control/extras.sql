-- What Alembic cannot derive from the models: partitions, guards, and who may do what.

-- Visits: a partition a month. The runtime role owns nothing, so it asks this function.
CREATE TABLE visit_event_default PARTITION OF visit_event DEFAULT;

CREATE FUNCTION ensure_month_partition(parent regclass, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := format('%s_p%s', parent, to_char(first, 'YYYYMM'));
BEGIN
    IF parent <> 'visit_event'::regclass THEN
        RAISE EXCEPTION 'not a table with monthly partitions: %', parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext(name));
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            name, parent, first::timestamptz, (first + interval '1 month')::timestamptz);
    END IF;
END $$;

CREATE FUNCTION drop_month_partitions_before(parent regclass, month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    child text;
    dropped integer := 0;
BEGIN
    IF parent <> 'visit_event'::regclass THEN
        RAISE EXCEPTION 'not a table with monthly partitions: %', parent;
    END IF;
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent AND c.relname ~ '_p[0-9]{6}$'
          AND right(c.relname, 6) < to_char(month, 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Every entry of the ledger balances when its transaction commits.
CREATE FUNCTION ledger_entry_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    difference bigint;
    lines integer;
BEGIN
    SELECT coalesce(sum(debit_minor - credit_minor), 0), count(*) INTO difference, lines
    FROM ledger_line WHERE entry_id = coalesce(NEW.entry_id, OLD.entry_id);
    IF difference <> 0 OR lines < 2 THEN
        RAISE EXCEPTION 'ledger entry % does not balance: % over % lines',
            coalesce(NEW.entry_id, OLD.entry_id), difference, lines
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entry_balances AFTER INSERT OR UPDATE OR DELETE ON ledger_line
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_entry_balances();

-- What was issued stays as it was issued; only its fate (paid, void, apart) moves on.
CREATE FUNCTION invoice_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'draft' THEN
            RAISE EXCEPTION 'invoice % is issued and cannot be deleted', OLD.id
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.state <> 'draft' AND NOT (OLD.set_apart_at IS NULL AND NEW.set_apart_at IS NOT NULL)
       AND (OLD.tenant_id, OLD.subscription_id, OLD.series, OLD.year, OLD.number, OLD.number_text,
            OLD.period, OLD.currency, OLD.subtotal_minor, OLD.tax_minor, OLD.total_minor,
            OLD.seller, OLD.buyer, OLD.supplied_on, OLD.issued_at, OLD.due_on, OLD.content_sha256)
       IS DISTINCT FROM
           (NEW.tenant_id, NEW.subscription_id, NEW.series, NEW.year, NEW.number, NEW.number_text,
            NEW.period, NEW.currency, NEW.subtotal_minor, NEW.tax_minor, NEW.total_minor,
            NEW.seller, NEW.buyer, NEW.supplied_on, NEW.issued_at, NEW.due_on, NEW.content_sha256)
    THEN
        RAISE EXCEPTION 'invoice % is issued and cannot be changed', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_is_frozen BEFORE UPDATE OR DELETE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_is_frozen();

CREATE FUNCTION invoice_line_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
BEGIN
    IF (SELECT state FROM invoice WHERE id = owner) <> 'draft' THEN
        RAISE EXCEPTION 'the lines of invoice % are issued and cannot be changed', owner
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER invoice_line_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoice_line_is_frozen();

-- A paper that is ready keeps its data and its bytes; erasure goes through `set_apart_at` above
-- and through deletion of the row by the destruction job.
CREATE FUNCTION document_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.tenant_id, OLD.kind, OLD.subject_id, OLD.language, OLD.data, OLD.data_sha256)
       IS DISTINCT FROM
       (NEW.tenant_id, NEW.kind, NEW.subject_id, NEW.language, NEW.data, NEW.data_sha256)
       OR (OLD.state = 'ready'
           AND (OLD.sha256, OLD.template_version) IS DISTINCT FROM (NEW.sha256, NEW.template_version))
    THEN
        RAISE EXCEPTION 'document % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER document_is_frozen BEFORE UPDATE ON document
    FOR EACH ROW EXECUTE FUNCTION document_is_frozen();

CREATE FUNCTION row_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON plan_version
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON price
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON ledger_line
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION row_is_final();

-- Money that arrived stays as it was written down; who sent it may be forgotten, once.
CREATE FUNCTION payment_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.payer IS NULL
       AND to_jsonb(OLD) - 'payer' = to_jsonb(NEW) - 'payer' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'payment % cannot be changed', OLD.id USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER payment_is_frozen BEFORE UPDATE OR DELETE ON payment
    FOR EACH ROW EXECUTE FUNCTION payment_is_frozen();

-- One evidence for a supply, and it fits: a card slip's charge paid this very invoice, and a tax
-- invoice stands only where a tax invoice was chosen.
CREATE FUNCTION vat_evidence_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payment_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM payment WHERE id = NEW.payment_id AND invoice_id = NEW.invoice_id
           AND gateway <> 'manual')
    THEN
        RAISE EXCEPTION 'no card paid invoice %', NEW.invoice_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER vat_evidence_fits BEFORE INSERT ON vat_evidence
    FOR EACH ROW EXECUTE FUNCTION vat_evidence_fits();

CREATE FUNCTION tax_invoice_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM vat_evidence WHERE id = NEW.evidence_id AND invoice_id = NEW.invoice_id
           AND kind = 'tax_invoice')
    THEN
        RAISE EXCEPTION 'the evidence of invoice % is no tax invoice', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tax_invoice_fits BEFORE INSERT ON tax_invoice
    FOR EACH ROW EXECUTE FUNCTION tax_invoice_fits();

-- A tax invoice goes only when its tenant does, after it was set apart.
CREATE FUNCTION tax_invoice_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM statutory.paper WHERE kind = 'tax_invoice' AND source_id = OLD.id)
    THEN
        RAISE EXCEPTION 'tax invoice % is not set apart', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER tax_invoice_is_kept BEFORE DELETE ON tax_invoice
    FOR EACH ROW EXECUTE FUNCTION tax_invoice_is_kept();
CREATE TRIGGER row_is_final BEFORE UPDATE ON tax_invoice
    FOR EACH ROW EXECUTE FUNCTION row_is_final();
CREATE TRIGGER row_is_final BEFORE UPDATE OR DELETE ON vat_evidence
    FOR EACH ROW EXECUTE FUNCTION row_is_final();

-- The last eight digits of a tax invoice's number: unique by day, gaps allowed.
CREATE SEQUENCE tax_invoice_serial MAXVALUE 99999999 CYCLE;

-- The runtime role reads and writes rows; what must only ever grow it cannot change.
GRANT USAGE ON SCHEMA public, statutory TO tenantry_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tenantry_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO tenantry_app;
REVOKE UPDATE, DELETE ON audit_event, ledger_entry, ledger_line, erasure, plan_version, price,
    consent FROM tenantry_app;
GRANT DELETE ON consent TO tenantry_app;
REVOKE ALL ON alembic_version FROM tenantry_app;
GRANT SELECT ON alembic_version TO tenantry_app;
GRANT SELECT, INSERT ON statutory.paper TO tenantry_app;
