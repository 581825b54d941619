"""What has to be so before a month is closed: each check finds the rows that still hinder it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from invoices.ledger_checks import ACCOUNTS_STAND, CAUSES_ARE_THERE
from invoices.models import TAX_INVOICE_IS_OPEN
from invoices.papers_by_hand import SLIP_LOST, WAITS
from invoices.tax_ahead import TO_BE_CREDITED

EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Example:
    """One row that a check found: of which kind, its id, how people know it, what is with it.

    `kind` says where it is looked after: tenant, invoice, tax_paper, difference, or "" for none.
    """

    kind: str
    id: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: how many rows, the first of them, and whether they hinder a close."""

    code: str
    count: int
    examples: tuple[Example, ...]
    hinders: bool = True
    checked: bool = True

    @property
    def is_open(self) -> bool:
        """Whether the month cannot be closed because of it."""
        return self.hinders and self.count > 0


def findings(
    *, control_session: Session, first: date, end: date, now: datetime, with_books: bool = True
) -> tuple[Finding, ...]:
    """This function will run every check over the days [first, end), in the order of the work.

    The books are checked back to their first entry, which takes as long as they are: a page that is
    only looked at leaves them out.
    """
    zone = settings().contract_timezone
    values = {
        "first": first,
        "end": end,
        "last": end - timedelta(days=1),
        "zone": zone,
        "most": EXAMPLES_MAX,
    }
    found = [_is_over(first, end, clock.today(now, zone))]
    for code, sql in _CHECKS.items():
        if code == "ledger" and not with_books:
            found.append(Finding(code, 0, (), checked=False))
            continue
        rows = control_session.execute(text(_LIMITED.format(sql=sql)), values).all()
        found.append(_finding(code, rows))
    return tuple(found)


def _is_over(first: date, end: date, today: date) -> Finding:
    if today >= end:
        return Finding("month_over", 0, ())
    example = Example("", "", f"{first:%Y-%m}", f"until {end - timedelta(days=1)}")
    return Finding("month_over", 1, (example,))


def _finding(code: str, rows: Sequence[Any]) -> Finding:
    count = int(rows[0].many) if rows else 0
    examples = tuple(Example(row.kind, row.id, row.name, row.what) for row in rows)
    return Finding(code, count, examples, hinders=code not in _LISTED_ONLY)


_LIMITED = (
    "SELECT kind, id::text AS id, coalesce(name, '') AS name, coalesce(what, '') AS what,"
    " count(*) OVER () AS many FROM ({sql}) AS found(kind, id, name, what)"
    " ORDER BY name, id LIMIT :most"
)
# The month's moments, by the seller's days.
_IN_MONTH = (
    "{column} >= CAST(:first AS timestamp) AT TIME ZONE :zone"
    " AND {column} < CAST(:end AS timestamp) AT TIME ZONE :zone"
)
_BEFORE_END = "{column} < CAST(:end AS timestamp) AT TIME ZONE :zone"

