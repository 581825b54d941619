"""What a customer says of their payment methods, and whose turn it is at an invoice.

The default one is charged first. Where it is declined for a reason of its own, the one that the
customer allowed to stand in is charged next, by an attempt of its own: never while an outcome is
unknown, and never for what only we, or a person, can mend.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session, aliased

from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict
from invoices import payment_methods
from invoices.gateways.port import DeclineClass
from invoices.models import DunningWaiver, Invoice, PaymentAttempt, PaymentMethod
from invoices.payment_methods import NoSuchMethod

RETRY_LATER = DeclineClass.RETRY_LATER.value
NEW_METHOD_NEEDED = DeclineClass.NEW_METHOD_NEEDED.value
# Reasons that lie with the method, so that another one may do.
OF_THE_METHOD = (RETRY_LATER, NEW_METHOD_NEEDED)


class MethodOutOfUse(Conflict):
    """The method is at a payment service that we do not use any more."""


class NothingToStandInFor(Conflict):
    """The method is the one that is charged first."""


def make_default(
    *, control_session: Session, tenant_id: UUID, method_id: UUID, actor: Actor, now: datetime
) -> PaymentMethod:
    """This function will have a method charged first from now on, and try open invoices with it.

    The one before it is kept, and charged only if the customer allows that.

    Raises: NoSuchMethod, MethodOutOfUse.
    """
    found, method = _chosen(control_session, tenant_id, method_id)
    if method.is_default:
        return method
    for each in found:
        each.is_default = False
    control_session.flush()
    method.is_default, method.is_fallback = True, False
    control_session.flush()
    payment_methods.note(control_session, method, "payment_method.made_default", actor, now)
    payment_methods.collect_now(control_session=control_session, tenant_id=tenant_id, now=now)
    return method


def allow_fallback(
    *, control_session: Session, tenant_id: UUID, method_id: UUID, actor: Actor, now: datetime
) -> PaymentMethod:
    """This function will let a method stand in where the default one is declined.

    Invoices for which that has happened already are tried with it now.

    Raises: NoSuchMethod, MethodOutOfUse, NothingToStandInFor.
    """
    found, method = _chosen(control_session, tenant_id, method_id)
    if method.is_default:
        raise NothingToStandInFor("This card is charged first already. Choose another one.")
    if method.is_fallback:
        return method
    for each in found:
        each.is_fallback = False
    control_session.flush()
    method.is_fallback = True
    control_session.flush()
    payment_methods.note(control_session, method, "payment_method.fallback_allowed", actor, now)
    _collect_declined(control_session, tenant_id, now)
    return method


def end_fallback(
    *, control_session: Session, tenant_id: UUID, method_id: UUID, actor: Actor, now: datetime
) -> PaymentMethod:
    """This function will let a method stand in no longer.

    Raises: NoSuchMethod.
    """
    method = _of(payment_methods.locked(control_session, tenant_id), method_id)
    if method.is_fallback:
        method.is_fallback = False
        control_session.flush()
        payment_methods.note(control_session, method, "payment_method.fallback_ended", actor, now)
    return method


def _chosen(
    control_session: Session, tenant_id: UUID, method_id: UUID
) -> tuple[list[PaymentMethod], PaymentMethod]:
    found = payment_methods.locked(control_session, tenant_id)
    method = _of(found, method_id)
    if not payment_methods.is_in_use(control_session=control_session, method=method):
        raise MethodOutOfUse("This card's payment service is not used now. Choose another card.")
    return found, method


def _of(found: Sequence[PaymentMethod], method_id: UUID) -> PaymentMethod:
    for method in found:
        if method.id == method_id:
            return method
    raise NoSuchMethod("There is no such payment method.")


def _collect_declined(control_session: Session, tenant_id: UUID, now: datetime) -> None:
    later = aliased(PaymentAttempt)
    control_session.execute(
        update(Invoice)
        .where(
            Invoice.tenant_id == tenant_id,
            Invoice.state == "issued",
            ~exists().where(DunningWaiver.invoice_id == Invoice.id),
            exists().where(
                PaymentAttempt.invoice_id == Invoice.id,
                PaymentAttempt.decline_class.in_(OF_THE_METHOD),
                ~exists().where(
                    later.invoice_id == Invoice.id,
                    later.attempt_number > PaymentAttempt.attempt_number,
                ),
            ),
        )
        .values(collect_at=now, attempts=0, retry_at=None)
        .execution_options(synchronize_session=False)
    )
    notify(control_session, "collection")


def turn(*, control_session: Session, invoice: Invoice) -> PaymentMethod | None:
    """This function will return the method that an invoice is charged to next, or nothing.

    No attempt of it may be under way.
    """
    first, second = _pair(control_session, invoice.tenant_id)
    if first is None or second is None:
        return first
    attempts = _attempts(control_session, invoice)
    if not attempts:
        return first
    last = attempts[-1]
    if last.state == "declined" and last.decline_class is None and last.method_id == second.id:
        # It moved no money and nobody refused any: its turn is not over.
        return second
    declined = last.method_id == first.id and last.decline_class in OF_THE_METHOD
    may_stand_in = not _is_dead(attempts, second)
    return second if may_stand_in and (declined or _is_dead(attempts, first)) else first


def stands_in(*, control_session: Session, attempt: PaymentAttempt) -> PaymentMethod | None:
    """This function will return the method whose turn comes at once after a decline of another."""
    first, second = _pair(control_session, attempt.tenant_id)
    if first is None or second is None or attempt.method_id != first.id:
        return None
    if attempt.decline_class not in OF_THE_METHOD:
        return None
    attempts = _attempts(control_session, control_session.get_one(Invoice, attempt.invoice_id))
    return None if _is_dead(attempts, second) else second


def is_new(*, control_session: Session, invoice: Invoice, attempt: PaymentAttempt) -> bool:
    """This function will tell whether another method than that of a decline is to have its turn.

    It was registered or chosen while the charge was under way, or has never been tried.
    """
    first, _ = _pair(control_session, attempt.tenant_id)
    if first is None or first.id == attempt.method_id:
        return False
    tried = exists().where(
        PaymentAttempt.invoice_id == invoice.id, PaymentAttempt.method_id == first.id
    )
    return invoice.collect_at is not None or not control_session.scalar(select(tried))


def declines(*, control_session: Session, attempt: PaymentAttempt) -> int:
    """This function will count how often the method that may be tried later was declined so.

    Zero when none may be tried later. The default method's count says how far up the ladder an
    invoice is; the other's only where that one needs replacing.
    """
    control_session.flush()
    pair = [method.id for method in _pair(control_session, attempt.tenant_id) if method]
    if attempt.method_id not in pair:
        pair = [attempt.method_id]
    counted = select(func.count()).where(
        PaymentAttempt.invoice_id == attempt.invoice_id,
        PaymentAttempt.decline_class == RETRY_LATER,
    )
    attempts = _attempts(control_session, control_session.get_one(Invoice, attempt.invoice_id))
    for method_id in pair:
        if _last_class(attempts, method_id) == RETRY_LATER:
            found = control_session.scalar(counted.where(PaymentAttempt.method_id == method_id))
            return found or 0
    return 0


def _pair(
    control_session: Session, tenant_id: UUID
) -> tuple[PaymentMethod | None, PaymentMethod | None]:
    """The method that is charged first, and the one that may stand in for it."""
    first = payment_methods.default_method(control_session=control_session, tenant_id=tenant_id)
    second = payment_methods.fallback_method(control_session=control_session, tenant_id=tenant_id)
    if first is not None and second is not None and first.id == second.id:
        # The default one is at an account that is disabled: the other stands in for good.
        second = None
    return first, second


def _attempts(control_session: Session, invoice: Invoice) -> list[PaymentAttempt]:
    control_session.flush()
    return list(
        control_session.scalars(
            select(PaymentAttempt)
            .where(PaymentAttempt.invoice_id == invoice.id)
            .order_by(PaymentAttempt.attempt_number)
        )
    )


def _is_dead(attempts: Sequence[PaymentAttempt], method: PaymentMethod) -> bool:
    """It was refused for good when it was last tried at this invoice."""
    return _last_class(attempts, method.id) == NEW_METHOD_NEEDED


def _last_class(attempts: Sequence[PaymentAttempt], method_id: UUID) -> str | None:
    of_it = [attempt for attempt in attempts if attempt.method_id == method_id]
    return of_it[-1].decline_class if of_it else None
