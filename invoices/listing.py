"""What finance asks of the invoices: filtered lists and their totals, exports, what is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.base import clock
from app.base.config import settings
from app.base.errors import Invalid
from app.base.money import Money
from invoices.models import INVOICE, Invoice
from tenants.models import Tenant

OVERDUE = "overdue"
STATES = (*INVOICE.states, OVERDUE)
# What a list may be sorted by; a minus before the word turns the order around.
SORTS = ("issued", "due", "total")
_ROWS_AT_ONCE = 250
_TEXT_LENGTH_MAX = 100
_NUMBER_DIGITS_MAX = 18  # what fits a BIGINT


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFilters:
    """What a list shows; empty means everything.

    `period_start` and `period_end` (half-open) pick invoices whose period touches those days;
    `issued_from` and `issued_until` (half-open) are days of the seller. `text` is the beginning
    of a number, a bare number, part of a tenant's name or its registration number. `state` is one
    of STATES.
    """

    state: str | None = None
    period_start: date | None = None
    period_end: date | None = None
    issued_from: date | None = None
    issued_until: date | None = None
    tenant_id: UUID | None = None
    currency: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRow:
    """One invoice as a list shows it; `state` says `overdue` for one unpaid past its day."""

    id: UUID
    number_text: str | None
    state: str
    tenant_id: UUID
    tenant_name: str
    registration_number: str
    period_start: date | None
    period_end: date | None
    supplied_on: date
    issued_at: datetime | None
    due_on: date | None
    paid_at: datetime | None
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    open_minor: int

    # Made when they are asked for: a page of fifty rows shows one or two of the four.
    @property
    def subtotal(self) -> Money:
        """What it comes to before tax."""
        return Money(self.subtotal_minor, self.currency)

    @property
    def tax(self) -> Money:
        """The tax on it."""
        return Money(self.tax_minor, self.currency)

    @property
    def total(self) -> Money:
        """What it comes to with tax."""
        return Money(self.total_minor, self.currency)

    @property
    def open(self) -> Money:
        """What of it is still owed."""
        return Money(self.open_minor, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The sums of a filter in one currency; what is void is counted but adds nothing.

    `open` is what is still owed of `total`: neither paid, nor taken back or given up.
    """

    currency: str
    count: int
    subtotal: Money
    tax: Money
    total: Money
    open: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePage:
    """One page of a list, with the totals of the whole filter; `number` counts from 1."""

    rows: list[InvoiceRow]
    totals: list[Totals]
    count: int
    number: int
    pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """A customer's newest invoices, of so many."""

    rows: list[InvoiceRow]
    count: int


