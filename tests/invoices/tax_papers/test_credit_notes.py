"""A credit note's tax paper follows it: the step does what is due, and nothing twice."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.db import control_session as transaction
from invoices.models import CreditNote, Invoice, TaxInvoice
from jobs import tax_papers
from tests.conftest import Scenario
from tests.factories import NOW, make_staff
from tests.invoices.tax_papers.test_issuing import drawn_up


def credited(session: Session, invoice: Invoice, part: int, number: int) -> CreditNote:
    """A credit note over one `part`-th of an invoice that is still owed."""
    supply, tax = invoice.subtotal_minor // part, invoice.tax_minor // part
    note = CreditNote(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        series="CRN",
        year=2026,
        number=number,
        number_text=f"CRN-2026-{number:06d}",
        currency="KRW",
        subtotal_minor=supply,
        tax_minor=tax,
        total_minor=supply + tax,
        open_minor=supply + tax,
        refund_minor=0,
        kept_minor=0,
        is_whole=part == 1,
        reason="사용하지 않은 자리",
        issued_at=NOW + timedelta(days=20),
        issued_by=make_staff(session, role="finance").id,
        content_sha256="0" * 64,
    )
    session.add(note)
    session.flush()
    return note


def test_the_step_amends_issues_and_leaves_nothing_due(scenario: Scenario) -> None:
    with transaction() as session:
        row = drawn_up(session)
        invoice = session.get_one(Invoice, row.invoice_id)
        note_id, invoice_id = credited(session, invoice, 4, 1).id, invoice.id
        assert tax_papers.due(session, NOW)
    while tax_papers.work():
        pass
    with transaction() as session:
        assert session.get_one(CreditNote, note_id).evidence_at is not None
        rows = session.scalars(
            select(TaxInvoice)
            .where(TaxInvoice.invoice_id == invoice_id)
            .order_by(TaxInvoice.created_at)
        ).all()
        assert [(each.amendment, each.state) for each in rows] == [
            (None, "amended"),
            ("02", "issued"),
        ]
        assert not tax_papers.due(session, NOW)
