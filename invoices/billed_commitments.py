"""Billed commitments: minimums as they were asked for, and what late usage changed of them since.

What stands is told from rows alone, for now and for the moment an older invoice was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Row, String, and_, cast, func, select
from sqlalchemy.orm import Session, aliased

from app.base import bulk
from invoices import schedule, vat_lines
from invoices.commitments import Asked, ToppedUp
from invoices.models import BilledSpan, Invoice, InvoiceLine, Subscription
from invoices.models import UsageTotal as StoredTotal
from invoices.schedule import Item

_RULE = InvoiceLine.evidence["rule"].astext
_MADE = (Invoice.issued_at, Invoice.supplied_on, Invoice.voided_at)
_NOT_YET = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Made:
    """The invoice that something stands on: when it was made, and whether it was taken back.

    It is made as it is issued, for a draft is composed anew then: what was billed, or voided, while
    it stood as one came first.
    """

    issued_at: datetime | None
    supplied_on: date
    voided_at: datetime | None

    def stood(self, at: Made | None) -> bool:
        """This function will tell whether it stood when a later bill was made, or stands now."""
        if at is None:
            return self.voided_at is None
        return self.before(at) and (self.voided_at is None or self.voided_at > at.made_at)

    def before(self, other: Made) -> bool:
        """This function will tell whether it was made first."""
        return (self.made_at, self.supplied_on) < (other.made_at, other.supplied_on)

    @property
    def made_at(self) -> datetime:
        """When it was made; a draft is still to be, after all that is there."""
        return self.issued_at or _NOT_YET


@dataclass(slots=True)
class History:
    """What a subscription's commitments asked for, what late usage changed, and on which bills."""

    topped: list[tuple[ToppedUp, Made]] = field(default_factory=list)
    changed: list[tuple[Asked, Made]] = field(default_factory=list)
    anew: list[tuple[UUID, datetime, int, Made]] = field(default_factory=list)

    def standing(self, at: Made | None = None) -> list[ToppedUp]:
        """This function will return the commitments as they stand, or stood before a later bill."""
        return [self._as_changed(each, made, at) for each, made in self.topped if made.stood(at)]

    def _as_changed(self, each: ToppedUp, made: Made, at: Made | None) -> ToppedUp:
        later = [asked for asked, then in self.changed if then.stood(at) and made.before(then)]
        asked_minor = each.asked_minor + sum(
            amount_minor
            for item_id, start, amount_minor, then in self.anew
            if then.stood(at) and (item_id, start) == (each.span.item.item_id, each.span.start)
        )
        return replace(each.with_(later), asked_minor=asked_minor)

    def changes(self, at: Made | None = None) -> list[Asked]:
        """This function will return what late usage changed, by now or before a later bill."""
        return [asked for asked, made in self.changed if made.stood(at)]


def read(
    *,
    control_session: Session,
    timezones: Mapping[UUID, str],
    items: Mapping[UUID, Item],
    subscription_ids: Collection[UUID],
) -> dict[UUID, History]:
    """This function will read the history of subscriptions' commitments, by three statements."""
    found: dict[UUID, History] = defaultdict(History)
    if not subscription_ids:
        return found
    for subscription_id, asked, made in _changed(control_session, subscription_ids):
        found[subscription_id].changed.append((asked, made))
    for row in _topped(control_session, subscription_ids):
        span = schedule.span_of(
            item=items[row.item_id],
            kind="charge",
            start=row.span.lower,
            end=row.span.upper,
            timezone=timezones[row.subscription_id],
        )
        evidence = row.evidence
        found[row.subscription_id].topped.append(
            (
                ToppedUp(
                    span,
                    int(evidence["committed_minor"]),
                    int(evidence["reached_minor"]),
                    row.amount_minor,
                    row.number_text or "",
                ),
                _made(row),
            )
        )
    for row in _anew(control_session, subscription_ids):
        found[row.subscription_id].anew.append(
            (
                UUID(row.evidence["item"]),
                datetime.fromisoformat(row.evidence["from"]),
                row.amount_minor,
                _made(row),
            )
        )
    return found


