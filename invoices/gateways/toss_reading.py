"""Reading what Toss Payments sends. Leniently: it adds fields and values without notice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Any

from app.base.money import Money
from invoices.gateways import toss_declines
from invoices.gateways.port import (
    CashReceipt,
    CashReceiptState,
    CashReceiptUse,
    Declined,
    GatewayUnavailable,
    Refunded,
    RegisteredMethod,
    SettlementKind,
    SettlementLine,
    Succeeded,
    Unknown,
    VirtualAccount,
    Waiting,
)
from invoices.gateways.reading import day, mapping, moment, optional_text, text

KST = timezone(timedelta(hours=9))
USES = {
    CashReceiptUse.INCOME_DEDUCTION: "소득공제",
    CashReceiptUse.EXPENSE_PROOF: "지출증빙",
}
_MONEY_CAME = frozenset({"DONE", "CANCELED", "PARTIAL_CANCELED"})
_NOTHING_CAME = frozenset({"ABORTED", "EXPIRED", "CANCELED"})
_RECEIPT_STATES = {
    "IN_PROGRESS": CashReceiptState.IN_PROGRESS,
    "COMPLETED": CashReceiptState.COMPLETED,
    "FAILED": CashReceiptState.FAILED,
}

_ISSUERS = {
    "11": "국민",
    "15": "카카오뱅크",
    "21": "하나",
    "24": "토스뱅크",
    "30": "산업",
    "31": "BC",
    "33": "우리",
    "34": "수협",
    "35": "전북",
    "36": "씨티",
    "37": "우체국",
    "38": "새마을",
    "39": "저축",
    "3A": "케이뱅크",
    "3K": "기업",
    "41": "신한",
    "42": "제주",
    "46": "광주",
    "51": "삼성",
    "61": "현대",
    "62": "신협",
    "71": "롯데",
    "91": "농협",
    "W1": "우리",
}


def registered(issued: Mapping[str, Any], *, customer_key: str) -> RegisteredMethod:
    """This function will read a billing key and the card or account behind it.

    Raises: GatewayUnavailable.
    """
    accounts = issued.get("transfers")
    if isinstance(accounts, list) and accounts:
        account = mapping(accounts[0])
        return RegisteredMethod(
            token=text(issued, "billingKey"),
            customer_key=customer_key,
            kind="account",
            masked=str(account.get("bankAccountNumber") or "****"),
            brand=str(account.get("bankName") or account.get("bankCode") or ""),
        )
    card = mapping(issued.get("card"))
    issuer = str(card.get("issuerCode") or "")
    return RegisteredMethod(
        token=text(issued, "billingKey"),
        customer_key=customer_key,
        kind="card",
        masked=text(card, "number"),
        brand=_ISSUERS.get(issuer, issuer),
    )


def payment(row: Any) -> Succeeded | Declined | Unknown:
    """This function will say what became of a payment: by its status and not by its being there.

    Raises: GatewayUnavailable (no payment can be made out).
    """
    answer = mapping(row)
    status = answer.get("status")
    # One that is cancelled before any money came was never approved.
    if status in _MONEY_CAME and answer.get("approvedAt"):
        amount = money(answer, "totalAmount")
        return Succeeded(
            gateway_payment_id=text(answer, "paymentKey"),
            order_id=text(answer, "orderId"),
            amount=amount,
            refunded=amount - money(answer, "balanceAmount"),
            approved_at=moment(answer, "approvedAt", zone=KST),
            masked=masked(answer),
            receipt_url=optional_text(answer.get("receipt"), "url"),
        )
    if status in _NOTHING_CAME:
        failure = answer.get("failure")
        stated = failure if isinstance(failure, dict) else {}
        return toss_declines.declined(
            code=str(stated.get("code") or status),
            message=str(stated.get("message") or "The payment came to nothing."),
            payment_id=optional_text(answer, "paymentKey"),
        )
    said = f"Toss Payments calls the payment {status!r}."
    return Waiting(said) if status == "WAITING_FOR_DEPOSIT" else Unknown(said)


def refunded(row: Any, *, asked: Money | None) -> Refunded | Unknown:
    """This function will read the newest cancel of a payment.

    Raises: GatewayUnavailable.
    """
    answer = mapping(row)
    cancels = answer.get("cancels")
    if not isinstance(cancels, list) or not cancels:
        return Unknown("Toss Payments took the cancel without listing it.")
    newest = mapping(cancels[-1])
    if newest.get("cancelStatus", "DONE") != "DONE":
        return Unknown(f"Toss Payments calls the cancel {newest.get('cancelStatus')!r}.")
    currency = text(answer, "currency")
    amount = Money(whole(newest, "cancelAmount"), currency)
    if asked is not None and amount != asked:
        return Unknown(f"Toss Payments gave back {amount}, not {asked}.")
    return Refunded(
        gateway_refund_id=text(newest, "transactionKey"),
        gateway_payment_id=text(answer, "paymentKey"),
        amount=amount,
        remaining=Money(whole(newest, "refundableAmount"), currency),
        refunded_at=moment(newest, "canceledAt", zone=KST),
    )


def virtual_account(row: Any, *, bank: str) -> VirtualAccount | Unknown:
    """This function will read the account that was opened for a payment.

    Raises: GatewayUnavailable.
    """
    answer = mapping(row)
    if answer.get("status") != "WAITING_FOR_DEPOSIT":
        return Unknown(f"Toss Payments calls the new account {answer.get('status')!r}.")
    account = mapping(answer.get("virtualAccount"))
    return VirtualAccount(
        gateway_payment_id=text(answer, "paymentKey"),
        order_id=text(answer, "orderId"),
        bank=str(account.get("bankCode") or bank),
        number=text(account, "accountNumber"),
        holder=str(account.get("customerName") or ""),
        amount=money(answer, "totalAmount"),
        expires_at=moment(account, "dueDate", zone=KST),
        secret=optional_text(answer, "secret"),
    )


def cash_receipt(row: Any) -> CashReceipt:
    """This function will read a cash receipt. Its id leads with the day, for it is found by that.

    Raises: GatewayUnavailable.
    """
    answer = mapping(row)
    use = next((use for use, name in USES.items() if name == answer.get("type")), None)
    state = _RECEIPT_STATES.get(str(answer.get("issueStatus")))
    if use is None or state is None:
        raise GatewayUnavailable("Toss Payments' cash receipt is of a kind that is not known.")
    issued_at = moment(answer, "requestedAt", zone=KST)
    return CashReceipt(
        receipt_id=f"{issued_at.astimezone(KST):%Y%m%d}-{text(answer, 'receiptKey')}",
        order_id=text(answer, "orderId"),
        use=use,
        state=state,
        amount=Money(whole(answer, "amount"), "KRW"),
        issued_at=issued_at,
        number=optional_text(answer, "issueNumber"),
        receipt_url=optional_text(answer, "receiptUrl"),
    )


def settlement_line(row: Any) -> SettlementLine:
    """This function will read one line of the settlement.

    What was paid out is what counts: the fee is whatever lies between, and a cancel turns all
    signs, in whichever way Toss wrote them.
    Raises: GatewayUnavailable.
    """
    answer = mapping(row)
    currency = str(answer.get("currency") or "KRW")
    is_refund = isinstance(answer.get("cancel"), dict)
    sign = -1 if is_refund else 1
    gross, tax, net = (
        Money(sign * abs(whole(answer, name)), currency)
        for name in ("amount", "vat", "payOutAmount")
    )
    return SettlementLine(
        line_id=text(answer, "transactionKey"),
        kind=SettlementKind.REFUND if is_refund else SettlementKind.PAYMENT,
        gross=gross,
        fee=gross - tax - net,
        fee_tax=tax,
        net=net,
        booked_on=day(answer, "soldDate"),
        paid_out_on=day(answer, "paidOutDate") if answer.get("paidOutDate") else None,
        gateway_payment_id=optional_text(answer, "paymentKey"),
        order_id=optional_text(answer, "orderId"),
    )


def masked(answer: Mapping[str, Any]) -> str:
    """This function will return the card or account as people may see it."""
    for place, name in (("card", "number"), ("transfer", "bankAccountNumber")):
        if shown := optional_text(answer.get(place), name):
            return shown
    return ""


def rows(value: Any) -> list[Any]:
    """This function will hold that a value is a JSON list."""
    if not isinstance(value, list):
        raise GatewayUnavailable("Toss Payments' answer is not a list.")
    return value


def whole(row: Mapping[str, Any], name: str) -> int:
    """This function will return a whole number, however it was written."""
    value = row.get(name)
    # Amounts are numbers in some places of its interface and texts in others.
    written = str(value) if type(value) in (int, float, str) else ""
    digits = written.removesuffix(".0")
    if not (digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) <= 18):
        raise GatewayUnavailable(f"The gateway's answer lacks {name}.")
    return int(digits)


def money(row: Mapping[str, Any], name: str) -> Money:
    """This function will return an amount in the row's currency."""
    return Money(whole(row, name), text(row, "currency"))
