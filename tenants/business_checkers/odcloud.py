"""The National Tax Service's register by odcloud: status and validate, at most 100 a call.

Source: the published service nt-businessman v1 (`status`, `validate`). An error of theirs, a
time-out or an answer of another shape means that nothing is known: never that a business is bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

import httpx

from app.base import authorities
from tenants.business_checkers.port import CALL_MAX, Business, CheckerUnavailable, Found

_STATUSES = {"01": "active", "02": "suspended", "03": "closed"}
_GENUINE = {"01": True, "02": False}
# An outage is short more often than not; who waits is a job, and not for long.
_TRIES = 2


class Odcloud:
    """One service key's connection: safe to share between threads."""

    def __init__(self, *, url: str, service_key: str, timeout_seconds: float) -> None:
        # The portal hands keys out in two spellings; httpx encodes what it sends itself.
        self._key = unquote(service_key)
        self._client = httpx.Client(
            base_url=url,
            timeout=timeout_seconds,
            verify=authorities.trusted(at=url),
            trust_env=False,
        )

    def status(self, *, numbers: Sequence[str]) -> Mapping[str, Found]:
        """This function will ask about at most `CALL_MAX` numbers. Raises: CheckerUnavailable."""
        if len(numbers) > CALL_MAX:
            raise ValueError(f"at most {CALL_MAX} numbers a call, not {len(numbers)}")
        rows = self._ask("/status", {"b_no": list(numbers)})
        found = {str(row.get("b_no", "")): row for row in rows}
        return {number: _found(found[number]) for number in numbers if number in found}

    def validate(self, *, businesses: Sequence[Business]) -> Mapping[str, bool]:
        """This function will hold businesses against the register. Raises: CheckerUnavailable."""
        if len(businesses) > CALL_MAX:
            raise ValueError(f"at most {CALL_MAX} businesses a call, not {len(businesses)}")
        rows = self._ask(
            "/validate",
            {
                "businesses": [
                    {
                        "b_no": each.number,
                        "start_dt": f"{each.opened_on:%Y%m%d}",
                        "p_nm": each.representative,
                    }
                    for each in businesses
                ]
            },
        )
        return {
            str(row.get("b_no", "")): _GENUINE[str(row["valid"])]
            for row in rows
            if str(row.get("valid")) in _GENUINE
        }

    def _ask(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Asking twice changes nothing there, so a silence is asked through once more."""
        problem = ""
        for _ in range(_TRIES):
            try:
                answer = self._client.post(path, params={"serviceKey": self._key}, json=body)
            except httpx.HTTPError as error:
                # Its text names the address, and the address has the key in it.
                problem = type(error).__name__
                continue
            if answer.status_code == httpx.codes.OK:
                return _rows(answer)
            problem = f"HTTP {answer.status_code}"
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                break
        raise CheckerUnavailable(f"The register of businesses could not be asked ({problem}).")


def _rows(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        said = answer.json()
        rows = said["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckerUnavailable(
            "The register of businesses answered in no known shape."
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CheckerUnavailable("The register of businesses answered in no known shape.")
    return rows


def _found(row: Mapping[str, Any]) -> Found:
    """An empty status is theirs for a number that is not registered; any other code is news."""
    code = str(row.get("b_stt_cd") or "")
    if not code and not row.get("b_stt"):
        return Found("unregistered")
    if code not in _STATUSES:
        raise CheckerUnavailable(f"The register of businesses said {code!r}, which we don't know.")
    return Found(_STATUSES[code], str(row.get("tax_type_cd") or ""), _day(row.get("end_dt")))


def _day(text: Any) -> date | None:
    digits = str(text or "").replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
