"""I8 and I14: papers stay as they were issued, and one supply has one evidence."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.base import files
from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import (
    evidence,
    paper_files,
    tax_amendments,
)
from invoices.documents.papers import Amendment
from invoices.models import (
    TaxInvoice,
)
from tests.cli.checks.books import Books, TakenBack, assert_named, check
from tests.conftest import administrator
from tests.factories import (
    NOW,
)
from tests.invoices.issuing import issue


class TestI8IssuedPapersAreUnchanged:
    def test_names_an_invoice_whose_buyer_was_rewritten(self, books: Books) -> None:
        books.plant(
            'UPDATE invoice SET buyer = buyer || \'{"name": "Other"}\' WHERE id = %(id)s',
            id=books.open,
        )
        assert_named("I8", "invoice", books.open, "not what was issued")

    def test_names_a_line_that_was_rewritten(self, books: Books) -> None:
        books.plant(
            "UPDATE invoice_line SET name_en = 'Free of charge' WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I8", "invoice", books.open, "not what was issued")

    def test_names_a_paper_whose_file_is_gone(self, books: Books) -> None:
        books.plant(
            "UPDATE document SET state = 'ready', sha256 = repeat('0', 64)"
            " WHERE subject_id = %(id)s AND language = 'ko'",
            id=books.open,
        )
        with administrator(books.scenario.database) as connection:
            row = connection.execute(
                "SELECT id FROM document WHERE subject_id = %s AND language = 'ko'", (books.open,)
            ).fetchone()
        assert row is not None
        assert_named("I8", "document", row[0], "file is gone")

    def test_names_a_guard_that_was_switched_off(self, books: Books) -> None:
        books.plant("ALTER TABLE invoice DISABLE TRIGGER invoice_is_frozen")
        assert_named("I8", "trigger", "invoice_is_frozen", "off or missing on invoice")


class TestI14OneEvidenceForASupply:
    def issued(self, books: Books) -> TaxInvoice:
        """The paid supply's tax invoice, issued here."""
        with control_session() as session:
            assert evidence.choose(control_session=session, invoice_id=books.paid, now=NOW)
            row = session.scalars(select(TaxInvoice)).one()
            issue(session, row)
            return row

    def test_says_nothing_of_an_amended_one(self, books: Books) -> None:
        row = self.issued(books)
        with control_session() as session:
            sheets = tax_amendments.amend(
                control_session=session,
                tax_invoice_id=row.id,
                amendment=Amendment.ISSUED_TWICE,
                reason="issued elsewhere too",
                actor=SYSTEM,
                now=NOW,
            )
            issue(session, *sheets)
        assert check() == (0, {})

    def test_names_a_second_evidence(self, books: Books) -> None:
        row = self.issued(books)
        books.unguard("vat_evidence", "uq_vat_evidence_invoice_id")
        books.plant(
            "INSERT INTO vat_evidence (id, tenant_id, invoice_id, kind, chosen_at)"
            " SELECT uuidv7(), tenant_id, invoice_id, kind, chosen_at FROM vat_evidence"
        )
        assert_named("I14", "vat_evidence", row.evidence_id, "2 evidences for one supply")

    def test_names_a_tax_invoice_beside_a_card_slip(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "UPDATE vat_evidence SET kind = 'card_slip', payment_id = %(payment)s",
            payment=books.payment,
        )
        assert_named("I14", "tax_invoice", row.id, "is a card_slip")

    def test_names_an_evidence_without_its_paper(self, books: Books) -> None:
        row = self.issued(books)
        books.plant("DELETE FROM tax_invoice")
        assert_named("I14", "vat_evidence", row.evidence_id, "there is no such paper")

    def test_names_one_that_nothing_amended(self, books: Books) -> None:
        row = self.issued(books)
        books.plant("UPDATE tax_invoice SET state = 'amended'")
        assert_named("I14", "tax_invoice", row.id, "no amendment of it is issued")

    def test_names_amendments_over_more_than_there_was(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "INSERT INTO tax_invoice (id, evidence_id, tenant_id, invoice_id, state, issuer,"
            " management_key, serial, purpose, written_on, created_at, supply_minor, tax_minor,"
            " total_minor, data, content_sha256, amends_id, amendment)"
            " SELECT uuidv7(), evidence_id, tenant_id, invoice_id, 'due', issuer, 'another', 1,"
            " purpose, written_on, created_at, -2 * supply_minor, -2 * tax_minor,"
            " -2 * total_minor, data, content_sha256, id, '02' FROM tax_invoice"
        )
        assert_named("I14", "tax_invoice", row.id, f"leave {-row.total_minor} of it")

    def test_names_a_supply_paid_with_money_that_a_card_slip_proves(self, books: Books) -> None:
        row = self.issued(books)
        books.unguard("payment", "ck_payment_attempt")
        books.plant(
            "WITH kept AS (INSERT INTO credit_grant (id, tenant_id, currency, amount_minor,"
            " used_minor, lapsed_minor, source, priority, granted_at, granted_by, note, paid_for,"
            " payment_id) SELECT uuidv7(), tenant_id, currency, 7, 7, 0, 'overpayment', 0, paid_at,"
            " '', '', true, id FROM payment WHERE id = %(payment)s RETURNING id),"
            " card AS (UPDATE payment SET kind = 'card' WHERE id = %(payment)s)"
            " INSERT INTO credit_use (id, grant_id, invoice_id, payment_id, amount_minor, state,"
            " used_at) SELECT uuidv7(), kept.id, %(invoice)s, %(payment)s, 7, 'used', now()"
            " FROM kept",
            payment=books.payment,
            invoice=books.paid,
        )
        assert_named("I14", "vat_evidence", row.evidence_id, "7 of its supply was paid with credit")

    @pytest.mark.parametrize("cover", ["NULL", "(SELECT id FROM tax_invoice)"])
    def test_names_a_credit_note_whose_paper_there_is_not(
        self, books: Books, taken_back: TakenBack, cover: str
    ) -> None:
        self.issued(books)
        books.plant(
            f"UPDATE credit_note SET evidence_at = now(), covered_by = {cover} WHERE id = %(note)s",
            note=taken_back.note,
        )
        assert_named("I14", "credit_note", taken_back.note, "said to follow it, but none does")

    def test_i8_names_signed_xml_that_is_gone(self, books: Books) -> None:
        row = self.issued(books)
        files.delete(prefix=paper_files.prefix_of(row.tenant_id), sha256=str(row.xml_sha256))
        assert_named("I8", "tax_invoice", row.id, "file is gone")

    def test_i7_names_one_whose_fate_is_unknown_for_a_day(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "UPDATE tax_invoice SET state = 'due', issue_id = NULL, issued_at = NULL,"
            " xml_sha256 = NULL, asked_at = now() - interval '25 hours'"
        )
        assert_named("I7", "tax_invoice", row.id, "not known since")
