"""What `flask check` asserts of the ledger: each account is what the rows behind it come to."""

from __future__ import annotations

from app.base.invariants import Invariant

# What a kind of entry is caused by, as `invoices.ledger` says it.
_CAUSES = {
    "issue": "invoice",
    "void": "invoice",
    "payment": "payment",
    "reversal": "payment_reversal",
    "recognition": "recognition",
    "credit_note": "credit_note",
    "refund": "refund",
    "refund_kept": "refund",
    "write_off": "write_off",
    "grant": "credit_grant",
    "grant_end": "credit_end",
}

CAUSES_ARE_THERE = " UNION ALL ".join(
    f"""
    SELECT 'ledger_entry' AS kind, e.id, format('of a %s that is not there', e.kind) AS wrong
    FROM ledger_entry e WHERE e.kind = '{kind}'
      AND NOT EXISTS (SELECT FROM {table} c WHERE c.id = e.cause_id)
      AND NOT EXISTS (SELECT FROM statutory.paper s WHERE s.source_id = e.cause_id)
    """  # noqa: S608 - our own names
    for kind, table in _CAUSES.items()
)

_UNBOOKED = " UNION ALL ".join(
    f"""
    SELECT '{table}' AS kind, c.id::text AS id, 'not in the ledger' AS wrong
    FROM {table} c LEFT JOIN ledger_entry e ON e.kind = '{kind}' AND e.cause_id = c.id
    WHERE e.id IS NULL AND {condition}
    """  # noqa: S608 - our own names
    for table, kind, condition in (
        ("recognition", "recognition", "c.amount_minor <> 0"),
        ("payment_reversal", "reversal", "true"),
        ("credit_note", "credit_note", "true"),
        ("write_off", "write_off", "true"),
        ("refund", "refund", "c.state = 'succeeded'"),
        ("credit_end", "grant_end", "c.amount_minor > c.carried_minor"),
    )
)

_RECEIVABLE = """
    SELECT 'invoice', i.id::text, format('%s is open, but the ledger has %s receivable',
        i.owed, coalesce(b.balance, 0))
    FROM (
        SELECT id, CASE WHEN state = 'issued'
            THEN total_minor - paid_minor - credited_minor - written_off_minor ELSE 0 END AS owed
        FROM invoice) i
    LEFT JOIN (
        SELECT coalesce(p.invoice_id, n.invoice_id, w.invoice_id, e.cause_id) AS invoice_id,
            sum(l.debit_minor - l.credit_minor) AS balance
        FROM ledger_entry e
        JOIN ledger_line l ON l.entry_id = e.id AND l.account = 'receivable'
        LEFT JOIN payment_reversal r ON e.kind = 'reversal' AND r.id = e.cause_id
        LEFT JOIN payment p
            ON p.id = CASE WHEN e.kind = 'payment' THEN e.cause_id ELSE r.payment_id END
        LEFT JOIN credit_note n ON e.kind = 'credit_note' AND n.id = e.cause_id
        LEFT JOIN write_off w ON e.kind = 'write_off' AND w.id = e.cause_id
        GROUP BY 1) b ON b.invoice_id = i.id
    WHERE i.owed <> coalesce(b.balance, 0)
"""

_DEFERRED = """
    SELECT 'deferral', id::text,
        format('%s of %s earned by %s', recognised_minor, amount_minor, recognised_on)
    FROM deferral
    WHERE stopped_minor = 0 AND starts_on <= recognised_on
      AND recognised_minor <> trunc(amount_minor::numeric
        * (least(recognised_on + 1, ends_on) - starts_on) / (ends_on - starts_on))
"""

# By account and currency: what it says, and what the rows behind it come to.
_CREDITS = """
    SELECT currency, sum(amount) AS amount FROM (
        SELECT g.currency, g.amount_minor - g.used_minor - g.lapsed_minor AS amount
        FROM credit_grant g LEFT JOIN invoice i ON i.id = g.carried_by
        WHERE g.paid_for AND i.state IS DISTINCT FROM 'draft'
        UNION ALL
        SELECT g.currency, u.amount_minor FROM credit_use u
        JOIN credit_grant g ON g.id = u.grant_id AND g.paid_for
        JOIN invoice i ON i.id = u.invoice_id AND i.state = 'draft'
        WHERE u.state = 'used') c GROUP BY currency
"""
_UNEARNED = """
    SELECT currency, sum(amount_minor - recognised_minor - stopped_minor) AS amount
    FROM deferral GROUP BY currency
"""
_TO_REFUND = """
    SELECT currency, sum(amount_minor) AS amount FROM refund
    WHERE state NOT IN ('succeeded', 'closed') GROUP BY currency
"""


