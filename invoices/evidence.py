"""VAT evidence: every supply has exactly one, chosen here once and for all.

Paid by card: the card slip, and no tax invoice (VAT Act §33 ②). Paid by transfer: a cash receipt
where the customer asked for one, else a tax invoice that says received (영수), at once. Paid in
part by card and in part otherwise: a person's business, since neither may cover the whole. Credit
that a card slip proves already counts as paid by that card (`vat_slips`).

Unpaid when its deadline comes: a tax invoice that claims (청구); a later payment adds none. The
deadline is the 10th of the month after the supply (§34); a holiday moves it later, which nobody
here needs to use. Claims are issued from the 9th, so that a whole day is left to whatever goes
wrong. A charge on its way is waited for until noon of the 10th.

A supply in arrears of its deadline is claimed at once, but not before its card has had its turn.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, case, exists, or_, select
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.config import settings
from invoices import cash_receipts, tax_invoices, vat_deadlines, vat_slips
from invoices.models import CashReceipt, Invoice, Payment, PaymentAttempt, VatEvidence
from invoices.payment_standing import stands
from invoices.periods import months_after

CHOOSER = Actor.job("evidence")
DEADLINE_DAY = 10
DAYS_BEFORE = 1
LAST_CALL_HOUR = 12
# How long a fresh invoice whose deadline is past already waits for its own card.
TURN_OF_THE_CARD = timedelta(hours=12)


def deadline(supplied_on: date) -> date:
    """This function will return the last day on which a supply's tax invoice is in time."""
    return vat_deadlines.issue_by(supplied_on)


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an invoice's evidence is to be chosen now."""
    local = now.astimezone(ZoneInfo(settings().contract_timezone))
    ripe = _supplied_before(local.date(), DEADLINE_DAY - DAYS_BEFORE)
    last_call = _supplied_before((local - timedelta(hours=LAST_CALL_HOUR)).date(), DEADLINE_DAY)
    money_may_come = or_(
        Invoice.collect_at <= now,
        exists().where(
            PaymentAttempt.invoice_id == Invoice.id, PaymentAttempt.state.in_(("open", "unknown"))
        ),
    )
    waits = case(
        (Invoice.supplied_on < last_call, Invoice.issued_at > now - TURN_OF_THE_CARD), else_=True
    )
    return and_(
        Invoice.evidence_at.is_(None),
        or_(
            Invoice.state.in_(("issued", "paid", "written_off")),
            # Taken back as a whole before any paper was made: there is nothing to prove.
            and_(Invoice.state == "credited", Invoice.credited_minor < Invoice.total_minor),
        ),
        Invoice.total_minor > 0,
        or_(
            Invoice.state == "paid",
            and_(Invoice.supplied_on < ripe, ~and_(waits, money_may_come.is_(True))),
        ),
    )


def _supplied_before(today: date, day_of_month: int) -> date:
    """Supplies before this day have come to the given day of the month after them."""
    first = today.replace(day=1)
    return first if today.day >= day_of_month else months_after(first, -1)


def choose(*, control_session: Session, invoice_id: UUID, now: datetime) -> VatEvidence | None:
    """This function will choose an invoice's evidence, and draw up the paper if it is one.

    None when it is not due (any more): looked at again under the invoice's lock.
    """
    invoice = control_session.scalar(
        select(Invoice)
        .where(Invoice.id == invoice_id, due(now))
        .with_for_update(of=Invoice)
        .execution_options(populate_existing=True)
    )
    if invoice is None:
        return None
    payments = list(
        control_session.scalars(
            select(Payment)
            .where(Payment.invoice_id == invoice_id, Payment.settled_minor > 0, stands())
            .order_by(Payment.id)
        )
    )
    wish = cash_receipts.of_invoice(control_session=control_session, invoice_id=invoice_id)
    kept_minor = _kept(control_session, invoice_id, payments)
    evidence = _evidence(invoice, payments, kept_minor, wish, now)
    control_session.add(evidence)
    invoice.evidence_at = now
    control_session.flush()
    if evidence.kind == "tax_invoice":
        tax_invoices.draw_up(
            control_session=control_session,
            invoice=invoice,
            evidence=evidence,
            purpose="receipt" if invoice.state == "paid" else "claim",
            now=now,
        )
    if evidence.kind == "cash_receipt" and wish is not None:
        cash_receipts.choose(control_session=control_session, row=wish, evidence=evidence, now=now)
    else:
        cash_receipts.withdraw(
            control_session=control_session, invoice_id=invoice_id, actor=CHOOSER, now=now
        )
    audit.append(
        control_session=control_session,
        actor=CHOOSER,
        action=f"vat_evidence.{evidence.kind}",
        subject_kind="invoice",
        subject_id=invoice_id,
        tenant_id=invoice.tenant_id,
        why=evidence.reason,
        now=now,
    )
    return evidence


def _kept(control_session: Session, invoice_id: UUID, payments: list[Payment]) -> int:
    if not any(payment.kind == "credit" for payment in payments):
        return 0
    return vat_slips.from_credit(control_session=control_session, invoice_id=invoice_id)


def _evidence(
    invoice: Invoice,
    payments: list[Payment],
    kept_minor: int,
    wish: CashReceipt | None,
    now: datetime,
) -> VatEvidence:
    """`kept_minor` of it was paid with credit that card slips of other supplies prove already."""
    evidence = VatEvidence(
        tenant_id=invoice.tenant_id, invoice_id=invoice.id, kind="tax_invoice", chosen_at=now
    )
    kinds = {payment.kind for payment in payments}
    if slip := _slip(invoice, payments, kept_minor):
        evidence.kind, evidence.payment_id = "card_slip", slip.id
    elif "card" in kinds:
        evidence.kind = "by_hand"
        evidence.reason = (
            "a card slip proves a part of it, and the rest was not paid by card: "
            "a tax invoice may name that rest alone, and is issued by a person"
        )
    elif kept_minor:
        evidence.kind = "by_hand"
        evidence.reason = (
            "a card slip of another supply proves a part of it, which was paid with credit: "
            "a tax invoice may name the rest alone, and is issued by a person"
        )
    elif _takes_cash_receipt(invoice, kinds, wish):
        evidence.kind, evidence.payment_id = "cash_receipt", payments[-1].id
    elif reason := tax_invoices.hindrance(invoice):
        # We neither invent a number for a buyer abroad nor decide their tax: it stays as it was
        # charged, and a person sees that no paper of ours proves it.
        abroad = invoice.buyer["country"] != "KR"
        evidence.kind, evidence.reason = "none_foreign" if abroad else "by_hand", reason
    return evidence


def _slip(invoice: Invoice, payments: list[Payment], kept_minor: int) -> Payment | None:
    """The payment whose card slip proves all of a supply, its own card's before credit."""
    by_card = [payment for payment in payments if payment.kind == "card"]
    proved = sum(payment.settled_minor for payment in by_card) + kept_minor
    if invoice.state != "paid" or proved < sum(payment.settled_minor for payment in payments):
        return None
    return next(reversed(by_card or payments), None)


def _takes_cash_receipt(invoice: Invoice, kinds: set[str], wish: CashReceipt | None) -> bool:
    paid_so = invoice.state == "paid" and bool(kinds) and kinds <= set(cash_receipts.BY_TRANSFER)
    return wish is not None and wish.state == "wanted" and paid_so
