"""Rules of bills that `flask check` asserts: time is billed once, numbers run on, sums add up."""

from __future__ import annotations

from app.base.invariants import Invariant

# Numbers of a destroyed tenant's invoices live on among the papers set apart.
_NUMBERS_RUN_ON = """
    WITH numbered AS (
        SELECT series, year, number FROM invoice WHERE number IS NOT NULL
        UNION ALL
        SELECT series, year, number FROM credit_note
    ), counted AS (
        SELECT series, year, count(*) AS many, count(DISTINCT number) AS unlike,
            min(number) AS first, max(number) AS last
        FROM numbered GROUP BY series, year
    )
    SELECT 'number_series' AS kind, series || '-' || year AS id,
        format('%s numbers from %s to %s', many, first, last) AS wrong
    FROM counted WHERE many <> unlike OR first <> 1 OR last <> many
    UNION ALL
    SELECT 'number_series', c.series || '-' || c.year,
        format('last number %s, next number %s', c.last, s.next_number)
    FROM counted c LEFT JOIN number_series s ON s.series = c.series AND s.year = c.year
    WHERE s.next_number IS DISTINCT FROM c.last + 1
    UNION ALL
    SELECT 'number_series', s.series || '-' || s.year, 'numbers were taken that no invoice bears'
    FROM number_series s LEFT JOIN counted c ON c.series = s.series AND c.year = s.year
    WHERE s.next_number > 1 AND c.series IS NULL
"""

_BILLED_ONCE = """
    SELECT 'billed_span' AS kind, a.id,
        format('%s over %s overlaps another', a.kind, a.span) AS wrong
    FROM billed_span a JOIN billed_span b ON b.item_id = a.item_id AND b.kind = a.kind
        AND b.span && a.span AND b.id <> a.id
    WHERE a.state <> 'void' AND b.state <> 'void'
    UNION ALL
    SELECT 'billed_span', id, format('%s: nothing is billed from %s to %s',
        charge, ended, lower(span))
    FROM (
        SELECT s.id, i.charge, s.span, lag(upper(s.span)) OVER (
            PARTITION BY s.item_id ORDER BY lower(s.span)) AS ended
        FROM billed_span s JOIN subscription_item i ON i.id = s.item_id
        WHERE s.state <> 'void' AND s.kind = 'charge') spans
    WHERE lower(span) > ended
    UNION ALL
    SELECT 'billed_span', s.id, format('%s: nothing is billed from its start, %s, to %s',
        i.charge, i.starts_at, lower(s.span))
    FROM (
        SELECT DISTINCT ON (item_id) * FROM billed_span
        WHERE state <> 'void' AND kind = 'charge' ORDER BY item_id, lower(span)) s
    JOIN subscription_item i ON i.id = s.item_id
    WHERE lower(s.span) <> i.starts_at
    UNION ALL
    SELECT 'billed_span', c.id, format('%s: given back, but never charged for', c.span)
    FROM billed_span c
    WHERE c.state <> 'void' AND c.kind = 'credit' AND NOT EXISTS (
        SELECT FROM billed_span s WHERE s.item_id = c.item_id AND s.kind = 'charge'
          AND s.state <> 'void' AND s.span @> c.span)
    UNION ALL
    SELECT 'subscription_item', a.id, format('%s is in force twice', a.charge)
    FROM subscription_item a JOIN subscription_item b ON b.subscription_id = a.subscription_id
        AND b.charge = a.charge AND b.id <> a.id
        AND tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)
    UNION ALL
    SELECT 'billed_span', s.id, format('its invoice is %s', i.state)
    FROM billed_span s JOIN invoice i ON i.id = s.invoice_id
    WHERE (s.state = 'void') <> (i.state = 'void')
    UNION ALL
    SELECT 'usage_total', u.id, format('its invoice is %s', i.state)
    FROM usage_total u JOIN invoice i ON i.id = u.invoice_id
    WHERE (u.state = 'void') <> (i.state = 'void')
    UNION ALL
    SELECT 'billed_span', s.id, 'its line is another invoice''s or another charge''s'
    FROM billed_span s JOIN invoice_line l ON l.id = s.line_id
    JOIN subscription_item i ON i.id = s.item_id
    WHERE s.state <> 'void' AND (l.invoice_id, l.charge, l.price_id, l.kind = 'credit')
        IS DISTINCT FROM (s.invoice_id, i.charge, i.price_id, s.kind = 'credit')
    UNION ALL
    SELECT 'invoice_line', l.id, 'billed, but its span is not taken'
    FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
    WHERE i.state <> 'void' AND l.kind IN ('charge', 'credit', 'commitment')
      AND NOT EXISTS (SELECT FROM billed_span s
        WHERE s.invoice_id = l.invoice_id AND s.line_id = l.id AND s.state <> 'void')
"""

_SUMS_ADD_UP = """
    SELECT 'invoice' AS kind, i.id,
        format('lines %s + tax %s, but it says %s + %s = %s', coalesce(l.amount, 0),
            coalesce(l.tax, 0), i.subtotal_minor, i.tax_minor, i.total_minor) AS wrong
    FROM invoice i
    LEFT JOIN (
        SELECT invoice_id, sum(amount_minor) AS amount, sum(tax_minor) AS tax
        FROM invoice_line GROUP BY invoice_id) l ON l.invoice_id = i.id
    WHERE (coalesce(l.amount, 0), coalesce(l.tax, 0), i.subtotal_minor + i.tax_minor)
        IS DISTINCT FROM (i.subtotal_minor::numeric, i.tax_minor::numeric, i.total_minor)
    UNION ALL
    SELECT 'tax_invoice', t.id, 'its sums are not its invoice''s'
    FROM tax_invoice t JOIN invoice i ON i.id = t.invoice_id AND t.amends_id IS NULL
    WHERE (t.supply_minor, t.tax_minor, t.total_minor)
        IS DISTINCT FROM (i.subtotal_minor, i.tax_minor, i.total_minor)
"""

NUMBERS_RUN_ON = Invariant(
    code="I3",
    name="numbers run on",
    says="numbers of a series and year are unique and have no gap",
    sql=_NUMBERS_RUN_ON,
)
BILLED_ONCE = Invariant(
    code="I5",
    name="billed once",
    says="the billed periods of a subscription's charge neither overlap nor leave a gap",
    sql=_BILLED_ONCE,
)
SUMS_ADD_UP = Invariant(
    code="I10",
    name="sums add up",
    says="lines plus tax equal the total, in minor units, on invoices and tax invoices",
    sql=_SUMS_ADD_UP,
)
