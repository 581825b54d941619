-- Rows for `flask bench pages`: bench.now is the application clock, bench.staff somebody of ours.
-- A cluster's worth of customers after some years, most of it long decided, billed and paid.

INSERT INTO application (id, reference, state, dedupe_hash, company, country, registration_number,
    contact_name, email, email_domain, phone, seats_expected, plan_code, message, language,
    submitted_at, confirmed_at, sla_due_at, decided_by, decided_at, reject_reason)
SELECT uuidv7(), 'A-' || n, state, 'bench-' || n, '벤치설비 ' || n, 'KR',
    lpad((1000000000 + n)::text, 10, '0'), '구매담당', 'buyer@bench-' || n % 4000 || '.example',
    'bench-' || n % 4000 || '.example', '+8225550' || lpad((n % 1000)::text, 3, '0'), n % 60 + 1,
    (ARRAY['starter', 'team', 'studio'])[n % 3 + 1], NULL, 'ko', at, at, at + interval '1 day',
    CASE WHEN state IN ('approved', 'rejected') THEN current_setting('bench.staff')::uuid END,
    CASE WHEN state IN ('approved', 'rejected') THEN at END,
    CASE WHEN state = 'rejected' THEN '다음 기회에 모시겠습니다.' END
FROM (SELECT n, current_setting('bench.now')::timestamptz - make_interval(hours => n / 4) AS at,
        CASE WHEN n <= 300 THEN 'confirmed' WHEN n <= 500 THEN 'submitted'
            WHEN n % 9 = 0 THEN 'approved' ELSE 'rejected' END AS state
    FROM generate_series(1, 10000) AS n) rows;

INSERT INTO tenant (id, state, slug, application_id, name, country, language, timezone, currency,
    plan_code, limits, plan_grants, limits_version, limits_version_written, billing_profile,
    trial_days, trial_starts_at, trial_ends_at, converted_at, suspended_at, suspend_reason, legal_hold,
    created_at)
SELECT uuidv7(), state, 'bench-' || n, application_id, '벤치설비 ' || n, 'KR', 'ko', 'Asia/Seoul',
    'KRW', 'team', '{"seats": 50, "storage_bytes": 500000000000}', '{}', 1, 1,
    jsonb_build_object('registration_number', '1248100998', 'email', 'billing@bench.example'),
    14, at, at + interval '14 days', CASE WHEN state <> 'trialing' THEN at END,
    CASE WHEN state = 'suspended' THEN at END, CASE WHEN state = 'suspended' THEN 'unpaid' END,
    false, at
FROM (SELECT row_number() OVER (ORDER BY id) AS n, id AS application_id, submitted_at AS at,
        CASE WHEN row_number() OVER (ORDER BY id) % 20 = 0 THEN 'trialing'
            WHEN row_number() OVER (ORDER BY id) % 33 = 0 THEN 'suspended' ELSE 'active' END AS state
    FROM application WHERE state = 'approved' LIMIT 1000) rows;

INSERT INTO tenant_admin (id, tenant_id, email, name, created_at)
SELECT uuidv7(), id, 'admin@' || slug || '.example', '관리자', created_at FROM tenant;

INSERT INTO consent (id, subject_id, kind, version, text_sha256, granted, at, channel, details)
SELECT uuidv7(), id, 'conversion', '1', repeat('0', 64), true, created_at, 'web', '{}' FROM tenant;

INSERT INTO subscription (id, state, tenant_id, plan_version_id, currency, timezone, starts_on,
    anchor_on, next_bill_on, consent_id, created_at)
SELECT uuidv7(), 'active', t.id, v.id, 'KRW', 'Asia/Seoul', first.month, first.month,
    date '2099-01-01', c.id, t.created_at
FROM tenant t JOIN consent c ON c.subject_id = t.id
CROSS JOIN (SELECT (date_trunc('month', current_setting('bench.now')::timestamptz)
    - make_interval(months => current_setting('bench.months')::int - 1))::date AS month) AS first
CROSS JOIN LATERAL (SELECT id FROM plan_version WHERE plan_code = 'team' AND currency = 'KRW'
    ORDER BY version DESC LIMIT 1) v;

INSERT INTO subscription_item (id, subscription_id, price_id, charge, quantity, starts_at,
    anchor_on, credit_on_end, created_at)
SELECT uuidv7(), s.id, p.id, p.charge, 1, s.starts_on::timestamptz, s.starts_on, true, s.created_at
FROM subscription s JOIN price p ON p.plan_version_id = s.plan_version_id;

