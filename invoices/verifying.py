"""Verifying: every issued invoice worked out again from what it was made from.

Its spans, items, prices, readings, coupons and credits go through the same composing and rating
that made it; the outcome must be what stands on it, to the minor unit, and so must its tax, sums,
fingerprint and booking. What differs is named. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.errors import NotFound
from invoices import (
    bookings,
    composing,
    differences,
    discounted_bills,
    exhibits,
    late_usage,
    parties,
    schedule,
    vat,
    vat_lines,
)
from invoices.bill_lines import BillLine
from invoices.billed_commitments import History, Made
from invoices.corrected_discounts import Discounted, LineKey
from invoices.differences import Difference
from invoices.exhibits import Booked, Exhibits, Sides
from invoices.issuing import content_sha256
from invoices.ledger import Booking
from invoices.models import Invoice, InvoiceLine
from invoices.schedule import Span

# Whose buyer is gone was taxed like anybody, for all that is known.
_SOMEBODY: dict[str, Any] = {"vat_treatment": {"treatment": "taxable"}}
# Invoices that are held in memory at a time; each chunk costs the same few queries.
INVOICES_AT_ONCE = 500


class NoSuchInvoice(NotFound):
    """No issued invoice has this number or id."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one invoice. `as_issued` tells that it still has its fingerprint, so whatever
    differs then lies in what it was made from.

    `apart` says what could not be looked at where it used to be, because its tenant is erased.
    """

    invoice_id: UUID
    number: str
    as_issued: bool
    differences: tuple[Difference, ...]
    apart: str = ""
    old_lines: int = 0


def find(*, control_session: Session, name: str) -> UUID:
    """This function will return the issued invoice of a number or an id.

    Raises: NoSuchInvoice.
    """
    try:
        named = Invoice.id == UUID(name)
    except ValueError:
        named = Invoice.number_text == name.strip().upper()
    found = control_session.scalar(select(Invoice.id).where(named, Invoice.issued_at.is_not(None)))
    if found is None:
        raise NoSuchInvoice(f"No issued invoice is called {name}.")
    return found


def verify(*, control_session: Session, invoice_ids: Sequence[UUID]) -> list[Verdict]:
    """This function will work these invoices out again, in bulk."""
    found = exhibits.gather(control_session=control_session, invoice_ids=invoice_ids)
    corrected = _corrected(control_session, found)
    return [_verdict(invoice, found, corrected.get(invoice.id, {})) for invoice in found.invoices]


def _corrected(control_session: Session, found: Exhibits) -> dict[UUID, dict[LineKey, Discounted]]:
    """This function will return the bills that invoices correct, as coupons had left them then."""
    made = {each.id: Made(each.issued_at, each.supplied_on, None) for each in found.invoices}
    keys = {
        invoice.id: discounted_bills.keys_of(
            adjustments=found.adjustments_of(invoice),
            topped=_history(invoice, found).standing(made[invoice.id]),
        )
        for invoice in found.invoices
        if invoice.id in found.adjusted
    }
    history = discounted_bills.read(
        control_session=control_session, keys={key for each in keys.values() for key in each}
    )
    standing = {
        invoice_id: history.standing(each, made[invoice_id]) for invoice_id, each in keys.items()
    }
    discounted_bills.coupons_of(
        control_session=control_session,
        corrections=[
            (standing[invoice.id].values(), invoice.lines)
            for invoice in found.invoices
            if invoice.id in standing
        ],
    )
    return standing


def verify_all(*, control_session: Session) -> Iterator[Verdict]:
    """This function will work every invoice that was ever issued out again, oldest first."""
    after: UUID | None = None
    while True:
        query = select(Invoice.id).where(Invoice.issued_at.is_not(None)).order_by(Invoice.id)
        if after is not None:
            query = query.where(Invoice.id > after)
        chunk = control_session.scalars(query.limit(INVOICES_AT_ONCE)).all()
        if not chunk:
            return
        yield from verify(control_session=control_session, invoice_ids=chunk)
        control_session.expunge_all()
        after = chunk[-1]


def _verdict(invoice: Invoice, found: Exhibits, corrected: dict[LineKey, Discounted]) -> Verdict:
    apart, issued = _as_it_was(invoice, found)
    as_issued = issued is not None and invoice.content_sha256 == content_sha256(
        invoice=issued, lines=invoice.lines
    )
    wrong = list(_of_evidence(invoice, found))
    composed = _composed(invoice, issued, found, corrected)
    expected = composed.lines if composed else ()
    pairs, unpaired = _pair(invoice, found, expected)
    for right, line in pairs:
        wrong += differences.of_line(right, line)
    wrong += unpaired
    wrong += differences.of_order([line for _, line in pairs])
    if issued is not None:
        printed = sorted(invoice.lines, key=_position)
        lines_minor = [line.amount_minor for line in (printed if as_issued else expected)]
        taxes = vat_lines.taxes(lines=printed, buyer=issued.buyer)
        if composed is not None and not as_issued:
            taxes = composed.taxes
        wrong += _of_sums(invoice, lines_minor, taxes)
    paid = {use.grant.grant_id for use in found.uses[invoice.id].values() if use.grant.paid_for}
    wrong += _of_ledger(bookings.issue_of(invoice, paid_grants=paid), invoice, found)
    if not as_issued and issued is not None:
        stored = str(invoice.content_sha256)
        now = content_sha256(invoice=issued, lines=invoice.lines)
        wrong.append(Difference(None, "content_sha256", now, stored))
    return Verdict(
        invoice_id=invoice.id,
        number=str(invoice.number_text),
        as_issued=as_issued,
        differences=tuple(dict.fromkeys(wrong)),
        apart=apart,
        old_lines=sum(differences.is_old(line) for line in invoice.lines),
    )


def _position(line: InvoiceLine) -> int:
    return line.position


def _as_it_was(invoice: Invoice, found: Exhibits) -> tuple[str, Invoice | None]:
    """This function will return an invoice with its buyer, who may have been set apart."""
    if invoice.set_apart_at is None:
        return "", invoice
    paper = found.papers.get(invoice.id)
    if paper is None:
        return "the buyer and the paper are gone: lines and bookings were verified", None
    columns: dict[str, Any] = {
        column.key: getattr(invoice, column.key) for column in Invoice.__mapper__.column_attrs
    }
    whole = Invoice(**columns | {"buyer": paper["buyer"]})
    return "the buyer is set apart: verified against the statutory paper", whole


def _composed(
    invoice: Invoice,
    issued: Invoice | None,
    found: Exhibits,
    corrected: dict[LineKey, Discounted],
) -> composing.Composed | None:
    spans = [span for span, _ in found.spans[invoice.id]]
    corrections = found.adjustments_of(invoice)
    bill = (
        schedule.bill_of(invoice.supplied_on, spans)
        if spans
        else late_usage.bill_of(bill_on=invoice.supplied_on, lines=corrections)
    )
    if bill is None:
        return None
    positions = {line.id: line.position for line in invoice.lines}
    uses = sorted(found.uses[invoice.id].items(), key=lambda use: positions.get(use[0], 0))
    history = _history(invoice, found)
    made = Made(invoice.issued_at, invoice.supplied_on, None)
    account = composing.Account(
        currency=invoice.currency,
        terms=parties.vat_terms(issued.buyer if issued else _SOMEBODY),
        prices=found.prices,
        facts=found.facts_of(invoice),
        # What was billed when this invoice was made, whatever became of it since.
        billed=[
            *(asked for asked, then in found.before[invoice.subscription_id] if then.stood(made)),
            *history.changes(made),
        ],
        given=found.given,
        coupons=list(found.coupons[invoice.id].values()),
        grants=[use.grant for _, use in uses],
        adjustments=corrections,
        topped=history.standing(made),
        discounted=corrected,
    )
    return composing.compose(bill=bill, account=account)


def _history(invoice: Invoice, found: Exhibits) -> History:
    return found.commitments.get(invoice.subscription_id, History())


def _pair(
    invoice: Invoice, found: Exhibits, expected: Sequence[BillLine]
) -> tuple[list[tuple[BillLine, InvoiceLine]], list[Difference]]:
    """This function will lay each line worked out beside the one that stands for it.

    A line of an item's time is found by its span, one that corrects usage by its total, one that
    uses a coupon or a credit by that use, and what is left by its kind.
    """
    left = {line.id: line for line in sorted(invoice.lines, key=_position)}
    by_span = {(s.item.item_id, s.kind, s.start): line_id for s, line_id in found.spans[invoice.id]}
    by_grant = {use.grant.grant_id: line_id for line_id, use in found.uses[invoice.id].items()}
    by_coupon = {
        coupon.redemption_id: line_id for line_id, coupon in found.coupons[invoice.id].items()
    }
    by_total = {
        (each.was.item_id, each.was.total.start): each.line_id
        for each in found.adjusted.get(invoice.id, ())
    }
    pairs, lacking = [], []
    for line in expected:
        if line.adjustment is not None:
            key = by_total.get((line.adjustment.item_id, line.adjustment.total.start))
        elif line.span is not None:
            key = by_span.get((line.span.item.item_id, line.span.kind, line.span.start))
        elif line.use is not None:
            key = by_grant.get(line.use.grant.grant_id)
        elif line.discount is not None:
            key = by_coupon.get(line.discount.redeemed.redemption_id)
        else:
            key = next((each.id for each in left.values() if each.kind == line.kind), None)
        stored = left.pop(key, None) if key else None
        if stored is None:
            lacking.append(differences.missing(line))
        else:
            pairs.append((line, stored))
    return pairs, [*lacking, *(differences.surplus(line) for line in left.values())]


def _of_evidence(invoice: Invoice, found: Exhibits) -> Iterator[Difference]:
    positions = {line.id: line.position for line in invoice.lines}
    timezone = found.timezones[invoice.subscription_id]
    rows = found.known.of(invoice.tenant_id)
    for span, line_id in found.spans[invoice.id]:
        position = positions.get(line_id)
        life = exhibits.part_of(span, timezone)
        for what, right, stored in _of_life(span, life, found.history[span.item.item_id]):
            yield Difference(position, f"item {what}", _moment(right), _moment(stored))
        for day in found.unread(span, rows):
            what = f"reading of {span.item.charge.meter} on {day}"
            yield Difference(position, what, "nothing", "read when it was billed")


def _of_life(
    span: Span, life: tuple[datetime, datetime], history: Mapping[datetime, datetime]
) -> Iterator[tuple[str, datetime | None, datetime]]:
    """This function will hold billed time against its item's life.

    A charge paid ahead may reach beyond an end that came later, which is given back apart, and may
    stop short of one that was taken back, whose rest is billed apart.
    """
    begins, ends = life
    item = span.item
    if span.kind == "credit":
        charged = [
            max(start, item.ends_at or start) for start, end in history.items() if end == span.end
        ]
        if item.ends_at is None or span.start not in charged:
            yield "ends_at", item.ends_at, span.start
        return
    if span.start != begins and span.start not in history.values():
        yield "starts_at", begins, span.start
    ahead = item.charge.timing == "advance"
    if span.end > span.period_ends_at or (not ahead and span.end not in (ends, *history)):
        yield "ends_at", ends, span.end


def _moment(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else "nothing"


def _of_sums(
    invoice: Invoice, lines_minor: Sequence[int], taxes: vat.Taxes
) -> Iterator[Difference]:
    subtotal = sum(lines_minor)
    for what, right, stored in (
        ("subtotal", subtotal, invoice.subtotal_minor),
        ("tax", taxes.total_minor, invoice.tax_minor),
        ("total", subtotal + taxes.total_minor, invoice.total_minor),
    ):
        if right != stored:
            yield Difference(None, what, str(right), str(stored))
    lines = sorted(invoice.lines, key=_position)
    if len(lines) != len(taxes.lines_minor):
        return
    for line, right in zip(lines, taxes.lines_minor, strict=True):
        if right != line.tax_minor:
            yield Difference(line.position, "tax", str(right), str(line.tax_minor))


def _of_ledger(right: Booking, invoice: Invoice, found: Exhibits) -> Iterator[Difference]:
    booked = found.booked[invoice.id]
    issue = {side.account: (side.debit_minor, side.credit_minor) for side in right.sides}
    wanted = {"issue": issue}
    if invoice.state == "void":
        wanted["void"] = {account: (credit, debit) for account, (debit, credit) in issue.items()}
    nothing = Booked(invoice.tenant_id, invoice.currency, {})
    for kind in ("issue", "void"):
        sides = wanted.get(kind, {})
        entry = booked.get(kind, nothing)
        if (entry.tenant_id, entry.currency) != (invoice.tenant_id, invoice.currency):
            yield Difference(None, f"ledger {kind}", "of this invoice", "of another")
        stored = entry.sides
        if kind == "void":
            # How much was earned by the day of the void is the deferrals' matter.
            sides, stored = _earned_or_not(sides), _earned_or_not(stored)
        for account in sorted({*sides, *stored}):
            expected = sides.get(account, (0, 0))
            told = stored.get(account, (0, 0))
            if expected != told:
                what = f"ledger {kind} {account}"
                yield Difference(None, what, _sides(expected), _sides(told))


def _earned_or_not(sides: Sides) -> Sides:
    """This function will take revenue and what is deferred of it for one account."""
    parts = [sides.get(account, (0, 0)) for account in ("revenue", "deferred_revenue")]
    net = sum(debit - credit for debit, credit in parts)
    others = {
        account: both
        for account, both in sides.items()
        if account not in ("revenue", "deferred_revenue")
    }
    return others | {"revenue": (max(net, 0), max(-net, 0))}


def _sides(sides: tuple[int, int]) -> str:
    return f"debit {sides[0]}, credit {sides[1]}"
