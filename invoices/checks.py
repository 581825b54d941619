"""The invoices' rules that `flask check` asserts, as queries over the whole control database."""

from __future__ import annotations

from app.base.invariants import Invariant
from invoices.billing_checks import BILLED_ONCE, NUMBERS_RUN_ON, SUMS_ADD_UP
from invoices.dunning_checks import DOORS_FOLLOW_DEBTS
from invoices.ledger_checks import ACCOUNTS_STAND, CAUSES_ARE_THERE, REFUNDS_FIT
from invoices.paper_checks import changed_papers
from invoices.reconciliation_checks import REPORT_IS_LEDGER
from invoices.tax_checks import ASKED_AND_UNKNOWN, ONE_EVIDENCE

_CHARGED_ONCE = """
    SELECT 'invoice' AS kind, invoice_id AS id,
        format('%s charges succeeded', count(*)) AS wrong
    FROM payment_attempt WHERE state = 'succeeded' GROUP BY invoice_id HAVING count(*) > 1
    UNION ALL
    SELECT 'payment_attempt', a.id, 'the charge succeeded, but no payment is written down'
    FROM payment_attempt a LEFT JOIN payment p ON p.attempt_id = a.id
    WHERE a.state = 'succeeded' AND p.id IS NULL
    UNION ALL
    SELECT 'payment', p.id, format('its attempt is %s', a.state)
    FROM payment p JOIN payment_attempt a ON a.id = p.attempt_id
    WHERE a.state <> CASE WHEN EXISTS (SELECT FROM payment_reversal r WHERE r.payment_id = p.id)
        THEN 'taken_back' ELSE 'succeeded' END
    UNION ALL
    SELECT 'payment', p.id, 'its attempt was for another invoice, amount or charge'
    FROM payment p JOIN payment_attempt a ON a.id = p.attempt_id
    WHERE (p.invoice_id, p.amount_minor, p.currency, p.gateway, p.gateway_payment_id)
        IS DISTINCT FROM
        (a.invoice_id, a.amount_minor, a.currency, a.gateway, a.gateway_payment_id)
    UNION ALL
    SELECT 'payment', p.id, format('in %s, for an invoice in %s', p.currency, i.currency)
    FROM payment p JOIN invoice i ON i.id = p.invoice_id WHERE p.currency <> i.currency
    UNION ALL
    SELECT 'invoice', i.id, format('says %s is paid, but payments settle %s', i.paid_minor,
        coalesce(p.settled, 0))
    FROM invoice i LEFT JOIN (
        SELECT invoice_id, sum(CASE WHEN r.id IS NULL THEN p.settled_minor
            ELSE p.amount_minor - r.amount_minor END) AS settled
        FROM payment p LEFT JOIN payment_reversal r ON r.payment_id = p.id
        GROUP BY invoice_id) p ON p.invoice_id = i.id
    WHERE i.paid_minor <> coalesce(p.settled, 0)
    UNION ALL
    SELECT 'invoice', id, format('%s, but %s of %s are settled', state,
        paid_minor + credited_minor + written_off_minor, total_minor)
    FROM invoice
    WHERE (state IN ('draft', 'issued', 'void') AND total_minor > 0
            AND paid_minor + credited_minor + written_off_minor = total_minor)
       OR (state IN ('paid', 'credited', 'written_off')
            AND paid_minor + credited_minor + written_off_minor <> total_minor)
       OR (state IN ('draft', 'void') AND paid_minor + credited_minor + written_off_minor > 0)
    UNION ALL
    SELECT 'payment', p.id, format('%s of it settled nothing, but %s is kept as credit',
        p.amount_minor - p.settled_minor, coalesce(g.amount_minor, 0))
    FROM payment p LEFT JOIN credit_grant g ON g.payment_id = p.id
    WHERE p.amount_minor - p.settled_minor <> coalesce(g.amount_minor, 0)
    UNION ALL
    SELECT 'payment_reversal', r.id, format('%s of a payment by %s over %s', r.amount_minor,
        p.kind, p.amount_minor)
    FROM payment_reversal r JOIN payment p ON p.id = r.payment_id
    WHERE (p.kind = 'card') <> (r.source = 'dispute') OR r.currency <> p.currency
        OR r.amount_minor <> p.amount_minor AND (r.source <> 'dispute'
            OR r.amount_minor IS DISTINCT FROM p.amount_minor - (SELECT sum(f.amount_minor)
                FROM refund f WHERE f.payment_id = p.id AND f.state = 'succeeded'
                  AND f.sent_from = p.gateway))
    UNION ALL
    SELECT 'gateway_event', e.id, 'the gateway reports a charge that has no row of ours'
    FROM gateway_event e
    WHERE e.trust <> 'unsigned' AND e.order_id IS NOT NULL AND e.applied_at IS NOT NULL
      AND e.kind = 'payment_succeeded'
      AND NOT EXISTS (SELECT FROM payment_attempt a WHERE a.order_id = e.order_id)
"""

