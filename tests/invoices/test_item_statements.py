"""Statements of items and the papers of cash receipts: drawn up once, from what was issued."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.errors import NotFound
from app.base.ids import uuid7
from invoices import cash_receipt_papers, invoicing, item_statements
from invoices.documents import shelf
from invoices.documents.papers import CashReceiptPaper, Language, StatementPaper
from invoices.documents.rendering import render_document
from invoices.models import CashReceipt, Document, Invoice
from tests.factories import NOW, make_invoice
from tests.invoices.documents.reading import text


def documents(session: Session, kind: str) -> list[Document]:
    return list(
        session.scalars(select(Document).where(Document.kind == kind).order_by(Document.language))
    )


def cash_receipt(session: Session, invoice: Invoice, **fields: object) -> CashReceipt:
    row = CashReceipt(
        id=uuid7(),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        state="wanted",
        use="expense_proof",
        identity_sealed="sealed",
        identity_masked="120***7521",
        issuer="popbill",
        key=f"CR{uuid7().hex[-20:]}",
        number="G26030000123",
        traded_on=NOW.date(),
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        created_at=NOW,
        **fields,
    )
    session.add(row)
    session.flush()
    return row


class TestAStatementOfItems:
    def lay_out(self, session: Session, invoice: Invoice) -> None:
        item_statements.lay_out(
            control_session=session, invoice_id=invoice.id, actor=SYSTEM, now=NOW
        )

    def test_says_what_the_invoice_bills_once(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        for _ in range(2):
            self.lay_out(control_session, invoice)
        made = documents(control_session, "statement")
        assert [each.language for each in made] == ["en", "ko"]
        paper = shelf.from_json(made[1].data)
        assert isinstance(paper, StatementPaper)
        assert paper.total_minor == invoice.total_minor
        assert [line.tax_minor for line in paper.lines] == [
            line.tax_minor for line in invoice.lines
        ]
        printed = text(render_document(paper=paper, language=Language.KOREAN).pdf)
        assert "거래명세서" in printed
        assert "(공급자 보관용)" in printed
        assert "(공급받는자 보관용)" in printed
        assert "증빙이 아닙니다" in printed

    def test_is_refused_of_a_void_invoice(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        invoicing.void(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="wrong",
            actor=SYSTEM,
            now=NOW,
        )
        with pytest.raises(item_statements.NotSupplied):
            self.lay_out(control_session, invoice)

    def test_of_no_invoice_is_not_found(self, control_session: Session) -> None:
        with pytest.raises(NotFound):
            item_statements.lay_out(
                control_session=control_session, invoice_id=uuid7(), actor=SYSTEM, now=NOW
            )


class TestTheCashReceiptsPaper:
    def test_is_drawn_up_once_in_both_languages(self, control_session: Session) -> None:
        row = cash_receipt(control_session, make_invoice(control_session))
        for _ in range(2):
            cash_receipt_papers.lay_out(control_session=control_session, row=row, now=NOW)
        made = documents(control_session, "cash_receipt")
        assert [each.language for each in made] == ["en", "ko"]
        paper = shelf.from_json(made[1].data)
        assert isinstance(paper, CashReceiptPaper)
        assert (paper.number, paper.identity) == ("G26030000123", "120***7521")
        assert paper.is_expense_proof

    def test_of_a_cancelling_is_negative_and_names_what_it_cancels(
        self, control_session: Session
    ) -> None:
        invoice = make_invoice(control_session)
        row = cash_receipt(control_session, invoice)
        cancelling = cash_receipt(
            control_session, invoice, cancels_id=row.id, cause_id=uuid7(), reason="refund"
        )
        paper = cash_receipt_papers.cash_receipt_paper(
            control_session=control_session, row=cancelling, language="ko", now=NOW
        )
        assert paper.total_minor == -invoice.total_minor
        assert paper.cancels_number == "G26030000123"
        assert "현금영수증 (취소)" in text(
            render_document(paper=paper, language=Language.KOREAN).pdf
        )
