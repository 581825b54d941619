"""The order of locks: a customer's invoices before all else that is theirs, the lowest id first."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from invoices.models import Invoice


def lock_owed(*, control_session: Session, tenant_id: UUID) -> None:
    """This function will lock what a customer owes, before more than one of it is changed.

    Whoever settles an invoice holds it and may wait for its tenant: so nobody may wait for an
    invoice who holds the tenant, be it by a row of theirs that names it.
    """
    control_session.execute(
        select(Invoice.id)
        .where(Invoice.tenant_id == tenant_id, Invoice.state == "issued")
        .order_by(Invoice.id)
        .with_for_update()
    )