_BOOKS_BALANCE = """
    SELECT 'ledger_entry' AS kind, e.id,
        format('debits %s, credits %s', coalesce(sum(l.debit_minor), 0),
            coalesce(sum(l.credit_minor), 0)) AS wrong
    FROM ledger_entry e LEFT JOIN ledger_line l ON l.entry_id = e.id
    GROUP BY e.id
    HAVING coalesce(sum(l.debit_minor), 0) <> coalesce(sum(l.credit_minor), 0)
        OR count(l.id) < 2
    UNION ALL
    SELECT 'invoice', i.id, format('%s, but its issue is not in the ledger', i.state)
    FROM invoice i LEFT JOIN ledger_entry e ON e.kind = 'issue' AND e.cause_id = i.id
    WHERE i.issued_at IS NOT NULL AND i.total_minor > 0 AND e.id IS NULL
    UNION ALL
    SELECT 'invoice', i.id, 'void, but its issue still stands in the ledger'
    FROM invoice i LEFT JOIN ledger_entry e ON e.kind = 'void' AND e.cause_id = i.id
    WHERE i.state = 'void' AND i.issued_at IS NOT NULL AND i.total_minor > 0 AND e.id IS NULL
    UNION ALL
    SELECT 'payment', p.id, 'not in the ledger'
    FROM payment p LEFT JOIN ledger_entry e ON e.kind = 'payment' AND e.cause_id = p.id
    WHERE e.id IS NULL
    UNION ALL
    SELECT 'ledger_entry', e.id, 'books another amount than its invoice'
    FROM ledger_entry e JOIN invoice i ON e.cause_id = i.id AND e.kind IN ('issue', 'void')
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(abs(debit_minor - credit_minor))
                FILTER (WHERE account = 'receivable'), 0) AS receivable,
            coalesce(sum(abs(debit_minor - credit_minor))
                FILTER (WHERE account = 'vat_payable'), 0) AS vat
        FROM ledger_line WHERE entry_id = e.id) s
    WHERE (e.currency, s.receivable, s.vat)
        IS DISTINCT FROM (i.currency, i.total_minor::numeric, i.tax_minor::numeric)
    UNION ALL
    SELECT 'ledger_entry', e.id, 'books another amount than its payment'
    FROM ledger_entry e JOIN payment p ON e.cause_id = p.id AND e.kind = 'payment'
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(debit_minor) FILTER (WHERE account = 'cash' AND place = p.gateway
                OR account = 'credits' AND p.kind = 'credit'), 0) AS came,
            coalesce(sum(credit_minor) FILTER (WHERE account = 'receivable'), 0) AS settled
        FROM ledger_line WHERE entry_id = e.id) s
    WHERE (e.currency, s.came, s.settled)
        IS DISTINCT FROM (p.currency, p.amount_minor::numeric, p.settled_minor::numeric)
    UNION ALL
    SELECT 'ledger_entry', e.id, 'does not undo what its payment booked'
    FROM ledger_entry e JOIN payment_reversal r ON e.cause_id = r.id AND e.kind = 'reversal'
    JOIN ledger_entry o ON o.cause_id = r.payment_id AND o.kind = 'payment'
    JOIN payment p ON p.id = r.payment_id
    WHERE EXISTS (
        SELECT FROM (
            SELECT CASE WHEN r.source = 'dispute' AND account = 'cash' THEN 'differences'
                    ELSE account END AS account,
                CASE WHEN r.source = 'dispute' AND account = 'cash' THEN NULL
                    ELSE place END AS place,
                debit_minor, credit_minor
            FROM ledger_line WHERE entry_id IN (e.id, o.id)
            UNION ALL
            SELECT 'receivable', NULL, p.amount_minor - r.amount_minor, 0
            UNION ALL
            SELECT 'differences', NULL, 0, p.amount_minor - r.amount_minor) l
        GROUP BY l.account, l.place HAVING sum(l.debit_minor) <> sum(l.credit_minor))
"""

