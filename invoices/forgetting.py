"""Where the working tables of money name a customer, and how they forget who it was.

What the law keeps was copied before (`invoices.statutory`); what was never issued is kept by none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from app.base.db import Base, notify
from invoices import bundles, drafts
from invoices.models import (
    BankTransfer,
    CardRegistration,
    CashReceipt,
    Document,
    Invoice,
    Payment,
    PaymentMethod,
    Subscription,
    TaxInvoice,
    VatDecision,
    VirtualAccount,
)

# A gateway that has not confirmed for so long is told no more: no erasure waits for ever.
GATEWAY_TOLD_FOR = timedelta(hours=3)

_DELETED: tuple[Any, ...] = (CardRegistration, Document, CashReceipt, TaxInvoice, VatDecision)


def forget(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will take a customer out of the working tables, now that copies are kept.

    Bills that stand as drafts are thrown away: nobody bills them any more.
    """
    drafts.take_back(
        control_session=control_session,
        subscription_ids=control_session.scalars(
            select(Subscription.id).where(Subscription.tenant_id == tenant_id)
        ).all(),
    )
    treatment = func.jsonb_build_object(
        text("'treatment'"), Invoice.buyer["vat_treatment"]["treatment"]
    )
    nameless = func.jsonb_build_object(
        *(text("'country'"), Invoice.buyer["country"]),
        *(text("'vat_treatment'"), treatment),
        *(text("'set_apart'"), text("true")),
    )
    named = _named(tenant_id)
    changes: dict[Any, dict[str, Any]] = {
        Invoice: {"buyer": nameless, "set_apart_at": now, "collect_at": None},
        Payment: {"payer": None},
        BankTransfer: {"payer": "", "memo": ""},
        # An account that was opened has a number, be it an empty one.
        VirtualAccount: {
            "number": func.left(VirtualAccount.number, 0),
            "holder": None,
            "secret_sealed": None,
        },
        # Its token goes when the gateway was told to forget it: `forget_late`.
        PaymentMethod: {
            "named_digest": None,
            "masked": "",
            "is_default": False,
            "is_fallback": False,
            "revoked_at": func.coalesce(PaymentMethod.revoked_at, now),
        },
    }
    for model, values in changes.items():
        control_session.execute(
            update(model)
            .where(named[model])
            .values(**values)
            .execution_options(synchronize_session=False)
        )
    for model in _DELETED:
        control_session.execute(
            delete(model).where(named[model]).execution_options(synchronize_session=False)
        )
    notify(control_session, "payment_methods")
    forget_late(control_session=control_session, tenant_id=tenant_id, now=now)


def forget_late(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will forget what had to wait, or came in meanwhile; it may be repeated.

    The token of a card is kept until its gateway confirmed that it is forgotten there, or did not
    for `GATEWAY_TOLD_FOR`. Lists that were asked for meanwhile may still hold papers.
    """
    control_session.execute(
        update(PaymentMethod)
        .where(
            PaymentMethod.tenant_id == tenant_id,
            or_(
                PaymentMethod.forgotten_at.is_not(None),
                PaymentMethod.revoked_at <= now - GATEWAY_TOLD_FOR,
            ),
        )
        .values(token_sealed="")
        .execution_options(synchronize_session=False)
    )
    bundles.forget(control_session=control_session, tenant_id=tenant_id, now=now)
    control_session.expire_all()


def left(*, control_session: Session, tenant_id: UUID) -> dict[str, int]:
    """This function will count the rows that still name a customer, by their table."""
    return {
        model.__tablename__: control_session.scalar(
            select(func.count()).select_from(model).where(condition)
        )
        or 0
        for model, condition in _named(tenant_id).items()
    }


def _named(tenant_id: UUID) -> dict[type[Base], ColumnElement[bool]]:
    invoices = select(Invoice.id).where(Invoice.tenant_id == tenant_id).scalar_subquery()
    return {
        # Also what was taken back before it was issued.
        Invoice: and_(Invoice.tenant_id == tenant_id, Invoice.set_apart_at.is_(None)),
        Payment: and_(Payment.tenant_id == tenant_id, Payment.payer.is_not(None)),
        BankTransfer: and_(
            BankTransfer.invoice_id.in_(invoices),
            or_(BankTransfer.payer != "", BankTransfer.memo != ""),
        ),
        VirtualAccount: and_(
            VirtualAccount.tenant_id == tenant_id,
            or_(
                VirtualAccount.number != "",
                VirtualAccount.holder.is_not(None),
                VirtualAccount.secret_sealed.is_not(None),
            ),
        ),
        PaymentMethod: and_(
            PaymentMethod.tenant_id == tenant_id,
            or_(
                PaymentMethod.revoked_at.is_(None),
                PaymentMethod.token_sealed != "",
                PaymentMethod.masked != "",
                PaymentMethod.named_digest.is_not(None),
            ),
        ),
        **{model: model.tenant_id == tenant_id for model in _DELETED},
    }
