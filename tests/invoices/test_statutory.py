"""Set apart: what the law keeps is copied whole, and the working tables forget the customer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import clock, files
from app.base.audit import Actor
from app.base.errors import NotFound
from app.base.invariants import offences
from app.base.money import Money
from invoices import (
    credit_notes,
    evidence,
    fingerprints,
    ledger,
    paper_files,
    payment,
    refund_queue,
    statutory,
    tax_following,
    transfers,
    vat_deadlines,
)
from invoices.checks import INVARIANTS
from invoices.models import (
    Document,
    Invoice,
    Payment,
    PaymentMethod,
    Refund,
    StatutoryPaper,
    TaxInvoice,
    VatEvidence,
)
from tests.factories import NOW, make_card, make_invoice, make_staff, make_tenant
from tests.invoices.collecting import gateway_at, owing
from tests.invoices.issuing import issue
from tests.invoices.test_settlement import receive
from tests.sandbox.running import RunningSandbox

NAME, ADDRESS, PAYER = "한빛정밀 주식회사", "서울특별시 어딘가 1-2-3", "송금한 사람"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def traded(session: Session) -> Invoice:
    """A tenant's paid invoice with its tax invoice and all papers, one of them printed."""
    tenant = make_tenant(
        session,
        state="active",
        name=NAME,
        billing_profile={"registration_number": "1248100998", "address": ADDRESS},
    )
    make_card(session, tenant=tenant)
    invoice = make_invoice(session, tenant=tenant)
    invoice.collect_at = None
    transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(invoice.total_minor, invoice.currency),
        payer=PAYER,
        paid_on=NOW.date(),
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )
    evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
    issue(session, *session.scalars(select(TaxInvoice).where(TaxInvoice.state == "due")))
    document = session.scalars(select(Document).order_by(Document.id)).first()
    assert document is not None
    stored = files.put(
        prefix=paper_files.prefix_of(tenant.id), chunks=[b"%PDF- " + tenant.id.bytes]
    )
    printed = paper_files.Printed(stored.sha256, stored.size_bytes, "1", ())
    order = paper_files.begin(control_session=session, document_id=document.id)
    assert order is not None
    paper_files.record(control_session=session, order=order, printed=printed, now=NOW)
    return invoice


def set_apart(session: Session, invoice: Invoice) -> int:
    return statutory.set_apart(control_session=session, tenant_id=invoice.tenant_id, now=NOW)


def credit_part(session: Session, invoice: Invoice) -> None:
    credit_notes.issue(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(1_100, "KRW"),
        keep=True,
        reason="wrong seats",
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )


def follow(session: Session, invoice: Invoice) -> None:
    """What the step does for its one credit note."""
    (note,) = credit_notes.of_invoice(control_session=session, invoice_id=invoice.id)
    assert tax_following.after_credit_note(control_session=session, credit_note=note, now=NOW)
    due = session.scalars(select(TaxInvoice).where(TaxInvoice.state == "due")).all()
    if due:
        issue(session, *due)


def kept(session: Session, kind: str) -> list[StatutoryPaper]:
    return list(session.scalars(select(StatutoryPaper).where(StatutoryPaper.kind == kind)))


