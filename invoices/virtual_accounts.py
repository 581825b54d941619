"""Virtual accounts: a bank account that a gateway opens for one invoice's deposit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import secrets, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, TenantryError
from app.base.money import Money
from invoices import gateway_accounts, payment, settlement
from invoices.gateways import registry
from invoices.gateways.port import (
    Capability,
    Declined,
    Unknown,
    VirtualAccountResult,
)
from invoices.gateways.port import VirtualAccount as Opened
from invoices.models import VIRTUAL_ACCOUNT, Invoice, VirtualAccount
from tenants.models import Tenant

log = structlog.get_logger(__name__)

KEEPER = Actor.job("transfers")
# How often an account is looked at without any news: one message may be lost.
LOOKED_AT_EVERY = timedelta(hours=1)


class NoneOffered(Conflict):
    """No gateway of ours opens virtual accounts in that currency."""


class NothingOpen(Conflict):
    """Nothing of the invoice is open."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening an account needs, read before the transaction ended."""

    account_id: UUID
    gateway: str
    order_id: str
    amount: Money
    name: str
    payer: str
    bank: str
    expires_at: datetime
    idempotency_key: str


def offered_by(*, control_session: Session, currency: str) -> str | None:
    """This function will return the merchant account that opens virtual accounts, if one does.

    The default goes before those that are offered beside it.
    """
    stored = gateway_accounts.listed(control_session=control_session)
    rows = [row for row in stored if row.disabled_at is None]
    codes = [row.code for row in rows if not row.currencies or currency in row.currencies]
    preferred = gateway_accounts.default_code(control_session=control_session)
    for code in sorted({*codes, preferred}, key=lambda each: (each != preferred, each)):
        try:
            if Capability.VIRTUAL_ACCOUNTS in registry.gateway(code).capabilities:
                return code
        except TenantryError as error:
            log.warning("gateway_account.unusable", account=code, error=error.message)
    return None


def of_invoice(*, control_session: Session, invoice_id: UUID) -> VirtualAccount | None:
    """This function will return the newest account that was opened for an invoice."""
    return control_session.scalar(
        select(VirtualAccount)
        .where(VirtualAccount.invoice_id == invoice_id, VirtualAccount.state != "refused")
        .order_by(VirtualAccount.asked_at.desc())
        .limit(1)
    )


def begin(
    *,
    control_session: Session,
    invoice_id: UUID,
    bank: str,
    actor: Actor,
    now: datetime,
    real_now: datetime,
) -> Opening | None:
    """This function will write down that an account is wanted for what an invoice has open.

    None when one waits for its deposit already. An opening that was never answered is taken up
    again with its own key, while the gateway remembers it.

    Raises: NoSuchInvoice, NothingOpen, NoneOffered, ChargeUnderWay.
    """
    invoice = settlement.locked(control_session, invoice_id)
    if not invoice.open_minor:
        raise NothingOpen("Nothing of this invoice is unpaid.")
    if payment.under_way(control_session=control_session, invoice_id=invoice_id) is not None:
        raise payment.ChargeUnderWay(
            "A card charge of this invoice is under way. Wait until its outcome is known."
        )
    standing = _standing(control_session, invoice, now, real_now)
    if standing is not None and standing.state == "waiting":
        return None
    account = standing or _new(control_session, invoice, bank, now, real_now)
    if standing is None:
        states.begin(
            control_session=control_session,
            machine=VIRTUAL_ACCOUNT,
            row=account,
            actor=actor,
            now=now,
        )
    tenant = control_session.get_one(Tenant, invoice.tenant_id)
    return Opening(
        account_id=account.id,
        gateway=account.gateway,
        order_id=account.order_id,
        amount=Money(account.amount_minor, account.currency),
        name=f"Tenantry {invoice.number_text}",
        payer=tenant.name,
        bank=account.bank_asked,
        expires_at=account.expires_at,
        idempotency_key=account.idempotency_key,
    )