INSERT INTO invoice (id, state, tenant_id, subscription_id, series, year, number, number_text,
    period, currency, subtotal_minor, tax_minor, total_minor, seller, buyer, supplied_on,
    created_at, issued_at, due_on, content_sha256, paid_at, paid_minor, evidence_at)
SELECT uuidv7(), CASE WHEN n % 40 = 0 THEN 'issued' ELSE 'paid' END, tenant_id, id, 'INV',
    2018 + month / 12, n, 'INV-' || 2018 + month / 12 || '-' || lpad(n::text, 6, '0'),
    daterange(at::date, (at + interval '1 month')::date), 'KRW', 100000, 10000, 110000,
    '{"name": "판매자", "bank_account": "데모은행"}',
    jsonb_build_object('name', '벤치설비', 'email', 'billing@bench.example', 'language', 'ko'),
    at::date, at, at, at::date + 14, repeat('0', 64), CASE WHEN n % 40 <> 0 THEN at END,
    CASE WHEN n % 40 <> 0 THEN 110000 ELSE 0 END,
    CASE WHEN month < 99 OR n % 10 <> 0 THEN at END -- some of this month are still to be chosen
FROM (SELECT row_number() OVER (ORDER BY month, s.id) AS n, month, s.id, s.tenant_id,
        date_trunc('month', current_setting('bench.now')::timestamptz)
            - make_interval(months => 99 - month) AS at
    FROM subscription s CROSS JOIN generate_series(100 - current_setting('bench.months')::int, 99) AS month) rows;

-- The next run is half done: every fifth bill lies there as a draft, the brake holds some.
INSERT INTO invoice (id, state, tenant_id, subscription_id, series, period, currency, subtotal_minor,
    tax_minor, total_minor, seller, buyer, supplied_on, created_at, issue_at, held)
SELECT uuidv7(), 'draft', tenant_id, id, 'INV',
    daterange(on_day, (on_day + interval '1 month')::date),
    'KRW', 100000, 10000, 110000, '{"name": "판매자", "bank_account": "데모은행"}',
    jsonb_build_object('name', '벤치설비', 'email', 'billing@bench.example', 'language', 'ko'),
    on_day, now, CASE WHEN n % 200 <> 0 THEN now + interval '1 hour' END,
    CASE WHEN n % 200 = 0 THEN jsonb_build_object('rule', 'jump', 'total_minor', 110000,
        'median_minor', '36000', 'bills', 6, 'factor', '3') END
FROM (SELECT row_number() OVER (ORDER BY id) AS n, id, tenant_id,
        current_setting('bench.now')::timestamptz AS now,
        (date_trunc('month', current_setting('bench.now')::timestamptz)
            + interval '1 month')::date AS on_day FROM subscription) rows
WHERE n % 5 = 0;

INSERT INTO number_series (series, year, next_number) VALUES ('INV', 2026, 200000);

INSERT INTO invoice_line (id, invoice_id, position, kind, charge, name_ko, name_en, period, quantity,
    unit_amount, amount_minor, tax_minor, price_id, evidence)
SELECT uuidv7(), i.id, p.n, 'charge', p.charge, '기본료', 'Base fee', i.period, 1, 50000, 50000, 5000, p.id,
    '{}'
FROM invoice i CROSS JOIN (
    SELECT row_number() OVER (ORDER BY p.position) AS n, p.charge, p.id FROM price p
    JOIN plan_version v ON v.id = p.plan_version_id
    WHERE v.plan_code = 'team' AND v.currency = 'KRW') p;

INSERT INTO billed_span (id, subscription_id, item_id, kind, span, invoice_id, line_id, state)
SELECT uuidv7(), i.subscription_id, s.id, 'charge',
    tstzrange(lower(i.period) AT TIME ZONE 'Asia/Seoul', upper(i.period) AT TIME ZONE 'Asia/Seoul'),
    i.id, l.id, 'billed'
FROM invoice i JOIN subscription_item s ON s.subscription_id = i.subscription_id
JOIN invoice_line l ON l.invoice_id = i.id AND l.charge = s.charge;

INSERT INTO payment (id, tenant_id, invoice_id, kind, gateway, gateway_payment_id, amount_minor,
    settled_minor, currency, paid_at, received_on, payer, recorded_by)
SELECT uuidv7(), tenant_id, id, 'transfer', 'manual', id::text, total_minor, total_minor, currency, paid_at,
    paid_at::date, '벤치설비',
    current_setting('bench.staff')::uuid
FROM invoice WHERE state = 'paid';

INSERT INTO ledger_entry (id, tenant_id, kind, cause_id, currency, booked_on, booked_at)
SELECT uuidv7(), tenant_id, 'issue', id, currency, supplied_on, issued_at FROM invoice
WHERE state <> 'draft'
UNION ALL
SELECT uuidv7(), tenant_id, 'payment', id, currency, received_on, paid_at FROM payment;

