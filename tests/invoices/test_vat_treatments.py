"""VAT by customer and by charge, from finance's decision to the bill, its papers and its proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base import files
from app.base.audit import Actor, AuditEvent
from app.base.config import settings
from invoices import (
    catalogue,
    catalogue_file,
    evidence,
    invoicing,
    statutory,
    vat,
    vat_lines,
    vat_treatments,
    verifying,
)
from invoices.catalogue_file import CatalogueFile, CatalogueUnsound
from invoices.models import Invoice, StatutoryPaper, TaxInvoice, VatDecision
from invoices.plan_terms import PlanTerms
from invoices.vat_treatments import DecisionUnsound, Proof
from tenants.models import Tenant
from tests.factories import NOW, make_subscription, make_tenant
from tests.invoices.monthly import broken_rules
from tests.invoices.plans import TEAM
from tests.invoices.test_evidence import transfer

FINANCE = Actor("staff", "00000000-0000-4000-8000-000000000001")
PDF = b"%PDF-1.7 the contract"


def priced(**fields: Any) -> PlanTerms:
    """The team plan, its base fee treated in another way."""
    base, *rest = TEAM.charges
    return replace(TEAM, plan_code="other", charges=(replace(base, **fields), *rest))


def billed(session: Session, terms: PlanTerms, tenant: Tenant | None = None) -> Invoice:
    """The first bill of a subscription to these terms."""
    catalogue.publish(control_session=session, terms=terms, actor=FINANCE, now=NOW)
    subscription = make_subscription(
        session,
        tenant=tenant or make_tenant(session, state="active", converted_at=NOW),
        plan_code=terms.plan_code,
        now=NOW,
    )
    invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=NOW)
    invoice = session.scalars(
        select(Invoice).where(Invoice.subscription_id == subscription.id)
    ).one()
    invoice.collect_at = None
    session.flush()
    return invoice


def billed_in_two_ways(session: Session) -> Invoice:
    """A bill of a taxable base fee and of an exempt one, 190,000 won each."""
    base = TEAM.charges[0]
    both = replace(
        TEAM,
        plan_code="both",
        charges=(base, replace(base, code="book", vat=vat.EXEMPT), *TEAM.charges[1:]),
    )
    return billed(session, both)


def decide(session: Session, tenant: Tenant, treatment: str, **more: Any) -> VatDecision:
    values: dict[str, Any] = {"reason": "용역의 수출, 부가가치세법 §22", "proof": None}
    return vat_treatments.decide(
        control_session=session,
        tenant_id=tenant.id,
        treatment=treatment,
        actor=FINANCE,
        now=NOW,
        **values | more,
    )


def contract(tenant: Tenant) -> Proof:
    return vat_treatments.keep(tenant_id=tenant.id, file_name="계약서.pdf", chunks=[PDF])


def stands(session: Session, invoice: Invoice) -> None:
    """The invoice verifies line by line, and breaks no rule."""
    session.flush()
    (verdict,) = verifying.verify(control_session=session, invoice_ids=[invoice.id])
    assert (verdict.differences, verdict.as_issued) == ((), True)
    assert broken_rules(session) == []


@pytest.fixture(autouse=True)
def stored_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTRY_FILES_DIR", str(tmp_path))
    settings.cache_clear()


class TestAPlanWithVatInItsPrice:
    def test_is_billed_at_that_price_and_verifies(self, control_session: Session) -> None:
        invoice = billed(control_session, priced(vat_included=True))
        assert (invoice.subtotal_minor, invoice.tax_minor) == (172_727, 17_273)
        assert invoice.total_minor == 190_000
        stands(control_session, invoice)

    def test_is_on_a_tax_invoice_whose_rows_add_up(self, control_session: Session) -> None:
        invoice = billed(control_session, priced(vat_included=True))
        transfer(control_session, invoice)
        evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        row = control_session.scalars(
            select(TaxInvoice).where(TaxInvoice.invoice_id == invoice.id)
        ).one()
        assert (row.supply_minor, row.tax_minor) == (172_727, 17_273)
        (line,) = row.data["lines"]
        assert (line["supply_minor"], line["tax_minor"]) == (172_727, 17_273)
        assert line["unit_price_minor"] is None  # the price is not one without tax


class TestAnExemptCharge:
    def test_bears_no_tax_and_takes_no_tax_invoice(self, control_session: Session) -> None:
        invoice = billed(control_session, priced(vat=vat.EXEMPT))
        assert (invoice.tax_minor, invoice.total_minor) == (0, 190_000)
        assert vat_lines.printed(lines=invoice.lines, buyer=invoice.buyer).value == "exempt"
        stands(control_session, invoice)
        transfer(control_session, invoice)
        chosen = evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        assert chosen is not None
        assert (chosen.kind, "계산서" in (chosen.reason or "")) == ("by_hand", True)

    def test_beside_a_taxable_one_is_left_to_a_person(self, control_session: Session) -> None:
        invoice = billed_in_two_ways(control_session)
        assert (invoice.subtotal_minor, invoice.tax_minor) == (380_000, 19_000)
        stands(control_session, invoice)
        transfer(control_session, invoice)
        chosen = evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        assert chosen is not None
        assert (chosen.kind, "exempt, taxable" in (chosen.reason or "")) == ("by_hand", True)


class TestTheFileOfPlans:
    def test_says_both_where_they_are_not_the_usual(self) -> None:
        for terms in (priced(vat_included=True), priced(vat=vat.EXEMPT), TEAM):
            written = catalogue_file.write(CatalogueFile((terms,)))
            assert catalogue_file.read(written).plans == (terms,)
            assert ("vat_included: true" in written) == terms.charges[0].vat_included
            assert ("vat: exempt" in written) == (terms.charges[0].vat == vat.EXEMPT)

    def test_refuses_another_treatment(self) -> None:
        written = catalogue_file.write(CatalogueFile((priced(vat=vat.EXEMPT),)))
        with pytest.raises(CatalogueUnsound, match="taxable, zero_rated, exempt"):
            catalogue_file.read(written.replace("vat: exempt", "vat: sometimes"))

    def test_makes_a_new_version_by_a_change_of_treatment(self, control_session: Session) -> None:
        versions = [
            catalogue.publish(
                control_session=control_session, terms=terms, actor=FINANCE, now=NOW
            ).version
            for terms in (priced(), priced(vat_included=True), priced(vat_included=True))
        ]
        assert versions == [1, 2, 2]


class TestADecision:
    def test_applies_from_the_next_bill_on_and_is_audited(self, control_session: Session) -> None:
        tenant = make_tenant(control_session, state="active", converted_at=NOW)
        before = billed(control_session, priced(), tenant)
        row = decide(control_session, tenant, "zero_rated", proof=contract(tenant))
        assert before.buyer["vat_treatment"]["treatment"] == "taxable"
        other = make_tenant(control_session, state="active", converted_at=NOW)
        decide(control_session, other, "zero_rated", proof=contract(other))
        after = billed(control_session, priced(), other)
        assert (before.tax_minor, after.tax_minor) == (19_000, 0)
        assert after.buyer["vat_treatment"]["reason"] == "용역의 수출, 부가가치세법 §22"
        assert str(row.file_sha256) in tenant.billing_profile["vat_treatment"]["evidence"]
        event = control_session.scalars(
            select(AuditEvent).where(
                AuditEvent.action == "tenant.vat_decided", AuditEvent.tenant_id == tenant.id
            )
        ).one()
        assert (event.details["from"], event.details["to"]) == ("taxable", "zero_rated")
        stands(control_session, after)

    @pytest.mark.parametrize(
        ("treatment", "reason", "field"),
        [
            ("by word", "because", "treatment"),
            ("exempt", "  ", "reason"),
            ("zero_rated", "an export", "proof"),
        ],
    )
    def test_lacks_nothing(
        self, control_session: Session, treatment: str, reason: str, field: str
    ) -> None:
        tenant = make_tenant(control_session)
        with pytest.raises(DecisionUnsound) as refused:
            decide(control_session, tenant, treatment, reason=reason)
        assert refused.value.field == field
        assert "vat_treatment" not in tenant.billing_profile

    def test_that_a_customer_is_foreign_leaves_them_taxed(self, control_session: Session) -> None:
        tenant = make_tenant(control_session, state="active", country="SG", converted_at=NOW)
        decide(control_session, tenant, "foreign")
        invoice = billed(control_session, priced(), tenant)
        assert invoice.tax_minor == 19_000
        assert invoice.buyer["vat_treatment"]["treatment"] == "taxable"

    def test_takes_no_proof_that_a_browser_would_run(self, control_session: Session) -> None:
        tenant = make_tenant(control_session)
        for content in (b"<html>", b"", b"MZ", b"PK\x03\x04"):
            with pytest.raises(DecisionUnsound):
                vat_treatments.keep(tenant_id=tenant.id, file_name="x.pdf", chunks=[content])

    def test_is_never_changed_nor_thrown_away(self, control_session: Session) -> None:
        tenant = make_tenant(control_session)
        row = decide(control_session, tenant, "exempt")
        for statement in ("UPDATE vat_decision SET reason = 'x'", "DELETE FROM vat_decision"):
            with pytest.raises(DBAPIError), control_session.begin_nested():
                control_session.execute(text(statement))
        assert vat_treatments.decisions(control_session=control_session, tenant_id=tenant.id) == [
            row
        ]

    def test_is_set_apart_with_its_proof_when_its_customer_goes(
        self, control_session: Session
    ) -> None:
        tenant = make_tenant(control_session)
        row = decide(control_session, tenant, "zero_rated", proof=contract(tenant))
        kept_id, sha256 = row.id, str(row.file_sha256)
        statutory.set_apart(
            control_session=control_session, tenant_id=tenant.id, now=NOW + timedelta(days=1)
        )
        paper = control_session.scalars(
            select(StatutoryPaper).where(StatutoryPaper.source_id == kept_id)
        ).one()
        assert (paper.kind, paper.data["treatment"]) == ("vat_decision", "zero_rated")
        assert files.read(prefix=statutory.prefix_of(tenant.id), sha256=sha256) == PDF
        assert vat_treatments.decisions(control_session=control_session, tenant_id=tenant.id) == []
