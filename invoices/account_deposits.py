"""Deposits on virtual accounts: heard of, looked for, received, and taken back again.

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
from sqlalchemy import ColumnElement, Integer, Select, bindparam, select
from sqlalchemy.orm import Session

from app.base import audit, clock, secrets
from app.base.config import settings
from app.base.db import notify
from app.base.errors import NotFound, Unavailable
from invoices import reversals, settlement
from invoices.gateways import registry
from invoices.gateways.port import Capability, Declined, LookupResult, Succeeded, Unknown, Waiting
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import Invoice, Payment, VirtualAccount
from invoices.payment_standing import stands
from invoices.settlement import Arrival
from invoices.virtual_accounts import KEEPER, LOOKED_AT_EVERY, locked, move

log = structlog.get_logger(__name__)

TAKEN_BACK = "the bank took the deposit back"
# Longer than a deposit's news can take, so that one made in the last minute is still found.
LOOKED_AT_AFTER_END = timedelta(hours=6)
# How often a gateway is asked, ever more slowly, that does not bear out what it told us.
ASKED_AGAIN_MAX = 6


class StillUnclear(Unavailable):
    """The gateway does not say yet what became of an account; it is asked again after a pause."""


class NewsForged(NotFound):
    """Whoever sent the news does not know the account's secret."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which order the gateway is to be asked about."""

    gateway: str
    order_id: str
    gateway_payment_id: str | None


def heard(*, control_session: Session, gateway: str, event: Heard, now: datetime) -> bool:
    """This function will have the account that news is about looked at, at once.

    False when the news is about no account. The secret is compared in constant time with the one
    that came when the account was opened; then the gateway is asked all the same.

    Raises: NewsForged for a wrong secret, or for none where there is one.
    """
    if event.order_id is None:
        return False
    account = control_session.scalar(_named(gateway, event.order_id).with_for_update())
    if account is None:
        return False
    sealed = account.secret_sealed if event.kind == "account_deposited" else None
    if sealed is not None and not _is_secret(sealed, event):
        raise NewsForged("No gateway of that name calls in here.")
    account.look_at = account.heard_at = now
    account.attempts, account.retry_at = 0, None
    notify(control_session, "transfers")
    return True


def knows_secret(*, control_session: Session, gateway: str, event: Heard) -> bool:
    """This function will tell whether news is from somebody who knows the account's secret."""
    if event.order_id is None:
        return False
    account = control_session.scalar(_named(gateway, event.order_id))
    return (
        account is not None
        and account.secret_sealed is not None
        and _is_secret(account.secret_sealed, event)
    )


def _named(gateway: str, order_id: str) -> Select[VirtualAccount]:
    return select(VirtualAccount).where(
        VirtualAccount.gateway == gateway, VirtualAccount.order_id == order_id
    )


def _is_secret(sealed: str, event: Heard) -> bool:
    known = secrets.decrypt(sealed)
    return hmac.compare_digest(known.encode(), (event.secret or "").encode())


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
    _lock_invoices(control_session, account_id, found)
    account = locked(control_session, account_id)
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
            move(control_session, account, "expired", now)
    return account


def _lock_invoices(control_session: Session, account_id: UUID, found: LookupResult) -> None:
    """The invoice is locked before whatever belongs to it, as everywhere; and where its deposit
    may have gone, those that its credit settled, before any of them.
    """
    peeked = control_session.get_one(VirtualAccount, account_id)
    came = _payment_of(control_session, peeked) if isinstance(found, Waiting | Declined) else None
    if came is None:
        settlement.locked(control_session, peeked.invoice_id)
    else:
        reversals.lock(control_session=control_session, payment=came)


def _deposited(
    control_session: Session, account: VirtualAccount, found: Succeeded, now: datetime
) -> None:
    account.look_at = account.heard_at = None
    if account.state not in ("waiting", "expired"):
        return
    move(control_session, account, "deposited", now)
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
    move(control_session, account, "waiting", now, why=TAKEN_BACK)
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
