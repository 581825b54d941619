"""Our papers in popbill's words, and its states in ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from invoices.documents.papers import Party, Purpose, TaxInvoiceLine, TaxTreatment
from invoices.gateways.port import CashReceiptUse
from invoices.tax_papers import port
from invoices.tax_papers.port import CashReceiptSheet, Direction, Sheet, Stage

_DIRECTIONS = {
    Direction.FORWARD: "정발행",
    Direction.REVERSE: "역발행",
    Direction.CONSIGNED: "위수탁",
}
_PURPOSES = {Purpose.RECEIVED: "영수", Purpose.CHARGED: "청구"}
_TREATMENTS = {TaxTreatment.TAXABLE: "과세", TaxTreatment.ZERO_RATED: "영세"}
_USES = {
    CashReceiptUse.INCOME_DEDUCTION: "소득공제용",
    CashReceiptUse.EXPENSE_PROOF: "지출증빙용",
}
# 100 is a draft, 300 issued, 301 to 303 on the way from "before sending" to "sending".
_STAGES = {
    300: Stage.ISSUED,
    301: Stage.ISSUED,
    302: Stage.SENT,
    303: Stage.SENT,
    304: Stage.ACCEPTED,
    305: Stage.FAILED,
    600: Stage.CANCELLED,
}
NTS_OK = "SUC001"
_SEOUL = ZoneInfo("Asia/Seoul")


def taxinvoice(sheet: Sheet) -> dict[str, Any]:
    """This function will write a sheet as popbill's Taxinvoice; amounts are texts there."""
    paper = sheet.paper
    words: dict[str, Any] = {
        "writeDate": f"{paper.written_on:%Y%m%d}",
        "chargeDirection": "정과금",
        "issueType": _DIRECTIONS[sheet.direction],
        "purposeType": _PURPOSES[paper.purpose],
        "taxType": _TREATMENTS[paper.tax_treatment],
        "invoicerMgtKey": sheet.management_key,
        **_seller(paper.seller),
        "invoiceeType": "사업자" if paper.buyer.country == "KR" else "외국인",
        **_buyer(paper.buyer),
        "supplyCostTotal": str(paper.supply_minor),
        "taxTotal": str(paper.tax_minor),
        "totalAmount": str(paper.total_minor),
        "cash": _amount(paper.cash_minor),
        "chkBill": _amount(paper.cheque_minor),
        "note": _amount(paper.note_minor),
        "credit": _amount(paper.credit_minor),
        "remark1": paper.remark,
        "detailList": [_detail(number, each) for number, each in enumerate(paper.lines, start=1)],
    }
    if paper.amendment is not None:
        words["modifyCode"] = int(paper.amendment.value)
        words["orgNTSConfirmNum"] = paper.original_approval_number
    return {name: value for name, value in words.items() if value != ""}


def _seller(seller: Party) -> dict[str, str]:
    return {
        "invoicerCorpNum": seller.registration_number,
        "invoicerTaxRegID": seller.branch_number,
        "invoicerCorpName": seller.name,
        "invoicerCEOName": seller.representative,
        "invoicerAddr": seller.address,
        "invoicerBizType": seller.business_type,
        "invoicerBizClass": seller.business_item,
        "invoicerContactName": seller.contact,
        "invoicerEmail": seller.email,
        "invoicerTEL": seller.phone,
    }


def _buyer(buyer: Party) -> dict[str, str]:
    return {
        "invoiceeCorpNum": buyer.registration_number,
        "invoiceeTaxRegID": buyer.branch_number,
        "invoiceeCorpName": buyer.name,
        "invoiceeCEOName": buyer.representative,
        "invoiceeAddr": buyer.address,
        "invoiceeBizType": buyer.business_type,
        "invoiceeBizClass": buyer.business_item,
        "invoiceeContactName1": buyer.contact,
        "invoiceeEmail1": buyer.email,
        "invoiceeTEL1": buyer.phone,
    }


