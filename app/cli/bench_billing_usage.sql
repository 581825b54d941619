-- Events of February for every tenant of the bench: two kinds in turn, bench.events of each tenant.
INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
SELECT t.id, 'bench-' || n, (ARRAY['api.call', 'render.seconds'])[n % 2 + 1], at, n % 1000 / 8.0,
    '{}', at
FROM unnest(current_setting('bench.tenants')::uuid[]) AS t (id)
CROSS JOIN generate_series(1, current_setting('bench.events')::int) AS n
CROSS JOIN LATERAL (SELECT timestamptz '2026-02-01 00:00+09'
    + make_interval(secs => 28 * 86400.0 * n / (1 + current_setting('bench.events')::int)) AS at)
    AS moment;
