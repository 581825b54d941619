"""VAT evidence: exactly one for every supply, chosen in time, and held by the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.money import Money
from invoices import evidence, fingerprints, invoicing, payment, tax_invoices, transfers
from invoices.documents import shelf
from invoices.documents.papers import Copy, Purpose, TaxInvoicePaper
from invoices.models import Document, Invoice, Payment, TaxInvoice, VatEvidence
from tests.factories import NOW, make_invoice, make_staff, make_subscription, make_tenant
from tests.invoices.collecting import collect, gateway_at, owing
from tests.invoices.issuing import issue
from tests.sandbox.running import RunningSandbox

# The supply is on 10 March 2026; its deadline is the end of 10 April in Seoul.
SUPPLIED_ON = date(2026, 3, 10)


def seoul(month: int, day: int, hour: int = 9, minute: int = 0) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC) + timedelta(hours=hour - 9, minutes=minute)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def choose(session: Session, invoice: Invoice, now: datetime = NOW) -> VatEvidence | None:
    return evidence.choose(control_session=session, invoice_id=invoice.id, now=now)


def waiting(session: Session, **tenant: Any) -> Invoice:
    """An issued invoice that no card will be charged for."""
    invoice = make_invoice(
        session, tenant=make_tenant(session, state="active", converted_at=NOW, **tenant)
    )
    invoice.collect_at = None
    session.flush()
    return invoice


def transfer(session: Session, invoice: Invoice, now: datetime = NOW) -> Payment:
    return transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(invoice.total_minor, invoice.currency),
        payer="대한설계",
        paid_on=clock.today(now, "Asia/Seoul"),
        staff_id=make_staff(session, role="finance").id,
        now=now,
    )


def tax_invoice_of(session: Session, invoice: Invoice) -> TaxInvoice | None:
    """The supply's tax invoice, issued by the offline issuer if it is still due."""
    row = session.scalar(select(TaxInvoice).where(TaxInvoice.invoice_id == invoice.id))
    if row is not None and row.state == "due":
        issue(session, row)
    return row


def assert_refused(session: Session, row: Any) -> None:
    """The database itself does not take the row."""
    session.add(row)
    with pytest.raises(IntegrityError), session.begin_nested():
        session.flush()


