"""Cash receipts (현금영수증): wanted before the evidence is chosen, issued once the money came.

A tenant's admin who pays by transfer may ask for one instead of a tax invoice: for income tax
(소득공제, by phone number) or as proof of an expense (지출증빙, by registration number). Issuers
refuse neither a second one nor one beside a card slip, so the database here does. Refunds cancel
them, whole or in part, by a receipt of their own.

Source: VAT Act §33 ②; 조세특례제한법 §126의3.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import ids, secrets, states
from app.base.audit import SYSTEM, Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from invoices import vat, vat_lines
from invoices.gateways.port import CashReceiptUse
from invoices.models import CASH_RECEIPT, CashReceipt, Invoice, VatEvidence
from tenants.identifiers import brn_is_valid

BY_TRANSFER = ("transfer", "virtual_account")
_MOBILE = re.compile(r"01[016789]\d{7,8}")


class NoCashReceipt(Conflict):
    """No cash receipt can be had: nobody issues them here, or the evidence is chosen already."""


class IdentityWrong(Invalid):
    """The phone or registration number is not one that a cash receipt can be issued to."""


def offered() -> bool:
    """This function will tell whether cash receipts are issued here at all."""
    return bool(settings().cash_receipt_issuer)


def of_invoice(*, control_session: Session, invoice_id: UUID) -> CashReceipt | None:
    """This function will return an invoice's cash receipt, wanted or issued; not its cancelling."""
    return control_session.scalar(
        select(CashReceipt).where(
            CashReceipt.invoice_id == invoice_id,
            CashReceipt.cancels_id.is_(None),
            CashReceipt.state != "withdrawn",
        )
    )


def may_be_wanted(*, invoice: Invoice) -> bool:
    """This function will tell whether a cash receipt may still be asked for."""
    return (
        offered()
        and invoice.state in ("issued", "paid")
        and invoice.evidence_at is None
        and invoice.currency == "KRW"
        and invoice.total_minor > 0
        and vat.EXEMPT not in vat_lines.treatments(lines=invoice.lines, buyer=invoice.buyer)
    )


def want(
    *,
    control_session: Session,
    invoice_id: UUID,
    use: CashReceiptUse,
    identity: str,
    actor: Actor,
    now: datetime,
) -> CashReceipt:
    """This function will ask for a cash receipt instead of a tax invoice, once it is paid.

    Asking again replaces what was asked. Paid by card it is withdrawn: the slip is the evidence.

    Raises: NoCashReceipt, IdentityWrong.
    """
    invoice = control_session.get_one(Invoice, invoice_id, with_for_update=True)
    if not may_be_wanted(invoice=invoice):
        raise NoCashReceipt("A cash receipt can't be asked for any more for this invoice.")
    number = _identity(use, identity)
    withdraw(control_session=control_session, invoice_id=invoice_id, actor=actor, now=now)
    row_id = ids.uuid7()
    row = CashReceipt(
        id=row_id,
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        state="wanted",
        use=use.value,
        identity_sealed=secrets.encrypt(number),
        identity_masked=masked(number),
        issuer=settings().cash_receipt_issuer,
        key=_key(row_id),
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        created_at=now,
    )
    states.begin(
        control_session=control_session, machine=CASH_RECEIPT, row=row, actor=actor, now=now
    )
    return row


def withdraw(*, control_session: Session, invoice_id: UUID, actor: Actor, now: datetime) -> bool:
    """This function will take back the wish for a cash receipt; False where there is none."""
    row = of_invoice(control_session=control_session, invoice_id=invoice_id)
    if row is None or row.state != "wanted":
        return False
    states.move(
        control_session=control_session,
        machine=CASH_RECEIPT,
        row=row,
        to="withdrawn",
        actor=actor,
        now=now,
    )
    return True


def choose(
    *, control_session: Session, row: CashReceipt, evidence: VatEvidence, now: datetime
) -> None:
    """This function will make a wanted cash receipt due: it was chosen as the supply's evidence."""
    states.move(
        control_session=control_session,
        machine=CASH_RECEIPT,
        row=row,
        to="due",
        actor=SYSTEM,
        now=now,
        values={"evidence_id": evidence.id},
    )


def cancel(
    *,
    control_session: Session,
    invoice_id: UUID,
    cause_id: UUID,
    supply_minor: int,
    tax_minor: int,
    reason: str,
    now: datetime,
) -> bool:
    """This function will draw up the cancelling of a cash receipt, of so much of it.

    False while the receipt itself has no number yet: it has to wait. Twice is harmless.
    Raises: NotFound; NoCashReceipt where more is cancelled than it says.
    """
    known = select(CashReceipt.id).where(CashReceipt.cause_id == cause_id)
    if control_session.scalar(known) is not None:
        return True
    row = control_session.scalar(
        select(CashReceipt)
        .where(
            CashReceipt.invoice_id == invoice_id,
            CashReceipt.cancels_id.is_(None),
            CashReceipt.state != "withdrawn",
        )
        .with_for_update()
    )
    if row is None:
        raise NotFound("There is no cash receipt for this supply.")
    if row.number is None:
        return False
    gone = control_session.scalars(
        select(CashReceipt.total_minor).where(CashReceipt.cancels_id == row.id)
    ).all()
    if sum(gone) + supply_minor + tax_minor > row.total_minor:
        raise NoCashReceipt("More is cancelled than the cash receipt says.")
    row_id = ids.uuid7()
    states.begin(
        control_session=control_session,
        machine=CASH_RECEIPT,
        row=CashReceipt(
            id=row_id,
            tenant_id=row.tenant_id,
            invoice_id=row.invoice_id,
            evidence_id=row.evidence_id,
            state="due",
            use=row.use,
            identity_sealed=row.identity_sealed,
            identity_masked=row.identity_masked,
            issuer=row.issuer,
            key=_key(row_id),
            supply_minor=supply_minor,
            tax_minor=tax_minor,
            total_minor=supply_minor + tax_minor,
            created_at=now,
            cancels_id=row.id,
            cause_id=cause_id,
            reason=reason,
        ),
        actor=SYSTEM,
        now=now,
        why=reason,
    )
    return True


def masked(number: str) -> str:
    """This function will hide all but the ends of a number: 010****5678."""
    return number[:3] + "*" * max(len(number) - 7, 1) + number[-4:]


def _identity(use: CashReceiptUse, typed: str) -> str:
    number = re.sub(r"[\s-]", "", typed)
    if use is CashReceiptUse.EXPENSE_PROOF and not brn_is_valid(number):
        raise IdentityWrong(
            "Enter the ten digits of a business registration number.", field="identity"
        )
    if use is CashReceiptUse.INCOME_DEDUCTION and not _MOBILE.fullmatch(number):
        raise IdentityWrong("Enter a mobile phone number: 010-1234-5678.", field="identity")
    return number


def _key(row_id: UUID) -> str:
    """Random enough to be unique for the seller, short enough for every issuer."""
    return f"CR{row_id.hex[-22:]}"