_CREDIT_USED_ONCE = """
    SELECT 'credit_grant' AS kind, g.id,
        format('%s used, but its uses come to %s of %s', g.used_minor, coalesce(u.amount, 0),
            g.amount_minor) AS wrong
    FROM credit_grant g LEFT JOIN (
        SELECT grant_id, sum(amount_minor) AS amount FROM credit_use
        WHERE state = 'used' GROUP BY grant_id) u ON u.grant_id = g.id
    WHERE g.used_minor <> coalesce(u.amount, 0)
       OR g.used_minor + g.lapsed_minor > g.amount_minor
    UNION ALL
    SELECT 'credit_use', u.id, 'its line is not for that amount'
    FROM credit_use u JOIN invoice_line l ON l.id = u.line_id
    WHERE u.state = 'used' AND (l.invoice_id, l.kind, -l.amount_minor)
        IS DISTINCT FROM (u.invoice_id, 'prepaid', u.amount_minor)
    UNION ALL
    SELECT 'payment', p.id, 'its sum is not what was used of credits for it'
    FROM payment p LEFT JOIN (
        SELECT payment_id, sum(amount_minor) AS amount FROM credit_use
        WHERE state = 'used' GROUP BY payment_id) u ON u.payment_id = p.id
    LEFT JOIN payment_reversal r ON r.payment_id = p.id
    WHERE (p.kind = 'credit' OR u.payment_id IS NOT NULL)
      AND CASE WHEN r.id IS NULL THEN p.amount_minor END IS DISTINCT FROM u.amount
    UNION ALL
    SELECT 'credit_grant', g.id, format('its payment was taken back, %s of it is left or used',
        g.amount_minor - g.lapsed_minor)
    FROM credit_grant g JOIN payment_reversal r ON r.payment_id = g.payment_id
    WHERE g.lapsed_minor <> g.amount_minor
    UNION ALL
    SELECT 'invoice', i.id, 'what it carried over is not among the credits'
    FROM invoice i JOIN invoice_line l ON l.invoice_id = i.id AND l.kind = 'carried'
    LEFT JOIN credit_grant g ON g.carried_by = i.id
    WHERE i.state <> 'void' AND l.amount_minor IS DISTINCT FROM g.amount_minor
"""

