"""An invoice is taken back: its spans are free, its issue booked back, and it is billed afresh."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.base.states import IllegalMove
from invoices import invoicing
from invoices.models import (
    Subscription,
)
from tenants import lifecycle
from tenants.models import Tenant
from tests.invoices.monthly import (
    FINANCE,
    START,
    bill,
    broken_rules,
    invoices_of,
    seoul,
    subscribe,
)


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    return subscribe(control_session)


class TestVoiding:
    def test_books_the_issue_back_frees_the_spans_and_is_billed_afresh(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=date(2026, 3, 31))
        second = invoices_of(control_session, subscription)[1]
        voided = invoicing.void(
            control_session=control_session,
            invoice_id=second.id,
            reason="the readings were corrected",
            actor=FINANCE,
            now=seoul(date(2026, 4, 1)),
        )
        assert (voided.state, voided.collect_at) == ("void", None)
        control_session.execute(
            text("UPDATE reading SET quantity = 10 WHERE meter = 'seats' AND quantity = 14")
        )
        bill(control_session, subscription, on=date(2026, 4, 1))
        again = [
            invoice
            for invoice in invoices_of(control_session, subscription)
            if invoice.supplied_on == date(2026, 2, 28)
        ]
        assert [invoice.state for invoice in again] == ["void", "issued"]
        assert again[1].total_minor == again[0].total_minor - 66_000
        assert broken_rules(control_session) == []

    def test_needs_a_reason_and_is_written_down(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)

        def void(reason: str) -> None:
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason=reason,
                actor=FINANCE,
                now=seoul(START),
            )

        with pytest.raises(invoicing.ReasonMissing):
            void("  ")
        void("wrong customer")
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "invoice.void")
        ).one()
        assert (event.why, event.from_state, event.actor_id) == (
            "wrong customer",
            "issued",
            "finance",
        )
        with pytest.raises(IllegalMove):
            void("once more")

    def test_opens_the_doors_that_were_shut_for_want_of_it(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        late = seoul(date(2026, 2, 20))
        tenant = subscription.tenant_id
        lifecycle.mark_past_due(
            control_session=control_session, tenant_id=tenant, actor=FINANCE, now=late
        )
        invoicing.void(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="billed by mistake",
            actor=FINANCE,
            now=late,
        )
        assert control_session.get_one(Tenant, tenant).state == "active"

    def test_is_refused_once_it_is_paid(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        control_session.execute(
            text(
                "UPDATE invoice SET state = 'paid', paid_at = now(),"
                " paid_minor = total_minor WHERE id = :id"
            ),
            {"id": invoice.id},
        )
        with pytest.raises(IllegalMove, match="paid"):
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="too late",
                actor=FINANCE,
                now=seoul(START),
            )
