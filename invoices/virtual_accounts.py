"""Virtual accounts: a bank account that a gateway opens for one invoice, and the deposit on it.

The gateway is always asked itself what became of one. News of a deposit only makes that happen at
once; whoever sends news must know the account's secret where there is one. What a bank takes back
is reversed, and the invoice is owed again; a gateway that merely does not answer takes nothing
back.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Integer, bindparam, func, select
from sqlalchemy.orm import Session

from app.base import audit, clock, secrets, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, NotFound, TenantryError, Unavailable
from app.base.money import Money
from invoices import gateway_accounts, payment, reversals, settlement
from invoices.gateways import registry
from invoices.gateways.port import (
    Capability,
    Declined,
    LookupResult,
    Succeeded,
    Unknown,
    VirtualAccountResult,
    Waiting,
)
from invoices.gateways.port import GatewayEvent as Heard
from invoices.gateways.port import VirtualAccount as Opened
from invoices.models import VIRTUAL_ACCOUNT, Invoice, Payment, VirtualAccount
from invoices.payment_standing import stands
from invoices.settlement import Arrival
from tenants.models import Tenant

log = structlog.get_logger(__name__)

KEEPER = Actor.job("transfers")
TAKEN_BACK = "the bank took the deposit back"
# How often an account is looked at without any news: one message may be lost.
LOOKED_AT_EVERY = timedelta(hours=1)
# Longer than a deposit's news can take, so that one made in the last minute is still found.
LOOKED_AT_AFTER_END = timedelta(hours=6)
# How often a gateway is asked, ever more slowly, that does not bear out what it told us.
ASKED_AGAIN_MAX = 6


class NoneOffered(Conflict):
    """No gateway of ours opens virtual accounts in that currency."""


class NothingOpen(Conflict):
    """Nothing of the invoice is open."""


class OpeningRefused(Conflict):
    """The gateway opened no account."""


class StillUnclear(Unavailable):
    """The gateway does not say yet what became of an account; it is asked again after a pause."""


class NewsForged(NotFound):
    """Whoever sent the news does not know the account's secret."""


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


@dataclass(frozen=True, slots=True)
class Question:
    """Which order the gateway is to be asked about."""

    gateway: str
    order_id: str
    gateway_payment_id: str | None


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
        _move(control_session, account, "refused", now, why="never answered")
        return None
    if account.state == "waiting" and not good:
        # A deposit that still comes on it is heard of and received all the same.
        _move(control_session, account, "expired", now, why="replaced")
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
    account = _locked(control_session, account_id)
    if account.state != "opening":
        return account
    match result:
        case Opened():
            account.gateway_payment_id = result.gateway_payment_id
            account.bank, account.number = result.bank, result.number
            account.holder, account.expires_at = result.holder, result.expires_at
            account.secret_sealed = secrets.encrypt(result.secret) if result.secret else None
            account.look_at = now + LOOKED_AT_EVERY
            _move(control_session, account, "waiting", now)
        case Declined():
            account.refusal = f"{result.code}: {result.message}"[:500]
            _move(control_session, account, "refused", now, why=result.code)
        case Unknown():
            account.last_error = result.reason[:2000]
    return account


