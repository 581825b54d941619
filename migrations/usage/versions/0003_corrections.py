"""Corrected usage: what an event said before and after, why, and by whom

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = """
-- What an event says, as it is kept of a correction: numbers as texts, moments in UTC.
CREATE FUNCTION event_told(type text, at timestamptz, quantity numeric, properties jsonb)
RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
    SELECT jsonb_build_object('type', type, 'quantity', trim_scale(quantity)::text,
        'time', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'properties', properties)
$$;

-- Changes or takes away one event, and keeps what it said. The outcome is `corrected`, or `repeated`
-- for the latest correction sent again, with its number; or why there is none: `erased`,
-- `unknown`, `elsewhere` (not at this time), `voided`, `unchanged`. What is null stays as it is.
CREATE FUNCTION correct_event(of_tenant uuid, named_id text, named_hash uuid,
    named_at timestamptz, of_kind text, new_type text, new_at timestamptz, new_quantity numeric,
    new_properties jsonb, given_reason text, given_actor text, moment timestamptz)
RETURNS TABLE (outcome text, correction bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    month timestamptz := date_trunc('month', named_at, 'UTC');
    was event;
    place tid;
    part oid;
    said jsonb;
    becomes jsonb;
    latest event_correction;
BEGIN
    -- Statements of their own, as where events are accepted: what is read after the lock knows of
    -- every tenant that is going, and what is read after the key of every other correction.
    PERFORM pg_advisory_xact_lock_shared(event_writers_lock());
    IF EXISTS (SELECT FROM erased_tenant WHERE tenant_id = of_tenant) THEN
        outcome := 'erased';
        RETURN NEXT;
        RETURN;
    END IF;
    IF new_at IS NOT NULL THEN
        PERFORM ensure_event_months(ARRAY[(new_at AT TIME ZONE 'UTC')::date]);
    END IF;
    PERFORM FROM event_key WHERE tenant_id = of_tenant AND id_hash = named_hash FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT * INTO latest FROM event_correction
    WHERE tenant_id = of_tenant AND event_id = named_id ORDER BY number DESC LIMIT 1;
    IF latest.kind = 'void' THEN
        outcome := CASE WHEN of_kind = 'void' AND latest.at = named_at
            THEN 'repeated' ELSE 'voided' END;
        correction := latest.number;
        RETURN NEXT;
        RETURN;
    END IF;

    -- From each type of the tenant's month to the next one, so that the index leads to the moment.
    WITH RECURSIVE types (type) AS (
        (SELECT e.type FROM event e
         WHERE e.tenant_id = of_tenant AND e.at >= month AND e.at < month + interval '1 month'
         ORDER BY e.type LIMIT 1)
        UNION ALL
        SELECT (SELECT e.type FROM event e
                WHERE e.tenant_id = of_tenant AND e.type > types.type
                  AND e.at >= month AND e.at < month + interval '1 month'
                ORDER BY e.type LIMIT 1)
        FROM types WHERE types.type IS NOT NULL
    )
    SELECT e.tableoid, e.ctid INTO part, place
    FROM types CROSS JOIN LATERAL (
        SELECT tableoid, ctid, id FROM event
        WHERE tenant_id = of_tenant AND type = types.type AND at = named_at OFFSET 0) AS e
    WHERE e.id = named_id;
    IF place IS NULL THEN
        outcome := CASE WHEN latest.kind = 'amend' AND latest.at = named_at AND of_kind = 'amend'
            AND latest.after = event_told(
                coalesce(new_type, latest.before ->> 'type'),
                coalesce(new_at, latest.at),
                coalesce(new_quantity, (latest.before ->> 'quantity')::numeric),
                coalesce(new_properties, latest.before -> 'properties'))
            THEN 'repeated' ELSE 'elsewhere' END;
        correction := latest.number;
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO STRICT was FROM event
    WHERE tenant_id = of_tenant AND at = named_at AND tableoid = part AND ctid = place;
    said := event_told(was.type, was.at, was.quantity, was.properties);
    IF of_kind = 'amend' THEN
        becomes := event_told(coalesce(new_type, was.type), coalesce(new_at, was.at),
            coalesce(new_quantity, was.quantity), coalesce(new_properties, was.properties));
        IF becomes = said THEN
            outcome := CASE WHEN latest.after = said THEN 'repeated' ELSE 'unchanged' END;
            correction := latest.number;
            RETURN NEXT;
            RETURN;
        END IF;
        UPDATE event SET type = coalesce(new_type, was.type), at = coalesce(new_at, was.at),
            quantity = coalesce(new_quantity, was.quantity),
            properties = coalesce(new_properties, was.properties)
        WHERE tenant_id = of_tenant AND at = named_at AND tableoid = part AND ctid = place;
    ELSE
        DELETE FROM event
        WHERE tenant_id = of_tenant AND at = named_at AND tableoid = part AND ctid = place;
    END IF;
    -- Of events that come the trigger tells; of those that change or go, nobody else does.
    INSERT INTO usage_mark (tenant_id, hour)
    SELECT DISTINCT of_tenant, date_bin('1 hour', each, TIMESTAMPTZ '2000-01-01 00:00:00+00')
    FROM unnest(ARRAY[was.at, CASE WHEN of_kind = 'amend' THEN coalesce(new_at, was.at)
        ELSE was.at END]) AS each;
    INSERT INTO event_correction (tenant_id, event_id, number, kind, at, before, after, reason,
        actor, corrected_at)
    VALUES (of_tenant, named_id, coalesce(latest.number, 0) + 1, of_kind, was.at, said, becomes,
        given_reason, given_actor, moment)
    RETURNING number INTO correction;
    outcome := 'corrected';
    RETURN NEXT;
END $$;

-- As before, and what is kept of corrections as well.
CREATE OR REPLACE FUNCTION erase_events(of_tenant uuid, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part regclass;
    gone bigint;
    erased bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM erased_tenant WHERE tenant_id = of_tenant) THEN
        RAISE EXCEPTION 'the end of tenant % is not written down', of_tenant
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_lock(event_writers_lock());
    PERFORM pg_advisory_unlock(event_writers_lock());
    PERFORM pg_advisory_xact_lock(hashtext('usage rollups'), uuid_hash(of_tenant) & 15);
    FOR part IN
        SELECT p FROM (
            SELECT inhrelid::regclass AS p FROM pg_inherits
            WHERE inhparent IN ('event'::regclass, 'event_key'::regclass)
            UNION ALL SELECT unnest(ARRAY['usage_mark', 'usage_rollup', 'usage_value',
                'event_correction'])::regclass
        ) AS parts
    LOOP
        EXIT WHEN erased >= rows_max;
        EXECUTE format('DELETE FROM %s WHERE ctid = ANY (ARRAY('
            'SELECT ctid FROM %s WHERE tenant_id = $1 LIMIT $2))', part, part)
            USING of_tenant, rows_max - erased;
        GET DIAGNOSTICS gone = ROW_COUNT;
        erased := erased + gone;
    END LOOP;
    RETURN erased;
END $$;

-- As before, and of corrections those whose event lay there before and after them.
CREATE OR REPLACE FUNCTION drop_event_months_before(month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    child text;
    dropped integer := 0;
    kept_from timestamptz := month::timestamp AT TIME ZONE 'UTC';
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'event'::regclass AND right(c.relname, 6) < to_char(month, 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM event_correction
    WHERE at < kept_from AND coalesce((after ->> 'time')::timestamptz, at) < kept_from;
    RETURN dropped;
END $$;

REVOKE ALL ON FUNCTION correct_event(uuid, text, uuid, timestamptz, text, text, timestamptz,
    numeric, jsonb, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION correct_event(uuid, text, uuid, timestamptz, text, text, timestamptz,
    numeric, jsonb, text, text, timestamptz) TO tenantry_app;
GRANT SELECT ON event_correction TO tenantry_app;
"""

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "event_correction",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("corrected_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('amend', 'void')", name=op.f("ck_event_correction_kind")),
        sa.CheckConstraint(
            "(kind = 'void') = (after IS NULL)", name=op.f("ck_event_correction_after")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "event_id", "number", name=op.f("pk_event_correction")
        ),
    )
    op.create_index(
        op.f("ix_event_correction_tenant_id_at"), "event_correction", ["tenant_id", "at"]
    )
    op.execute(FUNCTIONS)
