"""Tax invoices on their way: issued, looked after until the tax service has them, taken back.

Each of the three leaves the database between `begin` and `record`. What was asked for once is
looked up by its management key before it is asked for again, so a worker killed at any line, or an
answer that never came, makes no second paper.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from app.base import files, ids, leases, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, NotFound
from invoices import paper_files, tax_invoices
from invoices.models import TAX_INVOICE, TaxInvoice
from invoices.tax_papers import port, registry
from invoices.tax_papers.port import BULK_MAX, Ability, Direction, Sheet, Stage

ISSUER = Actor.job("tax_papers")
_WITH_ISSUER = ("issued", "sent")


class NotFailed(Conflict):
    """Only what failed is tried again."""


class IssuerSilent(Conflict):
    """The issuer's answer did not come: the paper is looked up before anything else happens."""


@dataclass(frozen=True, slots=True)
class Order:
    """One tax invoice to be issued, or (`issue_id`) transmitted once more."""

    row_id: UUID
    tenant_id: UUID
    issuer: str
    sheet: Sheet
    asked_before: bool
    batch_key: str | None
    issue_id: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Signed XML, stored under the tenant by its digest."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order."""

    result: port.IssueResult
    kept: Kept | None = None


def due() -> ColumnElement[bool]:
    """This function will return the condition that a tax invoice is to be issued."""
    return TaxInvoice.state == "due"


