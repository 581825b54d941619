"""What finance decides about debts: to let them rest until a day, or not to follow one up."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, bindparam, exists, select, update
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import dunning, dunning_debts, payment, periods
from invoices.dunning_rules import said
from invoices.invoice_locks import lock_owed
from invoices.models import DunningHold, DunningWaiver, Invoice, PaymentAttempt
from tenants import lifecycle
from tenants.models import Tenant

HOLD_DAYS_MAX = 180


class NotHeld(Conflict):
    """The company's debts are not on hold."""


class NotOwed(Conflict):
    """The invoice is not open, or is not followed up already."""


def hold(
    *,
    control_session: Session,
    tenant_id: UUID,
    until: date,
    why: str,
    staff_id: UUID,
    now: datetime,
) -> DunningHold:
    """This function will let a tenant's debts rest up to a day, that day included.

    Nobody is reminded, marked past due or shut out meanwhile, and a declined card is not tried
    again; new invoices are collected as ever. A warning that was given is taken back, to be given
    again after the hold.

    Raises: NoSuchTenant; ReasonMissing; Invalid (field `until`).
    """
    reason = said(why)
    today = dunning_debts.today_of(now)
    if not today <= until <= today + timedelta(days=HOLD_DAYS_MAX):
        raise Invalid(f"Choose a day within {HOLD_DAYS_MAX} days.", field="until")
    lock_owed(control_session=control_session, tenant_id=tenant_id)
    tenant = lifecycle.locked(control_session, tenant_id)
    _end(control_session, tenant_id, staff_id, now)
    made = DunningHold(
        tenant_id=tenant_id,
        starts_at=now,
        ends_at=periods.midnight(until + timedelta(days=1), settings().contract_timezone),
        why=reason,
        set_by=staff_id,
    )
    control_session.add(made)
    tenant.suspend_after = None
    control_session.flush()
    _move_tries(control_session, tenant_id, before=made.ends_at, to=made.ends_at)
    _note(
        control_session,
        tenant_id=tenant_id,
        action="dunning.held",
        staff_id=staff_id,
        why=reason,
        now=now,
        until=until.isoformat(),
    )
    return made


def lift(
    *, control_session: Session, tenant_id: UUID, why: str, staff_id: UUID, now: datetime
) -> None:
    """This function will end a hold before its day: what it put off is tried at once.

    Raises: NoSuchTenant; NotHeld; ReasonMissing.
    """
    reason = said(why)
    lock_owed(control_session=control_session, tenant_id=tenant_id)
    lifecycle.locked(control_session, tenant_id)
    standing = dunning_debts.standing_hold(
        control_session=control_session, tenant_id=tenant_id, now=now
    )
    if standing is None:
        raise NotHeld("The debts of this company are not on hold.")
    put_off_to = standing.ends_at
    _end(control_session, tenant_id, staff_id, now)
    _move_tries(control_session, tenant_id, exactly=put_off_to, to=now)
    _note(
        control_session,
        tenant_id=tenant_id,
        action="dunning.hold_lifted",
        staff_id=staff_id,
        why=reason,
        now=now,
    )
    notify(control_session, "collection")


def forgive(
    *, control_session: Session, invoice_id: UUID, why: str, staff_id: UUID, now: datetime
) -> DunningWaiver:
    """This function will stop following one open invoice up; its tenant may open again by it.

    The amount is still owed and may be paid: giving it up is a write-off. Nothing is charged for
    it any more by itself.

    Raises: NotFound; NotOwed; ChargeUnderWay; ReasonMissing.
    """
    reason = said(why)
    invoice = control_session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if invoice is None:
        raise NotFound("There is no such invoice.")
    if invoice.state != "issued" or dunning_debts.waived(
        control_session=control_session, invoice_id=invoice_id
    ):
        raise NotOwed("This invoice is not followed up. Nothing was changed.")
    if payment.under_way(control_session=control_session, invoice_id=invoice_id) is not None:
        raise payment.ChargeUnderWay(
            "A card charge of this invoice is under way. Wait until its outcome is known."
        )
    waiver = DunningWaiver(
        invoice_id=invoice.id, tenant_id=invoice.tenant_id, at=now, why=reason, waived_by=staff_id
    )
    control_session.add(waiver)
    invoice.collect_at = None
    control_session.flush()
    actor = Actor.staff(staff_id)
    audit.append(
        control_session=control_session,
        actor=actor,
        action="dunning.forgiven",
        subject_kind="invoice",
        subject_id=invoice.id,
        tenant_id=invoice.tenant_id,
        why=reason,
        now=now,
    )
    dunning.open_again(
        control_session=control_session,
        tenant_id=invoice.tenant_id,
        actor=actor,
        now=now,
        why=reason,
    )
    return waiver


def _end(control_session: Session, tenant_id: UUID, staff_id: UUID, now: datetime) -> None:
    """Ends the hold that stands, or one whose day has passed: only one is kept open."""
    control_session.execute(
        update(DunningHold)
        .where(DunningHold.tenant_id == tenant_id, DunningHold.lifted_at.is_(None))
        .values(lifted_at=now, lifted_by=staff_id)
    )


def _move_tries(
    control_session: Session,
    tenant_id: UUID,
    *,
    to: datetime,
    before: datetime | None = None,
    exactly: datetime | None = None,
) -> None:
    """Moves the next tries of invoices that a card was declined for; first tries stay."""
    planned = Invoice.collect_at < before if before else Invoice.collect_at == exactly
    control_session.execute(
        update(Invoice)
        .where(
            Invoice.tenant_id == tenant_id,
            Invoice.state == "issued",
            planned,
            exists(
                select(PaymentAttempt.id).where(
                    PaymentAttempt.invoice_id == Invoice.id,
                    PaymentAttempt.state == "declined",
                    PaymentAttempt.decline_class.is_not(None),
                )
            ),
        )
        .values(collect_at=to)
        .execution_options(synchronize_session="fetch")
    )


def _note(
    control_session: Session,
    *,
    tenant_id: UUID,
    action: str,
    staff_id: UUID,
    why: str,
    now: datetime,
    **details: str,
) -> None:
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action=action,
        subject_kind="tenant",
        subject_id=tenant_id,
        tenant_id=tenant_id,
        why=why,
        details=details,
        now=now,
    )


def standing(*, control_session: Session, tenant_id: UUID, now: datetime) -> DunningHold | None:
    """This function will return the hold that a tenant's debts are under now."""
    return dunning_debts.standing_hold(
        control_session=control_session, tenant_id=tenant_id, now=now
    )


_DEBTORS = (
    select(Tenant)
    .where(
        (Tenant.state == "past_due")
        | ((Tenant.state == "suspended") & (Tenant.suspend_reason == "unpaid"))
    )
    .order_by(Tenant.past_due_at, Tenant.id)
    .limit(bindparam("most", type_=Integer))
    .offset(bindparam("besides", type_=Integer))
)


def debtors(*, control_session: Session, limit: int, offset: int = 0) -> list[Tenant]:
    """This function will list who is past due or shut out for debts, the longest first."""
    return list(control_session.scalars(_DEBTORS, {"most": limit, "besides": offset}))
