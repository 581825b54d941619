"""What the checks of a month's close are called, and where each thing they find is looked after."""

from __future__ import annotations

_NAMES = {
    "month_over": ("달이 끝났는지", "The month is over"),
    "readings": ("읽지 못한 사용량", "Readings not taken"),
    "bills": ("아직 만들지 않은 청구서", "Bills still to be made"),
    "drafts": ("발행하지 않은 초안과 보류된 청구서", "Drafts and parked invoices"),
    "payments": ("결과를 모르는 결제와 환불", "Payments and refunds of unknown outcome"),
    "evidence": ("증빙을 정하지 않은 공급", "Supplies without their evidence"),
    "tax_papers": (
        "승인되지 않은 세금계산서와 현금영수증",
        "Tax invoices and cash receipts not accepted",
    ),
    "revenue": ("인식하지 않은 수익", "Revenue not recognised yet"),
    "ledger": ("맞지 않는 장부", "Ledger out of balance"),
    "settlements": ("대사하지 않은 정산일", "Days not held against the gateway"),
    "differences": ("남아 있는 대사 차이", "Open differences"),
}
_PATHS = {
    "tenant": "/console/tenants/{id}",
    "invoice": "/console/invoices/{id}",
    "tax_paper": "/console/tax-papers/of/{id}",
    "difference": "/console/reconciliation",
}


def name(code: str, language: str) -> str:
    """This function will name a check in a language."""
    return _NAMES[code][0 if language == "ko" else 1]


def path(kind: str, row_id: str) -> str:
    """This function will return the console's page of what a check found; "" where it has none."""
    return _PATHS[kind].format(id=row_id) if kind in _PATHS else ""