def find(
    *,
    control_session: Session,
    filters: InvoiceFilters,
    now: datetime,
    page: int = 1,
    page_size: int | None = None,
    sort: str = "-issued",
    sums: list[Totals] | None = None,
) -> InvoicePage:
    """This function will return one page of the invoices that a filter picks, newest first.

    A page past the end is the last one. `sort` is one of SORTS, turned by a minus. Who has the
    totals of the filter already gives them as `sums`.

    Raises: Invalid for an unknown state or order.
    """
    size = page_size or settings().page_size
    if sums is None:
        sums = totals(control_session=control_session, filters=filters, now=now)
    count = sum(each.count for each in sums)
    pages = max(1, -(-count // size))
    number = min(max(page, 1), pages)
    asked = conditions(filters, now)
    wanted = {"most": size, "behind": (number - 1) * size}
    page_of = _page(sort) if not asked else _page_of(asked, sort)
    rows = control_session.execute(page_of, wanted) if count else ()
    today = today_of(now)
    return InvoicePage(
        rows=[_row(row, today) for row in rows],
        totals=sums,
        count=count,
        number=number,
        pages=pages,
    )


def latest(*, control_session: Session, tenant_id: UUID, now: datetime, limit: int) -> Latest:
    """This function will return a customer's newest invoices, and how many there are."""
    rows = control_session.execute(_LATEST, {"tenant": tenant_id, "most": limit}).all()
    today = today_of(now)
    return Latest(rows=[_row(row, today) for row in rows], count=rows[0].of if rows else 0)


def totals(*, control_session: Session, filters: InvoiceFilters, now: datetime) -> list[Totals]:
    """This function will add up the invoices that a filter picks, by currency, in one query."""
    counts = Invoice.state.not_in(("void", "draft"))

    def added(column: InstrumentedAttribute[int], condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(column).filter(condition), 0)

    query = (
        select(
            Invoice.currency,
            func.count(),
            added(Invoice.subtotal_minor, counts),
            added(Invoice.tax_minor, counts),
            added(Invoice.total_minor, counts),
            func.coalesce(func.sum(Invoice.open_minor), 0),
        )
        .where(*conditions(filters, now))
        .group_by(Invoice.currency)
        .order_by(Invoice.currency)
    )
    return [
        Totals(
            currency=currency,
            count=count,
            subtotal=Money(int(subtotal), currency),
            tax=Money(int(tax), currency),
            total=Money(int(total), currency),
            open=Money(int(open_), currency),
        )
        for currency, count, subtotal, tax, total, open_ in control_session.execute(query)
    ]


def export_rows(
    *, control_session: Session, filters: InvoiceFilters, now: datetime, sort: str = "-issued"
) -> Iterator[InvoiceRow]:
    """This function will yield every invoice that a filter picks, through a server-side cursor.

    At most `export_rows_max` rows come; the transaction stays open while they are read.
    """
    query = _rows(_picked(filters, now, sort).limit(settings().export_rows_max), sort)
    today = today_of(now)
    for row in control_session.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)):
        yield _row(row, today)


def ids(*, control_session: Session, filters: InvoiceFilters, now: datetime) -> list[UUID]:
    """This function will list the ids of the invoices that a filter picks, for a bundle of papers.

    One more than `bulk_documents_max` come at most, so that the caller can tell when it is passed.
    """
    most = settings().bulk_documents_max + 1
    return list(control_session.scalars(_picked(filters, now).limit(most)))


def _order(sort: str) -> tuple[ColumnElement[Any], ...]:
    column = _SORT_COLUMNS.get(sort.removeprefix("-"))
    if column is None:
        raise Invalid(f"Choose one of {', '.join(SORTS)}.", field="sort")
    if sort.startswith("-"):
        return column.desc().nulls_first(), Invoice.id.desc()
    return column.asc().nulls_last(), Invoice.id.asc()


_SORT_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "issued": Invoice.issued_at,
    "due": Invoice.due_on,
    "total": Invoice.total_minor,
}


def _picked(filters: InvoiceFilters, now: datetime, sort: str = "-issued") -> Select[Any]:
    """This function will select the ids of what a filter picks, in order.

    An index alone answers it, so that a page far down the list costs no rows that nobody sees.
    """
    return select(Invoice.id).where(*conditions(filters, now)).order_by(*_order(sort))


_SHOWN = (
    select(
        Invoice.id,
        Invoice.number_text,
        Invoice.state,
        Invoice.tenant_id,
        Tenant.name.label("tenant_name"),
        Invoice.buyer["registration_number"].astext.label("registration_number"),
        Invoice.period,
        Invoice.supplied_on,
        Invoice.issued_at,
        Invoice.due_on,
        Invoice.paid_at,
        Invoice.currency,
        Invoice.subtotal_minor,
        Invoice.tax_minor,
        Invoice.total_minor,
        Invoice.open_minor.label("open_minor"),
    )
    .select_from(Invoice)
    .join(Tenant, Tenant.id == Invoice.tenant_id)
)


def _rows(picked: Select[Any], sort: str) -> Select[Any]:
    chosen = picked.subquery()
    return _SHOWN.join(chosen, chosen.c.id == Invoice.id).order_by(*_order(sort))


