"""Webhooks: stored before they are answered, applied by a job that asks the gateway itself.

What a webhook says is never believed: it only tells where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Unavailable
from invoices import account_deposits, payment, reconciliation, revoked_methods
from invoices import reconciliation_matching as matching
from invoices import reconciliation_money_back as money_back
from invoices.gateways import registry
from invoices.gateways.port import Capability, EventKind, LookupResult, Succeeded, Trust, Unknown
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import GatewayEvent, Payment, PaymentAttempt

LISTENER = Actor("gateway")
# Longer than any gateway goes on telling.
UNSIGNED_KEPT_DAYS = 30

# A charge that we know the outcome of, accounts that are looked at on their own, and methods that
# are not ours.
_TOLD_ELSEWHERE = frozenset(
    {
        EventKind.PAYMENT_SUCCEEDED,
        EventKind.PAYMENT_DECLINED,
        EventKind.ACCOUNT_DEPOSITED,
        EventKind.METHOD_REGISTERED,
        EventKind.METHOD_REVOKED,
    }
)
# After these the gateway's books have new lines.
_MOVED = frozenset(
    {EventKind.PAYOUT_CHANGED, EventKind.PAYMENT_REFUNDED, EventKind.PAYMENT_DISPUTED}
)


class NotConfirmed(Unavailable):
    """The gateway called about a payment and can't be asked about it; asked again after a pause."""


def store(*, control_session: Session, gateway: str, event: Heard, now: datetime) -> bool:
    """This function will keep an event; True when it is new, False for a repeated delivery.

    One about a virtual account has that looked at, at once. What is not signed anybody can send:
    of that only what is about something of ours is kept, once until it was looked at.

    Raises: NewsForged when the sender does not know the account's secret: then nothing is kept.
    """
    of_account = account_deposits.heard(
        control_session=control_session, gateway=gateway, event=event, now=now
    )
    method_id = revoked_methods.named(control_session=control_session, gateway=gateway, event=event)
    if not (
        event.trust == Trust.SIGNED
        or of_account
        or method_id is not None
        or _is_ours(control_session, gateway, event)
    ):
        return False
    if event.trust == Trust.UNSIGNED and _waits_already(control_session, gateway, event):
        return False
    written = control_session.scalar(
        postgresql.insert(GatewayEvent)
        .values(
            gateway=gateway,
            event_id=event.event_id,
            kind=event.kind.value,
            trust=event.trust.value,
            order_id=event.order_id,
            gateway_payment_id=event.gateway_payment_id,
            method_id=method_id,
            received_at=now,
        )
        .on_conflict_do_nothing(index_elements=["gateway", "event_id"])
        .returning(GatewayEvent.id)
    )
    if written is not None:
        notify(control_session, "gateway_events")
    return written is not None


def proven(*, control_session: Session, gateway: str, event: Heard) -> bool:
    """This function will tell whether a sender proved who it is: by a signature, or a secret."""
    if event.trust != Trust.SECRET:
        return event.trust == Trust.SIGNED
    if revoked_methods.named(control_session=control_session, gateway=gateway, event=event):
        return True
    return account_deposits.knows_secret(
        control_session=control_session, gateway=gateway, event=event
    )


def _is_ours(control_session: Session, gateway: str, event: Heard) -> bool:
    """An order and its account are written down before a gateway hears of either."""
    known = []
    if event.order_id:
        known.append(exists().where(_at(PaymentAttempt, gateway, order_id=event.order_id)))
    if event.gateway_payment_id:
        there = {"gateway_payment_id": event.gateway_payment_id}
        open_one = PaymentAttempt.state.in_(payment.UNDER_WAY)
        known.append(exists().where(_at(PaymentAttempt, gateway, **there), open_one))
        known.append(exists().where(_at(Payment, gateway, **there)))
    return bool(known) and bool(control_session.scalar(select(or_(*known))))


def _waits_already(control_session: Session, gateway: str, event: Heard) -> bool:
    """The gateway is asked about it after now, for nobody has taken it up yet."""
    waiting = exists().where(
        _at(
            GatewayEvent,
            gateway,
            kind=event.kind.value,
            order_id=event.order_id,
            gateway_payment_id=event.gateway_payment_id,
        ),
        GatewayEvent.applied_at.is_(None),
        GatewayEvent.lease_until.is_(None),
        GatewayEvent.attempts < settings().work_attempts_max,
    )
    return bool(control_session.scalar(select(waiting)))


def _at(model: Any, gateway: str, **named: str | None) -> ColumnElement[bool]:
    same = [getattr(model, name).is_not_distinct_from(value) for name, value in named.items()]
    return and_(model.gateway == gateway, *same)


