"""The billing run on a real database: once, in order, complete, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.invariants import Offence, offences
from app.base.messages import Message
from app.base.states import IllegalMove
from invoices import changes, invoicing, issuing, ledger
from invoices.checks import INVARIANTS
from invoices.documents import shelf
from invoices.models import (
    BilledSpan,
    Document,
    Invoice,
    InvoiceLine,
    NumberSeries,
    Subscription,
)
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import make_card, make_readings, make_subscription, make_tenant, span

START = date(2026, 1, 31)
FINANCE = Actor("staff", "finance")


def seoul(day: date, hour: int = 9) -> datetime:
    """An hour of a day in Seoul."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def bill(session: Session, *subscriptions: Subscription, on: date) -> invoicing.Outcome:
    return invoicing.bill(
        control_session=session,
        subscription_ids=[each.id for each in subscriptions],
        now=seoul(on),
    )


def invoices_of(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on, Invoice.number)
        )
    )


def paper(invoice: Invoice) -> list[tuple[Any, ...]]:
    """What an invoice asks for, apart from when it was written and under which number."""
    return [
        (
            line.charge,
            line.period,
            line.quantity,
            line.amount_minor,
            line.tax_minor,
            line.readings_sha256,
        )
        for line in invoice.lines
    ]


def broken_rules(session: Session) -> list[Offence]:
    session.flush()
    session.expire_all()
    return [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """A team plan that started on the last day of January, with readings until the end of May."""
    started = make_subscription(control_session, starts_on=START, now=seoul(START))
    make_readings(
        control_session,
        tenant_id=started.tenant_id,
        start=START,
        end=date(2026, 5, 31),
        seats=14,
        gigabytes=Decimal("337.5"),
    )
    return started


class TestTheFirstBill:
    def test_asks_for_the_base_fee_in_advance(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        assert invoice.state == "issued"
        assert (invoice.subtotal_minor, invoice.tax_minor, invoice.total_minor) == (
            190_000,
            19_000,
            209_000,
        )
        assert [line.charge for line in invoice.lines] == ["base"]
        assert invoice.period == span(START, date(2026, 2, 28))
        assert invoice.supplied_on == START
        assert invoice.due_on == START + timedelta(days=14)
        assert invoice.number_text == f"INV-2026-{invoice.number:06d}"
        assert invoice.collect_at == seoul(START)

    def test_is_not_written_before_its_day_begins_in_seoul(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        eve = seoul(START) - timedelta(hours=9, minutes=1)
        assert not invoicing.due(control_session, eve)
        invoicing.bill(control_session=control_session, subscription_ids=[subscription.id], now=eve)
        assert invoices_of(control_session, subscription) == []
        assert invoicing.due(control_session, eve + timedelta(minutes=1))

    def test_freezes_the_buyer_as_they_were(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        assert invoice.buyer["registration_number"]
        assert invoice.buyer["vat_treatment"]["treatment"] == "taxable"
        assert invoice.seller["registration_number"] == "1248100998"
        with pytest.raises(IntegrityError, match="cannot be changed"):
            control_session.execute(
                update(Invoice).where(Invoice.id == invoice.id).values(buyer={"name": "another"})
            )

    def test_is_announced_once_to_the_billing_address(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        mail = control_session.scalars(
            select(Message).where(Message.dedupe_key == f"invoice_issued:{invoice.id}")
        ).one()
        assert mail.recipient == invoice.buyer["email"]
        assert "₩209,000" in mail.text
        assert str(invoice.number_text) in mail.subject

    def test_names_the_account_to_pay_to_unless_a_card_is_charged(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        by_card = make_subscription(control_session, starts_on=START, now=seoul(START))
        tenant = by_card.tenant_id
        make_card(control_session, tenant=control_session.get_one(Tenant, tenant))
        bill(control_session, subscription, by_card, on=START)
        texts = {
            message.regarding_id: message.text
            for message in control_session.scalars(
                select(Message).where(Message.kind == "invoice_issued")
            )
        }
        assert "데모은행" in texts[subscription.tenant_id]
        assert "데모은행" not in texts[by_card.tenant_id]

    def test_leaves_a_paper_to_print_in_both_languages(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        papers = {
            row.language: shelf.from_json(row.data)
            for row in control_session.scalars(
                select(Document).where(Document.subject_id == invoice.id)
            )
        }
        assert papers["ko"].lines[0].description == "팀 요금제 기본료"
        assert papers["en"].lines[0].description == "Team plan, base fee"
        assert papers["en"].seller.name == "Tenantry Demo Co., Ltd."
        assert papers["ko"].total_minor == 209_000
        assert papers["ko"].bank.number == "000-000-000000"


class TestAMonthLater:
    def test_the_bill_asks_for_the_next_base_fee_and_the_usage_of_the_last_month(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        bill(control_session, subscription, on=date(2026, 2, 28))
        first, second = invoices_of(control_session, subscription)
        assert first.number is not None
        assert second.number == first.number + 1
        lines = {line.charge: line for line in second.lines}
        assert lines["base"].period == span(date(2026, 2, 28), date(2026, 3, 31))
        assert lines["seats"].period == span(START, date(2026, 2, 28))
        assert lines["seats"].quantity == 4
        assert lines["seats"].amount_minor == 60_000
        assert lines["storage"].quantity == Decimal("237.5")
        assert lines["storage"].amount_minor == 47_500
        assert second.subtotal_minor == 297_500
        assert second.tax_minor == 29_750

    def test_each_line_keeps_its_price_and_its_readings(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=date(2026, 2, 28))
        line = control_session.scalars(
            select(InvoiceLine).where(InvoiceLine.charge == "seats")
        ).one()
        assert line.evidence["plan_version"] == 1
        assert line.evidence["readings"] == ["14"] * 28
        assert line.evidence["measured"] == "14"
        assert line.readings_sha256
        assert len(line.readings_sha256) == 64

    def test_the_paper_prints_figures_that_a_calculator_confirms(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        control_session.execute(
            text("UPDATE reading SET quantity = 337.5129 WHERE meter = 'storage_gb_days'")
        )
        bill(control_session, subscription, on=date(2026, 2, 28))
        second = invoices_of(control_session, subscription)[1]
        stored = control_session.scalars(
            select(Document).where(Document.subject_id == second.id, Document.language == "en")
        ).one()
        printed = shelf.from_json(stored.data)
        assert [
            (line.detail, str(line.quantity), str(line.unit_price_minor), line.amount_minor)
            for line in printed.lines
        ] == [
            ("", "1", "190000", 190_000),
            ("peak 14 seats", "4", "15000", 60_000),
            ("average 337.512 GB", "237.512", "200", 47_502),
        ]


class TestRunningAgain:
    def test_bills_nothing_twice(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        for _ in range(3):
            bill(control_session, subscription, on=date(2026, 3, 31))
        assert len(invoices_of(control_session, subscription)) == 3

    def test_trusts_the_spans_more_than_the_hint(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=date(2026, 3, 31))
        subscription.next_bill_on = START
        control_session.flush()
        bill(control_session, subscription, on=date(2026, 3, 31))
        assert len(invoices_of(control_session, subscription)) == 3
        assert subscription.next_bill_on == date(2026, 4, 30)

    def test_the_database_refuses_a_second_span_even_if_the_program_asks(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        (billed,) = control_session.scalars(select(BilledSpan))
        control_session.add(
            BilledSpan(
                subscription_id=subscription.id,
                item_id=billed.item_id,
                span=Range(seoul(date(2026, 2, 10)), seoul(date(2026, 2, 11)), bounds="[)"),
                invoice_id=invoice.id,
                line_id=billed.line_id,
            )
        )
        with pytest.raises(IntegrityError, match="ex_billed_span_once"):
            control_session.flush()


class TestAfterAnOutage:
    def test_missed_months_are_billed_in_order_and_equal_timely_ones(
        self, control_session: Session
    ) -> None:
        tenants = [make_tenant(control_session, state="active") for _ in range(2)]
        timely, late = (
            make_subscription(control_session, tenant=tenant, starts_on=START) for tenant in tenants
        )
        for each in (timely, late):
            make_readings(
                control_session,
                tenant_id=each.tenant_id,
                start=START,
                end=date(2026, 5, 31),
                seats=[10 + place % 7 for place in range(120)],
                gigabytes=Decimal("150.123456"),
            )
        control_session.execute(
            text("UPDATE reading SET evidence_sha256 = repeat('e', 64)")
        )  # the same events, so that their fingerprints compare
        for on in (START, date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)):
            bill(control_session, timely, on=on)
        bill(control_session, late, on=date(2026, 4, 30))
        expected = [paper(invoice) for invoice in invoices_of(control_session, timely)]
        assert [paper(invoice) for invoice in invoices_of(control_session, late)] == expected
        assert len(expected) == 4
        numbers = [invoice.number for invoice in invoices_of(control_session, late)]
        assert numbers == sorted(numbers)
        assert broken_rules(control_session) == []


class TestAMissingDay:
    @pytest.fixture
    def gappy(self, control_session: Session) -> Subscription:
        """A subscription whose February lacks two days."""
        started = make_subscription(control_session, starts_on=START)
        make_readings(
            control_session,
            tenant_id=started.tenant_id,
            start=START,
            end=date(2026, 4, 30),
            without=[date(2026, 2, 3), date(2026, 2, 20)],
        )
        return started

    def test_blocks_its_bill_and_the_later_ones_and_names_the_days(
        self, control_session: Session, gappy: Subscription
    ) -> None:
        outcome = bill(control_session, gappy, on=date(2026, 4, 30))
        assert len(invoices_of(control_session, gappy)) == 1
        assert gappy.blocked_reason == (
            "seats: 2026-02-03, 2026-02-20; storage_gb_days: 2026-02-03, 2026-02-20"
        )
        assert outcome.blocked == {gappy.id: gappy.blocked_reason}
        assert gappy.next_bill_on == date(2026, 2, 28)
        assert gappy.attempts == 0

    def test_heals_by_itself_when_the_readings_are_there(
        self, control_session: Session, gappy: Subscription
    ) -> None:
        bill(control_session, gappy, on=date(2026, 4, 30))
        for day in (date(2026, 2, 3), date(2026, 2, 20)):
            make_readings(
                control_session,
                tenant_id=gappy.tenant_id,
                start=day,
                end=day + timedelta(days=1),
            )
        bill(control_session, gappy, on=date(2026, 4, 30))
        assert len(invoices_of(control_session, gappy)) == 4
        assert gappy.blocked_reason is None
        assert broken_rules(control_session) == []

    def test_stops_nobody_else(
        self, control_session: Session, gappy: Subscription, subscription: Subscription
    ) -> None:
        bill(control_session, gappy, subscription, on=date(2026, 2, 28))
        assert len(invoices_of(control_session, gappy)) == 1
        assert len(invoices_of(control_session, subscription)) == 2


class TestTheEndOfASubscription:
    def test_bills_the_last_usage_and_nothing_ahead(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        changes.cancel(
            control_session=control_session,
            when="period_end",
            tenant_id=subscription.tenant_id,
            actor=FINANCE,
            now=seoul(date(2026, 3, 1)),
        )
        assert subscription.ends_on == date(2026, 3, 31)
        bill(control_session, subscription, on=date(2026, 5, 31))
        *_, last = invoices_of(control_session, subscription)
        assert len(invoices_of(control_session, subscription)) == 3
        assert [line.charge for line in last.lines] == ["seats", "storage"]
        assert last.supplied_on == date(2026, 3, 31)
        assert subscription.state == "cancelled"
        tenant = control_session.get_one(Tenant, subscription.tenant_id)
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "cancelled")
        assert not invoicing.due(control_session, seoul(date(2026, 6, 30)))

    def test_a_bill_over_nothing_is_settled_without_payment(self, control_session: Session) -> None:
        quiet = make_subscription(
            control_session, starts_on=START, ends_on=date(2026, 2, 28), now=seoul(START)
        )
        make_readings(
            control_session, tenant_id=quiet.tenant_id, start=START, end=date(2026, 2, 28), seats=3
        )
        bill(control_session, quiet, on=date(2026, 2, 28))
        _, last = invoices_of(control_session, quiet)
        assert (last.total_minor, last.state, last.collect_at) == (0, "paid", None)
        assert last.paid_at == seoul(date(2026, 2, 28))
        mails = control_session.scalars(
            select(Message).where(
                Message.regarding_id == quiet.tenant_id, Message.kind == "invoice_issued"
            )
        ).all()
        assert len(mails) == 1
        assert broken_rules(control_session) == []

    @pytest.mark.parametrize("state", ["destroying", "destroyed"])
    def test_a_destroyed_tenant_is_billed_no_more(
        self, control_session: Session, state: str
    ) -> None:
        tenant = make_tenant(control_session, state=state)
        gone = make_subscription(control_session, tenant=tenant, starts_on=START)
        bill(control_session, gone, on=date(2026, 2, 28))
        assert invoices_of(control_session, gone) == []


class TestOtherCurrenciesAndTaxes:
    def test_dollars_are_billed_in_cents(self, control_session: Session) -> None:
        tenant = make_tenant(
            control_session, state="active", currency="USD", country="US", language="en"
        )
        abroad = make_subscription(control_session, tenant=tenant, starts_on=START)
        make_readings(
            control_session,
            tenant_id=tenant.id,
            start=START,
            end=date(2026, 2, 28),
            seats=11,
            gigabytes=Decimal("100.333"),
        )
        bill(control_session, abroad, on=date(2026, 2, 28))
        _, second = invoices_of(control_session, abroad)
        amounts = {line.charge: line.amount_minor for line in second.lines}
        assert amounts == {"base": 14_900, "seats": 1_200, "storage": 5}
        assert (second.currency, second.tax_minor) == ("USD", 1_610)

    def test_a_foreign_buyer_is_taxed_unless_finance_wrote_down_why_not(
        self, control_session: Session
    ) -> None:
        noted = {"treatment": "zero_rated", "reason": "export of services", "evidence": "FX slip"}
        profiles = ({}, {"vat_treatment": {"treatment": "zero_rated"}}, {"vat_treatment": noted})
        taxes = []
        for profile in profiles:
            tenant = make_tenant(
                control_session, state="active", country="SG", billing_profile=profile
            )
            abroad = make_subscription(control_session, tenant=tenant, starts_on=START)
            bill(control_session, abroad, on=START)
            (invoice,) = invoices_of(control_session, abroad)
            taxes.append(invoice.tax_minor)
        assert taxes == [19_000, 19_000, 0]
        assert invoice.buyer["vat_treatment"] == noted
        assert broken_rules(control_session) == []


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


class TestWhatIsIssued:
    def test_hashes_to_the_same_when_it_is_read_back(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=date(2026, 3, 31))
        for invoice in invoices_of(control_session, subscription):
            fresh = issuing.content_sha256(invoice=invoice, lines=invoice.lines)
            assert fresh == invoice.content_sha256

    def test_stands_in_the_books_and_the_audit_trail(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        sums = {
            balance.account: balance.debit_minor - balance.credit_minor
            for balance in ledger.trial_balance(control_session=control_session)
        }
        assert sums == {"receivable": 209_000, "deferred_revenue": -190_000, "vat_payable": -19_000}
        moves = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.tenant_id == subscription.tenant_id)
        ).all()
        assert "invoice.issued" in moves

    def test_is_numbered_without_gaps_over_many_subscriptions(
        self, control_session: Session
    ) -> None:
        many = [make_subscription(control_session, starts_on=START) for _ in range(7)]
        bill(control_session, *many[:3], on=START)
        with control_session.begin_nested() as savepoint:
            bill(control_session, *many[3:5], on=START)
            savepoint.rollback()
        bill(control_session, *many[3:], on=START)
        numbers = control_session.scalars(select(Invoice.number).order_by(Invoice.number)).all()
        assert list(numbers) == list(range(1, 8))
        assert control_session.scalars(select(NumberSeries.next_number)).one() == 8
