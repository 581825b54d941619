"""The standard XML and its signature: order, lengths and sums, and every changed byte noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import xmlsec
from cryptography.hazmat.primitives import serialization
from lxml import etree

from invoices.documents import specimens
from invoices.documents.papers import Amendment, Party, Purpose, TaxInvoicePaper, TaxTreatment
from invoices.tax_papers import seals, signing, standard, standard_xml
from invoices.tax_papers.port import Direction, Sheet
from invoices.tax_papers.signing import SignatureBroken
from invoices.tax_papers.standard import NotStandard

ISSUE_ID = "202611300000000000000007"
_NS = {"t": standard_xml.NAMESPACE, "ds": "http://www.w3.org/2000/09/xmldsig#"}


def sheet(**changes: object) -> Sheet:
    paper = replace(specimens.tax_invoice(), **changes)  # type: ignore[arg-type]
    return Sheet(
        management_key="00000007-abcdef",
        serial=7,
        paper=paper,
        issued_at=datetime(2026, 12, 1, 3, 4, 5, tzinfo=UTC),
    )


def tree(**changes: object) -> etree._Element:
    return standard_xml.tree(sheet=sheet(**changes), issue_id=ISSUE_ID)


def text(root: etree._Element, path: str) -> str | None:
    steps = "/".join(f"t:{step}" for step in path.split("/"))
    return root.findtext(steps, namespaces=_NS)


def names(element: etree._Element) -> list[str]:
    return [etree.QName(child).localname for child in element]


def signed() -> bytes:
    return signing.sign(root=tree(), seal=seals.seal())


class TestTheTree:
    def test_has_its_parts_in_the_standards_order(self) -> None:
        root = etree.fromstring(signed())
        lines = len(specimens.tax_invoice().lines)
        assert names(root) == [
            "ExchangedDocument",
            "Signature",
            "TaxInvoiceDocument",
            "TaxInvoiceTradeSettlement",
            *["TaxInvoiceTradeLineItem"] * lines,
        ]
        assert names(root[2]) == ["IssueID", "TypeCode", "IssueDateTime", "PurposeCode"]
        assert names(root[3]) == [
            "InvoicerParty",
            "InvoiceeParty",
            "SpecifiedPaymentMeans",
            "SpecifiedMonetarySummation",
        ]
        assert names(root[3][1]) == [
            "ID",
            "TypeCode",
            "NameText",
            "ClassificationCode",
            "SpecifiedOrganization",
            "SpecifiedPerson",
            "PrimaryDefinedContact",
            "SpecifiedAddress",
        ]
        assert names(root[4]) == [
            "SequenceNumeric",
            "InvoiceAmount",
            "ChargeableUnitQuantity",
            "InformationText",
            "NameText",
            "PurchaseExpiryDateTime",
            "TotalTax",
            "UnitPrice",
        ]

    def test_names_the_schema_and_the_moment_in_seoul(self) -> None:
        root = tree()
        assert root.tag == f"{{{standard_xml.NAMESPACE}}}TaxInvoice"
        assert root.get(f"{{{standard_xml.XSI}}}schemaLocation") == standard_xml.SCHEMA_LOCATION
        assert text(root, "ExchangedDocument/IssueDateTime") == "20261201120405"

    @pytest.mark.parametrize(
        ("purpose", "code"), [(Purpose.RECEIVED, "01"), (Purpose.CHARGED, "02")]
    )
    def test_says_received_by_01_and_charged_by_02(self, purpose: Purpose, code: str) -> None:
        assert text(tree(purpose=purpose), "TaxInvoiceDocument/PurposeCode") == code

    def test_of_an_amendment_names_the_reason_and_the_original(self) -> None:
        root = tree(amendment=Amendment.CONTRACT_ENDED, original_approval_number="2026" + "1" * 20)
        assert text(root, "TaxInvoiceDocument/TypeCode") == "0201"
        assert names(root[1]) == [
            "IssueID",
            "TypeCode",
            "IssueDateTime",
            "AmendmentStatusCode",
            "PurposeCode",
            "OriginalIssueID",
        ]

    def test_of_a_zero_rated_supply_has_its_own_code(self) -> None:
        paper = specimens.tax_invoice()
        root = tree(
            tax_treatment=TaxTreatment.ZERO_RATED,
            tax_minor=0,
            total_minor=paper.supply_minor,
            credit_minor=paper.supply_minor,
            lines=tuple(replace(line, tax_minor=0) for line in paper.lines),
        )
        assert text(root, "TaxInvoiceDocument/TypeCode") == "0102"

    def test_of_a_foreigner_has_thirteen_nines(self) -> None:
        buyer = replace(specimens.tax_invoice().buyer, country="US", registration_number="")
        root = tree(buyer=buyer)
        party = "TaxInvoiceTradeSettlement/InvoiceeParty"
        assert text(root, f"{party}/ID") == "9" * 13
        assert text(root, f"{party}/SpecifiedOrganization/BusinessTypeCode") == "03"

    def test_of_a_consigned_one_names_the_agent_after_both_parties(self) -> None:
        consigned = replace(
            sheet(),
            direction=Direction.CONSIGNED,
            broker=Party(name="㈜대리", registration_number="2048631263"),
        )
        root = standard_xml.tree(sheet=consigned, issue_id=ISSUE_ID)
        assert text(root, "TaxInvoiceDocument/TypeCode") == "0103"
        assert names(root[2])[2] == "BrokerParty"

    def test_shortens_what_may_be_shortened_and_drops_what_xml_can_not_hold(self) -> None:
        paper = specimens.tax_invoice()
        long = replace(paper.lines[0], item="가" * 120, specification="\x00\x0b규격")
        root = tree(lines=(long, *paper.lines[1:]))
        assert text(root, "TaxInvoiceTradeLineItem/NameText") == "가" * 99 + "…"
        assert text(root, "TaxInvoiceTradeLineItem/InformationText") == "규격"


class TestWhatIsNotStandard:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"buyer": replace(specimens.BUYER, email="")}, "no e-mail"),
            ({"buyer": replace(specimens.BUYER, email="a" * 33 + "@b.example")}, "40"),
            ({"buyer": replace(specimens.BUYER, name="가" * 71)}, "70"),
            ({"amendment": Amendment.ISSUED_TWICE}, "names the one"),
        ],
    )
    def test_is_refused_in_words(self, change: dict[str, object], words: str) -> None:
        with pytest.raises(NotStandard, match=words):
            tree(**change)

    def test_three_decimals_are_refused(self) -> None:
        paper = specimens.tax_invoice()
        fine = replace(paper.lines[0], quantity=Decimal("1.005"))
        with pytest.raises(NotStandard, match="two decimals"):
            tree(lines=(fine, *paper.lines[1:]))

    @pytest.mark.parametrize("issue_id", ["", "202611290000000000000007", "20261130"])
    def test_a_number_of_another_day_is_refused(self, issue_id: str) -> None:
        with pytest.raises(NotStandard, match="24"):
            standard_xml.tree(sheet=sheet(), issue_id=issue_id)

    def test_sums_that_do_not_add_up_are_found(self) -> None:
        paper: TaxInvoicePaper = specimens.tax_invoice()
        object.__setattr__(paper, "total_minor", paper.total_minor + 1)
        assert [fault.split(":")[0] for fault in standard.faults(paper)] == [
            "grand total",
            "means of payment",
        ]


class TestTheSignature:
    def test_is_checked_by_two_implementations(self) -> None:
        seal = seals.seal()
        document = signed()
        signing.verify(document=document, seal=seal)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(seal.certificate_pem, xmlsec.KeyFormat.CERT_PEM)
        context.verify(etree.fromstring(document)[1])

    def test_covers_the_paper_and_not_the_envelope(self) -> None:
        document = signed()
        other = document.replace(b"<ID>00000007-abcdef</ID>", b"<ID>00000008-abcdef</ID>", 1)
        assert other != document
        signing.verify(document=other, seal=seals.seal())

    @pytest.mark.parametrize(
        ("was", "becomes"),
        [
            (b"<GrandTotalAmount>6", b"<GrandTotalAmount>7"),
            (b"</TaxInvoiceDocument>", b"</TaxInvoiceDocument> "),
            (b"<IssueID>2026", b"<IssueID>2027"),
            (b"TaxInvoiceSchemaModule_1.0.xsd", b"TaxInvoiceSchemaModule_2.0.xsd"),
            (b"<ds:XPath>not(", b"<ds:XPath>not(self::*|"),
            (b'URI=""', b'URI="#x"'),
            (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
            (b"<ds:DigestValue>", b"<ds:DigestValue>AAAA"),
            (b"</TaxInvoice>", b""),
        ],
    )
    def test_notices_what_was_changed(self, was: bytes, becomes: bytes) -> None:
        document = signed()
        changed = document.replace(was, becomes, 1)
        assert changed != document
        with pytest.raises(SignatureBroken):
            signing.verify(document=changed, seal=seals.seal())

    def test_of_another_certificate_is_not_ours(self, tmp_path: Path) -> None:
        stranger = seals._self_signed(tmp_path / "seal.pem")
        foreign = signing.sign(root=tree(), seal=stranger)
        signing.verify(document=foreign, seal=stranger)
        with pytest.raises(SignatureBroken, match="certificate"):
            signing.verify(document=foreign, seal=seals.seal())

    def test_is_the_same_for_the_same_paper(self) -> None:
        assert signed() == signed()


class TestTheSeal:
    def test_is_missing_in_production_until_one_is_configured(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        production = seals.settings().model_copy(update={"environment": "production"})
        monkeypatch.setattr(seals, "settings", lambda: production)
        with pytest.raises(seals.CertificateMissing):
            seals.seal()

    def test_opens_pem_with_a_password(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = seals.seal()
        key = serialization.load_pem_private_key(made.key_pem, None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open"),
        )
        path = tmp_path / "locked.pem"
        path.write_bytes(locked + made.certificate_pem)
        assert seals._opened(path, "open") == made
        with pytest.raises(seals.CertificateMissing):
            seals._opened(path, "wrong")