_READINGS = """
    SELECT 'tenant', d.tenant_id, t.name, to_char(d.day, 'YYYY-MM-DD')
    FROM metering_day d JOIN tenant t ON t.id = d.tenant_id
    WHERE d.done_at IS NULL AND d.day >= :first AND d.day < :end
"""
_BILLS = """
    SELECT 'tenant', s.tenant_id, t.name,
        coalesce(s.blocked_reason,
            to_char(LEAST(s.next_bill_on, s.next_correction_on), 'YYYY-MM-DD'))
    FROM subscription s JOIN tenant t ON t.id = s.tenant_id
    WHERE LEAST(s.next_bill_on, s.next_correction_on) < :end
      AND t.state NOT IN ('destroying', 'destroyed')
"""
_DRAFTS = """
    SELECT 'invoice', i.id, t.name, CASE WHEN i.held IS NULL THEN 'draft' ELSE 'held' END
    FROM invoice i JOIN tenant t ON t.id = i.tenant_id
    WHERE i.state = 'draft' AND i.supplied_on < :end
"""
_PAYMENTS = f"""
    SELECT 'invoice', a.invoice_id, i.number_text, a.state
    FROM payment_attempt a JOIN invoice i ON i.id = a.invoice_id
    WHERE a.state IN ('open', 'unknown', 'needs_person')
      AND {_BEFORE_END.format(column="a.begun_at")}
    UNION ALL
    SELECT 'invoice', n.invoice_id, n.number_text, r.state
    FROM refund r JOIN credit_note n ON n.id = r.credit_note_id
    WHERE r.state IN ('open', 'unknown', 'needs_person')
      AND {_BEFORE_END.format(column="r.asked_at")}
"""  # noqa: S608 - our own names
_EVIDENCE = f"""
    SELECT 'tax_paper', i.id, i.number_text, 'no evidence chosen yet'
    FROM invoice i
    WHERE i.evidence_at IS NULL AND i.state IN ('issued', 'paid', 'written_off')
      AND i.total_minor <> 0 AND i.supplied_on >= :first AND i.supplied_on < :end
    UNION ALL
    SELECT 'tax_paper', n.invoice_id, n.number_text, 'credit note without its tax paper'
    FROM credit_note n WHERE n.evidence_at IS NULL AND {_IN_MONTH.format(column="n.issued_at")}
    UNION ALL
    SELECT 'tax_paper', invoice.id, invoice.number_text, 'amended by hand, not credited yet'
    FROM invoice WHERE {TO_BE_CREDITED} AND EXISTS (
        SELECT FROM tax_invoice t WHERE t.invoice_id = invoice.id AND t.amendment IN ('03', '05')
          AND {_IN_MONTH.format(column="t.created_at")})
"""  # noqa: S608 - likewise
_TAX_PAPERS = f"""
    SELECT 'tax_paper', tax_invoice.invoice_id, coalesce(tax_invoice.issue_id, i.number_text),
        tax_invoice.state || coalesce(': ' || tax_invoice.error, '')
    FROM tax_invoice JOIN invoice i ON i.id = tax_invoice.invoice_id
    WHERE tax_invoice.written_on >= :first AND tax_invoice.written_on < :end
      AND ({TAX_INVOICE_IS_OPEN})
    UNION ALL
    SELECT 'tax_paper', c.invoice_id, coalesce(c.number, i.number_text),
        c.state || coalesce(': ' || c.error, '')
    FROM cash_receipt c JOIN invoice i ON i.id = c.invoice_id
    WHERE c.state IN ('due', 'issued', 'failed') AND {_IN_MONTH.format(column="c.created_at")}
    UNION ALL
    SELECT 'tax_paper', vat_evidence.invoice_id, i.number_text, 'to be issued by a person'
    FROM vat_evidence JOIN invoice i ON i.id = vat_evidence.invoice_id
    WHERE i.supplied_on >= :first AND i.supplied_on < :end AND vat_evidence.id IN (
        SELECT vat_evidence.id FROM vat_evidence WHERE {WAITS}
        UNION SELECT vat_evidence.id FROM vat_evidence WHERE {SLIP_LOST})
"""  # noqa: S608 - likewise; one OR would read all evidence there is
_REVENUE = """
    SELECT 'invoice', d.invoice_id, i.number_text,
        'earned until ' || coalesce(to_char(d.recognised_on, 'YYYY-MM-DD'), 'nothing')
    FROM deferral d JOIN invoice i ON i.id = d.invoice_id
    WHERE d.stopped_minor = 0 AND d.recognised_minor <> d.amount_minor AND d.starts_on < :end
      AND coalesce(d.recognised_on, d.starts_on - 1) < :last
      AND trunc(d.amount_minor::numeric * (least(CAST(:end AS date), d.ends_on) - d.starts_on)
          / (d.ends_on - d.starts_on)) <> d.recognised_minor
"""
_LEDGER = f"""
    SELECT '', e.id::text, e.kind, 'debits and credits differ'
    FROM ledger_entry e JOIN ledger_line l ON l.entry_id = e.id
    WHERE e.booked_on >= :first AND e.booked_on < :end
    GROUP BY e.id, e.kind HAVING sum(l.debit_minor) <> sum(l.credit_minor)
    UNION ALL
    SELECT CASE kind WHEN 'invoice' THEN 'invoice' ELSE '' END, id::text, kind, wrong
    FROM ({ACCOUNTS_STAND.sql}) AS stands(kind, id, wrong)
    UNION ALL
    SELECT '', id::text, kind, wrong FROM ({CAUSES_ARE_THERE}) AS caused(kind, id, wrong)
"""  # noqa: S608 - likewise
_DAYS_READ = """
    SELECT 'difference', d.id, d.gateway, to_char(d.day, 'YYYY-MM-DD')
    FROM reconciliation_day d WHERE d.done_at IS NULL AND d.day >= :first AND d.day < :end
"""
_DIFFERENCES = """
    SELECT 'difference', d.id, d.gateway || ' ' || to_char(d.day, 'YYYY-MM-DD'),
        d.kind || ' ' || d.currency || ' ' || d.amount_minor
    FROM reconciliation_difference d
    WHERE d.day < :end
      AND NOT EXISTS (SELECT FROM difference_settlement s WHERE s.difference_id = d.id)
    UNION ALL
    SELECT 'difference', (array_agg(p.id ORDER BY p.id))[1], p.gateway,
        'nothing was held against its ' || count(*) || ' payments'
    FROM payment p
    WHERE p.kind <> 'credit' AND p.gateway <> 'manual'
      AND p.received_on >= :first AND p.received_on < :end
      AND NOT EXISTS (SELECT FROM reconciliation_day r
        WHERE r.gateway = p.gateway AND r.day >= p.received_on)
    GROUP BY p.gateway
"""
_CHECKS = {
    "readings": _READINGS,
    "bills": _BILLS,
    "drafts": _DRAFTS,
    "payments": _PAYMENTS,
    "evidence": _EVIDENCE,
    "tax_papers": _TAX_PAPERS,
    "revenue": _REVENUE,
    "ledger": _LEDGER,
    "settlements": _DAYS_READ,
    "differences": _DIFFERENCES,
}
# What may stay open over a close, if it is known: it is written down with it.
_LISTED_ONLY = frozenset({"differences"})
CODES = ("month_over", *_CHECKS)