class TestASupplyPaidByCard:
    def test_has_the_card_slip_and_never_a_tax_invoice(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        collect(control_session, invoice)
        chosen = choose(control_session, invoice)
        assert chosen is not None
        paid = control_session.scalars(select(Payment)).one()
        assert (chosen.kind, chosen.payment_id) == ("card_slip", paid.id)
        assert choose(control_session, invoice, seoul(4, 10)) is None
        assert tax_invoice_of(control_session, invoice) is None

    def test_after_a_claim_was_issued_has_no_second_evidence(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        invoice.collect_at = None
        control_session.flush()
        assert choose(control_session, invoice, seoul(4, 9)) is not None
        invoice.collect_at = seoul(4, 11)
        control_session.flush()
        collect(control_session, invoice, seoul(4, 11))
        assert invoice.state == "paid"
        assert choose(control_session, invoice, seoul(4, 11)) is None
        assert control_session.scalars(select(VatEvidence.kind)).all() == ["tax_invoice"]
        issued = tax_invoice_of(control_session, invoice)
        assert issued is not None
        assert issued.purpose == "claim"


class TestASupplyPaidByTransfer:
    def test_has_a_tax_invoice_at_once_that_says_received(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        transfer(control_session, invoice)
        chosen = choose(control_session, invoice)
        assert chosen is not None
        assert chosen.kind == "tax_invoice"
        issued = tax_invoice_of(control_session, invoice)
        assert issued is not None
        assert (issued.purpose, issued.written_on) == ("receipt", SUPPLIED_ON)
        paper = shelf.from_json(issued.data)
        assert isinstance(paper, TaxInvoicePaper)
        assert paper.purpose is Purpose.RECEIVED
        assert paper.cash_minor == invoice.total_minor


class TestASupplyUnpaid:
    def test_has_its_claim_from_the_9th_and_not_before(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        assert choose(control_session, invoice, seoul(4, 8, 23, 59)) is None
        chosen = choose(control_session, invoice, seoul(4, 9, 0, 0))
        assert chosen is not None
        issued = tax_invoice_of(control_session, invoice)
        assert issued is not None
        paper = shelf.from_json(issued.data)
        assert isinstance(paper, TaxInvoicePaper)
        assert (issued.purpose, paper.purpose) == ("claim", Purpose.CHARGED)
        assert (paper.cash_minor, paper.credit_minor) == (0, invoice.total_minor)

    def test_waits_for_a_charge_on_its_way_until_noon_of_the_10th(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        payment.begin(
            control_session=control_session,
            invoice_id=invoice.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        assert choose(control_session, invoice, seoul(4, 9)) is None
        assert choose(control_session, invoice, seoul(4, 10, 11, 59)) is None
        assert choose(control_session, invoice, seoul(4, 10, 12, 0)) is not None

    def test_billed_after_its_deadline_lets_the_card_have_its_turn_first(
        self, control_session: Session
    ) -> None:
        subscription = make_subscription(control_session, starts_on=date(2026, 1, 20))
        control_session.flush()
        invoicing.bill(control_session=control_session, subscription_ids=[subscription.id], now=NOW)
        late = control_session.scalars(
            select(Invoice).where(Invoice.subscription_id == subscription.id)
        ).first()
        assert late is not None
        assert late.collect_at == NOW
        assert choose(control_session, late, NOW + timedelta(hours=11)) is None
        assert choose(control_session, late, NOW + timedelta(hours=13)) is not None

    def test_in_december_is_due_in_january(self) -> None:
        assert evidence.deadline(date(2026, 12, 31)) == date(2027, 1, 11)
        assert evidence.deadline(date(2028, 1, 31)) == date(2028, 2, 10)

    def test_that_was_voided_has_none(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        invoicing.void(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="ordered by mistake",
            actor=SYSTEM,
            now=NOW,
        )
        assert choose(control_session, invoice, seoul(4, 10)) is None

    def test_with_a_tax_invoice_can_not_be_voided(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        choose(control_session, invoice, seoul(4, 10))
        with pytest.raises(invoicing.TaxInvoiceExists):
            invoicing.void(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="too late",
                actor=SYSTEM,
                now=seoul(4, 10),
            )


class TestASupplyThatNoTaxInvoiceOfOursCanName:
    def test_abroad_has_none_and_says_why_and_is_taxed_as_it_was(
        self, control_session: Session
    ) -> None:
        invoice = waiting(
            control_session,
            country="DE",
            language="en",
            billing_profile={"registration_number": "DE123456789", "email": "a@b.example"},
        )
        assert invoice.tax_minor > 0
        transfer(control_session, invoice)
        chosen = choose(control_session, invoice)
        assert chosen is not None
        assert chosen.kind == "none_foreign"
        assert "registration number" in str(chosen.reason)

    @pytest.mark.parametrize("number", ["", "1248100999"])
    def test_in_korea_is_left_to_a_person(self, control_session: Session, number: str) -> None:
        invoice = waiting(control_session, billing_profile={"registration_number": number})
        chosen = choose(control_session, invoice, seoul(4, 9))
        assert chosen is not None
        assert chosen.kind == "by_hand"

    @pytest.mark.parametrize(
        ("buyer", "lines", "why"),
        [
            ({}, 100, "more than 99 lines"),
            ({"email": ""}, 1, "no e-mail address"),
            ({"email": f"{'a' * 40}@b.example"}, 1, "e-mail address has more than 40"),
            ({"name": "가" * 71}, 1, "name has more than 70"),
            ({}, 99, None),
        ],
    )
    def test_by_the_standard_of_electronic_ones_is_told_why(
        self, control_session: Session, buyer: dict[str, str], lines: int, why: str | None
    ) -> None:
        invoice = waiting(control_session)
        (line, *_) = (each for each in invoice.lines if each.amount_minor)
        drawn = SimpleNamespace(
            buyer={**invoice.buyer, **buyer},
            seller=invoice.seller,
            currency=invoice.currency,
            lines=[line] * lines,
        )
        hindrance = tax_invoices.hindrance(cast(Invoice, drawn))
        assert hindrance is None if why is None else why in str(hindrance)

    def test_in_dollars_is_left_to_a_person(self, control_session: Session) -> None:
        invoice = waiting(control_session, currency="USD")
        chosen = choose(control_session, invoice, seoul(4, 9))
        assert chosen is not None
        assert (chosen.kind, "USD" in str(chosen.reason)) == ("by_hand", True)


class TestATaxInvoice:
    def issued(self, session: Session) -> tuple[Invoice, TaxInvoice]:
        invoice = waiting(session)
        transfer(session, invoice)
        choose(session, invoice)
        issued = tax_invoice_of(session, invoice)
        assert issued is not None
        return invoice, issued

    def test_bears_24_digits_day_issuer_and_serial(self, control_session: Session) -> None:
        _, first = self.issued(control_session)
        _, second = self.issued(control_session)
        assert first.issue_id[:16] == "2026031000000000"
        assert len(first.issue_id) == 24
        assert int(second.issue_id[16:]) == int(first.issue_id[16:]) + 1

    def test_has_two_copies_in_korean_of_one_content(self, control_session: Session) -> None:
        invoice, issued = self.issued(control_session)
        sheets = control_session.scalars(
            select(Document).where(Document.subject_id == issued.id).order_by(Document.kind)
        ).all()
        assert [(sheet.kind, sheet.language) for sheet in sheets] == [
            ("tax_invoice_buyer", "ko"),
            ("tax_invoice_supplier", "ko"),
        ]
        papers = [shelf.from_json(sheet.data) for sheet in sheets]
        assert [paper.copy for paper in papers if isinstance(paper, TaxInvoicePaper)] == [
            Copy.BUYER,
            Copy.SUPPLIER,
        ]
        assert issued.content_sha256 == fingerprints.sha256(issued.data)
        assert issued.total_minor == invoice.total_minor
        for paper in papers:
            assert isinstance(paper, TaxInvoicePaper)
            assert (paper.approval_number, paper.transmitted_on) == ("", None)

    def test_is_never_changed_or_thrown_away(self, control_session: Session) -> None:
        _, issued = self.issued(control_session)
        for statement in (
            update(TaxInvoice).where(TaxInvoice.id == issued.id).values(purpose="claim"),
            delete(TaxInvoice).where(TaxInvoice.id == issued.id),
        ):
            with pytest.raises(IntegrityError), control_session.begin_nested():
                control_session.execute(statement)


class TestTheDatabase:
    def test_holds_one_evidence_for_a_supply(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        choose(control_session, invoice, seoul(4, 9))
        assert_refused(
            control_session,
            VatEvidence(
                tenant_id=invoice.tenant_id,
                invoice_id=invoice.id,
                kind="tax_invoice",
                chosen_at=NOW,
            ),
        )

    def test_refuses_a_tax_invoice_beside_a_card_slip(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        collect(control_session, invoice)
        slip = choose(control_session, invoice)
        assert slip is not None
        assert_refused(
            control_session,
            TaxInvoice(
                evidence_id=slip.id,
                tenant_id=invoice.tenant_id,
                invoice_id=invoice.id,
                issue_id="2026031000000000" + "0" * 8,
                purpose="claim",
                written_on=SUPPLIED_ON,
                issued_at=NOW,
                supply_minor=1,
                tax_minor=0,
                total_minor=1,
                data={},
                content_sha256="",
            ),
        )

    def test_refuses_a_card_slip_where_no_card_paid(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        paid = transfer(control_session, invoice)
        assert_refused(
            control_session,
            VatEvidence(
                tenant_id=invoice.tenant_id,
                invoice_id=invoice.id,
                kind="card_slip",
                payment_id=paid.id,
                chosen_at=NOW,
            ),
        )

    def test_lets_nobody_change_a_payment(self, control_session: Session) -> None:
        transfer(control_session, waiting(control_session))
        for changed in ("amount_minor = 1", "payer = 'somebody else'"):
            with pytest.raises(IntegrityError), control_session.begin_nested():
                control_session.execute(text(f"UPDATE payment SET {changed}"))
        assert control_session.scalar(select(func.count()).select_from(Payment)) == 1