def _detail(number: int, line: TaxInvoiceLine) -> dict[str, Any]:
    words = {
        "purchaseDT": f"{line.supplied_on:%Y%m%d}",
        "itemName": line.item,
        "spec": line.specification,
        "qty": _plain(line.quantity),
        "unitCost": _plain(line.unit_price_minor),
        "supplyCost": str(line.supply_minor),
        "tax": str(line.tax_minor),
        "remark": line.remark,
    }
    return {"serialNum": number, **{name: value for name, value in words.items() if value}}


def standing(info: Mapping[str, Any]) -> port.Standing | None:
    """This function will read an Info; None where its state is one that says nothing to us."""
    stage = _STAGES.get(int(info.get("stateCode") or 0))
    if stage is None:
        return None
    code = str(info.get("ntssendErrCode") or "")
    failed = stage is Stage.FAILED
    return port.Standing(
        stage=stage,
        issue_id=str(info.get("ntsconfirmNum") or ""),
        total_minor=int(str(info.get("supplyCostTotal") or 0))
        + int(str(info.get("taxTotal") or 0)),
        error_code=code if failed and code != NTS_OK else "",
        error=str(info.get("stateMemo") or "") if failed else "",
    )


def cashbill(sheet: CashReceiptSheet, *, seller_number: str, seller: Party) -> dict[str, Any]:
    """This function will write a cash receipt as popbill's Cashbill."""
    return {
        "mgtKey": sheet.key,
        "tradeDT": f"{sheet.traded_at.astimezone(_SEOUL):%Y%m%d%H%M%S}",
        "tradeType": "승인거래",
        "tradeUsage": _USES[sheet.use],
        "tradeOpt": "일반",
        "taxationType": "과세" if sheet.tax_minor else "비과세",
        "supplyCost": str(sheet.supply_minor),
        "tax": str(sheet.tax_minor),
        "serviceFee": "0",
        "totalAmount": str(sheet.total_minor),
        "franchiseCorpNum": seller_number,
        "franchiseCorpName": seller.name,
        "franchiseCEOName": seller.representative,
        "franchiseAddr": seller.address,
        "franchiseTEL": seller.phone,
        "identityNum": sheet.identity,
        "customerName": sheet.buyer,
        "itemName": sheet.item,
        "orderNumber": sheet.order_id,
    }


def revocation(sheet: CashReceiptSheet) -> dict[str, Any]:
    """This function will write the cancelling of a cash receipt, whole or in part."""
    words: dict[str, Any] = {
        "mgtKey": sheet.key,
        "orgConfirmNum": sheet.cancels_number,
        "orgTradeDate": f"{sheet.cancels_traded_on:%Y%m%d}",
        "isPartCancel": sheet.in_part,
        "cancelType": 1,
    }
    if sheet.in_part:
        words |= {
            "supplyCost": str(sheet.supply_minor),
            "tax": str(sheet.tax_minor),
            "serviceFee": "0",
            "totalAmount": str(sheet.total_minor),
        }
    return words


def cash_receipt_standing(info: Mapping[str, Any]) -> port.CashReceiptStanding | None:
    """This function will read what popbill says of a cash receipt; the states are the same."""
    stage = _STAGES.get(int(info.get("stateCode") or 0))
    if stage is None:
        return None
    day = str(info.get("tradeDate") or info.get("issueDT") or "")[:8]
    return port.CashReceiptStanding(
        stage=stage,
        number=str(info.get("confirmNum") or ""),
        traded_on=date.fromisoformat(day),
        total_minor=int(str(info.get("totalAmount") or 0)),
        error=str(info.get("ntsresultMessage") or "") if stage is Stage.FAILED else "",
    )


def _amount(amount_minor: int) -> str:
    return str(amount_minor) if amount_minor else ""


def _plain(number: Decimal | None) -> str:
    if number is None:
        return ""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
