"""A pause of a contract shuts the workspace, and its end opens it: neither hides another reason."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from app.base.errors import Conflict
from tenants import lifecycle
from tenants.models import TENANT, Tenant


class ClosedAlready(Conflict):
    """The workspace is shut for a reason that has to be settled before anything else can be."""


def pause(*, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime) -> Tenant:
    """This function will shut a workspace until its contract is resumed.

    One that is shut for another reason is refused: a pause would hide the debt, or the reason of
    our staff, and what opens the workspace then would open it to somebody who pays nothing.

    Raises: NoSuchTenant, TenantGone, ClosedAlready, IllegalMove.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    if tenant.state == "suspended":
        raise ClosedAlready(
            "The workspace is closed for want of payment. Pay the open invoices first, then pause."
            if tenant.suspend_reason == "unpaid"
            else "Our staff has closed the workspace. It must be opened before it can be paused."
        )
    return lifecycle.suspend(
        control_session=control_session,
        tenant_id=tenant_id,
        reason="paused",
        actor=actor,
        now=now,
    )


def resume(*, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime) -> bool:
    """This function will open a workspace that was shut by a pause, and tell whether it did.

    What is shut for another reason stays shut until that is settled.

    Raises: NoSuchTenant.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    if tenant.state != "suspended" or tenant.suspend_reason != "paused":
        return False
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="past_due" if tenant.past_due_at is not None else "active",
        actor=actor,
        now=now,
        why="resumed",
        values=lifecycle.OPEN_AGAIN,
    )
    return True
