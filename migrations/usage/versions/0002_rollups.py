"""Rolled-up usage: which hours are due, from when a meter is covered, and what each hour came to

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

FUNCTIONS = """
-- In the statement that stores events, whoever writes it: a mark and its events are seen together.
CREATE FUNCTION mark_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_mark (tenant_id, hour)
    SELECT DISTINCT tenant_id, date_bin('1 hour', at, TIMESTAMPTZ '2000-01-01 00:00:00+00')
    FROM fresh;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_usage AFTER INSERT ON event REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_usage();

-- A checksum of one piece of usage: hashes that PostgreSQL keeps as they are for its partitions, each
-- the seed of the next. Numbers hash by value, whatever their scale.
CREATE FUNCTION usage_digest(start_at timestamptz, group_key text, events bigint, total numeric,
    lowest numeric, highest numeric, latest numeric, latest_at timestamptz, latest_id text,
    first_at timestamptz, integral numeric) RETURNS bigint IMMUTABLE PARALLEL SAFE
LANGUAGE sql AS $$
    SELECT timestamp_hash_extended(coalesce(first_at, '-infinity') AT TIME ZONE 'UTC',
        timestamp_hash_extended(coalesce(latest_at, '-infinity') AT TIME ZONE 'UTC',
        timestamp_hash_extended(start_at AT TIME ZONE 'UTC',
        hashtextextended(coalesce(latest_id, ''),
        hash_numeric_extended(coalesce(integral, 'NaN'),
        hash_numeric_extended(coalesce(latest, 'NaN'),
        hash_numeric_extended(coalesce(highest, 'NaN'),
        hash_numeric_extended(coalesce(lowest, 'NaN'),
        hash_numeric_extended(coalesce(total, 'NaN'),
        hashint8extended(events, hashtextextended(group_key, 0)))))))))))
$$;

-- From when on there are events; of what is older the rollups are all there is.
CREATE FUNCTION usage_events_since() RETURNS timestamptz STABLE PARALLEL SAFE
LANGUAGE sql AS $$
    SELECT coalesce(min((right(c.relname, 6) || '01')::timestamp AT TIME ZONE 'UTC'), 'infinity')
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'event'::regclass
$$;

-- As before, and what was rolled up as well. With the tenant's shard locked nobody who read events
-- that are gone now can still be about to write.
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
            UNION ALL SELECT unnest(ARRAY['usage_mark', 'usage_rollup', 'usage_value'])::regclass
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

GRANT SELECT, INSERT, DELETE ON usage_mark, usage_rollup, usage_value TO tenantry_app;
-- PostgreSQL wants UPDATE of whoever locks rows.
GRANT UPDATE ON usage_mark TO tenantry_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_cover TO tenantry_app;
-- What lay there before the rollups is found by the first look at every meter.
ALTER TABLE usage_mark SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
"""

MOMENT = postgresql.TIMESTAMP(timezone=True)
PIECE = ("tenant_id", "meter", "version", "hour", "group_key")


def piece_columns():
    return (
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
    )


def upgrade() -> None:
    op.create_table(
        "usage_mark",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
    )
    op.create_table(
        "usage_cover",
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("meter", "version", name=op.f("pk_usage_cover")),
    )
    op.create_table(
        "usage_rollup",
        *piece_columns(),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=True),
        sa.Column("lowest", sa.Numeric(), nullable=True),
        sa.Column("highest", sa.Numeric(), nullable=True),
        sa.Column("latest", sa.Numeric(), nullable=True),
        sa.Column("latest_at", MOMENT, nullable=True),
        sa.Column("latest_id", sa.Text(), nullable=True),
        sa.Column("first_at", MOMENT, nullable=True),
        sa.Column("integral", sa.Numeric(), nullable=True),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*PIECE, name=op.f("pk_usage_rollup")),
    )
    op.create_table(
        "usage_value",
        *piece_columns(),
        sa.Column("value_hash", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint(*PIECE, "value_hash", name=op.f("pk_usage_value")),
    )
    op.execute(FUNCTIONS)