def erase_unsigned(*, control_session: Session, now: datetime) -> None:
    """This function will delete what strangers could have sent, once it was looked at long ago."""
    control_session.execute(
        delete(GatewayEvent).where(
            GatewayEvent.trust != Trust.SIGNED.value,
            GatewayEvent.applied_at < now - timedelta(days=UNSIGNED_KEPT_DAYS),
        )
    )


def due() -> ColumnElement[bool]:
    """This function will return the condition that an event waits to be applied."""
    return GatewayEvent.applied_at.is_(None)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked about an event: an attempt still open, or a payment that we have.

    Or a payment method: whether it can still be charged.
    """

    order: payment.Order | None = None
    method: revoked_methods.Question | None = None
    gateway: str = ""
    gateway_payment_id: str = ""


def begin(*, control_session: Session, event_id: UUID) -> Question | None:
    """This function will find what the gateway is to be asked about an event, if anything.

    The attempt that it is about, while its outcome is open; or a payment of ours of which the
    gateway says that something happened to it.
    """
    event = control_session.get_one(GatewayEvent, event_id)
    if event.method_id is not None:
        method = revoked_methods.ask(
            control_session=control_session, method_id=event.method_id, trust=event.trust
        )
        return Question(method=method) if method is not None else None
    attempt_id = control_session.scalar(
        select(PaymentAttempt.id).where(
            PaymentAttempt.gateway == event.gateway,
            _names(event),
            PaymentAttempt.state.in_(payment.UNDER_WAY),
        )
    )
    if attempt_id is not None:
        order = payment.reopen(control_session=control_session, attempt_id=attempt_id)
        return Question(order=order, gateway=event.gateway)
    if event.kind in _TOLD_ELSEWHERE:
        return None
    known = _payment_of(control_session, event)
    if known is None:
        return None
    return Question(gateway=event.gateway, gateway_payment_id=known.gateway_payment_id)


def _names(event: GatewayEvent) -> ColumnElement[bool]:
    if event.order_id is not None:
        return PaymentAttempt.order_id == event.order_id
    return and_(
        PaymentAttempt.gateway_payment_id.is_not(None),
        PaymentAttempt.gateway_payment_id == event.gateway_payment_id,
    )


def look(*, question: Question) -> LookupResult | bool:
    """This function will ask the gateway itself, moving no money. Call it in no transaction.

    Of a method it says whether it can still be charged. Raises: GatewayUnavailable, of that alone.
    """
    if question.method is not None:
        return revoked_methods.stands(question=question.method)
    if question.order is not None:
        return payment.look(order=question.order)
    at = registry.gateway(question.gateway)
    if Capability.LOOKUP_BY_PAYMENT not in at.capabilities:
        return Unknown("the gateway can't look up payments")
    return at.lookup(gateway_payment_id=question.gateway_payment_id)


def record(
    *,
    control_session: Session,
    event_id: UUID,
    question: Question | None,
    result: LookupResult | bool | None,
    now: datetime,
) -> None:
    """This function will settle the attempt if the gateway confirms the money, and the event.

    Anything else is left to the attempt's maker or the reaper: its charge may be on its way this
    very moment, and a message from outside must not end it early. What went back at the gateway
    without us is written down among the differences, once, whatever told of it how often.
    """
    order = question.order if question is not None else None
    if order is not None and isinstance(result, Succeeded):
        payment.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=result,
            now=now,
            actor=LISTENER,
        )
    event = control_session.get_one(
        GatewayEvent, event_id, with_for_update=True, populate_existing=True
    )
    lost_patience = event.attempts >= settings().work_attempts_max - 1
    if question is not None and isinstance(result, Unknown) and not lost_patience:
        raise NotConfirmed(f"The gateway does not confirm its own message yet: {result.reason}")
    if event.method_id is not None:
        if result is False:
            revoked_methods.gone(
                control_session=control_session, method_id=event.method_id, actor=LISTENER, now=now
            )
    elif not isinstance(result, bool):
        _learn(control_session, event, result, now)
    event.applied_at = now


def _learn(
    control_session: Session, event: GatewayEvent, result: LookupResult | None, now: datetime
) -> None:
    known = _payment_of(control_session, event)
    if known is not None and isinstance(result, Succeeded):
        money_back.went_back(
            control_session=control_session, payment=known, in_all=result.refunded, now=now
        )
    if event.kind not in _MOVED or event.trust == Trust.UNSIGNED:
        # Whoever may have sent it must not keep us reading books.
        return
    if known is not None and event.kind == EventKind.PAYMENT_DISPUTED:
        matching.disputed(control_session=control_session, payment=known, now=now)
    reconciliation.heard_of(control_session=control_session, gateway=event.gateway, now=now)


def _payment_of(control_session: Session, event: GatewayEvent) -> Payment | None:
    return matching.payment_named(
        control_session=control_session,
        gateway=event.gateway,
        payment_id=event.gateway_payment_id,
        order_id=event.order_id,
    )