def changes(
    *, control_session: Session, subscription_ids: Collection[UUID]
) -> list[tuple[UUID, Asked]]:
    """This function will return what late usage changed about bills that stand."""
    return [
        (subscription_id, asked)
        for subscription_id, asked, made in _changed(control_session, subscription_ids)
        if made.stood(None)
    ]


def corrected_by(*, control_session: Session, invoice_id: UUID) -> str | None:
    """This function will name an invoice, not voided, that works a commitment on this one anew."""
    later = aliased(Invoice)
    return control_session.scalar(
        select(func.coalesce(later.number_text, "-"))
        .select_from(BilledSpan)
        .join(Subscription, Subscription.id == BilledSpan.subscription_id)
        .join(later, later.tenant_id == Subscription.tenant_id)  # as invoices are indexed
        .join(InvoiceLine, InvoiceLine.invoice_id == later.id)
        .where(
            BilledSpan.invoice_id == invoice_id,
            later.state != "void",
            InvoiceLine.kind == "adjustment",
            _RULE == "topped_up_anew",
            InvoiceLine.evidence["item"].astext == cast(BilledSpan.item_id, String),
            cast(InvoiceLine.evidence["from"].astext, DateTime(timezone=True))
            == func.lower(BilledSpan.span),
        )
        .limit(1)
    )


def _changed(
    control_session: Session, subscription_ids: Collection[UUID]
) -> list[tuple[UUID, Asked, Made]]:
    rows = control_session.execute(
        select(
            StoredTotal.subscription_id,
            StoredTotal.item_id,
            StoredTotal.starts_at,
            StoredTotal.ends_at,
            vat_lines.priced_minor().label("amount_minor"),
            *_MADE,
        )
        .join(InvoiceLine, InvoiceLine.id == StoredTotal.line_id)
        .join(Invoice, Invoice.id == StoredTotal.invoice_id)
        .where(bulk.among(StoredTotal.subscription_id, subscription_ids), StoredTotal.revision > 0)
    ).all()
    return [
        (
            row.subscription_id,
            Asked(row.item_id, row.starts_at, row.ends_at, row.amount_minor),
            _made(row),
        )
        for row in rows
    ]


def _topped(control_session: Session, subscription_ids: Collection[UUID]) -> Sequence[Row[Any]]:
    return control_session.execute(
        select(
            BilledSpan.subscription_id,
            BilledSpan.item_id,
            BilledSpan.span,
            InvoiceLine.evidence,
            vat_lines.priced_minor().label("amount_minor"),
            Invoice.number_text,
            *_MADE,
        )
        .join(InvoiceLine, InvoiceLine.id == BilledSpan.line_id)
        .join(Invoice, Invoice.id == BilledSpan.invoice_id)
        .where(
            bulk.among(BilledSpan.subscription_id, subscription_ids),
            InvoiceLine.kind == "commitment",
        )
        .order_by(BilledSpan.span, BilledSpan.id)
    ).all()


def _anew(control_session: Session, subscription_ids: Collection[UUID]) -> Sequence[Row[Any]]:
    return control_session.execute(
        select(
            Invoice.subscription_id,
            InvoiceLine.evidence,
            vat_lines.priced_minor().label("amount_minor"),
            *_MADE,
        )
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .join(
            Subscription,
            and_(
                Subscription.id == Invoice.subscription_id,
                Subscription.tenant_id == Invoice.tenant_id,  # by which invoices are indexed
            ),
        )
        .where(
            bulk.among(Subscription.id, subscription_ids),
            InvoiceLine.kind == "adjustment",
            _RULE == "topped_up_anew",
        )
    ).all()


def _made(row: Any) -> Made:
    return Made(row.issued_at, row.supplied_on, row.voided_at)
