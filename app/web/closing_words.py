"""What the checks of a month's close are called, and where each thing they find is looked after."""

from __future__ import annotations

import re

from app.base.money import Money

_NAMES = {
    "month_over": ("달이 끝났는지", "The month is over"),
    "readings": ("사용량을 모두 읽었는지", "All usage is read"),
    "bills": ("청구서를 모두 만들었는지", "All bills are made"),
    "drafts": ("초안이나 보류된 청구서가 없는지", "No draft or held bill is left"),
    "payments": (
        "결과를 모르는 결제와 환불이 없는지",
        "The outcome of every payment and refund is known",
    ),
    "evidence": ("모든 공급의 증빙을 정했는지", "Every supply has its evidence"),
    "tax_papers": (
        "세금계산서와 현금영수증이 승인되었는지",
        "Tax invoices and cash receipts are accepted",
    ),
    "revenue": ("수익을 모두 인식했는지", "All revenue is recognised"),
    "ledger": ("장부가 맞는지", "The ledger balances"),
    "settlements": ("모든 날을 결제사와 대사했는지", "Every day is held against the gateways"),
    "differences": ("대사 차이가 남아 있는지", "Whether differences are left"),
}
# What a finding says of itself, where it is words and not a day or a name.
_SAID = {
    "draft": ("초안", "draft"),
    "held": ("보류됨", "held back"),
    "open": ("진행 중", "under way"),
    "unknown": ("결과 확인 중", "outcome unknown"),
    "needs_person": ("담당자 확인 필요", "waits for a person"),
    "due": ("발급 전", "not issued yet"),
    "issued": ("발급됨, 승인 전", "issued, not accepted"),
    "sent": ("전송됨, 승인 전", "sent, not accepted"),
    "failed": ("실패", "failed"),
    "to be issued by a person": ("직접 발행해야 함", "to be issued by a person"),
    "no evidence chosen yet": ("증빙을 아직 정하지 않음", "no evidence chosen yet"),
    "credit note without its tax paper": (
        "정정 청구서의 세금 서류가 없음",
        "credit note without its tax paper",
    ),
    "amended by hand, not credited yet": (
        "직접 수정 발행했지만 정정 청구서가 없음",
        "amended by hand, not credited yet",
    ),
    "earned until nothing": ("아직 인식하지 않음", "nothing recognised yet"),
    "debits and credits differ": ("차변과 대변이 다름", "debits and credits differ"),
    "missing_here": ("장부에 없음", "not in our books"),
    "missing_there": ("결제사 내역에 없음", "not told by the gateway"),
    "other_amount": ("금액이 다름", "another amount"),
    "other_day": ("날짜가 다름", "another day"),
    "duplicate": ("두 번 나옴", "told twice"),
    "changed": ("전과 다르게 나옴", "told otherwise than before"),
    "refunded_there": ("결제사에서 환불됨", "refunded at the gateway"),
    "disputed": ("이의 제기됨", "disputed by the payer"),
}
_EARNED_UNTIL = re.compile(r"earned until ([0-9-]{10})")
_SUM = re.compile(r"(\w+) ([A-Z]{3}) (-?[0-9]+)")
_PATHS = {
    "tenant": "/console/tenants/{id}",
    "invoice": "/console/invoices/{id}",
    "tax_paper": "/console/tax-papers/of/{id}",
    "difference": "/console/reconciliation",
}


def name(code: str, language: str) -> str:
    """This function will name a check in a language."""
    return _NAMES[code][0 if language == "ko" else 1]


def said(what: str, language: str) -> str:
    """This function will say in a language what a check found; days and names stay themselves."""
    korean = language == "ko"
    earned, amount = _EARNED_UNTIL.fullmatch(what), _SUM.fullmatch(what)
    if earned:
        return f"{earned[1]}까지 인식함" if korean else f"recognised until {earned[1]}"
    if amount:
        return f"{said(amount[1], language)} {Money(int(amount[3]), amount[2])}"
    # A failed paper says after its state why.
    state, colon, why = what.partition(": ")
    return _SAID.get(what, _SAID.get(state, (state, state)))[0 if korean else 1] + (
        f"{colon}{why}" if what not in _SAID else ""
    )


def path(kind: str, row_id: str) -> str:
    """This function will return the console's page of what a check found; "" where it has none."""
    return _PATHS[kind].format(id=row_id) if kind in _PATHS else ""
