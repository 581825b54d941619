"""The doors of the register: status and validate as published, and ours for what goes wrong.

`POST /_simulator/businesses {"b_no", "b_stt_cd", "tax_type_cd", "end_dt", "start_dt", "p_nm"}` says
what a business is; `POST /_simulator/faults {"fault", "times"}` plans what the next requests meet:
`500`, `429`, `hang`, `drop`, `garbage`, `shape` (JSON of another shape), `partial` (one left out).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

CALL_MAX = 100
_STATUS_WORDS = {"01": "계속사업자", "02": "휴업자", "03": "폐업자"}
_TAX_WORDS = {
    "01": "부가가치세 일반과세자",
    "02": "부가가치세 간이과세자",
    "03": "부가가치세 면세사업자",
    "04": "수익사업을 영위하지 않는 비영리법인이거나 고유번호가 부여된 단체,국가기관 등",
    "07": "부가가치세 간이과세자(세금계산서 발급사업자)",
}
_ABSENT = "국세청에 등록되지 않은 사업자등록번호입니다."
_BASE = "/api/nts-businessman/v1"


class Register:
    """The WSGI application; `asked` lists the bodies of what was asked."""

    def __init__(self, *, service_key: str, everyone: str = "", hang_seconds: float = 60) -> None:
        self.lock = threading.RLock()
        self.businesses: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._service_key, self._hang_seconds = service_key, hang_seconds
        # The status of whoever was not written in; empty: they are not registered.
        self._everyone = everyone
        self._hang = threading.Event()
        self._faults: list[str] = []

    def say(self, number: str, status: str = "01", **more: str) -> None:
        """This function will write a business into the register."""
        with self.lock:
            self.businesses[number] = {"b_stt_cd": status, "tax_type_cd": "01", **more}

    def fault(self, name: str, times: int = 1) -> None:
        """This function will plan what the next requests meet."""
        with self.lock:
            self._faults += [name] * times

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if request.path.startswith("/_simulator/"):
            return self._told(request)(environ, start_response)
        with self.lock:
            fault = self._faults.pop(0) if self._faults else ""
        if fault == "hang":
            self._hang.wait(self._hang_seconds)
        if fault in ("hang", "drop"):
            raise ConnectionAbortedError
        if fault in ("500", "429"):
            return _json({"code": -1, "msg": "일시적인 오류"}, int(fault))(environ, start_response)
        if fault == "garbage":
            return Response("<html>점검 중</html>")(environ, start_response)
        answer = self._answer(request, partial=fault == "partial")
        if fault == "shape":
            answer = _json({"result": "OK"})
        return answer(environ, start_response)

    def _told(self, request: Request) -> Response:
        words = request.get_json()
        if request.path == "/_simulator/businesses":
            number, status = words.pop("b_no"), words.pop("b_stt_cd", "01")
            self.say(number, status, **words)
        elif request.path == "/_simulator/faults":
            self.fault(words["fault"], int(words.get("times", 1)))
        else:
            return _json({"code": -1, "msg": "no such door"}, 404)
        return _json({"code": 1})

    def _answer(self, request: Request, *, partial: bool) -> Response:
        if request.args.get("serviceKey") != self._service_key:
            return _json({"code": -4, "msg": "등록되지 않은 인증키 입니다."}, 401)
        try:
            body = json.loads(request.get_data())
            asked = body["b_no"] if request.path == f"{_BASE}/status" else body["businesses"]
        except (ValueError, KeyError, TypeError):
            return _json({"code": -2, "status_code": "BAD_JSON_REQUEST"}, 400)
        with self.lock:
            self.asked.append((request.path.removeprefix(_BASE), body))
        if len(asked) > CALL_MAX:
            return _json({"code": -3, "status_code": "TOO_LARGE_REQUEST"}, 413)
        match request.path.removeprefix(_BASE):
            case "/status":
                data = [self._status(number) for number in asked][: -1 if partial else None]
                answer = {"match_cnt": sum(bool(row["b_stt"]) for row in data)}
            case "/validate":
                data = [self._valid(each) for each in asked]
                answer = {"valid_cnt": sum(row["valid"] == "01" for row in data)}
            case _:
                return _json({"code": -5, "msg": "no such service"}, 404)
        return _json({"status_code": "OK", "request_cnt": len(asked), **answer, "data": data})

    def _status(self, number: str) -> dict[str, str]:
        known = self.businesses.get(number)
        if known is None and self._everyone:
            known = {"b_stt_cd": self._everyone, "tax_type_cd": "01"}
        row = dict.fromkeys(
            (
                *("b_stt", "b_stt_cd", "tax_type", "tax_type_cd", "end_dt", "utcc_yn"),
                *("tax_type_change_dt", "invoice_apply_dt", "rbf_tax_type", "rbf_tax_type_cd"),
            ),
            "",
        )
        if known is None:
            return {"b_no": number, **row, "tax_type": _ABSENT}
        return {
            "b_no": number,
            **row,
            "b_stt": _STATUS_WORDS.get(known["b_stt_cd"], "?"),
            "b_stt_cd": known["b_stt_cd"],
            "tax_type": _TAX_WORDS[known["tax_type_cd"]],
            "tax_type_cd": known["tax_type_cd"],
            "end_dt": known.get("end_dt", ""),
        }

    def _valid(self, business: dict[str, str]) -> dict[str, Any]:
        known = self.businesses.get(business["b_no"], {})
        same = known and all(known.get(name) == business.get(name) for name in ("start_dt", "p_nm"))
        row: dict[str, Any] = {"b_no": business["b_no"], "request_param": business}
        if same:
            return {**row, "valid": "01", "status": self._status(business["b_no"])}
        return {**row, "valid": "02", "valid_msg": "확인할 수 없습니다."}


def _json(body: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, status, content_type="application/json; charset=utf-8")
