"""Cash receipts at Toss Payments: issued by one call, found again only in the list of their day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from app.base.money import Money
from invoices.gateways import reading, toss_reading
from invoices.gateways.port import (
    Absent,
    CashReceipt,
    CashReceiptResult,
    CashReceiptState,
    CashReceiptUse,
    GatewayUnavailable,
    Unknown,
)
from invoices.gateways.toss_client import Client, Refused, in_path

_NAME = re.compile(r"(\d{4})(\d{2})(\d{2})-(.{1,200})", re.ASCII)
_PAGE_SIZE = 100


def issue(
    *, client: Client, body: Mapping[str, Any], use: CashReceiptUse, identity: str, key: str
) -> CashReceiptResult:
    """This function will issue a receipt for the sum in `body` to whoever `identity` names."""
    named = {"customerIdentityNumber": identity, "type": toss_reading.USES[use]}
    return _asked(client, "/v1/cash-receipts", {**body, **named}, key)


def cancel(*, client: Client, receipt_id: str, amount: Money | None, key: str) -> CashReceiptResult:
    """This function will cancel `amount` of a receipt, or with None all of it."""
    named = _NAME.fullmatch(receipt_id)
    path = f"/v1/cash-receipts/{in_path(named[4] if named else receipt_id)}/cancel"
    body = {} if amount is None else {"amount": amount.amount_minor}
    result = _asked(client, path, body, key)
    if isinstance(result, CashReceipt):
        # The receipt that the caller knows, and not the paper on its cancel.
        state = CashReceiptState.CANCELLED if amount is None else result.state
        return replace(result, receipt_id=receipt_id, state=state)
    return result


def find(*, client: Client, receipt_id: str) -> CashReceipt | Absent | Unknown:
    """This function will say what became of a receipt; one that is cancelled in part still is.

    Toss lists a cancel on its own day: one of a later day is known to whoever asked for it.
    """
    named = _NAME.fullmatch(receipt_id)
    try:
        day = date(int(named[1]), int(named[2]), int(named[3])) if named else None
    except ValueError:
        day = None
    if day is None or named is None:
        return Absent()
    try:
        rows = [row for row in _listed(client, day) if row.get("receiptKey") == named[4]]
        issued = [row for row in rows if row.get("transactionType") != "CANCEL"]
        if not issued:
            return Absent()
        found = toss_reading.cash_receipt(issued[0])
        gone = sum(
            abs(toss_reading.whole(row, "amount"))
            for row in rows
            if row.get("transactionType") == "CANCEL"
        )
    except GatewayUnavailable as error:
        return Unknown(error.message)
    if gone >= found.amount.amount_minor:
        return replace(found, state=CashReceiptState.CANCELLED)
    return found


def _listed(client: Client, day: date) -> Iterator[Mapping[str, Any]]:
    query = {"requestDate": day.isoformat(), "limit": str(_PAGE_SIZE)}
    while True:
        try:
            page = reading.mapping(client.ask("GET", "/v1/cash-receipts", query=query))
        except Refused as refusal:
            raise refusal.unexpected from refusal
        yield from (reading.mapping(row) for row in toss_reading.rows(page.get("data")))
        if not page.get("hasNext"):
            return
        query["cursor"] = str(page.get("lastCursor") or "")


def _asked(client: Client, path: str, body: Mapping[str, Any], key: str) -> CashReceiptResult:
    try:
        return toss_reading.cash_receipt(client.ask("POST", path, body=body, idempotency_key=key))
    except Refused as refusal:
        return refusal.declined
    except GatewayUnavailable as error:
        return Unknown(error.message)
