"""Receipts: what a payer is handed, in two languages, naming the one VAT evidence."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.messages import Message
from app.base.money import Money
from invoices import evidence, transfers
from invoices.documents import shelf
from invoices.documents.papers import Evidence, PaymentMethod, ReceiptPaper
from invoices.models import Document, Invoice
from tests.factories import NOW, make_invoice, make_staff, make_tenant


def paid(session: Session, **tenant: object) -> Invoice:
    invoice = make_invoice(
        session,
        tenant=make_tenant(session, state="active", converted_at=NOW, **tenant),  # type: ignore[arg-type]
    )
    transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(invoice.total_minor, invoice.currency),
        payer="대한설계",
        paid_on=NOW.date(),
        staff_id=make_staff(session, role="finance").id,
        now=NOW + timedelta(days=1),
    )
    return invoice


def receipts(session: Session) -> dict[str, tuple[str, ReceiptPaper]]:
    rows = session.scalars(select(Document).where(Document.kind == "receipt"))
    found = {}
    for row in rows:
        paper = shelf.from_json(row.data)
        assert isinstance(paper, ReceiptPaper)
        found[row.language] = (row.file_name, paper)
    return found


class TestAReceipt:
    def test_of_a_transfer_says_when_the_money_came_and_from_whom(
        self, control_session: Session
    ) -> None:
        invoice = paid(control_session)
        name, paper = receipts(control_session)["ko"]
        assert name == f"{paper.number}-ko.pdf"
        assert paper.number == str(invoice.number_text).replace("INV", "RCT")
        assert (paper.received_on, paper.issued_on) == (
            NOW.date(),
            NOW.date() + timedelta(days=1),
        )
        assert (paper.method, paper.reference) == (PaymentMethod.TRANSFER, "대한설계")
        assert paper.settled[0].number == invoice.number_text
        assert paper.evidence is Evidence.TAX_INVOICE

    def test_in_english_names_the_seller_in_english(self, control_session: Session) -> None:
        paid(control_session)
        _, paper = receipts(control_session)["en"]
        assert paper.seller.name == "Tenantry Demo Co., Ltd."

    def test_promises_no_tax_invoice_to_a_buyer_whom_none_can_name(
        self, control_session: Session
    ) -> None:
        invoice = paid(
            control_session, country="DE", language="en", billing_profile={"email": "x@y.example"}
        )
        assert receipts(control_session)["en"][1].evidence is Evidence.NONE
        chosen = evidence.choose(
            control_session=control_session, invoice_id=invoice.id, now=NOW + timedelta(days=1)
        )
        assert chosen is not None
        assert chosen.kind == "none_foreign"

    def test_is_announced_once_to_the_billing_address_in_its_language(
        self, control_session: Session
    ) -> None:
        invoice = paid(control_session, language="en")
        mail = control_session.scalars(
            select(Message).where(Message.kind == "payment_received")
        ).one()
        assert (mail.recipient, mail.language) == (invoice.buyer["email"], "en")
        assert f"/portal/invoices/{invoice.id}" in mail.text
