"""Late usage counts towards the minimum of the period in which it was used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from invoices import invoicing, verifying
from invoices.models import Invoice, Subscription
from tests.invoices.drafting import set_to
from tests.invoices.metered import FINANCE, bill, broken_rules, lines_of, push, seoul, subscribe

__all__ = ["set_to"]

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """90 calls in February, ₩9,000, and ₩11,000 on top of them."""
    made = subscribe(control_session, minimum=20_000)
    assert amounts(control_session, made) == [[("charge", 9_000), ("commitment", 11_000)]]
    return made


def amounts(session: Session, subscription: Subscription) -> list[list[tuple[str, int]]]:
    return [
        [(kind, amount) for kind, _, _, amount in lines]
        for lines in lines_of(session, subscription)
    ]


def differences(session: Session) -> list[object]:
    session.expire_all()
    return [each for verdict in verifying.verify_all(control_session=session)
            for each in verdict.differences]  # fmt: skip


class TestLateUsage:
    def test_that_the_minimum_paid_for_costs_nothing_more(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, APRIL)
        assert amounts(control_session, subscription)[1] == [
            ("charge", 0),
            ("commitment", 20_000),
            ("adjustment", 500),
            ("adjustment", -500),
        ]
        line = control_session.scalars(select(Invoice).where(Invoice.supplied_on == APRIL)).one()
        evidence = line.lines[3].evidence
        assert (evidence["was_minor"], evidence["is_minor"]) == (11_000, 10_500)
        assert (evidence["committed_minor"], evidence["reached_minor"]) == (20_000, 9_500)
        assert evidence["invoice"] == "INV-2026-000001"
        assert broken_rules(control_session) == []
        assert differences(control_session) == []

    def test_beyond_the_minimum_costs_what_is_beyond_it(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, APRIL)
        push(control_session, subscription, date(2026, 2, 12), 1_195)
        bill(control_session, subscription, MAY)
        # 1,290 calls are ₩21,900: ₩1,900 above the minimum.
        assert amounts(control_session, subscription)[2][2:] == [
            ("adjustment", 12_400),
            ("adjustment", -10_500),
        ]
        assert differences(control_session) == []
        assert broken_rules(control_session) == []

    def test_of_a_bill_made_anew_while_the_next_one_was_a_draft_is_told_from_the_new_one(
        self, control_session: Session, subscription: Subscription, set_to: Callable[..., None]
    ) -> None:
        set_to(invoice_grace_hours=48)
        bill(control_session, subscription, APRIL)
        (february,) = control_session.scalars(select(Invoice).where(Invoice.state == "issued"))
        invoicing.void(
            control_session=control_session,
            invoice_id=february.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(APRIL + timedelta(days=1)),
        )
        bill(control_session, subscription, APRIL + timedelta(days=1))
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, APRIL + timedelta(days=2))
        assert amounts(control_session, subscription) == [
            [("charge", 9_000), ("commitment", 11_000)],
            [("charge", 0), ("commitment", 20_000), ("adjustment", 500), ("adjustment", -500)],
        ]
        push(control_session, subscription, date(2026, 2, 12), 5)
        bill(control_session, subscription, MAY + timedelta(days=2))
        assert amounts(control_session, subscription)[2][2:] == [
            ("adjustment", 500),
            ("adjustment", -500),
        ]
        assert differences(control_session) == []

    def test_keeps_the_bill_of_the_minimum_from_being_voided_before_its_own(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, APRIL)
        first, second = control_session.scalars(select(Invoice).order_by(Invoice.supplied_on))

        def void(invoice: Invoice) -> None:
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="wrong",
                actor=FINANCE,
                now=seoul(date(2026, 4, 2)),
            )

        with pytest.raises(invoicing.CorrectedSince, match=str(second.number_text)):
            void(first)
        void(second)
        bill(control_session, subscription, date(2026, 4, 2))
        assert amounts(control_session, subscription)[1][2:] == [
            ("adjustment", 500),
            ("adjustment", -500),
        ]
        assert differences(control_session) == []
