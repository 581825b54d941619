"""The calls to the gateway in the middle of the charge protocol, with what is stored between them.

Where a gateway wants a payment prepared, its id is committed on the attempt before the charge is
asked for: a process that dies anywhere leaves either nothing charged, or an id to look up.
"""

from __future__ import annotations

from datetime import datetime

from app.base.db import control_session
from invoices import payment
from invoices.gateways.port import ChargeResult, Declined, LookupResult, Prepared, Unknown
from invoices.payment import Order


def charge(order: Order) -> ChargeResult:
    """This function will charge an attempt that was begun and committed."""
    ready = _ready(order)
    return payment.perform(order=ready) if isinstance(ready, Order) else ready


def find_out(order: Order, *, real_now: datetime) -> ChargeResult | LookupResult:
    """This function will find out what became of an attempt whose charge may never have begun."""
    if not payment.key_counts(order=order, real_now=real_now):
        return payment.give_up(order=order)
    ready = _ready(order)
    if isinstance(ready, Order):
        return payment.find_out(order=ready, real_now=real_now)
    return ready


def _ready(order: Order) -> Order | Declined | Unknown:
    if not payment.is_to_prepare(order=order):
        return order
    prepared = payment.prepare(order=order)
    if not isinstance(prepared, Prepared):
        return prepared
    with control_session() as session:
        return payment.keep_prepared(control_session=session, order=order, prepared=prepared)
