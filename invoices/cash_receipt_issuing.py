"""Cash receipts on their way: issued and cancelled by popbill or a gateway, then looked after.

As with tax invoices, what was asked for once is looked up before it is asked for again. A gateway
has no look-up by our key, but answers a repeated key with its first answer, as long as it remembers
the key. After that nothing is asked for again: only what it shows is believed, or a person says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from app.base import clock, secrets, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict
from app.base.money import Money
from invoices import cash_receipt_papers
from invoices.gateways import port as gateway_port
from invoices.gateways import registry as gateways
from invoices.gateways.port import CashReceiptState, CashReceiptUse
from invoices.models import CASH_RECEIPT, CashReceipt, Invoice, VatEvidence
from invoices.models import Payment as PaymentRow
from invoices.payment import CLOCKS_DIFFER, MARGIN
from invoices.tax_papers import port
from invoices.tax_papers import registry as issuers
from invoices.tax_papers.port import Ability, CashReceiptSheet, Stage

ISSUER = Actor.job("cash_receipts")
BY_AGENT = ("popbill",)
KEY_FORGOTTEN = (
    "the gateway has forgotten our key by now: look there, and say on its page what became of it"
)
CANCEL_BY_HAND = (
    "a person said by its number that it was issued, and the gateway cancels by a key of its own:"
    " cancel it there, and say so on its page"
)
_STAGES = {
    CashReceiptState.IN_PROGRESS: Stage.ISSUED,
    CashReceiptState.COMPLETED: Stage.ACCEPTED,
    CashReceiptState.FAILED: Stage.FAILED,
    CashReceiptState.CANCELLED: Stage.CANCELLED,
}
_STATES = {Stage.ISSUED: "issued", Stage.SENT: "issued", Stage.ACCEPTED: "confirmed"}


class IssuerSilent(Conflict):
    """Whether it was issued is not known: it is asked about before anything else happens."""


@dataclass(frozen=True, slots=True)
class Order:
    """A cash receipt to be issued, cancelled, or (`reference`) asked about."""

    row_id: UUID
    issuer: str
    sheet: CashReceiptSheet
    asked_before: bool
    # Whose receipt it is at the gateway: this one's to ask about it, the other's to cancel it.
    reference: str | None
    cancels_reference: str | None
    looks: bool
    # When it was first asked for, and when this is: a gateway forgets keys.
    asked_at: datetime
    real_now: datetime


@dataclass(frozen=True, slots=True)
class Stands:
    """A cash receipt at whoever issues it, in one form for agents and gateways."""

    stage: Stage
    number: str | None
    reference: str | None
    traded_on: date
    error: str = ""


Answer = Stands | port.Refused | port.Unknown


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a cash receipt is due, or to be asked about."""
    looked = and_(CashReceipt.state == "issued", CashReceipt.look_at <= now)
    return (CashReceipt.state == "due") | looked


def begin(
    *, control_session: Session, row_id: UUID, now: datetime, real_now: datetime
) -> Order | None:
    """This function will write down that a cash receipt is asked for; None when it is not due."""
    row = control_session.scalar(
        select(CashReceipt).where(CashReceipt.id == row_id, due(now)).with_for_update()
    )
    if row is None:
        return None
    asked_before = row.asked_at is not None
    row.asked_at = row.asked_at or real_now
    cancelled = control_session.get(CashReceipt, row.cancels_id) if row.cancels_id else None
    control_session.flush()
    return Order(
        row_id=row.id,
        issuer=row.issuer,
        sheet=_sheet(control_session, row, cancelled, now),
        asked_before=asked_before,
        reference=row.issuer_reference,
        cancels_reference=cancelled.issuer_reference if cancelled else None,
        looks=row.state == "issued",
        asked_at=row.asked_at,
        real_now=real_now,
    )