class TestSettingApart:
    def test_keeps_everything_that_stood_on_an_invoice(self, control_session: Session) -> None:
        invoice = traded(control_session)
        buyer, number = dict(invoice.buyer), invoice.number_text
        set_apart(control_session, invoice)
        (paper,) = kept(control_session, "invoice")
        assert (paper.number_text, paper.issued_on) == (number, date(2026, 3, 10))
        assert paper.data["buyer"] == buyer
        assert paper.data["payments"][0]["payer"] == PAYER
        assert len(paper.data["lines"]) == 1
        assert paper.data_sha256 == fingerprints.sha256(paper.data)
        (tax,) = kept(control_session, "tax_invoice")
        assert tax.data["data"]["buyer"]["name"] == NAME

    def test_keeps_the_bytes_where_the_tenants_files_are_not(
        self, control_session: Session
    ) -> None:
        invoice = traded(control_session)
        set_apart(control_session, invoice)
        files.delete_all(prefix=f"tenants/{invoice.tenant_id}")
        papers = kept(control_session, "document")
        assert len(papers) == 6
        (printed,) = [paper for paper in papers if paper.file_sha256]
        opened = statutory.open_paper(control_session=control_session, paper_id=printed.id)
        with opened.stream as stream:
            assert stream.read() == b"%PDF- " + invoice.tenant_id.bytes
        unprinted = next(paper for paper in papers if not paper.file_sha256)
        with pytest.raises(NotFound):
            statutory.open_paper(control_session=control_session, paper_id=unprinted.id)

    def test_leaves_no_name_in_the_working_tables(self, control_session: Session) -> None:
        invoice = traded(control_session)
        set_apart(control_session, invoice)
        for model in (Document, TaxInvoice):
            assert control_session.scalar(select(func.count()).select_from(model)) == 0
        card = control_session.scalars(select(PaymentMethod)).one()
        assert (card.masked, card.revoked_at) == ("", NOW)
        for table in ("invoice", "payment", "payment_attempt", "payment_method", "vat_evidence"):
            rows = control_session.execute(text(f"SELECT to_jsonb(t) FROM {table} t")).scalars()
            said = json.dumps(list(rows), ensure_ascii=False)
            for word in (NAME, ADDRESS, PAYER, '1248100998", "repr'):
                assert word not in said

    def test_leaves_the_books_and_their_numbers_whole(self, control_session: Session) -> None:
        invoice = traded(control_session)
        before = ledger.trial_balance(control_session=control_session)
        set_apart(control_session, invoice)
        assert ledger.trial_balance(control_session=control_session) == before
        assert control_session.scalars(select(Payment.amount_minor)).all() == [invoice.total_minor]
        assert control_session.scalars(select(VatEvidence.kind)).all() == ["tax_invoice"]
        for invariant in INVARIANTS:
            found = offences(control_session=control_session, invariant=invariant, now=NOW)
            assert found == [], invariant.code

    def test_twice_keeps_one_copy(self, control_session: Session) -> None:
        invoice = traded(control_session)
        assert set_apart(control_session, invoice) == 9
        assert set_apart(control_session, invoice) == 0
        assert len(kept(control_session, "invoice")) == 1

    def test_leaves_other_tenants_alone(self, control_session: Session) -> None:
        invoice, other = traded(control_session), make_invoice(control_session)
        set_apart(control_session, invoice)
        control_session.refresh(other)
        assert other.set_apart_at is None
        assert "name" in other.buyer

    def test_leaves_a_supply_whose_paper_a_person_owes_on_the_board(
        self, control_session: Session
    ) -> None:
        tenant = make_tenant(
            control_session, state="active", billing_profile={"registration_number": ""}
        )
        invoice = make_invoice(control_session, tenant=tenant)
        invoice.collect_at = None
        later = NOW + timedelta(days=60)
        made = evidence.choose(control_session=control_session, invoice_id=invoice.id, now=later)
        assert made is not None
        assert made.kind == "by_hand"
        credit_part(control_session, invoice)
        follow(control_session, invoice)
        set_apart(control_session, invoice)
        board = vat_deadlines.board(control_session=control_session, now=later, limit=9)
        assert [(each.kind, each.name) for each in board.late] == [("by_hand", "")]

    def test_leaves_what_is_owed_payable_without_a_paper(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        set_apart(control_session, invoice)
        control_session.refresh(invoice)
        receive(control_session, invoice, invoice.total_minor)
        assert invoice.state == "paid"
        assert control_session.scalars(select(Document)).all() == []
        with pytest.raises(credit_notes.NotCreditable):
            credit_part(control_session, invoice)

    def test_waits_for_a_charge_under_way(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        payment.begin(
            control_session=control_session,
            invoice_id=invoice.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        with pytest.raises(statutory.MoneyUnderWay):
            set_apart(control_session, invoice)

    @pytest.mark.parametrize("end", ["sent", "kept"])
    def test_waits_until_money_has_gone_back(self, control_session: Session, end: str) -> None:
        invoice = traded(control_session)
        staff_id = make_staff(control_session, role="finance").id
        credit_notes.issue(
            control_session=control_session,
            invoice_id=invoice.id,
            amount=Money(9_000, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=staff_id,
            now=NOW,
        )
        with pytest.raises(statutory.MoneyUnderWay):
            set_apart(control_session, invoice)
        settle = refund_queue.declare_sent if end == "sent" else refund_queue.keep
        settle(
            control_session=control_session,
            refund_id=control_session.scalars(select(Refund.id)).one(),
            why="bank receipt",
            actor=Actor.staff(staff_id),
            now=NOW,
        )
        # Its paper follows, and is issued, before all of them are set apart.
        with pytest.raises(statutory.PapersUnderWay):
            set_apart(control_session, invoice)
        follow(control_session, invoice)
        assert set_apart(control_session, invoice)

    def test_stops_when_a_paper_can_not_be_copied(self, control_session: Session) -> None:
        invoice = traded(control_session)
        files.delete_all(prefix=paper_files.prefix_of(invoice.tenant_id))
        with pytest.raises(files.FileMissing):
            set_apart(control_session, invoice)
        assert kept(control_session, "invoice") == []

    def test_is_the_only_way_to_change_an_issued_invoice(self, control_session: Session) -> None:
        invoice = traded(control_session)
        with pytest.raises(IntegrityError), control_session.begin_nested():
            control_session.execute(text("UPDATE invoice SET buyer = '{}'"))
        set_apart(control_session, invoice)
        with pytest.raises(IntegrityError), control_session.begin_nested():
            control_session.execute(text('UPDATE invoice SET buyer = \'{"name": "other"}\''))


class TestHowLongAPaperIsKept:
    def test_is_five_years_from_the_return_and_seven_across_the_border(self) -> None:
        supplied = date(2026, 1, 1)
        assert statutory.keep_until(supplied, abroad=False) == date(2032, 3, 31)
        assert statutory.keep_until(date(2026, 12, 31), abroad=False) == date(2032, 3, 31)
        assert statutory.keep_until(supplied, abroad=True) == date(2034, 3, 31)