def begin(
    *, control_session: Session, row_ids: Sequence[UUID], now: datetime, real_now: datetime
) -> list[Order]:
    """This function will write down that these are asked for, and return what to ask.

    Fresh ones that go to an issuer that takes batches go in one, under a key that is kept.
    """
    rows = control_session.scalars(
        select(TaxInvoice)
        .where(TaxInvoice.id.in_(row_ids), due())
        .order_by(TaxInvoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    orders = []
    batches: dict[str, str] = {}
    fresh = [row for row in rows if row.asked_at is None and row.issue_id is None]
    for row in rows:
        asked_before = row.asked_at is not None
        if len(fresh) > 1 and row in fresh and _takes_batches(row.issuer):
            row.batch_key = batches.setdefault(row.issuer, f"B{ids.uuid7().hex}")
        row.asked_at = row.asked_at or real_now
        orders.append(
            Order(
                row_id=row.id,
                tenant_id=row.tenant_id,
                issuer=row.issuer,
                sheet=_sheet(row, now),
                asked_before=asked_before,
                batch_key=row.batch_key,
                issue_id=row.issue_id,
            )
        )
    control_session.flush()
    return orders


def _takes_batches(issuer: str) -> bool:
    return Ability.BULK in registry.issuer(issuer).abilities


def _sheet(row: TaxInvoice, now: datetime) -> Sheet:
    return Sheet(
        management_key=row.management_key,
        serial=row.serial,
        paper=tax_invoices.paper_of(row),
        issued_at=now,
        direction=Direction(row.direction),
    )


def batches(orders: Iterable[Order]) -> list[list[Order]]:
    """This function will put orders together that are asked for in one call, at most 100 each."""
    together: dict[str, list[Order]] = {}
    for order in orders:
        alone = order.batch_key is None or order.issue_id is not None
        together.setdefault(str(order.row_id) if alone else str(order.batch_key), []).append(order)
    return [
        group[first : first + BULK_MAX]
        for group in together.values()
        for first in range(0, len(group), BULK_MAX)
    ]


BUYER_CLOSED = Answer(
    port.Refused("buyer_closed", "The buyer's business is closed, says the tax service.")
)


def goes_to_closed(order: Order, closed: Collection[str]) -> bool:
    """This function will tell whether an order is held back because its buyer is closed.

    Not what amends an earlier paper, nor what somebody has had issued all the same.
    """
    return (
        order.sheet.paper.buyer.registration_number in closed
        and order.issue_id is None
        and order.sheet.paper.amendment is None
        and not order.asked_before
    )


def perform(*, orders: Sequence[Order]) -> dict[UUID, Answer]:
    """This function will have one batch issued and keep the signed XML. Call it in no transaction.

    Raises: IssuerUnavailable, CertificateMissing, StoreUnavailable: nothing was issued.
    """
    issuer = registry.issuer(orders[0].issuer)
    if orders[0].batch_key is not None and orders[0].issue_id is None:
        found = issuer.issue_many(
            sheets=[order.sheet for order in orders], batch_key=orders[0].batch_key
        )
        results = {order.row_id: found[order.sheet.management_key] for order in orders}
    else:
        results = {order.row_id: _one(issuer, order) for order in orders}
    return {order.row_id: _kept(order, results[order.row_id]) for order in orders}


def _one(issuer: port.TaxIssuer, order: Order) -> port.IssueResult:
    if order.issue_id is not None:
        sent = issuer.send(management_key=order.sheet.management_key)
        return port.Issued(order.issue_id) if isinstance(sent, port.Done) else sent
    if order.asked_before and Ability.TRANSMIT in issuer.abilities:
        found = issuer.lookup(management_key=order.sheet.management_key)
        if isinstance(found, port.Unknown):
            return found
        if isinstance(found, port.Standing):
            return _recovered(order, found)
    return issuer.issue(sheet=order.sheet)


def _recovered(order: Order, found: port.Standing) -> port.IssueResult:
    if found.total_minor != order.sheet.paper.total_minor:
        return port.Refused(
            "key_taken", "Another paper stands under this management key at the issuer."
        )
    if not found.issue_id:
        return port.Unknown("the issuer has the paper, but gave it no number yet")
    return port.Issued(found.issue_id)


def _kept(order: Order, result: port.IssueResult) -> Answer:
    if not isinstance(result, port.Issued) or result.xml is None:
        return Answer(result)
    stored = files.put(prefix=paper_files.prefix_of(order.tenant_id), chunks=[result.xml])
    return Answer(result, Kept(stored.sha256, stored.size_bytes))


def record(*, control_session: Session, order: Order, answer: Answer, now: datetime) -> None:
    """This function will write down what came of an order; whoever was first, stays.

    Raises: IssuerSilent where nothing is known: the lease brings it back.
    """
    row = control_session.get(TaxInvoice, order.row_id, with_for_update=True)
    if row is None or row.state != "due":
        return
    match answer.result:
        case port.Unknown(reason):
            raise IssuerSilent(f"Not known whether it was issued: {reason}.")
        case port.Refused(code, message):
            values = {"error_code": code, "error": message, "look_at": None}
            _move(control_session, row, "failed", now, why=f"{code}: {message}", values=values)
        case port.Issued(issue_id):
            _issued(control_session, row, issue_id, answer.kept, now)


def _issued(
    control_session: Session, row: TaxInvoice, issue_id: str, kept: Kept | None, now: datetime
) -> None:
    values: dict[str, object] = {"error_code": None, "error": None, "look_at": _look_at(row, now)}
    if row.issue_id is None:
        values |= {"issue_id": issue_id, "issued_at": now}
        if kept is not None:
            values |= {"xml_sha256": kept.sha256, "xml_size_bytes": kept.size_bytes}
    _move(control_session, row, "issued", now, values=values)
    tax_invoices.lay_out(control_session=control_session, row=row, now=now)
    if row.amends_id is not None:
        _amended(control_session, row.amends_id, now)


def _amended(control_session: Session, original_id: UUID, now: datetime) -> None:
    original = control_session.get_one(TaxInvoice, original_id, with_for_update=True)
    if original.state != "amended":
        _move(control_session, original, "amended", now, values={"look_at": None})


def _look_at(row: TaxInvoice, now: datetime) -> datetime | None:
    if Ability.TRANSMIT not in registry.issuer(row.issuer).abilities:
        return None
    return now + timedelta(minutes=settings().tax_paper_look_minutes)


def look_due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an issuer is to be asked about a paper."""
    return or_(
        and_(TaxInvoice.state.in_(_WITH_ISSUER), TaxInvoice.look_at <= now),
        and_(TaxInvoice.state.in_(("issued", "failed")), TaxInvoice.cancel_reason.is_not(None)),
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of an issuer about one tax invoice; `cancel_reason` asks to take it back."""

    row_id: UUID
    issuer: str
    management_key: str
    cancel_reason: str | None


def begin_look(*, control_session: Session, row_id: UUID, now: datetime) -> Question | None:
    """This function will read what to ask; None when there is nothing to ask any more."""
    row = control_session.scalar(select(TaxInvoice).where(TaxInvoice.id == row_id, look_due(now)))
    if row is None:
        return None
    return Question(row.id, row.issuer, row.management_key, row.cancel_reason)


def look(*, question: Question) -> port.LookupResult | port.CancelResult:
    """This function will ask an issuer. Call it in no transaction. Raises: IssuerUnavailable."""
    issuer = registry.issuer(question.issuer)
    if question.cancel_reason is not None:
        return issuer.cancel(management_key=question.management_key, reason=question.cancel_reason)
    return issuer.lookup(management_key=question.management_key)


def record_look(
    *,
    control_session: Session,
    question: Question,
    answer: port.LookupResult | port.CancelResult,
    now: datetime,
) -> None:
    """This function will write down what the issuer said. Raises: IssuerSilent."""
    row = control_session.get(TaxInvoice, question.row_id, with_for_update=True)
    if row is None or row.state not in (*_WITH_ISSUER, "failed"):
        return
    match answer:
        case port.Unknown(reason):
            raise IssuerSilent(f"The issuer did not say: {reason}.")
        case port.Absent():
            raise IssuerSilent("The issuer has nothing under this key any more.")
        case port.Refused(code, message):
            row.error_code, row.error = code, message
            row.cancel_reason = row.cancel_cause_id = None
        case port.Done():
            _move(
                control_session,
                row,
                "cancelled",
                now,
                why=question.cancel_reason,
                values={"cancelled_at": now, "look_at": None},
            )
        case port.TooLate():
            # What asked for it finds it accepted one day, and amends it then.
            row.cancel_reason = row.cancel_cause_id = None
            row.look_at = now
        case port.Standing():
            _stands(control_session, row, answer, now)


def _stands(control_session: Session, row: TaxInvoice, found: port.Standing, now: datetime) -> None:
    row.look_at = _look_at(row, now)
    if found.stage.value == row.state or found.stage is Stage.ISSUED:
        return
    values: dict[str, object] = {}
    if found.stage in (Stage.SENT, Stage.ACCEPTED):
        values["sent_at"] = row.sent_at or now
    match found.stage:
        case Stage.ACCEPTED:
            values |= {"accepted_at": now, "look_at": None, "error_code": None, "error": None}
        case Stage.FAILED:
            values |= {"error_code": found.error_code, "error": found.error, "look_at": None}
        case Stage.CANCELLED:
            values |= {"cancelled_at": now, "look_at": None}
    _move(control_session, row, found.stage.value, now, why=found.error or None, values=values)
    if found.stage is Stage.ACCEPTED:
        tax_invoices.lay_out(control_session=control_session, row=row, now=now)


def try_again(*, control_session: Session, row_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will have a failed tax invoice issued, or transmitted, once more.

    Raises: NotFound, NotFailed.
    """
    row = control_session.get(TaxInvoice, row_id)
    if row is None:
        raise NotFound("There is no such tax invoice.")
    if row.state not in ("failed", "due"):
        raise NotFailed("Only a tax invoice that failed is tried again.")
    leases.release(control_session=control_session, model=TaxInvoice, keys=[row_id])
    if row.state == "failed":
        _move(control_session, row, "due", now, actor=actor, why="tried again", values={})
    notify(control_session, TAX_INVOICE.wakes["due"])


def _move(
    control_session: Session,
    row: TaxInvoice,
    to: str,
    now: datetime,
    *,
    actor: Actor = ISSUER,
    why: str | None = None,
    values: Mapping[str, object],
) -> None:
    states.move(
        control_session=control_session,
        machine=TAX_INVOICE,
        row=row,
        to=to,
        actor=actor,
        now=now,
        why=why,
        values=values,
    )