INSERT INTO ledger_line (id, entry_id, account, place, debit_minor, credit_minor)
SELECT uuidv7(), e.id, side.account, side.place, side.debit_minor, side.credit_minor
FROM ledger_entry e JOIN (VALUES ('issue', 'receivable', NULL, 110000, 0),
        ('issue', 'revenue', NULL, 0, 100000), ('issue', 'vat_payable', NULL, 0, 10000),
        ('payment', 'cash', 'manual', 110000, 0), ('payment', 'receivable', NULL, 0, 110000))
    AS side (kind, account, place, debit_minor, credit_minor) ON side.kind = e.kind;

-- Every month is closed but this one and the last.
INSERT INTO month_close (id, month, closed_at, findings)
SELECT uuidv7(), month, month + interval '1 month 11 days', jsonb_build_object('entries', 2000,
    'open', '[]'::jsonb, 'balances', jsonb_agg(jsonb_build_object('currency', currency, 'account', account, 'place', place,
        'debit_minor', debit_minor, 'credit_minor', credit_minor, 'closing_minor', closing_minor)))
FROM (
    SELECT date_trunc('month', e.booked_on)::date AS month, e.currency, l.account,
        coalesce(l.place, '') AS place, sum(l.debit_minor) AS debit_minor,
        sum(l.credit_minor) AS credit_minor, sum(sum(l.debit_minor - l.credit_minor)) OVER (
            PARTITION BY e.currency, l.account, coalesce(l.place, '')
            ORDER BY date_trunc('month', e.booked_on)::date) AS closing_minor
    FROM ledger_entry e JOIN ledger_line l ON l.entry_id = e.id GROUP BY 1, 2, 3, 4) sums
WHERE month < date_trunc('month', current_setting('bench.now')::timestamptz) - interval '1 month'
GROUP BY month;

INSERT INTO vat_evidence (id, tenant_id, invoice_id, kind, chosen_at)
SELECT uuidv7(), tenant_id, id, 'tax_invoice', issued_at FROM invoice
WHERE evidence_at IS NOT NULL;

-- Some of this month's papers are not issued yet, and one in a hundred failed.
INSERT INTO tax_invoice (id, evidence_id, tenant_id, invoice_id, state, issuer, management_key,
    serial, issue_id, purpose, written_on, created_at, issued_at, supply_minor, tax_minor,
    total_minor, data, content_sha256, xml_sha256, xml_size_bytes)
SELECT uuidv7(), e.id, i.tenant_id, i.id,
    CASE WHEN NOT is_open THEN 'issued' WHEN i.number % 100 = 5 THEN 'failed' ELSE 'due' END,
    'offline', i.number_text, 1, CASE WHEN NOT is_open THEN i.number_text END, 'receipt',
    i.supplied_on, i.issued_at, CASE WHEN NOT is_open THEN i.issued_at END, i.subtotal_minor,
    i.tax_minor, i.total_minor, jsonb_build_object('buyer', i.buyer), repeat('0', 64),
    CASE WHEN NOT is_open THEN repeat('0', 64) END, CASE WHEN NOT is_open THEN 1 END
FROM vat_evidence e JOIN invoice i ON i.id = e.invoice_id
CROSS JOIN LATERAL (SELECT i.number % 20 = 5 AND i.supplied_on
    >= date_trunc('month', current_setting('bench.now')::timestamptz)::date AS is_open) month;

INSERT INTO document (id, state, tenant_id, kind, subject_id, language, file_name, data,
    data_sha256, created_at, template_version, rendered_at, sha256, size_bytes)
SELECT uuidv7(), 'ready', tenant_id, 'invoice', id, 'ko', number_text || '.pdf', '{}',
    repeat('0', 64), issued_at, '1', issued_at, repeat('0', 64), 50000
FROM invoice WHERE state <> 'draft';

INSERT INTO audit_event (id, at, actor_kind, actor_id, action, subject_kind, subject_id, tenant_id,
    from_state, to_state, details)
SELECT uuidv7(), issued_at, 'job', 'invoicing', 'invoice.issued', 'invoice', id::text, tenant_id,
    'draft', 'issued', '{}'
FROM invoice WHERE state <> 'draft';

INSERT INTO visit_event (at, id, visitor_id, kind, page, utm)
SELECT current_setting('bench.now')::timestamptz - make_interval(mins => n), uuidv7(), gen_random_uuid(), 'page',
    '/pricing', '{}'
FROM generate_series(1, 50000) AS n;