# What a month was closed at is what is booked in it, on top of the closed month before it.
_CLOSED = """
    (WITH kept AS (
        SELECT c.id, c.month, c.closed_at, k.currency, k.account, k.place, k.debit_minor,
            k.credit_minor, k.closing_minor
        FROM month_close c, jsonb_to_recordset(c.findings -> 'balances') AS k (currency text,
            account text, place text, debit_minor bigint, credit_minor bigint, closing_minor bigint)
        WHERE c.reopened_at IS NULL),
    booked AS (
        SELECT c.id, c.month, e.currency, l.account, coalesce(l.place, '') AS place,
            sum(l.debit_minor) AS debit_minor, sum(l.credit_minor) AS credit_minor
        FROM month_close c
        JOIN ledger_entry e ON e.booked_on >= c.month
            AND e.booked_on < c.month + interval '1 month'
        JOIN ledger_line l ON l.entry_id = e.id
        WHERE c.reopened_at IS NULL GROUP BY 1, 2, 3, 4, 5)
    SELECT 'month_close', coalesce(k.id, b.id)::text, format(
        '%s in %s was closed at debits of %s and credits of %s, but the ledger has %s and %s',
        account, currency, coalesce(k.debit_minor, 0), coalesce(k.credit_minor, 0),
        coalesce(b.debit_minor, 0), coalesce(b.credit_minor, 0))
    FROM kept k FULL JOIN booked b USING (month, currency, account, place)
    WHERE coalesce(k.debit_minor, 0) <> coalesce(b.debit_minor, 0)
       OR coalesce(k.credit_minor, 0) <> coalesce(b.credit_minor, 0)
    UNION ALL
    SELECT 'month_close', k.id::text, format('%s in %s was closed at %s, which does not follow'
        ' from %s at the close before', k.account, k.currency, k.closing_minor,
        coalesce(o.closing_minor, 0))
    FROM kept k
    JOIN month_close p ON p.month = k.month - interval '1 month' AND p.reopened_at IS NULL
        AND p.closed_at < k.closed_at
    LEFT JOIN kept o ON o.id = p.id AND o.currency = k.currency AND o.account = k.account
        AND o.place = k.place
    WHERE k.closing_minor <> coalesce(o.closing_minor, 0) + k.debit_minor - k.credit_minor)
"""


def _owes(account: str, rows: str) -> str:
    return f"""
        SELECT 'ledger' AS kind, '{account} in ' || coalesce(b.currency, r.currency) AS id,
            format('the ledger says %s, its rows come to %s', coalesce(b.balance, 0),
                coalesce(r.amount, 0)) AS wrong
        FROM (
            SELECT e.currency, sum(l.credit_minor - l.debit_minor) AS balance
            FROM ledger_entry e
            JOIN ledger_line l ON l.entry_id = e.id AND l.account = '{account}'
            GROUP BY e.currency) b
        FULL JOIN ({rows}) r ON r.currency = b.currency
        WHERE coalesce(b.balance, 0) <> coalesce(r.amount, 0)
    """  # noqa: S608 - our own names


ACCOUNTS_STAND = Invariant(
    code="I13",
    name="accounts stand for rows",
    says=(
        "what the ledger has receivable is what is open of each invoice; what it defers, owes as "
        "credit and has to send back is what the rows come to; closed months keep what is booked"
    ),
    sql=" UNION ALL ".join(
        (
            _UNBOOKED,
            _RECEIVABLE,
            _DEFERRED,
            _owes("deferred_revenue", _UNEARNED),
            _owes("credits", _CREDITS),
            _owes("refunds", _TO_REFUND),
            _CLOSED,
        )
    ),
)

REFUNDS_FIT = """
    SELECT 'payment' AS kind, p.id, format('%s is refunded of %s', sum(r.amount_minor),
        p.settled_minor) AS wrong
    FROM payment p JOIN refund r ON r.payment_id = p.id AND r.state <> 'closed'
    GROUP BY p.id HAVING sum(r.amount_minor) > p.settled_minor
    UNION ALL
    SELECT 'payment', p.id, 'taken back, and yet to be refunded'
    FROM payment p JOIN payment_reversal r ON r.payment_id = p.id
    WHERE EXISTS (SELECT FROM refund f WHERE f.payment_id = p.id
        AND f.state NOT IN ('succeeded', 'closed'))
    UNION ALL
    SELECT 'invoice', i.id, format('%s is credited of %s', sum(n.total_minor), i.total_minor)
    FROM invoice i JOIN credit_note n ON n.invoice_id = i.id
    GROUP BY i.id HAVING sum(n.total_minor) > i.total_minor OR sum(n.tax_minor) > i.tax_minor
    UNION ALL
    SELECT 'invoice', i.id, format('%s is credited of what was owed, but notes say %s',
        i.credited_minor, coalesce(n.owed, 0))
    FROM invoice i LEFT JOIN (
        SELECT invoice_id, sum(open_minor) AS owed FROM credit_note GROUP BY invoice_id) n
        ON n.invoice_id = i.id
    WHERE i.credited_minor <> coalesce(n.owed, 0)
    UNION ALL
    SELECT 'invoice', i.id, format('%s is written off, but the write-off says %s',
        i.written_off_minor, coalesce(w.amount_minor, 0))
    FROM invoice i LEFT JOIN (
        SELECT invoice_id, sum(amount_minor) AS amount_minor FROM write_off
        GROUP BY invoice_id) w ON w.invoice_id = i.id
    WHERE i.written_off_minor <> coalesce(w.amount_minor, 0)
    UNION ALL
    SELECT 'credit_note', n.id, format('%s is to be sent back, but %s is on its way',
        n.refund_minor, coalesce(sum(r.amount_minor), 0) + coalesce(max(k.amount), 0))
    FROM credit_note n
    LEFT JOIN refund r ON r.credit_note_id = n.id AND r.state <> 'closed'
    LEFT JOIN (
        SELECT credit_note_id, sum(amount_minor) AS amount FROM credit_grant
        WHERE source = 'credit_note' GROUP BY credit_note_id) k ON k.credit_note_id = n.id
    GROUP BY n.id
    HAVING n.refund_minor + n.kept_minor
        <> coalesce(sum(r.amount_minor), 0) + coalesce(max(k.amount), 0)
"""
