"""Usage that comes after its bill was issued is corrected by the next bill."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from invoices import invoicing
from invoices.models import CreditGrant, Invoice, Subscription, UsageTotal
from tenants import meters
from tests.invoices.metered import (
    FINANCE,
    START,
    bill,
    broken_rules,
    lines_of,
    push,
    seoul,
    subscribe,
)
from tests.tenants.counting import meter


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    return subscribe(control_session)


class TestClosing:
    def test_keeps_the_total_that_was_billed(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        (kept,) = control_session.scalars(select(UsageTotal))
        assert (kept.meter, kept.meter_version, kept.quantity, kept.transactions) == (
            "calls",
            1,
            90,
            90,
        )
        assert (kept.starts_at, kept.ends_at) == (seoul(START, 0), seoul(date(2026, 3, 1), 0))
        assert len(kept.sha256) == 64
        assert lines_of(control_session, subscription) == [[("charge", "calls", 90, 9_000)]]


class TestLateEvents:
    def test_become_a_line_of_the_next_bill_with_both_numbers(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 30)
        push(control_session, subscription, date(2026, 3, 5), 4)
        bill(control_session, subscription, date(2026, 4, 1))
        # 100 at ₩100 and 20 at ₩10, less the 90 that were billed.
        assert lines_of(control_session, subscription)[1] == [
            ("charge", "calls", 4, 400),
            ("adjustment", "calls", 30, 1_200),
        ]
        invoice = control_session.scalars(
            select(Invoice).where(Invoice.supplied_on == date(2026, 4, 1))
        ).one()
        evidence = invoice.lines[1].evidence
        assert (evidence["was"]["measured"], evidence["is"]["measured"]) == ("90", "120")
        assert (evidence["was"]["amount_minor"], evidence["is"]["amount_minor"]) == (9_000, 10_200)
        assert evidence["invoice"] == "INV-2026-000001"
        assert broken_rules(control_session) == []

    def test_are_corrected_once_and_again_only_when_more_come(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, date(2026, 4, 1))
        push(control_session, subscription, date(2026, 2, 12), 2)
        bill(control_session, subscription, date(2026, 5, 1))
        kinds = [
            [(kind, quantity, amount) for kind, _, quantity, amount in lines]
            for lines in lines_of(control_session, subscription)
        ]
        assert kinds == [
            [("charge", 90, 9_000)],
            [("charge", 0, 0), ("adjustment", 5, 500)],
            [("charge", 0, 0), ("adjustment", 2, 200)],
        ]
        revisions = control_session.scalars(
            select(UsageTotal.revision)
            .where(UsageTotal.starts_at == seoul(START, 0))
            .order_by(UsageTotal.revision)
        ).all()
        assert revisions == [0, 1, 2]

    def test_that_are_taken_away_are_given_back(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        # As it stands when five of the events that were billed are not there any more.
        (kept,) = control_session.execute(select(UsageTotal.__table__)).mappings().all()
        control_session.execute(delete(UsageTotal))
        control_session.execute(
            insert(UsageTotal), {**kept, "quantity": Decimal(95), "transactions": 95}
        )
        bill(control_session, subscription, date(2026, 4, 1))
        second = lines_of(control_session, subscription)[1]
        assert ("adjustment", "calls", -5, -500) in second
        assert ("carried", "balance", 1, 500) in second
        grant = control_session.scalars(select(CreditGrant)).one()
        assert (grant.amount_minor, grant.source) == (500, "change")
        assert broken_rules(control_session) == []

    def test_are_corrected_anew_when_the_correcting_bill_is_voided(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, date(2026, 4, 1))
        first, second = control_session.scalars(select(Invoice).order_by(Invoice.supplied_on))
        with pytest.raises(invoicing.CorrectedSince, match=str(second.number_text)):
            invoicing.void(
                control_session=control_session,
                invoice_id=first.id,
                reason="wrong",
                actor=FINANCE,
                now=seoul(date(2026, 4, 2)),
            )
        invoicing.void(
            control_session=control_session,
            invoice_id=second.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(date(2026, 4, 2)),
        )
        bill(control_session, subscription, date(2026, 4, 2))
        assert lines_of(control_session, subscription)[1][1:] == [("adjustment", "calls", 5, 500)]
        assert broken_rules(control_session) == []

    def test_a_meter_declared_anew_corrects_nothing(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        meters.declare(
            control_session=control_session,
            definitions=[meter("calls", aggregation="sum")],
            actor=SYSTEM,
            now=seoul(date(2026, 3, 2)),
        )
        bill(control_session, subscription, date(2026, 4, 1))
        assert lines_of(control_session, subscription)[1] == [("charge", "calls", 0, 0)]