def _page_of(asked: list[ColumnElement[bool]], sort: str) -> Select[Any]:
    picked = select(Invoice.id).where(*asked).order_by(*_order(sort))
    return _rows(
        picked.limit(bindparam("most", type_=Integer)).offset(bindparam("behind", type_=Integer)),
        sort,
    )


@lru_cache(maxsize=2 * len(SORTS))
def _page(sort: str) -> Select[Any]:
    """The page of all there is, which most looks are at: put together once for each order."""
    return _page_of([], sort)


_OWN = Invoice.tenant_id == bindparam("tenant")
_LATEST = _rows(
    select(Invoice.id)
    .where(_OWN)
    .order_by(*_order("-issued"))
    .limit(bindparam("most", type_=Integer)),
    "-issued",
).add_columns(
    select(func.count())
    .select_from(Invoice)
    .where(_OWN)
    .correlate(None)
    .scalar_subquery()
    .label("of")
)


def conditions(filters: InvoiceFilters, now: datetime) -> list[ColumnElement[bool]]:
    """This function will turn a filter into conditions on invoices.

    Raises: Invalid for an unknown state.
    """
    found: list[ColumnElement[bool]] = []
    if filters.state is not None:
        found.append(_state(filters.state, now))
    if filters.period_start is not None or filters.period_end is not None:
        days = Range(filters.period_start, filters.period_end, bounds="[)")
        found.append(Invoice.period.overlaps(days))
    if filters.issued_from is not None:
        found.append(Invoice.issued_at >= _midnight(filters.issued_from))
    if filters.issued_until is not None:
        found.append(Invoice.issued_at < _midnight(filters.issued_until))
    if filters.tenant_id is not None:
        found.append(Invoice.tenant_id == filters.tenant_id)
    if filters.currency is not None:
        found.append(Invoice.currency == filters.currency)
    if filters.text and (wanted := _cleaned(filters.text)):
        found.append(_text(wanted))
    return found


def _cleaned(text: str) -> str:
    return text.strip()[:_TEXT_LENGTH_MAX].replace("\x00", "")


def _text(wanted: str) -> ColumnElement[bool]:
    """This function will return what a search box means: a number's beginning, or a customer.

    A bare figure is an invoice's number; ten digits are a customer's registration number too.
    """
    digits = wanted.replace("-", "")
    customers = select(Tenant.id).where(
        or_(
            Tenant.name.icontains(wanted, autoescape=True),
            Tenant.billing_profile["registration_number"].astext == digits,
        )
    )
    meant = [
        Invoice.number_text.startswith(wanted.upper(), autoescape=True),
        Invoice.tenant_id.in_(customers),
    ]
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= _NUMBER_DIGITS_MAX:
        meant.append(Invoice.number == int(wanted))
    return or_(*meant)


def _state(state: str, now: datetime) -> ColumnElement[bool]:
    if state not in STATES:
        raise Invalid(f"Choose one of {', '.join(STATES)}.", field="state")
    if state == OVERDUE:
        return and_(Invoice.state == "issued", Invoice.due_on < today_of(now))
    return Invoice.state == state


def _row(row: Any, today: date) -> InvoiceRow:
    late = row.state == "issued" and row.due_on is not None and row.due_on < today
    return InvoiceRow(
        id=row.id,
        number_text=row.number_text,
        state=OVERDUE if late else row.state,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant_name,
        registration_number=row.registration_number or "",
        period_start=row.period.lower,
        period_end=row.period.upper,
        supplied_on=row.supplied_on,
        issued_at=row.issued_at,
        due_on=row.due_on,
        paid_at=row.paid_at,
        currency=row.currency,
        subtotal_minor=row.subtotal_minor,
        tax_minor=row.tax_minor,
        total_minor=row.total_minor,
        open_minor=row.open_minor,
    )


def today_of(now: datetime) -> date:
    """This function will return the seller's day: what is overdue is counted by it."""
    return clock.today(now, settings().contract_timezone)


def _midnight(day: date) -> datetime:
    zone = ZoneInfo(settings().contract_timezone)
    return datetime.combine(day, datetime.min.time(), tzinfo=zone)
