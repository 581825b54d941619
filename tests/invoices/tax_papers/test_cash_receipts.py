"""Cash receipts: asked for by who pays by transfer, issued once, cancelled by what is refunded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import SYSTEM
from invoices import cash_receipt_issuing, cash_receipt_queue, cash_receipts, evidence
from invoices.cash_receipts import IdentityWrong, NoCashReceipt
from invoices.gateways.port import CashReceiptUse
from invoices.models import CashReceipt, Invoice, TaxInvoice, VatEvidence
from tests.factories import NOW
from tests.fakes.popbill.running import RunningPopbill, running
from tests.invoices.issuing import issue_cash_receipt
from tests.invoices.test_evidence import assert_refused, transfer, waiting

LATER = NOW + timedelta(hours=2)
PHONE, BUSINESS = "010-1234-5678", "120-81-47521"


@pytest.fixture(autouse=True)
def popbill() -> Iterator[RunningPopbill]:
    with running() as found:
        yield found


def wanted(
    session: Session,
    invoice: Invoice,
    use: CashReceiptUse = CashReceiptUse.EXPENSE_PROOF,
    identity: str = BUSINESS,
) -> CashReceipt:
    return cash_receipts.want(
        control_session=session,
        invoice_id=invoice.id,
        use=use,
        identity=identity,
        actor=SYSTEM,
        now=NOW,
    )


def choose(session: Session, invoice: Invoice, now: Any = NOW) -> VatEvidence:
    chosen = evidence.choose(control_session=session, invoice_id=invoice.id, now=now)
    assert chosen is not None
    return chosen


def issued(session: Session) -> CashReceipt:
    invoice = waiting(session)
    row = wanted(session, invoice)
    transfer(session, invoice)
    choose(session, invoice)
    issue_cash_receipt(session, row)
    return row


def cancel(session: Session, row: CashReceipt, supply: int, tax: int) -> bool:
    return cash_receipts.cancel(
        control_session=session,
        invoice_id=row.invoice_id,
        cause_id=ids.uuid7(),
        supply_minor=supply,
        tax_minor=tax,
        reason="refund",
        now=LATER,
    )


class TestAWish:
    def test_becomes_the_evidence_of_a_transfer(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        invoice = waiting(control_session)
        row = wanted(control_session, invoice)
        paid = transfer(control_session, invoice)
        chosen = choose(control_session, invoice)
        assert (chosen.kind, chosen.payment_id, row.state) == ("cash_receipt", paid.id, "due")
        assert control_session.scalar(select(TaxInvoice)) is None
        issue_cash_receipt(control_session, row)
        assert (row.state, row.number) == (
            "issued",
            popbill.desk.cashbills[row.key]["confirmNum"],
        )
        words = popbill.desk.cashbills[row.key]["words"]
        assert (words["tradeUsage"], words["identityNum"]) == ("지출증빙용", "1208147521")
        assert words["totalAmount"] == str(invoice.total_minor)
        popbill.desk.cashbills[row.key]["stateCode"] = 304
        issue_cash_receipt(control_session, row, now=LATER)
        assert (row.state, row.look_at) == ("confirmed", None)

    def test_unpaid_at_the_deadline_gives_way_to_a_claim(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        row = wanted(control_session, invoice)
        chosen = choose(control_session, invoice, NOW + timedelta(days=31))
        assert (chosen.kind, row.state) == ("tax_invoice", "withdrawn")

    def test_comes_too_late_once_the_evidence_is_chosen(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        transfer(control_session, invoice)
        choose(control_session, invoice)
        with pytest.raises(NoCashReceipt):
            wanted(control_session, invoice)

    def test_told_again_replaces_the_first(self, control_session: Session) -> None:
        invoice = waiting(control_session)
        first = wanted(control_session, invoice)
        second = wanted(control_session, invoice, CashReceiptUse.INCOME_DEDUCTION, PHONE)
        assert (first.state, second.identity_masked) == ("withdrawn", "010****5678")
        assert "5678" not in second.identity_sealed

    @pytest.mark.parametrize(
        ("use", "identity"),
        [
            (CashReceiptUse.EXPENSE_PROOF, PHONE),
            (CashReceiptUse.EXPENSE_PROOF, "120-81-47522"),
            (CashReceiptUse.INCOME_DEDUCTION, "02-123-4567"),
            (CashReceiptUse.INCOME_DEDUCTION, ""),
        ],
    )
    def test_to_a_number_that_is_none_is_refused(
        self, control_session: Session, use: CashReceiptUse, identity: str
    ) -> None:
        with pytest.raises(IdentityWrong):
            wanted(control_session, waiting(control_session), use, identity)


class TestACashReceipt:
    @pytest.mark.parametrize("fault", ["drop_before", "drop_after", "500"])
    def test_is_issued_once_whatever_the_connection_does(
        self, control_session: Session, popbill: RunningPopbill, fault: str
    ) -> None:
        invoice = waiting(control_session)
        row = wanted(control_session, invoice)
        transfer(control_session, invoice)
        choose(control_session, invoice)
        popbill.fault("/Cashbill", fault)
        with pytest.raises(cash_receipt_issuing.IssuerSilent):
            issue_cash_receipt(control_session, row)
        issue_cash_receipt(control_session, row)
        assert row.state == "issued"
        assert list(popbill.desk.cashbills) == [row.key]

    def test_is_cancelled_in_part_and_then_whole(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = issued(control_session)
        popbill.desk.cashbills[row.key]["stateCode"] = 304
        issue_cash_receipt(control_session, row, now=LATER)
        assert cancel(control_session, row, 10_000, 1_000)
        assert cancel(control_session, row, row.supply_minor - 10_000, row.tax_minor - 1_000)
        parts = control_session.scalars(
            select(CashReceipt).where(CashReceipt.cancels_id == row.id)
        ).all()
        for part in parts:
            issue_cash_receipt(control_session, part, now=LATER)
            popbill.desk.cashbills[part.key]["stateCode"] = 304
            issue_cash_receipt(control_session, part, now=LATER + timedelta(days=1))
        control_session.refresh(row)
        assert [part.state for part in parts] == ["confirmed", "confirmed"]
        assert row.state == "cancelled"
        assert popbill.desk.cashbills[row.key]["cancelled"] == row.total_minor

    def test_is_not_cancelled_over_more_than_it_says(self, control_session: Session) -> None:
        row = issued(control_session)
        with pytest.raises(NoCashReceipt):
            cancel(control_session, row, row.total_minor, row.tax_minor)

    def test_that_is_not_issued_yet_lets_its_cancelling_wait(
        self, control_session: Session
    ) -> None:
        invoice = waiting(control_session)
        row = wanted(control_session, invoice)
        transfer(control_session, invoice)
        choose(control_session, invoice)
        assert not cancel(control_session, row, 1, 0)

    def test_refused_waits_for_a_person(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        invoice = waiting(control_session)
        row = wanted(control_session, invoice)
        transfer(control_session, invoice)
        choose(control_session, invoice)
        popbill.fault("/Cashbill", "refuse", code=-14000099, message="잔여포인트가 부족합니다.")
        issue_cash_receipt(control_session, row)
        assert (row.state, row.error_code) == ("failed", "-14000099")
        cash_receipt_queue.try_again(
            control_session=control_session, row_id=row.id, actor=SYSTEM, now=NOW
        )
        issue_cash_receipt(control_session, row)
        assert row.state == "issued"


class TestTheDatabase:
    def test_holds_no_tax_invoice_beside_a_cash_receipt(self, control_session: Session) -> None:
        row = issued(control_session)
        assert_refused(
            control_session,
            TaxInvoice(
                evidence_id=row.evidence_id,
                tenant_id=row.tenant_id,
                invoice_id=row.invoice_id,
                issuer="offline",
                management_key="k",
                serial=1,
                purpose="claim",
                written_on=NOW.date(),
                created_at=NOW,
                supply_minor=1,
                tax_minor=0,
                total_minor=1,
                data={},
                content_sha256="",
            ),
        )

    def test_holds_no_cash_receipt_where_a_tax_invoice_was_chosen(
        self, control_session: Session
    ) -> None:
        invoice = waiting(control_session)
        transfer(control_session, invoice)
        chosen = choose(control_session, invoice)
        assert chosen.kind == "tax_invoice"
        row = CashReceipt(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            evidence_id=chosen.id,
            state="due",
            use="expense_proof",
            identity_sealed="",
            identity_masked="",
            issuer="popbill",
            key="k",
            supply_minor=1,
            tax_minor=0,
            total_minor=1,
            created_at=NOW,
        )
        assert_refused(control_session, row)

    def test_holds_one_evidence_for_a_payment(self, control_session: Session) -> None:
        first, second = waiting(control_session), waiting(control_session)
        wanted(control_session, first)
        paid = transfer(control_session, first)
        choose(control_session, first)
        again = VatEvidence(
            tenant_id=second.tenant_id,
            invoice_id=second.id,
            kind="cash_receipt",
            payment_id=paid.id,
            chosen_at=NOW,
        )
        control_session.add(again)
        with pytest.raises(IntegrityError), control_session.begin_nested():
            control_session.flush()
