"""A tax invoice as the standard XML: order of elements and lengths as the standard wants.

Pure: a sheet goes in, a tree comes out, unsigned. Empty elements are left out.

Source: 국세청 전자세금계산서 표준 1.0 (order, lengths and codes as public samples show them).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

from lxml import etree

from invoices.documents.papers import Party, Purpose, TaxInvoiceLine, TaxTreatment
from invoices.tax_papers.port import Direction, Sheet
from invoices.tax_papers.standard import EMAIL_MAX, ITEM_MAX, NAME_MAX, NotStandard, faults

NAMESPACE = "urn:kr:or:kec:standard:Tax:ReusableAggregateBusinessInformationEntitySchemaModule:1:0"
SCHEMA_LOCATION = f"{NAMESPACE} http://www.kec.or.kr/standard/Tax/TaxInvoiceSchemaModule_1.0.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SEOUL = ZoneInfo("Asia/Seoul")

ISSUE_ID_LENGTH = 24
FOREIGNER_ID = "9999999999999"
_PURPOSES = {Purpose.RECEIVED: "01", Purpose.CHARGED: "02"}
_KINDS = {
    (Direction.FORWARD, TaxTreatment.TAXABLE): "01",
    (Direction.FORWARD, TaxTreatment.ZERO_RATED): "02",
    (Direction.REVERSE, TaxTreatment.TAXABLE): "01",
    (Direction.REVERSE, TaxTreatment.ZERO_RATED): "02",
    (Direction.CONSIGNED, TaxTreatment.TAXABLE): "03",
    (Direction.CONSIGNED, TaxTreatment.ZERO_RATED): "05",
}


def tree(*, sheet: Sheet, issue_id: str) -> etree._Element:
    """This function will write a sheet as the standard's tree, not signed yet.

    Raises: NotStandard naming every rule that is broken.
    """
    paper = sheet.paper
    wrong = faults(paper)
    if len(issue_id) != ISSUE_ID_LENGTH or issue_id[:8] != _day(paper.written_on):
        wrong.append(f"{issue_id!r} is no number of 24 that begins with the day on the paper")
    if paper.amendment is not None and not paper.original_approval_number:
        wrong.append("an amended tax invoice names the one that it amends")
    if sheet.direction is Direction.CONSIGNED and sheet.broker is None:
        wrong.append("a consigned tax invoice names the agent")
    if wrong:
        raise NotStandard("This tax invoice is not standard: " + "; ".join(wrong) + ".")
    root = etree.Element(f"{{{NAMESPACE}}}TaxInvoice", nsmap={None: NAMESPACE, "xsi": XSI})
    root.set(f"{{{XSI}}}schemaLocation", SCHEMA_LOCATION)
    exchanged = _child(root, "ExchangedDocument")
    _text(exchanged, "ID", sheet.management_key, 24)
    _text(exchanged, "IssueDateTime", f"{sheet.issued_at.astimezone(_SEOUL):%Y%m%d%H%M%S}", 14)
    _document(root, sheet, issue_id)
    _settlement(root, sheet)
    for number, line in enumerate(paper.lines, start=1):
        _line(root, number, line)
    return root


def _document(root: etree._Element, sheet: Sheet, issue_id: str) -> None:
    paper = sheet.paper
    document = _child(root, "TaxInvoiceDocument")
    _text(document, "IssueID", issue_id, ISSUE_ID_LENGTH)
    family = "02" if paper.amendment else "01"
    kind = _KINDS[sheet.direction, paper.tax_treatment]
    _text(document, "TypeCode", family + kind, 4)
    _text(document, "DescriptionText", paper.remark, 150)
    _text(document, "IssueDateTime", _day(paper.written_on), 8)
    if paper.amendment:
        _text(document, "AmendmentStatusCode", paper.amendment.value, 2)
    _text(document, "PurposeCode", _PURPOSES[paper.purpose], 2)
    if paper.amendment:
        _text(document, "OriginalIssueID", paper.original_approval_number, ISSUE_ID_LENGTH)


def _settlement(root: etree._Element, sheet: Sheet) -> None:
    paper = sheet.paper
    settlement = _child(root, "TaxInvoiceTradeSettlement")
    _seller(settlement, paper.seller, "InvoicerParty")
    _buyer(settlement, paper.buyer)
    if sheet.broker is not None:
        _seller(settlement, sheet.broker, "BrokerParty")
    for code, amount_minor in (
        ("10", paper.cash_minor),
        ("20", paper.cheque_minor),
        ("30", paper.note_minor),
        ("40", paper.credit_minor),
    ):
        if amount_minor:
            means = _child(settlement, "SpecifiedPaymentMeans")
            _text(means, "TypeCode", code, 2)
            _text(means, "PaidAmount", str(amount_minor), 18)
    sums = _child(settlement, "SpecifiedMonetarySummation")
    _text(sums, "ChargeTotalAmount", str(paper.supply_minor), 18)
    _text(sums, "TaxTotalAmount", str(paper.tax_minor), 18)
    _text(sums, "GrandTotalAmount", str(paper.total_minor), 18)


def _seller(settlement: etree._Element, seller: Party, name: str) -> None:
    party = _child(settlement, name)
    _identity(party, seller, seller.registration_number)
    if seller.branch_number:
        _text(_child(party, "SpecifiedOrganization"), "TaxRegistrationID", seller.branch_number, 4)
    _representative(party, seller)
    _contact(party, "DefinedContact", seller)
    _address(party, seller)


def _buyer(settlement: etree._Element, buyer: Party) -> None:
    party = _child(settlement, "InvoiceeParty")
    number, kind = _who(buyer)
    _identity(party, buyer, number)
    organization = _child(party, "SpecifiedOrganization")
    _text(organization, "TaxRegistrationID", buyer.branch_number, 4)
    _text(organization, "BusinessTypeCode", kind, 2)
    _representative(party, buyer)
    _contact(party, "PrimaryDefinedContact", buyer)
    _address(party, buyer)


def _who(buyer: Party) -> tuple[str, str]:
    """The buyer's number, and what kind of number it is: a business's, a resident's, none of ours.

    A foreigner's passport number belongs in the remark.
    """
    if buyer.country != "KR":
        return FOREIGNER_ID, "03"
    return buyer.registration_number, "02" if len(buyer.registration_number) == 13 else "01"


def _identity(party: etree._Element, them: Party, number: str) -> None:
    _text(party, "ID", number, 13)
    _text(party, "TypeCode", them.business_type, 40)
    _text(party, "NameText", them.name, NAME_MAX)
    _text(party, "ClassificationCode", them.business_item, 40)


def _representative(party: etree._Element, them: Party) -> None:
    if them.representative:
        _text(_child(party, "SpecifiedPerson"), "NameText", them.representative, 30)


def _contact(party: etree._Element, name: str, them: Party) -> None:
    if not (them.contact or them.phone or them.email):
        return
    contact = _child(party, name)
    _text(contact, "PersonNameText", them.contact, 30)
    _text(contact, "TelephoneCommunication", them.phone, 20)
    _text(contact, "URICommunication", them.email, EMAIL_MAX)


def _address(party: etree._Element, them: Party) -> None:
    if them.address:
        _text(_child(party, "SpecifiedAddress"), "LineOneText", them.address, 150)


def _line(root: etree._Element, number: int, line: TaxInvoiceLine) -> None:
    item = _child(root, "TaxInvoiceTradeLineItem")
    _text(item, "SequenceNumeric", str(number), 2)
    _text(item, "DescriptionText", line.remark, 100)
    _text(item, "InvoiceAmount", str(line.supply_minor), 18)
    if line.quantity is not None:
        _text(item, "ChargeableUnitQuantity", _plain(line.quantity), 14)
    _text(item, "InformationText", line.specification, 60)
    _text(item, "NameText", line.item, ITEM_MAX)
    _text(item, "PurchaseExpiryDateTime", _day(line.supplied_on), 8)
    _text(_child(item, "TotalTax"), "CalculatedAmount", str(line.tax_minor), 18)
    if line.unit_price_minor is not None:
        _text(_child(item, "UnitPrice"), "UnitAmount", _plain(line.unit_price_minor), 21)


def _child(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _text(parent: etree._Element, name: str, text: str, length_max: int) -> None:
    """Writes one element; a text that is too long ends in "…", an empty one is left out."""
    kept = "".join(each for each in text if each.isprintable())
    if len(kept) > length_max:
        kept = kept[: length_max - 1] + "…"
    if kept:
        _child(parent, name).text = kept


def _plain(number: Decimal) -> str:
    """A number without exponent and idle zeros: 30, 2.5, -1200."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _day(day: date) -> str:
    return f"{day:%Y%m%d}"
