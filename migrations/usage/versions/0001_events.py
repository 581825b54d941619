"""Pushed usage: the keys of events, events by month, and which tenants are gone

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY_PARTITIONS = 16

FUNCTIONS = """
-- Waits for nobody but destruction: whoever writes events holds this until its commit, so that a
-- tenant's last events are seen by the statement that erases them.
CREATE FUNCTION event_writers_lock() RETURNS bigint IMMUTABLE PARALLEL SAFE
LANGUAGE sql AS $$ SELECT hashtextextended('event writers', 0) $$;

-- There is no partition for whatever fits no month: an event there would be in the way of its month.
-- Attached rather than created in place, so that nobody who reads or writes meanwhile has to wait.
CREATE FUNCTION ensure_event_months(months date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    month date;
    name text;
    made integer := 0;
BEGIN
    FOREACH month IN ARRAY months LOOP
        month := date_trunc('month', month)::date;
        name := 'event_p' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('event months'));
        -- Read from the table: a lookup by name may remember that there was none a moment ago.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = name AND relnamespace = 'public'::regnamespace);
        EXECUTE format('CREATE TABLE %I (LIKE event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('ALTER TABLE event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
            format('%s 00:00:00+00', month),
            format('%s 00:00:00+00', (month + interval '1 month')::date));
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION drop_event_months_before(month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    child text;
    dropped integer := 0;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'event'::regclass AND right(c.relname, 6) < to_char(month, 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- A call's events in one round trip: what is new is stored. Of the others it tells the place in the
-- call and the body that is known under their key; none is known of a tenant that is gone.
CREATE FUNCTION accept_events(months date[], tenants uuid[], ids text[], id_hashes uuid[],
    body_hashes uuid[], types text[], moments timestamptz[], quantities numeric[],
    propertieses jsonb[], received timestamptz) RETURNS TABLE (place bigint, known uuid)
LANGUAGE plpgsql AS $$
DECLARE
    stored bigint[];
BEGIN
    -- A statement of its own: what is read after it knows of every tenant that is going.
    PERFORM pg_advisory_xact_lock_shared(event_writers_lock());
    PERFORM ensure_event_months(months);
    WITH incoming AS MATERIALIZED (
        SELECT * FROM unnest(tenants, ids, id_hashes, body_hashes, types, moments, quantities,
            propertieses) WITH ORDINALITY
            AS r (tenant_id, id, id_hash, body_hash, type, at, quantity, properties, at_place)
        WHERE NOT EXISTS (SELECT FROM erased_tenant e WHERE e.tenant_id = r.tenant_id)
    ), taken AS (
        -- In one order everywhere, so that two calls with the same ids never deadlock.
        INSERT INTO event_key (tenant_id, id_hash, body_hash)
        SELECT tenant_id, id_hash, body_hash FROM incoming ORDER BY tenant_id, id_hash
        ON CONFLICT DO NOTHING RETURNING tenant_id, id_hash
    ), fresh AS MATERIALIZED (
        SELECT incoming.* FROM incoming JOIN taken USING (tenant_id, id_hash)
    ), written AS (
        INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
        SELECT tenant_id, id, type, at, quantity, properties, received FROM fresh
    )
    SELECT array_agg(at_place) INTO stored FROM fresh;
    IF cardinality(stored) = cardinality(id_hashes) THEN
        RETURN;
    END IF;
    -- Again a statement of its own: it sees what the others wrote for whom the first one waited.
    RETURN QUERY
        SELECT r.at_place, k.body_hash
        FROM unnest(tenants, id_hashes) WITH ORDINALITY AS r (tenant_id, id_hash, at_place)
        LEFT JOIN event_key k USING (tenant_id, id_hash)
        WHERE r.at_place <> ALL (coalesce(stored, '{}'));
END $$;

-- The runtime role can neither change nor delete an event; a tenant whose end is written loses all.
CREATE FUNCTION erase_events(of_tenant uuid, rows_max integer) RETURNS bigint
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
    -- Who wrote before the tenant's end could be seen has committed; who comes later sees it.
    PERFORM pg_advisory_lock(event_writers_lock());
    PERFORM pg_advisory_unlock(event_writers_lock());
    FOR part IN
        SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent IN ('event'::regclass, 'event_key'::regclass)
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

REVOKE ALL ON FUNCTION ensure_event_months(date[]), drop_event_months_before(date),
    erase_events(uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_event_months(date[]), drop_event_months_before(date),
    erase_events(uuid, integer) TO tenantry_app;
GRANT SELECT, INSERT ON event, event_key, erased_tenant TO tenantry_app;
GRANT SELECT ON usage_version TO tenantry_app;

-- The first months; the timetable makes those that follow.
SELECT ensure_event_months(ARRAY(
    SELECT (date_trunc('month', now()) + make_interval(months => n))::date
    FROM generate_series(-2, 2) AS n));
"""


def upgrade() -> None:
    op.create_table(
        "event_key",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("id_hash", sa.UUID(), nullable=False),
        sa.Column("body_hash", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id_hash", name=op.f("pk_event_key")),
        postgresql_partition_by="HASH (tenant_id)",
    )
    for number in range(KEY_PARTITIONS):
        op.execute(
            f"CREATE TABLE event_key_p{number:02d} PARTITION OF event_key"
            f" FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {number})"
        )
    op.create_table(
        "event",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("quantity", sa.Numeric(38, 12), nullable=False),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(op.f("ix_event_tenant_id_type_at"), "event", ["tenant_id", "type", "at"])
    op.create_index("ix_event_at", "event", ["at"], postgresql_using="brin")
    # A tenant that is gone: nothing of it is taken any more, whatever another server still believes.
    op.create_table(
        "erased_tenant",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("erased_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_erased_tenant")),
    )
    op.execute(FUNCTIONS)
