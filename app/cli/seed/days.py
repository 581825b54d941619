"""The days between: what the jobs would have done on each, done by the same rooms.

Day by day and all customers together, so that invoice numbers rise as their dates do.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from app.base.money import Money
from app.cli.seed.road import staff_id
from invoices import (
    dunning,
    dunning_warnings,
    evidence,
    invoicing,
    payment,
    tax_issuing,
    transfers,
)
from invoices.models import Invoice, TaxInvoice
from jobs import charging
from tenants import lifecycle, metering, reminders
from tenants.models import MeteringDay, Tenant

AT_ONCE = 200


def live_through(now: datetime) -> None:
    """This function will do what falls due by `now`, in the order in which jobs would do it."""
    with control_session() as session:
        reminders.remind(control_session=session, now=now, limit=AT_ONCE)
        for tenant_id in lifecycle.due_for_suspension(
            control_session=session, now=now, limit=AT_ONCE
        ):
            lifecycle.suspend_due(control_session=session, tenant_id=tenant_id, now=now)
        billing = invoicing.due(session, now)
    if billing:
        read_meters(now)
        with control_session() as session:
            claimed = invoicing.claim(control_session=session, now=now)
            invoicing.bill(control_session=session, subscription_ids=claimed, now=now)
    _collect(now)
    with control_session() as session:
        dunning.mark_overdue(control_session=session, now=now, limit=AT_ONCE)
        dunning_warnings.warn(control_session=session, now=now, limit=AT_ONCE)
        for tenant_id in dunning_warnings.due_for_suspension(
            control_session=session, now=now, limit=AT_ONCE
        ):
            dunning_warnings.suspend(control_session=session, tenant_id=tenant_id, now=now)
        for invoice_id in session.scalars(select(Invoice.id).where(evidence.due(now))).all():
            evidence.choose(control_session=session, invoice_id=invoice_id, now=now)
    _issue_tax_invoices(now)


def _issue_tax_invoices(now: datetime) -> None:
    with control_session() as session:
        due = session.scalars(select(TaxInvoice.id).where(tax_issuing.due())).all()
        orders = tax_issuing.begin(
            control_session=session, row_ids=due, now=now, real_now=clock.real_now()
        )
    for batch in tax_issuing.batches(orders):
        answers = tax_issuing.perform(orders=batch)
        with control_session() as session:
            for order in batch:
                tax_issuing.record(
                    control_session=session, order=order, answer=answers[order.row_id], now=now
                )


def read_meters(now: datetime) -> None:
    """This function will read every day that is over, of every tenant."""
    with control_session() as session:
        metering.due_days(control_session=session, now=now)
        waiting = session.execute(
            select(MeteringDay.tenant_id, MeteringDay.day).where(MeteringDay.done_at.is_(None))
        ).all()
    days: dict[UUID, list[date]] = defaultdict(list)
    for tenant_id, day in waiting:
        days[tenant_id].append(day)
    for tenant_id, its_days in days.items():
        with control_session() as session:
            order = metering.begin(control_session=session, tenant_id=tenant_id, days=its_days)
        taken = metering.perform(order)
        with control_session() as session:
            metering.record(control_session=session, order=order, taken=taken, now=now)


def _collect(now: datetime) -> None:
    with control_session() as session:
        due = session.scalars(
            select(Invoice.id).where(payment.due_invoices(now)).order_by(Invoice.number)
        ).all()
    for invoice_id in due:
        with control_session() as session:
            order = payment.begin(
                control_session=session,
                invoice_id=invoice_id,
                now=now,
                real_now=clock.real_now(),
            )
        if order is None:
            continue
        result = charging.charge(order)
        with control_session() as session:
            payment.record(
                control_session=session, attempt_id=order.attempt_id, result=result, now=now
            )


def receive_transfer(tenant_id: UUID, at: datetime) -> None:
    """This function will record, as finance, that the oldest open invoice was paid by transfer."""
    with control_session() as session:
        invoice = session.scalars(
            select(Invoice)
            .where(Invoice.tenant_id == tenant_id, Invoice.state == "issued")
            .order_by(Invoice.number)
            .limit(1)
        ).one()
        transfers.record_transfer(
            control_session=session,
            invoice_id=invoice.id,
            amount=Money(invoice.total_minor, invoice.currency),
            payer=session.get_one(Tenant, tenant_id).name,
            paid_on=clock.today(at, settings().contract_timezone),
            staff_id=staff_id(session, "finance"),
            now=at,
        )