def _sheet(
    control_session: Session, row: CashReceipt, cancelled: CashReceipt | None, now: datetime
) -> CashReceiptSheet:
    invoice = control_session.get_one(Invoice, row.invoice_id)
    return CashReceiptSheet(
        key=row.key,
        use=CashReceiptUse(row.use),
        identity=secrets.decrypt(row.identity_sealed),
        supply_minor=row.supply_minor,
        tax_minor=row.tax_minor,
        total_minor=row.total_minor,
        traded_at=now if cancelled else _paid_at(control_session, row, now),
        buyer=str(invoice.buyer.get("name", "")),
        item=str(invoice.lines[0].name_ko) if invoice.lines else "",
        order_id=invoice.number_text or str(invoice.id),
        cancels_number=(cancelled.number or "") if cancelled else "",
        cancels_traded_on=cancelled.traded_on if cancelled else None,
        in_part=cancelled is not None and row.total_minor < cancelled.total_minor,
    )


def _paid_at(control_session: Session, row: CashReceipt, now: datetime) -> datetime:
    paid_at = control_session.scalar(
        select(PaymentRow.paid_at)
        .join(VatEvidence, VatEvidence.payment_id == PaymentRow.id)
        .where(VatEvidence.id == row.evidence_id)
    )
    return paid_at or now


def perform(*, order: Order) -> Answer:
    """This function will ask whoever issues cash receipts. Call it in no transaction.

    Raises: IssuerUnavailable, NoSuchGateway, NotSupported.
    """
    if order.issuer in BY_AGENT:
        return _by_agent(issuers.issuer(order.issuer), order)
    return _by_gateway(gateways.gateway(order.issuer), order)


def _by_agent(issuer: port.TaxIssuer, order: Order) -> Answer:
    if order.looks or order.asked_before:
        found = issuer.cash_receipt(key=order.sheet.key)
        if not isinstance(found, port.Absent):
            return _stands(found)
        if order.looks:
            return port.Unknown("the issuer has no such cash receipt any more")
    if Ability.CASH_RECEIPTS not in issuer.abilities:
        return port.Refused("no_cash_receipts", f"{issuer.name} issues no cash receipts.")
    return _stands(issuer.issue_cash_receipt(sheet=order.sheet))


def _stands(found: port.CashReceiptStanding | port.Refused | port.Unknown) -> Answer:
    if not isinstance(found, port.CashReceiptStanding):
        return found
    return Stands(found.stage, found.number or None, None, found.traded_on, found.error)


def _by_gateway(gateway: gateway_port.Gateway, order: Order) -> Answer:
    sheet = order.sheet
    money = Money(sheet.total_minor, "KRW")
    answer: gateway_port.CashReceiptResult | gateway_port.Absent
    if order.looks and order.reference:
        answer = gateway.cash_receipt(receipt_id=order.reference)
    elif sheet.cancels_number and not order.cancels_reference:
        return port.Unknown(CANCEL_BY_HAND)
    elif order.asked_before and not _key_counts(gateway, order):
        answer = _only_look(gateway, order)
    elif sheet.cancels_number:
        answer = gateway.cancel_cash_receipt(
            receipt_id=order.cancels_reference or "",
            amount=money if sheet.in_part else None,
            reason="refund",
            idempotency_key=sheet.key,
        )
    else:
        answer = gateway.issue_cash_receipt(
            order_id=sheet.order_id,
            amount=money,
            tax_minor=sheet.tax_minor,
            name=sheet.item,
            use=sheet.use,
            identity=sheet.identity,
            idempotency_key=sheet.key,
        )
    match answer:
        case gateway_port.CashReceipt():
            stage = _STAGES[answer.state]
            if sheet.cancels_number and stage is Stage.CANCELLED:
                stage = Stage.ACCEPTED  # what was to happen was the cancelling
            day = clock.today(answer.issued_at, settings().contract_timezone)
            return Stands(stage, answer.number or answer.receipt_id, answer.receipt_id, day)
        case gateway_port.Declined():
            return port.Refused(answer.code, answer.message)
        case gateway_port.Absent():
            return port.Unknown("the gateway has no such cash receipt any more")
    return port.Unknown(answer.reason)


