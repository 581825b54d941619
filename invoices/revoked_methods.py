"""Payment methods that a gateway says are gone: looked up, not used any more, and missed.

News of one names what the gateway calls it. Where the gateway can be asked, it is; where it can't,
only news is believed that is signed, or that names what nobody else knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import secrets
from app.base.audit import Actor
from app.base.messages import queue_mail
from app.base.money import Money
from invoices import card_links, dunning, payment_methods
from invoices.gateways import registry
from invoices.gateways.port import Capability, EventKind, Trust
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import Invoice, PaymentMethod
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Question:
    """The method that the gateway is to be asked about."""

    gateway: str
    token_sealed: str
    customer_key: str
    is_proven: bool


def named(*, control_session: Session, gateway: str, event: Heard) -> UUID | None:
    """This function will find the method that news is about, if it is one of ours."""
    if event.kind != EventKind.METHOD_REVOKED or not event.method:
        return None
    return control_session.scalar(
        select(PaymentMethod.id)
        .where(
            PaymentMethod.gateway == gateway,
            PaymentMethod.named_digest == secrets.hash_token(event.method),
        )
        .order_by(PaymentMethod.revoked_at.is_not(None), PaymentMethod.registered_at.desc())
        .limit(1)
    )


def ask(*, control_session: Session, method_id: UUID, trust: str) -> Question | None:
    """This function will read what the gateway is to be asked; None where that is of no use."""
    method = control_session.get_one(PaymentMethod, method_id)
    if not method.token_sealed or method.forgotten_at is not None:
        return None
    proven = trust != Trust.UNSIGNED.value
    return Question(method.gateway, method.token_sealed, method.customer_key, proven)


def stands(*, question: Question) -> bool:
    """This function will say whether the method can still be charged. Call it in no transaction.

    Raises: GatewayUnavailable.
    """
    at = registry.gateway(question.gateway)
    if Capability.LOOKUP_METHOD not in at.capabilities:
        return not question.is_proven
    token = secrets.decrypt(question.token_sealed)
    return at.method_stands(token=token, customer_key=question.customer_key)


def gone(*, control_session: Session, method_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will stop using a method that its gateway does not charge any more.

    Its newest neighbour becomes the default, and has its turn at what is open. Where none is left
    and something is to be paid, the customer is asked for another. One that we revoked ourselves
    is only noted as forgotten.
    """
    tenant_id = control_session.get_one(PaymentMethod, method_id).tenant_id
    payment_methods.locked(control_session, tenant_id)
    method = control_session.get_one(
        PaymentMethod, method_id, with_for_update=True, populate_existing=True
    )
    if method.revoked_at is None:
        payment_methods.revoke(
            control_session=control_session,
            tenant_id=tenant_id,
            method_id=method_id,
            actor=actor,
            now=now,
        )
        if payment_methods.methods(control_session=control_session, tenant_id=tenant_id):
            payment_methods.collect_now(
                control_session=control_session, tenant_id=tenant_id, now=now
            )
        else:
            _ask_for_another(control_session, method, now)
    payment_methods.forgotten(control_session=control_session, method_id=method_id, now=now)


def _ask_for_another(control_session: Session, method: PaymentMethod, now: datetime) -> None:
    owed = control_session.scalars(
        select(Invoice)
        .where(Invoice.tenant_id == method.tenant_id, Invoice.state == "issued")
        .order_by(Invoice.due_on, Invoice.id)
    ).all()
    if not owed:
        return
    first = owed[0]
    total = sum(each.open_minor for each in owed if each.currency == first.currency)
    tenant = control_session.get_one(Tenant, method.tenant_id)
    for email in dunning.admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name="payment_method_gone",
            to=email,
            language=tenant.language,
            context={
                "company": tenant.name,
                "method": f"{method.brand} {method.masked}".strip(),
                "total": str(Money(total, first.currency)),
                "due_on": first.due_on,
                "url": card_links.link(tenant_id=tenant.id, now=now),
                "link_until": card_links.last_day(now=now),
            },
            regarding_id=tenant.id,
            dedupe_key=f"method_gone:{method.id}:{email}",
            now=now,
        )
