"""What the books say of a month: the journal, entry by entry, and the trial balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import and_, any_, case, func, select, true
from sqlalchemy.orm import Session

from app.base.errors import Invalid
from app.base.money import Money
from invoices.models import (
    CreditNote,
    Invoice,
    LedgerEntry,
    LedgerLine,
    MonthClose,
    Payment,
    PaymentReversal,
)
from invoices.models.ledger import ACCOUNTS
from invoices.periods import months_after
from tenants.models import Tenant

ACCOUNT_NAMES = {
    "receivable": ("외상매출금", "Receivable"),
    "cash": ("보통예금·미정산금", "Cash"),
    "fees": ("지급수수료", "Fees"),
    "revenue": ("매출", "Revenue"),
    "deferred_revenue": ("선수수익", "Deferred revenue"),
    "vat_payable": ("부가세예수금", "VAT payable"),
    "vat_receivable": ("부가세대급금", "VAT receivable"),
    "credits": ("선수금", "Credits"),
    "refunds": ("미지급금(환불)", "Refunds to send"),
    "write_offs": ("대손상각비", "Write-offs"),
    "differences": ("가지급금(차액)", "Differences"),
}
ENTRY_NAMES = {
    "issue": ("청구", "Issue"),
    "payment": ("입금", "Payment"),
    "reversal": ("입금 취소", "Payment reversed"),
    "void": ("청구 취소", "Void"),
    "recognition": ("수익 인식", "Recognition"),
    "credit_note": ("정정 청구", "Credit note"),
    "refund": ("환불", "Refund"),
    "refund_kept": ("환불 보관", "Refund kept as credit"),
    "write_off": ("대손", "Write-off"),
    "grant": ("선수금 입금", "Credit bought"),
    "grant_end": ("선수금 소멸", "Credit ended"),
    "fee": ("수수료", "Fee"),
    "payout": ("정산 입금", "Payout"),
    "dispute": ("이의 제기", "Dispute"),
    "difference": ("차액", "Difference"),
}
ROWS_AT_ONCE = 2_000
# A currency, an account and a place: what is added up together.
Side = tuple[str, str, str]


class NoSuchMonth(Invalid):
    """A month is written as 2026-03."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One account in one currency and place: before the month, in it, and after it."""

    currency: str
    account: str
    place: str
    opening_minor: int
    debit_minor: int
    credit_minor: int

    @property
    def closing_minor(self) -> int:
        """Debits less credits by the end of the month."""
        return self.opening_minor + self.debit_minor - self.credit_minor


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One side of one entry, with its cause and whose it is."""

    booked_on: date
    entry_id: UUID
    kind: str
    reference: str  # the invoice, credit note or payment as people know it
    company: str
    account: str
    place: str
    debit: Money
    credit: Money


def month(text: str) -> tuple[date, date]:
    """This function will read a month, `2026-03`, as its first day and the next month's.

    Raises: NoSuchMonth.
    """
    try:
        first = date.fromisoformat(f"{text.strip()}-01")
    except ValueError as error:
        raise NoSuchMonth("Enter the month as 2026-03.", field="month") from error
    return first, months_after(first, 1)


def trial_balance(*, control_session: Session, first: date, end: date) -> list[TrialRow]:
    """This function will add up every account by currency and place, for the days [first, end).

    What closed months came to is kept with them: only what was booked since is added up.
    """
    since, opening = _kept_before(control_session, first)
    sums = dict.fromkeys(opening, (0, 0, 0)) | _booked(control_session, first, end, since)
    found = [
        TrialRow(
            currency,
            account,
            at,
            opening.get((currency, account, at), 0) + before,
            debits,
            credits_,
        )
        for (currency, account, at), (before, debits, credits_) in sums.items()
    ]
    return sorted(found, key=lambda row: (row.currency, ACCOUNTS.index(row.account), row.place))


def _booked(
    control_session: Session, first: date, end: date, since: date | None
) -> dict[Side, tuple[int, int, int]]:
    """What was booked from `since` on: debits less credits before the month, and both in it."""
    within = (LedgerEntry.booked_on >= first).label("within")
    entries = select(LedgerEntry.currency, within).where(LedgerEntry.booked_on < end)
    sides = select(
        LedgerLine.account,
        func.coalesce(LedgerLine.place, "").label("place"),
        func.sum(LedgerLine.debit_minor).label("debit_minor"),
        func.sum(LedgerLine.credit_minor).label("credit_minor"),
    ).group_by(LedgerLine.account, "place")
    if since is None:
        booked = entries.add_columns(LedgerEntry.id).subquery()
        query = sides.add_columns(booked.c.currency, booked.c.within)
        query = query.join(booked, booked.c.id == LedgerLine.entry_id)
        query = query.group_by(booked.c.currency, booked.c.within)
    else:
        # Few of many: their lines lie together in the index, and are read in one pass over it,
        # where a join would look for those of each entry, or read every line there is.
        entries = entries.add_columns(func.array_agg(LedgerEntry.id).label("ids"))
        entries = entries.where(LedgerEntry.booked_on >= since)
        booked = entries.group_by(LedgerEntry.currency, within).subquery()
        summed = sides.where(LedgerLine.entry_id == any_(booked.c.ids)).lateral()
        query = select(summed, booked.c.currency, booked.c.within)
        query = query.select_from(booked).join(summed, true())
    sums: dict[Side, tuple[int, int, int]] = {}
    for account, place, debits, credits_, currency, in_month in control_session.execute(query):
        before, debit, credit = sums.get((currency, account, place), (0, 0, 0))
        sums[currency, account, place] = (
            (before, int(debits), int(credits_))
            if in_month
            else (int(debits - credits_), debit, credit)
        )
    return sums


def _kept_before(control_session: Session, first: date) -> tuple[date | None, dict[Side, int]]:
    """The first day after a closed month whose balances still hold, and these; or nothing.

    They hold where every month since the first booking is closed, and none of them was opened and
    closed again after that month.
    """
    begun: date | None = control_session.scalar(select(func.min(LedgerEntry.booked_on)))
    closes = control_session.execute(
        select(MonthClose.id, MonthClose.month, MonthClose.closed_at)
        .where(MonthClose.reopened_at.is_(None), MonthClose.month < first)
        .order_by(MonthClose.month)
    ).all()
    if begun is None or not closes:
        return None, {}
    month_due, closed_last, kept = begun.replace(day=1), closes[0].closed_at, None
    for each in closes:
        if each.month > month_due:
            break
        closed_last = max(closed_last, each.closed_at)
        if each.month == month_due:
            month_due = months_after(month_due, 1)
            kept = each if each.closed_at == closed_last else kept
    if kept is None:
        return None, {}
    said = control_session.scalars(
        select(MonthClose.findings["balances"]).where(MonthClose.id == kept.id)
    ).one()
    return months_after(kept.month, 1), {
        (row["currency"], row["account"], row["place"]): row["closing_minor"] for row in said
    }


def journal(*, control_session: Session, first: date, end: date) -> Iterator[JournalRow]:
    """This function will yield every side booked on the days [first, end), oldest first."""
    reference = func.coalesce(
        Invoice.number_text, CreditNote.number_text, Payment.gateway_payment_id, ""
    )
    rows = control_session.execute(
        select(
            LedgerEntry.booked_on,
            LedgerEntry.id,
            LedgerEntry.kind,
            reference,
            func.coalesce(Tenant.name, ""),
            LedgerLine.account,
            func.coalesce(LedgerLine.place, ""),
            LedgerLine.debit_minor,
            LedgerLine.credit_minor,
            LedgerEntry.currency,
        )
        .join(LedgerLine, LedgerLine.entry_id == LedgerEntry.id)
        .outerjoin(Tenant, Tenant.id == LedgerEntry.tenant_id)
        .outerjoin(
            Invoice,
            and_(LedgerEntry.kind.in_(("issue", "void")), Invoice.id == LedgerEntry.cause_id),
        )
        .outerjoin(
            CreditNote,
            and_(LedgerEntry.kind == "credit_note", CreditNote.id == LedgerEntry.cause_id),
        )
        .outerjoin(
            PaymentReversal,
            and_(LedgerEntry.kind == "reversal", PaymentReversal.id == LedgerEntry.cause_id),
        )
        .outerjoin(
            Payment,
            Payment.id
            == case(
                (LedgerEntry.kind == "payment", LedgerEntry.cause_id),
                else_=PaymentReversal.payment_id,
            ),
        )
        .where(LedgerEntry.booked_on >= first, LedgerEntry.booked_on < end)
        .order_by(LedgerEntry.booked_on, LedgerEntry.id, LedgerLine.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    for row in rows:
        day, entry_id, kind, known_as, company, account, place, debit, credit, currency = row
        sides = Money(debit, currency), Money(credit, currency)
        yield JournalRow(day, entry_id, kind, known_as, company, account, place, *sides)