def _key_counts(gateway: gateway_port.Gateway, order: Order) -> bool:
    """Whether the gateway will still know the key when the answer comes."""
    longest = settings().gateway_connect_timeout_seconds + settings().gateway_read_timeout_seconds
    answered_by = order.real_now + timedelta(seconds=longest) + MARGIN
    return answered_by < order.asked_at + gateway.key_window - CLOCKS_DIFFER


def _only_look(
    gateway: gateway_port.Gateway, order: Order
) -> gateway_port.CashReceipt | gateway_port.Unknown:
    """A whole cancelling shows on the receipt itself; anything else is a person's to find out."""
    if order.sheet.cancels_number and order.cancels_reference and not order.sheet.in_part:
        found = gateway.cash_receipt(receipt_id=order.cancels_reference)
        if getattr(found, "state", None) is CashReceiptState.CANCELLED:
            return cast(gateway_port.CashReceipt, found)
    return gateway_port.Unknown(KEY_FORGOTTEN)


def record(*, control_session: Session, order: Order, answer: Answer, now: datetime) -> None:
    """This function will write down what was answered. Raises: IssuerSilent."""
    row = control_session.get(CashReceipt, order.row_id, with_for_update=True)
    if row is None or row.state not in ("due", "issued"):
        return
    if isinstance(answer, port.Unknown):
        raise IssuerSilent(f"Not known whether it was issued: {answer.reason}.")
    if isinstance(answer, port.Refused):
        _failed(control_session, row, answer.code, answer.message, now)
        return
    if answer.stage is Stage.FAILED:
        _failed(control_session, row, "failed", answer.error, now)
        return
    stand(control_session, row, answer, now)


def stand(
    control_session: Session,
    row: CashReceipt,
    answer: Stands,
    now: datetime,
    *,
    actor: Actor = ISSUER,
) -> None:
    """This function will write down how a cash receipt, locked, stands with its issuer."""
    to = _STATES.get(answer.stage, "cancelled")
    row.look_at = None if to != "issued" else now + _pause()
    row.number = row.number or answer.number
    row.issuer_reference = row.issuer_reference or answer.reference
    row.traded_on = row.traded_on or answer.traded_on
    row.issued_at = row.issued_at or now
    row.error_code = row.error = None
    if to == "confirmed":
        row.confirmed_at = now
        cash_receipt_papers.lay_out(control_session=control_session, row=row, now=now)
    if to != row.state:
        move(control_session, row, to, now, actor=actor)
    if row.cancels_id is not None and to == "confirmed":
        _cancelled(control_session, row, now)


def _pause() -> timedelta:
    return timedelta(minutes=settings().tax_paper_look_minutes)


def _failed(
    control_session: Session, row: CashReceipt, code: str, message: str, now: datetime
) -> None:
    row.error_code, row.error, row.look_at = code, message, None
    move(control_session, row, "failed", now, why=f"{code}: {message}")


def _cancelled(control_session: Session, row: CashReceipt, now: datetime) -> None:
    """Once all of it is cancelled, the cash receipt itself is."""
    original = control_session.get_one(CashReceipt, row.cancels_id, with_for_update=True)
    gone = control_session.scalars(
        select(CashReceipt.total_minor).where(
            CashReceipt.cancels_id == original.id, CashReceipt.state == "confirmed"
        )
    ).all()
    if sum(gone) == original.total_minor and original.state in ("issued", "confirmed"):
        move(control_session, original, "cancelled", now)


def move(
    control_session: Session,
    row: CashReceipt,
    to: str,
    now: datetime,
    *,
    actor: Actor = ISSUER,
    why: str | None = None,
) -> None:
    """This function will move a cash receipt, or a cancelling, to another state."""
    states.move(
        control_session=control_session,
        machine=CASH_RECEIPT,
        row=row,
        to=to,
        actor=actor,
        now=now,
        why=why,
    )
