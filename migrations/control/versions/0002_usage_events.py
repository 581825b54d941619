"""Usage pushed by programs: API keys, the keys of events, and events by month

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
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

-- The runtime role can neither change nor delete an event; a tenant on its way out loses all.
CREATE FUNCTION erase_events(of_tenant uuid, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part regclass;
    gone bigint;
    erased bigint := 0;
BEGIN
    IF NOT EXISTS (
        SELECT FROM tenant WHERE id = of_tenant AND state IN ('destroying', 'destroyed'))
    THEN
        RAISE EXCEPTION 'tenant % is not being destroyed', of_tenant
            USING ERRCODE = 'check_violation';
    END IF;
    -- From here on nobody accepts an event of this tenant; those who just did have committed.
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
GRANT SELECT, INSERT, UPDATE ON api_key TO tenantry_app;
GRANT SELECT, INSERT ON event, event_key TO tenantry_app;

-- The first months; the timetable makes those that follow.
SELECT ensure_event_months(ARRAY(
    SELECT (date_trunc('month', now()) + make_interval(months => n))::date
    FROM generate_series(-2, 2) AS n));
"""


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_by", sa.UUID(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("rotated_from", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("ck_api_key_scopes")),
        sa.ForeignKeyConstraint(["created_by"], ["staff.id"], name=op.f("fk_api_key_created_by")),
        sa.ForeignKeyConstraint(["rotated_from"], ["api_key.id"], name=op.f("fk_api_key_rotated_from")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_key_prefix")),
        sa.UniqueConstraint("rotated_from", name=op.f("uq_api_key_rotated_from")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_key_secret_sha256")),
    )
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
    op.execute(FUNCTIONS)
