"""What popbill knows: tax invoices and cash receipts by management key, batches, and its rules.

Codes: -11000005 and -14000003 (absent) are the SDK's; the others are numbered here, in the same
ranges, and nothing of ours may depend on them.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

ABSENT, TAKEN, WRONG, NOT_NOW = -11000005, -11000012, -11000021, -11000040
CASH_ABSENT, CASH_TAKEN = -14000003, -14000012
BULK_MAX = 100
_SEOUL = ZoneInfo("Asia/Seoul")


class Refusal(Exception):
    """An answer with a negative code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Desk:
    """All state, behind one lock.

    `transmit_seconds`: after it whatever was issued is with the tax service, as of itself; without
    it the control door says so.
    """

    def __init__(self, *, transmit_seconds: float | None = None) -> None:
        self._transmit_seconds = transmit_seconds
        self.lock = threading.RLock()
        self.invoices: dict[str, dict[str, Any]] = {}
        self.cashbills: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        # How often a batch is asked about before it is done.
        self.batch_looks = 0
        self._next_number = 1

    def memory(self) -> dict[str, Any]:
        """This function will return all that a desk after this one has to know."""
        with self.lock:
            names = ("invoices", "cashbills", "batches")
            return {"number": self._next_number, **{name: getattr(self, name) for name in names}}

    def remember(self, memory: dict[str, Any]) -> None:
        """This function will go on from what another desk knew."""
        with self.lock:
            self._next_number = memory.pop("number")
            for name, rows in memory.items():
                setattr(self, name, rows)

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _is_with_the_tax_service(self, kept: dict[str, Any]) -> bool:
        after = self._transmit_seconds
        return after is not None and kept["stateCode"] < 304 and time.time() >= kept["at"] + after

    def issue(self, words: dict[str, Any]) -> dict[str, Any]:
        """This function will issue a tax invoice, once for a management key."""
        with self.lock:
            key = str(words.get("invoicerMgtKey", ""))
            if wrong := _wrong(words):
                raise Refusal(WRONG, wrong)
            if key in self.invoices:
                raise Refusal(TAKEN, "이미 사용 중인 문서번호입니다.")
            if words.get("modifyCode") and not self._stands(words.get("orgNTSConfirmNum")):
                raise Refusal(WRONG, "당초 국세청승인번호가 올바르지 않습니다.")
            number = f"{words['writeDate']}41000000{self._number():08x}"
            self.invoices[key] = {
                "words": words,
                "stateCode": 300,
                "ntsconfirmNum": number,
                "at": time.time(),
            }
            return {"code": 1, "message": "발행 완료", "ntsConfirmNum": number}

    def _stands(self, number: Any) -> bool:
        return any(
            each["ntsconfirmNum"] == number and each["stateCode"] == 304
            for each in self.invoices.values()
        )

    def info(self, key: str) -> dict[str, Any]:
        """This function will say what became of a tax invoice."""
        with self.lock:
            if key not in self.invoices:
                raise Refusal(ABSENT, "해당 문서번호의 세금계산서가 존재하지 않습니다.")
            kept = self.invoices[key]
            if self._is_with_the_tax_service(kept):
                self.transmit(key)
            words = kept["words"]
            return {
                "itemKey": f"0{key}",
                "invoicerMgtKey": key,
                "stateCode": kept["stateCode"],
                "stateMemo": kept.get("stateMemo", ""),
                "taxType": words["taxType"],
                "purposeType": words["purposeType"],
                "issueType": words["issueType"],
                "writeDate": words["writeDate"],
                "supplyCostTotal": words["supplyCostTotal"],
                "taxTotal": words["taxTotal"],
                "ntsconfirmNum": kept["ntsconfirmNum"],
                "ntssendErrCode": kept.get("ntssendErrCode", ""),
                "modifyCode": words.get("modifyCode"),
            }

    def cancel(self, key: str) -> dict[str, Any]:
        """This function will take a tax invoice back that was not sent."""
        with self.lock:
            self.info(key)
            kept = self.invoices[key]
            if kept["stateCode"] not in (300, 301, 305):
                raise Refusal(NOT_NOW, "발행취소가 가능한 상태가 아닙니다.")
            kept["stateCode"] = 600
            return {"code": 1, "message": "발행취소 완료"}

    def send(self, key: str) -> dict[str, Any]:
        """This function will queue a tax invoice for the tax service."""
        with self.lock:
            self.info(key)
            kept = self.invoices[key]
            if kept["stateCode"] not in (300, 301, 305):
                raise Refusal(NOT_NOW, "국세청 전송이 가능한 상태가 아닙니다.")
            kept["stateCode"] = 302
            return {"code": 1, "message": "전송 요청 완료"}

    def hand_in(self, submit_id: str, invoices: list[dict[str, Any]]) -> dict[str, Any]:
        """This function will take a batch in; it is worked on when it is asked about."""
        with self.lock:
            if len(invoices) > BULK_MAX:
                raise Refusal(WRONG, "한번에 최대 100건까지 제출할 수 있습니다.")
            if submit_id in self.batches:
                raise Refusal(TAKEN, "이미 사용 중인 제출아이디입니다.")
            self.batches[submit_id] = {"left": invoices, "looks": self.batch_looks, "results": []}
            return {"code": 1, "message": "접수 완료", "receiptID": f"R{len(self.batches):018d}"}

    def batch(self, submit_id: str) -> dict[str, Any]:
        """This function will say what became of a batch, and work on it."""
        with self.lock:
            if submit_id not in self.batches:
                raise Refusal(ABSENT, "해당 제출아이디가 존재하지 않습니다.")
            batch = self.batches[submit_id]
            if batch["looks"] > 0:
                batch["looks"] -= 1
                return {"code": 1, "submitID": submit_id, "txState": 1, "issueResult": []}
            while batch["left"]:
                batch["results"].append(self._result(batch["left"].pop(0)))
            good = sum(each["code"] == 1 for each in batch["results"])
            return {
                "code": 1,
                "message": "",
                "submitID": submit_id,
                "submitCount": len(batch["results"]),
                "successCount": good,
                "failCount": len(batch["results"]) - good,
                "txState": 2,
                "txResultCode": 1,
                "issueResult": batch["results"],
            }

    def _result(self, words: dict[str, Any]) -> dict[str, Any]:
        result = {"invoicerMgtKey": words.get("invoicerMgtKey", ""), "ntsConfirmNum": ""}
        try:
            return result | self.issue(words)
        except Refusal as refusal:
            return result | {"code": refusal.code, "message": refusal.message}

    def transmit(self, key: str, error: str = "") -> None:
        """This function will play the tax service: accept a tax invoice, or refuse it."""
        with self.lock:
            kept = self.invoices[key]
            kept["stateCode"] = 305 if error else 304
            kept["ntssendErrCode"] = error or "SUC001"
            kept["stateMemo"] = "국세청 전송실패" if error else ""

    def issue_cashbill(self, words: dict[str, Any]) -> dict[str, Any]:
        """This function will issue a cash receipt, once for a management key."""
        with self.lock:
            key = str(words["mgtKey"])
            if key in self.cashbills:
                raise Refusal(CASH_TAKEN, "이미 사용 중인 문서번호입니다.")
            sums = [int(words[name]) for name in ("supplyCost", "tax", "serviceFee")]
            if sum(sums) != int(words["totalAmount"]):
                raise Refusal(WRONG, "거래금액이 올바르지 않습니다.")
            return self._add_cashbill(key, words, str(words["totalAmount"]))

    def revoke_cashbill(self, words: dict[str, Any]) -> dict[str, Any]:
        """This function will cancel a cash receipt, or a part of it, by one of its own."""
        with self.lock:
            key = str(words["mgtKey"])
            if key in self.cashbills:
                raise Refusal(CASH_TAKEN, "이미 사용 중인 문서번호입니다.")
            found = [
                each
                for each in self.cashbills.values()
                if each["confirmNum"] == words["orgConfirmNum"]
                and each["tradeDate"] == words["orgTradeDate"]
            ]
            if not found:
                raise Refusal(WRONG, "원본 현금영수증이 존재하지 않습니다.")
            left = int(found[0]["totalAmount"]) - found[0]["cancelled"]
            amount = int(words["totalAmount"]) if words.get("isPartCancel") else left
            if amount > left or amount == 0:
                raise Refusal(WRONG, "취소금액이 원거래 금액을 초과합니다.")
            found[0]["cancelled"] += amount
            return self._add_cashbill(key, words, str(amount))

    def _add_cashbill(self, key: str, words: dict[str, Any], total: str) -> dict[str, Any]:
        number = f"TB{self._number():07d}"
        day = f"{datetime.now(_SEOUL):%Y%m%d}"
        self.cashbills[key] = {
            "words": words,
            "mgtKey": key,
            "stateCode": 300,
            "confirmNum": number,
            "tradeDate": day,
            "totalAmount": total,
            "cancelled": 0,
            "at": time.time(),
        }
        return {"code": 1, "message": "발행 완료", "confirmNum": number, "tradeDate": day}

    def cashbill(self, key: str) -> dict[str, Any]:
        """This function will say what became of a cash receipt."""
        with self.lock:
            if key not in self.cashbills:
                raise Refusal(CASH_ABSENT, "해당 문서번호의 현금영수증이 존재하지 않습니다.")
            kept = self.cashbills[key]
            if self._is_with_the_tax_service(kept):
                kept["stateCode"] = 304
            return {name: kept[name] for name in kept if name not in ("words", "cancelled", "at")}


def _wrong(words: dict[str, Any]) -> str:
    lines = words.get("detailList") or []
    supply = sum(int(each["supplyCost"]) for each in lines)
    tax = sum(int(each["tax"]) for each in lines)
    if not 1 <= len(str(words.get("invoicerMgtKey", ""))) <= 24:
        return "문서번호는 1~24자리입니다."
    if words.get("issueType") != "정발행":
        return "발행유형이 올바르지 않습니다."
    if (str(supply), str(tax)) != (words.get("supplyCostTotal"), words.get("taxTotal")):
        return "합계금액이 품목과 일치하지 않습니다."
    if words.get("totalAmount") != str(supply + tax):
        return "합계금액이 올바르지 않습니다."
    if not words.get("invoiceeEmail1") or not words.get("invoiceeCorpNum"):
        return "공급받는자 정보가 올바르지 않습니다."
    return ""
