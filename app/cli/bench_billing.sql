-- Rows for `flask bench billing`: bench.subscriptions customers with one bill of five lines due each.

INSERT INTO tenant (id, state, slug, name, country, language, timezone, currency, plan_code, limits,
    plan_grants, limits_version, limits_version_written, billing_profile, trial_days, converted_at, legal_hold,
    created_at)
SELECT uuidv7(), 'active', 'bench-' || n, '벤치설비 ' || n, 'KR', 'ko', 'Asia/Seoul', 'KRW',
    'bench', '{"seats": 50, "storage_bytes": 500000000000}', '{}', 1, 1,
    jsonb_build_object('registration_number', '1248100998', 'representative', '대표자',
        'address', '서울특별시 성동구 왕십리로 115', 'business_type', '제조업',
        'business_item', '금형', 'email', 'billing-' || n || '@bench.example',
        'phone', '+8225550' || lpad((n % 1000)::text, 3, '0')),
    14, timestamptz '2026-02-01 00:00+09', false, timestamptz '2026-01-15 00:00+09'
FROM generate_series(1, current_setting('bench.subscriptions')::int) AS n;

INSERT INTO consent (id, subject_id, kind, version, text_sha256, granted, at, channel, details)
SELECT uuidv7(), id, 'conversion', '1', repeat('0', 64), true, created_at, 'web', '{}' FROM tenant;

INSERT INTO subscription (id, attempts, state, tenant_id, plan_version_id, currency, timezone,
    starts_on, anchor_on, next_bill_on, consent_id, created_at)
SELECT uuidv7(), 0, 'active', t.id, v.id, 'KRW', 'Asia/Seoul', date '2026-02-01', date '2026-02-01',
    date '2026-03-01', c.id, t.created_at
FROM tenant t JOIN consent c ON c.subject_id = t.id
CROSS JOIN (SELECT id FROM plan_version WHERE plan_code = 'bench') v;

INSERT INTO subscription_item (id, subscription_id, price_id, charge, quantity, starts_at,
    anchor_on, credit_on_end, created_at)
SELECT uuidv7(), s.id, p.id, p.charge, 1, timestamptz '2026-02-01 00:00+09', date '2026-02-01',
    true, s.created_at
FROM subscription s JOIN price p ON p.plan_version_id = s.plan_version_id;

INSERT INTO reading (tenant_id, meter, day, quantity, evidence_sha256, taken_at)
SELECT t.id, m.meter, day::date,
    CASE m.meter WHEN 'seats' THEN 10 + (t.n + extract(day FROM day)::int) % 17
        ELSE 80 + (t.n * 7 + extract(day FROM day)::int * 3) % 400 + 0.125 END,
    encode(sha256(convert_to(t.id || m.meter || day, 'UTF8')), 'hex'), day + interval '1 day'
FROM (SELECT id, row_number() OVER (ORDER BY id)::int AS n FROM tenant) t
CROSS JOIN (VALUES ('seats'), ('storage_gb_days')) AS m (meter)
CROSS JOIN generate_series(timestamp '2026-02-01', timestamp '2026-02-28', '1 day') AS day;
