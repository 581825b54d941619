"""A customer's life in rows, as rich as a page can show it: usage, invoices, papers, trouble."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base import files, leases
from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from invoices import invoicing, paper_files, transfers
from invoices.models import Document, Invoice, PaymentAttempt, PaymentMethod
from tenants import exports
from tenants.models import ProvisioningRun, Tenant
from tests.factories import (
    NOW,
    make_card,
    make_catalogue,
    make_invoice,
    make_readings,
    make_staff,
    make_subscription,
    make_tenant,
)

LONG_NAME = "주식회사 대한민국 정밀 금형 설계 및 자동화 엔지니어링 컨설팅 그룹 홀딩스"
# One page with one line; enough for a browser's viewer and a digest.
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def long_life() -> Tenant:
    """A paying tenant with a long name: a paid invoice, an unpaid one, papers, a card, usage."""
    with control_session() as session:
        make_catalogue(session)
        tenant = make_tenant(session, state="active", name=LONG_NAME, converted_at=NOW)
        tenant.created_at = NOW
        card = make_card(session, tenant=tenant)
        start = date(2026, 1, 31)
        make_subscription(session, tenant=tenant, starts_on=start, plan_code="team")
        make_readings(
            session,
            tenant_id=tenant.id,
            start=start,
            end=date(2026, 3, 10),
            seats=[3 + place % 11 for place in range(38)],
            gigabytes=Decimal("12.345678"),
        )
        issued = invoicing.bill(
            control_session=session,
            subscription_ids=list(_subscriptions(session, tenant)),
            now=NOW,
        ).issued
        first = session.get_one(Invoice, issued[0])
        transfers.record_transfer(
            control_session=session,
            invoice_id=first.id,
            amount=Money(first.total_minor, first.currency),
            payer="(주)대한금형",
            paid_on=NOW.date(),
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        _print(session, first)
        _decline(session, session.get_one(Invoice, issued[1]), card)
        exports.request(control_session=session, tenant_id=tenant.id, actor=SYSTEM, now=NOW)
        session.refresh(tenant)
    return tenant


def _subscriptions(session: Session, tenant: Tenant) -> Any:
    from invoices.models import Subscription

    return session.scalars(select(Subscription.id).where(Subscription.tenant_id == tenant.id))


def _print(session: Session, invoice: Invoice) -> None:
    """What the documents' step does, without its press."""
    stored = files.put(prefix=paper_files.prefix_of(invoice.tenant_id), chunks=[PDF])
    for document in session.scalars(select(Document).where(Document.subject_id == invoice.id)):
        order = paper_files.begin(control_session=session, document_id=document.id)
        assert order is not None
        printed = paper_files.Printed(stored.sha256, stored.size_bytes, "test", ())
        paper_files.record(control_session=session, order=order, printed=printed, now=NOW)


def _decline(session: Session, invoice: Invoice, card: PaymentMethod) -> None:
    session.add(
        PaymentAttempt(
            state="declined",
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            attempt_number=1,
            method_id=card.id,
            gateway="sandbox",
            idempotency_key=f"{invoice.id}-1",
            order_id=f"{invoice.id.hex}-1",
            amount_minor=invoice.total_minor,
            currency=invoice.currency,
            key_expires_at=NOW,
            begun_at=NOW,
            finished_at=NOW,
            decline_class="retry_later",
            decline_code="insufficient_funds",
            decline_message="한도가 부족합니다",
        )
    )
    invoice.collect_at = NOW + timedelta(days=2)
    session.flush()


def troubles() -> PaymentAttempt:
    """What finance must look at: an unknown charge, a blocked bill, a late paper, parked work."""
    with control_session() as session:
        invoice = make_invoice(session, tenant=make_tenant(session, state="active"))
        tenant = session.get_one(Tenant, invoice.tenant_id)
        card = make_card(session, tenant=tenant)
        attempt = PaymentAttempt(
            state="needs_person",
            tenant_id=tenant.id,
            invoice_id=invoice.id,
            attempt_number=1,
            method_id=card.id,
            gateway="sandbox",
            idempotency_key=f"{invoice.id}-1",
            order_id=f"{invoice.id.hex}-1",
            amount_minor=invoice.total_minor,
            currency=invoice.currency,
            key_expires_at=NOW,
            begun_at=NOW,
            last_error="no answer within 60 s, and the look-up found nothing",
        )
        session.add(attempt)
        blocked = make_subscription(session, starts_on=date(2026, 2, 1))
        invoicing.bill(control_session=session, subscription_ids=[blocked.id], now=NOW)
        parked = make_tenant(session, state="approved", name="기다리는 회사")
        session.add(ProvisioningRun(tenant_id=parked.id, run="parked-run", started_at=NOW))
        session.flush()
        leases.fail(
            control_session=session,
            model=ProvisioningRun,
            key=parked.id,
            error="no space left on device",
        )
        session.execute(
            update(ProvisioningRun)
            .where(ProvisioningRun.tenant_id == parked.id)
            .values(attempts=12, step="role")
        )
        session.refresh(attempt)
    return attempt