def heard(*, control_session: Session, gateway: str, event: Heard, now: datetime) -> bool:
    """This function will have the account that news is about looked at, at once.

    False when the news is about no account. The secret is compared in constant time with the one
    that came when the account was opened; then the gateway is asked all the same.

    Raises: NewsForged for a wrong secret, or for none where there is one.
    """
    if event.order_id is None:
        return False
    account = control_session.scalar(
        select(VirtualAccount)
        .where(VirtualAccount.gateway == gateway, VirtualAccount.order_id == event.order_id)
        .with_for_update()
    )
    if account is None:
        return False
    if account.secret_sealed is not None and event.kind == "account_deposited":
        known = secrets.decrypt(account.secret_sealed)
        if not hmac.compare_digest(known.encode(), (event.secret or "").encode()):
            raise NewsForged("No gateway of that name calls in here.")
    account.look_at = account.heard_at = now
    account.attempts, account.retry_at = 0, None
    notify(control_session, "transfers")
    return True


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an account is to be looked at now."""
    return VirtualAccount.look_at <= now


def ask(*, control_session: Session, account_id: UUID) -> Question:
    """This function will read what the gateway is to be asked."""
    account = control_session.get_one(VirtualAccount, account_id)
    return Question(account.gateway, account.order_id, account.gateway_payment_id)


def look(*, question: Question) -> LookupResult:
    """This function will ask the gateway what became of an account. Call it in no transaction."""
    at = registry.gateway(question.gateway)
    if question.gateway_payment_id and Capability.LOOKUP_BY_PAYMENT in at.capabilities:
        return at.lookup(gateway_payment_id=question.gateway_payment_id)
    return at.lookup(order_id=question.order_id)


def learn(
    *, control_session: Session, account_id: UUID, found: LookupResult, now: datetime
) -> VirtualAccount:
    """This function will write down what the gateway said; saying it twice changes nothing.

    A gateway that waits for a deposit and one that could not be reached both leave it open. After
    news, and where a deposit was seen before, it is asked some times more before "not there" is
    believed; and a deposit is only gone where the gateway itself says that it is.

    Raises: StillUnclear while it is to be asked again after a pause.
    """
    peeked = control_session.get_one(VirtualAccount, account_id)
    # The invoice is locked before whatever belongs to it, as everywhere.
    settlement.locked(control_session, peeked.invoice_id)
    account = _locked(control_session, account_id)
    if isinstance(found, Succeeded):
        _deposited(control_session, account, found, now)
        return account
    unsure = isinstance(found, Unknown) and (account.heard_at or account.state == "deposited")
    if unsure and account.attempts < ASKED_AGAIN_MAX:
        raise StillUnclear("The gateway does not bear out what it told us.")
    account.heard_at = None
    if account.state == "deposited" and not isinstance(found, Waiting | Declined):
        account.look_at = now + LOOKED_AT_EVERY
    elif account.state == "deposited":
        _taken_back(control_session, account, now)
    elif account.state == "waiting" and account.expires_at + LOOKED_AT_AFTER_END > now:
        account.look_at = now + LOOKED_AT_EVERY
    else:
        account.look_at = None
        if account.state == "waiting":
            _move(control_session, account, "expired", now)
    return account


def _deposited(
    control_session: Session, account: VirtualAccount, found: Succeeded, now: datetime
) -> None:
    account.look_at = account.heard_at = None
    if account.state not in ("waiting", "expired"):
        return
    _move(control_session, account, "deposited", now)
    if _payment_of(control_session, account) is not None:
        # Taken back by the bank and paid in again before it could be taken off the invoice.
        return
    settlement.receive(
        control_session=control_session,
        invoice_id=account.invoice_id,
        arrival=Arrival(
            kind="virtual_account",
            gateway=account.gateway,
            gateway_payment_id=found.gateway_payment_id,
            amount=found.amount,
            received_on=clock.today(found.approved_at, settings().contract_timezone),
        ),
        actor=KEEPER,
        now=now,
    )


def _payment_of(control_session: Session, account: VirtualAccount) -> Payment | None:
    return control_session.scalar(
        select(Payment).where(
            Payment.gateway == account.gateway,
            Payment.gateway_payment_id == account.gateway_payment_id,
            stands(),
        )
    )


def _taken_back(control_session: Session, account: VirtualAccount, now: datetime) -> None:
    account.look_at = now + LOOKED_AT_EVERY
    _move(control_session, account, "waiting", now, why=TAKEN_BACK)
    payment_gone = _payment_of(control_session, account)
    if payment_gone is not None:
        try:
            reversals.taken_by_bank(
                control_session=control_session, payment=payment_gone, reason=TAKEN_BACK, now=now
            )
        except reversals.MoneyGoingBack as error:
            # A person's: some of it may have left for the payer already.
            log.warning("deposit.not_reversed", order=account.order_id, error=error.message)
    audit.append(
        control_session=control_session,
        actor=KEEPER,
        action="virtual_account.taken_back",
        subject_kind="invoice",
        subject_id=account.invoice_id,
        tenant_id=account.tenant_id,
        details={"order_id": account.order_id},
        now=now,
    )


_TAKEN_BACK = (
    select(VirtualAccount, Invoice)
    .join(Invoice, Invoice.id == VirtualAccount.invoice_id)
    .join(
        Payment,
        (Payment.gateway == VirtualAccount.gateway)
        & (Payment.gateway_payment_id == VirtualAccount.gateway_payment_id),
    )
    .where(VirtualAccount.state.in_(("waiting", "expired")), stands())
    .order_by(VirtualAccount.asked_at)
    .limit(bindparam("most", type_=Integer))
)


def taken_back(*, control_session: Session, limit: int) -> list[tuple[VirtualAccount, Invoice]]:
    """This function will list deposits that a bank took back and that still settle an invoice.

    Nothing undoes them by itself, because money of theirs was on its way back already.
    """
    rows = control_session.execute(_TAKEN_BACK, {"most": limit})
    return [(account, invoice) for account, invoice in rows]


def _locked(control_session: Session, account_id: UUID) -> VirtualAccount:
    return control_session.get_one(
        VirtualAccount, account_id, with_for_update=True, populate_existing=True
    )


def _move(
    control_session: Session,
    account: VirtualAccount,
    to: str,
    now: datetime,
    why: str | None = None,
) -> None:
    states.move(
        control_session=control_session,
        machine=VIRTUAL_ACCOUNT,
        row=account,
        to=to,
        actor=KEEPER,
        now=now,
        why=why,
    )