def _standing(
    control_session: Session, invoice: Invoice, now: datetime, real_now: datetime
) -> VirtualAccount | None:
    """The account that counts still; one that is over, or asks for another amount, is closed."""
    account = control_session.scalar(
        select(VirtualAccount)
        .where(
            VirtualAccount.invoice_id == invoice.id,
            VirtualAccount.state.in_(("opening", "waiting")),
        )
        .with_for_update()
    )
    if account is None:
        return None
    good = account.amount_minor == invoice.open_minor and account.expires_at > now
    if account.state == "opening" and (
        not good or account.key_expires_at <= real_now + payment.call_lease()
    ):
        move(control_session, account, "refused", now, why="never answered")
        return None
    if account.state == "waiting" and not good:
        # A deposit that still comes on it is heard of and received all the same.
        move(control_session, account, "expired", now, why="replaced")
        return None
    return account


def _new(
    control_session: Session, invoice: Invoice, bank: str, now: datetime, real_now: datetime
) -> VirtualAccount:
    code = offered_by(control_session=control_session, currency=invoice.currency)
    if code is None:
        raise NoneOffered("Virtual accounts are not offered. Please use our bank account.")
    made = control_session.scalar(
        select(func.count()).where(VirtualAccount.invoice_id == invoice.id)
    )
    number = (made or 0) + 1
    return VirtualAccount(
        state="opening",
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        gateway=code,
        bank_asked=bank,
        order_id=f"{invoice.id.hex}-va{number}",
        idempotency_key=f"{invoice.id}-va{number}",
        key_expires_at=real_now
        + max(registry.gateway(code).key_window - payment.CLOCKS_DIFFER, timedelta()),
        amount_minor=invoice.open_minor,
        currency=invoice.currency,
        # Whole seconds: a repeated order must say the same in every letter.
        expires_at=(now + timedelta(hours=settings().virtual_account_hours)).replace(microsecond=0),
        asked_at=now,
    )


def perform(*, opening: Opening) -> VirtualAccountResult:
    """This function will have the gateway open the account. Call it in no transaction."""
    return registry.gateway(opening.gateway).open_virtual_account(
        order_id=opening.order_id,
        amount=opening.amount,
        name=opening.name,
        payer=opening.payer,
        bank=opening.bank,
        expires_at=opening.expires_at,
        idempotency_key=opening.idempotency_key,
    )


def record(
    *,
    control_session: Session,
    account_id: UUID,
    result: VirtualAccountResult,
    now: datetime,
) -> VirtualAccount:
    """This function will keep the account that was opened, its secret encrypted.

    An answer that never came leaves the order to be asked again.
    """
    account = locked(control_session, account_id)
    if account.state != "opening":
        return account
    match result:
        case Opened():
            account.gateway_payment_id = result.gateway_payment_id
            account.bank, account.number = result.bank, result.number
            account.holder, account.expires_at = result.holder, result.expires_at
            account.secret_sealed = secrets.encrypt(result.secret) if result.secret else None
            account.look_at = now + LOOKED_AT_EVERY
            move(control_session, account, "waiting", now)
        case Declined():
            account.refusal = f"{result.code}: {result.message}"[:500]
            move(control_session, account, "refused", now, why=result.code)
        case Unknown():
            account.last_error = result.reason[:2000]
    return account


def locked(control_session: Session, account_id: UUID) -> VirtualAccount:
    """This function will return an account under its lock; its invoice's comes first."""
    return control_session.get_one(
        VirtualAccount, account_id, with_for_update=True, populate_existing=True
    )


def move(
    control_session: Session,
    account: VirtualAccount,
    to: str,
    now: datetime,
    why: str | None = None,
) -> None:
    """This function will move an account to another state."""
    states.move(
        control_session=control_session,
        machine=VIRTUAL_ACCOUNT,
        row=account,
        to=to,
        actor=KEEPER,
        now=now,
        why=why,
    )