_COUPONS_USED_ONCE = """
    SELECT 'coupon' AS kind, c.id,
        format('says %s redeemed, but %s are, of %s at most', c.redeemed, count(r.id),
            coalesce(c.max_redemptions::text, 'any number')) AS wrong
    FROM coupon c LEFT JOIN coupon_redemption r ON r.coupon_id = c.id AND r.counted
    GROUP BY c.id HAVING count(r.id) <> c.redeemed OR count(r.id) > c.max_redemptions
    UNION ALL
    SELECT 'coupon', c.id, format('redeemed %s times by one customer, %s', count(*), r.tenant_id)
    FROM coupon c JOIN coupon_redemption r ON r.coupon_id = c.id AND r.counted
    GROUP BY c.id, r.tenant_id HAVING count(*) > c.per_customer_max
    UNION ALL
    SELECT 'coupon_redemption', r.id, format('good for one bill, but %s used it', count(*))
    FROM coupon_redemption r JOIN coupon c ON c.id = r.coupon_id AND c.duration = 'once'
    JOIN coupon_use u ON u.redemption_id = r.id AND u.state = 'used'
    GROUP BY r.id HAVING count(*) > 1
    UNION ALL
    SELECT 'coupon_use', u.id, 'its line is not for that amount, or its invoice is void'
    FROM coupon_use u JOIN invoice_line l ON l.id = u.line_id
    JOIN invoice i ON i.id = u.invoice_id
    WHERE (u.state = 'void') <> (i.state = 'void')
       OR (l.invoice_id, l.kind, -(l.amount_minor
            + coalesce((l.evidence #>> '{vat,included,1}')::bigint, 0)),
            l.evidence ->> 'redemption')
        IS DISTINCT FROM (u.invoice_id, 'discount', u.amount_minor, u.redemption_id::text)
    UNION ALL
    SELECT 'invoice_line', l.id, 'a discount that no coupon of the customer accounts for'
    FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
    WHERE l.kind = 'discount'
      AND l.evidence ->> 'rule' NOT IN ('discount_returned', 'discount_corrected')
      AND i.state <> 'void' AND NOT EXISTS (
        SELECT FROM coupon_use u JOIN coupon_redemption r ON r.id = u.redemption_id
        WHERE u.line_id = l.id AND u.state = 'used' AND r.tenant_id = i.tenant_id)
    UNION ALL
    SELECT 'invoice_line', l.id, 'a discount that is not the sum of its shares'
    FROM invoice_line l
    WHERE l.kind = 'discount' AND l.evidence ? 'lines'
      AND -(l.amount_minor + coalesce((l.evidence #>> '{vat,included,1}')::bigint, 0)) <> (
        SELECT sum((share ->> 'amount_minor')::bigint)
        FROM jsonb_array_elements(l.evidence -> 'lines') share)
    UNION ALL
    SELECT 'invoice_line', l.id, 'a corrected discount that is not what its coupons changed'
    FROM invoice_line l
    WHERE l.kind = 'discount' AND l.evidence ->> 'rule' = 'discount_corrected'
      AND -(l.amount_minor + coalesce((l.evidence #>> '{vat,included,1}')::bigint, 0)) <> (
        SELECT sum((each #>> '{is,amount_minor}')::bigint - (each #>> '{was,amount_minor}')::bigint)
        FROM jsonb_array_elements(l.evidence -> 'coupons') each)
"""

_UNKNOWN_RESOLVED = """
    SELECT 'payment_attempt' AS kind, id,
        format('%s since %s', state, to_char(begun_at, 'YYYY-MM-DD HH24:MI TZH')) AS wrong
    FROM payment_attempt
    WHERE state IN ('open', 'unknown')
      AND begun_at < CAST(:now AS timestamptz) - interval '24 hours'
"""

