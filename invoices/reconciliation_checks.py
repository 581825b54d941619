"""What `flask check` asserts of reconciliation: the gateway's report is what the ledger says."""

from __future__ import annotations

from app.base.invariants import Invariant
from invoices.reconciliation_missing import DAYS_BACK

# Cash at the gateway that the ledger has because of a line: our payment or refund that it stands
# for, and what was booked of the line itself, of its difference, and of that one's end.
_LINE_BY_LINE = """
    SELECT 'settlement_line' AS kind, l.id, format('%s says %s of %s, the ledger says %s',
        l.gateway, l.said, l.line_id, l.booked) AS wrong
    FROM (
        SELECT s.id, s.gateway, s.line_id,
            CASE WHEN s.kind = 'payout' OR paid.id IS NULL THEN s.net_minor ELSE 0 END AS said,
            CASE WHEN s.kind = 'payment' THEN coalesce(p.amount_minor, 0) ELSE 0 END
                - coalesce(r.amount_minor, v.amount_minor, 0) + coalesce(b.amount, 0) AS booked
        FROM settlement_line s
        LEFT JOIN ledger_entry paid ON paid.kind = 'payout' AND paid.cause_id = s.id
        LEFT JOIN payment p ON p.id = s.payment_id AND p.currency = s.currency
        LEFT JOIN refund r ON r.id = s.refund_id
        LEFT JOIN payment_reversal v ON v.id = s.reversal_id
        LEFT JOIN reconciliation_difference d ON d.id = s.difference_id
            AND d.kind <> 'refunded_there'
        LEFT JOIN difference_settlement e ON e.difference_id = d.id
        LEFT JOIN LATERAL (
            SELECT sum(debit_minor - credit_minor) AS amount
            FROM ledger_entry c JOIN ledger_line x ON x.entry_id = c.id
            WHERE c.cause_id IN (s.id, d.id, e.id) AND c.currency = s.currency
              AND x.account = 'cash' AND x.place = s.gateway) b ON true
        WHERE s.reversal_id IS NOT NULL OR NOT EXISTS (SELECT FROM reconciliation_difference g
            WHERE g.id = s.difference_id AND g.kind = 'refunded_there')) l
    WHERE l.said <> l.booked
"""

# What a webhook told of may be more than the lines that came so far; never less.
_TOLD_BEFORE = """
    SELECT 'reconciliation_difference', d.id,
        format('%s went back by the books, %s by the lines', -d.amount_minor, -sum(s.gross_minor))
    FROM reconciliation_difference d JOIN settlement_line s ON s.difference_id = d.id
    WHERE d.kind = 'refunded_there'
    GROUP BY d.id HAVING sum(s.gross_minor) < d.amount_minor
"""

_DIFFERENCES_BOOKED = """
    SELECT 'reconciliation_difference', d.id,
        format('%s, but %s is booked', d.amount_minor, coalesce(sum(x.amount), 0))
    FROM reconciliation_difference d
    LEFT JOIN difference_settlement e ON e.difference_id = d.id
    LEFT JOIN LATERAL (
        SELECT l.credit_minor - l.debit_minor AS amount
        FROM ledger_entry c JOIN ledger_line l ON l.entry_id = c.id AND l.account = 'differences'
        WHERE c.kind = 'difference' AND c.cause_id IN (d.id, e.id)) x ON true
    GROUP BY d.id, e.resolution
    HAVING coalesce(sum(x.amount), 0) <> CASE
        WHEN e.resolution IS NULL AND d.is_booked OR e.resolution = 'accepted'
        THEN d.amount_minor ELSE 0 END
"""

_NEVER_TOLD = f"""
    SELECT 'payment', p.id, format('%s never told of it, and nobody was shown that', p.gateway)
    FROM payment p
    JOIN (SELECT gateway, min(day) AS first, max(day) AS last FROM reconciliation_day
        WHERE done_at IS NOT NULL GROUP BY gateway) d ON d.gateway = p.gateway
    WHERE p.received_on BETWEEN d.first AND d.last - {DAYS_BACK}
      AND NOT EXISTS (SELECT FROM payment_reversal v WHERE v.payment_id = p.id)
      AND NOT EXISTS (SELECT FROM settlement_line s
        WHERE s.payment_id = p.id AND s.kind = 'payment')
      AND NOT EXISTS (SELECT FROM reconciliation_difference f
        WHERE f.payment_id = p.id AND f.kind = 'missing_there' AND f.refund_id IS NULL)
"""  # noqa: S608 - our own number

_OF_NOTHING = """
    SELECT 'ledger_entry', e.id, format('of a %s that no line of a gateway tells of', e.kind)
    FROM ledger_entry e
    WHERE e.kind IN ('fee', 'payout', 'dispute')
      AND NOT EXISTS (SELECT FROM settlement_line s WHERE s.id = e.cause_id)
    UNION ALL
    SELECT 'ledger_entry', e.id, 'of a difference that is not there'
    FROM ledger_entry e
    WHERE e.kind = 'difference'
      AND NOT EXISTS (SELECT FROM reconciliation_difference d WHERE d.id = e.cause_id)
      AND NOT EXISTS (SELECT FROM difference_settlement d WHERE d.id = e.cause_id)
"""

_DAILY = """
    SELECT 'reconciliation_day', id, format('%s of %s is not reconciled since %s', day, gateway,
        to_char(asked_at, 'YYYY-MM-DD HH24:MI TZH'))
    FROM reconciliation_day
    WHERE done_at IS NULL AND asked_at < CAST(:now AS timestamptz) - interval '48 hours'
"""

REPORT_IS_LEDGER = Invariant(
    code="I11",
    name="the gateway's report is the ledger",
    says=(
        "line by line, our cash at a gateway is what the gateway says of it, and what either does "
        "not know of is among the differences"
    ),
    sql=" UNION ALL ".join(
        (_LINE_BY_LINE, _TOLD_BEFORE, _DIFFERENCES_BOOKED, _NEVER_TOLD, _OF_NOTHING, _DAILY)
    ),
)
