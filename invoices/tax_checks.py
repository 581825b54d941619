"""I14: every supply has one VAT evidence, and the tax papers behind it agree with it."""

from __future__ import annotations

from app.base.invariants import Invariant

_ONE_EVIDENCE = """
    SELECT 'vat_evidence' AS kind, e.id, format('%s evidences for one supply', count(*) OVER (
        PARTITION BY e.invoice_id)) AS wrong
    FROM vat_evidence e WHERE e.invoice_id IN (
        SELECT invoice_id FROM vat_evidence GROUP BY invoice_id HAVING count(*) > 1)
    UNION ALL
    SELECT 'vat_evidence', min(e.id::text)::uuid, 'one payment is the evidence of two supplies'
    FROM vat_evidence e WHERE e.payment_id IS NOT NULL GROUP BY e.payment_id HAVING count(*) > 1
    UNION ALL
    SELECT 'tax_invoice', t.id, format('the evidence of its supply is a %s', e.kind)
    FROM tax_invoice t JOIN vat_evidence e ON e.id = t.evidence_id WHERE e.kind <> 'tax_invoice'
    UNION ALL
    SELECT 'cash_receipt', c.id, format('the evidence of its supply is a %s', e.kind)
    FROM cash_receipt c JOIN vat_evidence e ON e.id = c.evidence_id
    WHERE e.kind <> 'cash_receipt'
    UNION ALL
    SELECT 'vat_evidence', e.id, 'chosen, but there is no such paper'
    FROM vat_evidence e JOIN invoice i ON i.id = e.invoice_id AND i.set_apart_at IS NULL
    WHERE (e.kind = 'tax_invoice'
            AND NOT EXISTS (SELECT FROM tax_invoice t WHERE t.evidence_id = e.id))
       OR (e.kind = 'cash_receipt'
            AND NOT EXISTS (SELECT FROM cash_receipt c WHERE c.evidence_id = e.id))
    UNION ALL
    SELECT 'invoice', i.id, 'its evidence is chosen, but not written down'
    FROM invoice i LEFT JOIN vat_evidence e ON e.invoice_id = i.id
    WHERE i.evidence_at IS NOT NULL AND e.id IS NULL
"""

_AMENDED_WITHIN = """
    SELECT 'tax_invoice', t.id, format('amendments leave %s of it', t.total_minor + a.total)
    FROM tax_invoice t JOIN (
        SELECT amends_id, sum(total_minor) AS total FROM tax_invoice
        WHERE state <> 'cancelled' AND amends_id IS NOT NULL GROUP BY amends_id) a
        ON a.amends_id = t.id
    WHERE t.total_minor + a.total < 0 OR t.state = 'cancelled'
    UNION ALL
    SELECT 'tax_invoice', t.id, 'amended, but no amendment of it is issued'
    FROM tax_invoice t WHERE t.state = 'amended' AND NOT EXISTS (
        SELECT FROM tax_invoice a WHERE a.amends_id = t.id AND a.issue_id IS NOT NULL)
    UNION ALL
    SELECT 'cash_receipt', c.id, 'more of it is cancelled than it says'
    FROM cash_receipt c JOIN (
        SELECT cancels_id, sum(total_minor) AS total FROM cash_receipt
        WHERE cancels_id IS NOT NULL GROUP BY cancels_id) a ON a.cancels_id = c.id
    WHERE a.total > c.total_minor
    UNION ALL
    SELECT 'credit_note', n.id, 'its tax paper is said to follow it, but none does'
    FROM credit_note n JOIN vat_evidence e ON e.invoice_id = n.invoice_id
    JOIN invoice i ON i.id = n.invoice_id AND i.set_apart_at IS NULL
    WHERE n.evidence_at IS NOT NULL AND e.kind IN ('tax_invoice', 'cash_receipt')
      AND NOT EXISTS (SELECT FROM tax_invoice t
        WHERE t.cause_id = n.id OR (t.cancel_cause_id = n.id AND t.state = 'cancelled'))
      AND NOT EXISTS (SELECT FROM cash_receipt c WHERE c.cause_id = n.id)
      AND NOT EXISTS (SELECT FROM paper_by_hand p WHERE p.credit_note_id = n.id)
      AND NOT EXISTS (SELECT FROM tax_invoice t WHERE t.id = n.covered_by
        AND t.invoice_id = n.invoice_id AND t.amendment IN ('03', '05'))
"""

_PROVED_TWICE = """
    SELECT 'vat_evidence', e.id,
        format('%s of its supply was paid with credit that a card slip proves already',
            sum(u.amount_minor))
    FROM vat_evidence e JOIN credit_use u ON u.invoice_id = e.invoice_id AND u.state = 'used'
    JOIN credit_grant g ON g.id = u.grant_id
    WHERE e.kind IN ('tax_invoice', 'cash_receipt') AND u.payment_id IS NOT NULL
      AND (EXISTS (SELECT FROM payment p WHERE p.id = g.payment_id AND p.kind = 'card')
        OR EXISTS (SELECT FROM credit_note n JOIN vat_evidence x ON x.invoice_id = n.invoice_id
            WHERE n.id = g.credit_note_id AND x.kind = 'card_slip'))
    GROUP BY e.id
"""

ONE_EVIDENCE = Invariant(
    code="I14",
    name="one evidence for a supply",
    says="a supply has one VAT evidence, and its tax papers and their amendments agree with it",
    sql=" UNION ALL ".join((_ONE_EVIDENCE, _AMENDED_WITHIN, _PROVED_TWICE)),
)

# A tax paper whose fate is unknown is looked up within the day, as a charge is.
ASKED_AND_UNKNOWN = """
    UNION ALL
    SELECT 'tax_invoice', id,
        format('asked for at %s, and not known since', to_char(asked_at, 'YYYY-MM-DD HH24:MI TZH'))
    FROM tax_invoice
    WHERE state = 'due' AND issue_id IS NULL
      AND asked_at < clock_timestamp() - interval '24 hours'
    UNION ALL
    SELECT 'cash_receipt', id,
        format('asked for at %s, and not known since', to_char(asked_at, 'YYYY-MM-DD HH24:MI TZH'))
    FROM cash_receipt
    WHERE state = 'due' AND number IS NULL
      AND asked_at < clock_timestamp() - interval '24 hours'
"""
