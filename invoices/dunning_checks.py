"""I15: nobody stands outside for debts that are paid."""

from __future__ import annotations

from app.base.invariants import Invariant

# Wherever it is latest, so that no zone's midnight makes a debtor of somebody, or takes one away.
_TODAY = "CAST((CAST(:now AS timestamptz) AT TIME ZONE 'UTC') + interval '14 hours' AS date)"

DOORS_FOLLOW_DEBTS = Invariant(
    code="I15",
    name="doors follow debts",
    says="a company that is past due, or shut out for debts, has an invoice that is overdue",
    sql=f"""
        SELECT 'tenant' AS kind, t.id,
            CASE t.state WHEN 'past_due' THEN 'past due' ELSE 'shut out for debts' END
                || ', but nothing of theirs is overdue' AS wrong
        FROM tenant t
        WHERE (t.state = 'past_due' OR (t.state = 'suspended' AND t.suspend_reason = 'unpaid'))
          AND NOT EXISTS (
            SELECT FROM invoice i
            WHERE i.tenant_id = t.id AND i.state = 'issued' AND i.total_minor > 0
              AND i.due_on < {_TODAY}
              AND NOT EXISTS (SELECT FROM dunning_waiver w WHERE w.invoice_id = i.id))
    """,  # noqa: S608 - our own text
)
