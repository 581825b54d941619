"""The billing run on a real database: once, in order, complete, or not at all."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.base.messages import Message
from invoices import invoicing, issuing, ledger
from invoices.documents import shelf
from invoices.models import (
    Document,
    Invoice,
    InvoiceLine,
    NumberSeries,
    Subscription,
)
from tenants.models import Tenant
from tests.factories import make_card, make_readings, make_subscription, make_tenant, span
from tests.invoices.monthly import (
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

    def test_is_numbered_from_one_in_a_year_that_begins_in_seoul(
        self, control_session: Session
    ) -> None:
        begins = seoul(date(2027, 1, 1), hour=0)
        assert begins.year == 2026, "in UTC it is the old year still"
        eve = begins - timedelta(minutes=1)
        old = [make_subscription(control_session, starts_on=date(2026, 12, 31)) for _ in range(3)]
        new = [make_subscription(control_session, starts_on=date(2027, 1, 1)) for _ in range(2)]
        for moment, billed in ((eve, old[:2]), (begins, new), (begins, old[2:])):
            invoicing.bill(
                control_session=control_session,
                subscription_ids=[each.id for each in billed],
                now=moment,
            )
        texts = control_session.scalars(
            select(Invoice.number_text).order_by(Invoice.year, Invoice.number)
        ).all()
        assert list(texts) == [
            *("INV-2026-000001", "INV-2026-000002"),
            # What is issued late bears the year in which it is issued.
            *("INV-2027-000001", "INV-2027-000002", "INV-2027-000003"),
        ]
        following = select(NumberSeries.year, NumberSeries.next_number).order_by(NumberSeries.year)
        found = [tuple(row) for row in control_session.execute(following)]
        assert found == [(2026, 3), (2027, 4)]