# Foreign keys say that a row exists, not whose it is: both ends must name the same tenant.
_LINKS = (
    ("invoice", "subscription", "subscription_id"),
    ("payment", "invoice", "invoice_id"),
    ("payment", "payment_attempt", "attempt_id"),
    ("payment_reversal", "payment", "payment_id"),
    ("payment_attempt", "invoice", "invoice_id"),
    ("payment_attempt", "payment_method", "method_id"),
    ("vat_evidence", "invoice", "invoice_id"),
    ("vat_evidence", "payment", "payment_id"),
    ("paper_by_hand", "vat_evidence", "evidence_id"),
    ("paper_by_hand", "credit_note", "credit_note_id"),
    ("tax_invoice", "invoice", "invoice_id"),
    ("tax_invoice", "vat_evidence", "evidence_id"),
    ("tax_invoice", "tax_invoice", "amends_id"),
    ("cash_receipt", "invoice", "invoice_id"),
    ("cash_receipt", "vat_evidence", "evidence_id"),
    ("credit_grant", "invoice", "carried_by"),
    ("credit_grant", "credit_grant", "rolled_from"),
    ("coupon_redemption", "subscription", "subscription_id"),
    ("credit_note", "invoice", "invoice_id"),
    ("credit_grant", "credit_note", "credit_note_id"),
    ("credit_grant", "payment", "payment_id"),
    ("refund", "credit_note", "credit_note_id"),
    ("refund", "payment", "payment_id"),
    ("reconciliation_difference", "payment", "payment_id"),
    ("write_off", "invoice", "invoice_id"),
    ("deferral", "invoice", "invoice_id"),
    ("document", "credit_note", "subject_id"),
    ("ledger_entry", "credit_note", "cause_id"),
    ("ledger_entry", "refund", "cause_id"),
    ("ledger_entry", "write_off", "cause_id"),
    ("document", "invoice", "subject_id"),
    ("document", "tax_invoice", "subject_id"),
    ("document", "payment", "subject_id"),
    ("ledger_entry", "invoice", "cause_id"),
    ("ledger_entry", "payment", "cause_id"),
    ("ledger_entry", "payment_reversal", "cause_id"),
)

_NOTHING_CROSSES = " UNION ALL ".join(
    [
        f"""
        SELECT '{table}' AS kind, a.id, 'belongs to another tenant than its {other}' AS wrong
        FROM {table} a JOIN {other} b ON b.id = a.{column} WHERE a.tenant_id <> b.tenant_id
        """  # noqa: S608 - our own names
        for table, other, column in _LINKS
    ]
    + [
        """
        SELECT 'subscription', s.id, 'its consent was given for another tenant'
        FROM subscription s JOIN consent c ON c.id = s.consent_id
        JOIN tenant t ON t.id = s.tenant_id
        WHERE c.subject_id NOT IN (s.tenant_id, coalesce(t.application_id, s.tenant_id))
        """,
        """
        SELECT 'payment_method', m.id, 'two tenants share one customer of the gateway'
        FROM payment_method m JOIN payment_method o
            ON o.gateway = m.gateway AND o.customer_key = m.customer_key
        WHERE o.tenant_id <> m.tenant_id
        """,
    ]
)

INVARIANTS = (
    Invariant(
        code="I1",
        name="charged once",
        says="an invoice has at most one successful charge, and none without a row of ours",
        sql=_CHARGED_ONCE,
    ),
    Invariant(
        code="I2",
        name="the books balance",
        says="debits equal credits in each entry, and every issue, payment and void is booked once",
        sql=f"{_BOOKS_BALANCE} UNION ALL {CAUSES_ARE_THERE}",
    ),
    NUMBERS_RUN_ON,
    Invariant(
        code="I4",
        name="credits, coupons and refunds are used once",
        says="no more is used of a credit than was granted, of a coupon than was offered, and sent "
        "back of a payment than it brought",
        sql=f"{_CREDIT_USED_ONCE} UNION ALL {_COUPONS_USED_ONCE} UNION ALL {REFUNDS_FIT}",
    ),
    BILLED_ONCE,
    Invariant(
        code="I7",
        name="nothing stays unknown",
        says="a charge of unknown outcome is resolved or handed to a person within 24 hours",
        sql=_UNKNOWN_RESOLVED + ASKED_AND_UNKNOWN,
    ),
    Invariant(
        code="I8",
        name="issued papers are unchanged",
        says="what was issued still has the content, and the bytes, that it was issued with",
        look=changed_papers,
    ),
    SUMS_ADD_UP,
    REPORT_IS_LEDGER,
    Invariant(
        code="I12",
        name="nothing crosses tenants: money and papers",
        says="invoices, payments, papers and bookings name the same tenant at both ends",
        sql=_NOTHING_CROSSES,
    ),
    ACCOUNTS_STAND,
    ONE_EVIDENCE,
    DOORS_FOLLOW_DEBTS,
)
