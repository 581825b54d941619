"""Cases: what the gateway lists and settles, and money that comes by other ways than cards."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from invoices.gateways.conformance.declared import CHARGES, Cases, needs
from invoices.gateways.conformance.hearing import heard
from invoices.gateways.conformance.purchases import AMOUNT, order_id, paid, purchase, won
from invoices.gateways.conformance.refunding import refunded
from invoices.gateways.conformance.till import Delivery, Till
from invoices.gateways.port import (
    Absent,
    Capability,
    CashReceipt,
    CashReceiptState,
    CashReceiptUse,
    Declined,
    EventKind,
    SettlementKind,
    SettlementLine,
    Succeeded,
    Trust,
    VirtualAccount,
    Waiting,
)


class ListingCases(Cases):
    """The gateway's list of payments."""

    needed = (*CHARGES, Capability.LIST_PAYMENTS)

    def test_holds_each_payment_of_the_time_span_and_no_other(self, till: Till) -> None:
        first, second = paid(till), paid(till)
        later = second.approved_at + timedelta(microseconds=1)
        listed = list(till.gateway.list_payments(start=first.approved_at, end=later))
        assert [first, second] == [p for p in listed if p in (first, second)]
        before = till.gateway.list_payments(start=first.approved_at, end=second.approved_at)
        assert second not in list(before)

    def test_goes_on_past_one_page(self, till: Till) -> None:
        buying = purchase(till)
        start = datetime.now(UTC).replace(microsecond=0)
        with ThreadPoolExecutor(8) as pool:
            made = set(pool.map(lambda _: buying.next_attempt().at(till.gateway), range(105)))
        end = datetime.now(UTC) + timedelta(seconds=1)
        listed = list(till.gateway.list_payments(start=start, end=end))
        assert made <= set(listed)
        assert len(listed) == len(set(listed))


class SettlementCases(Cases):
    """The gateway's books, line by line."""

    needed = (*CHARGES, Capability.SETTLEMENTS, Capability.REFUND, Capability.REFUND_IN_PART)

    def test_holds_a_payment_and_its_refund_with_their_fees(self, till: Till) -> None:
        payment = paid(till)
        refunded(till, payment, won(10_000))
        till.close_day()
        lines = self.lines_of(till, payment)
        by_kind = {line.kind: line for line in lines}
        assert by_kind[SettlementKind.PAYMENT].gross == AMOUNT
        assert by_kind[SettlementKind.REFUND].gross == won(-10_000)
        for line in lines:
            assert line.net == line.gross - line.fee - line.fee_tax, line

    def test_read_again_is_the_same_line_for_line(self, till: Till) -> None:
        payment = paid(till)
        till.close_day()
        first = self.lines_of(till, payment)
        assert first
        assert self.lines_of(till, payment) == first
        assert len({line.line_id for line in first}) == len(first)

    @staticmethod
    def lines_of(till: Till, payment: Succeeded) -> list[SettlementLine]:
        today = datetime.now(UTC).date()
        return [
            line
            for line in till.gateway.settlements(
                start=today - timedelta(days=2), end=today + timedelta(days=2)
            )
            if line.gateway_payment_id == payment.gateway_payment_id
        ]


class VirtualAccountCases(Cases):
    """A bank account opened for one transfer."""

    needed = (Capability.VIRTUAL_ACCOUNTS, Capability.LOOKUP_BY_ORDER)

    def test_waits_for_its_money_and_then_has_it(self, till: Till) -> None:
        account = opened(till)
        assert account.amount == AMOUNT
        assert account.number
        assert account.secret is None or account.secret not in repr(account)
        assert isinstance(till.gateway.lookup(order_id=account.order_id), Waiting)
        till.deposit(account.order_id)
        found = till.gateway.lookup(order_id=account.order_id)
        assert isinstance(found, Succeeded)
        assert found.amount == AMOUNT
        assert found.gateway_payment_id == account.gateway_payment_id

    def test_opened_twice_under_one_key_is_one_account(self, till: Till) -> None:
        account = opened(till)
        assert opened(till, order=account.order_id) == account

    def test_whose_money_is_taken_back_is_said_to_have_none(self, till: Till) -> None:
        account = opened(till)
        till.deposit(account.order_id)
        till.take_deposit_back(account.order_id)
        told = till.gateway.lookup(order_id=account.order_id)
        assert isinstance(told, Waiting | Declined), told

    @needs(Capability.WEBHOOKS)
    def test_tells_of_its_money_with_what_no_stranger_knows(self, till: Till) -> None:
        account = opened(till)
        till.deposit(account.order_id)
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while True:
            told = till.webhooks_about(account.gateway_payment_id)
            events = [heard(till.gateway, Delivery(*delivery)) for delivery in told]
            arrived = [e for e in events if e.kind is EventKind.ACCOUNT_DEPOSITED]
            if arrived:
                break
            assert datetime.now(UTC) < deadline, "the deposit was never told"
        assert arrived[0].order_id == account.order_id
        assert arrived[0].trust in (Trust.SECRET, Trust.SIGNED)
        if arrived[0].trust is Trust.SECRET:
            assert arrived[0].secret == account.secret
            assert str(account.secret) not in repr(arrived[0])


def opened(till: Till, order: str | None = None) -> VirtualAccount:
    """This function will open an account that is beyond doubt, under its order's own key."""
    order = order or order_id()
    result = till.gateway.open_virtual_account(
        order_id=order,
        amount=AMOUNT,
        name="Tenantry 2026-11",
        payer="가나다 주식회사",
        bank="20",
        expires_at=(datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0),
        idempotency_key=f"{order}-account",
    )
    assert isinstance(result, VirtualAccount), result
    return result


class CashReceiptCases(Cases):
    """Cash receipts for money that came by transfer."""

    needed = (Capability.CASH_RECEIPTS,)

    def test_issued_is_known_by_its_id(self, till: Till) -> None:
        receipt = issued(till)
        assert receipt.amount == AMOUNT
        assert receipt.use is CashReceiptUse.EXPENSE_PROOF
        found = till.gateway.cash_receipt(receipt_id=receipt.receipt_id)
        assert isinstance(found, CashReceipt)
        # The tax service may have got on with it in between.
        assert replace(found, state=receipt.state, number=receipt.number) == receipt

    def test_issued_twice_under_one_key_is_one_receipt(self, till: Till) -> None:
        order = order_id()
        assert issued(till, order).receipt_id == issued(till, order).receipt_id

    def test_cancelled_is_told_as_cancelled(self, till: Till) -> None:
        receipt = issued(till)
        done = till.gateway.cancel_cash_receipt(
            receipt_id=receipt.receipt_id,
            amount=None,
            reason="The customer left",
            idempotency_key=uuid.uuid4().hex,
        )
        assert isinstance(done, CashReceipt), done
        found = till.gateway.cash_receipt(receipt_id=receipt.receipt_id)
        assert isinstance(found, CashReceipt)
        assert found.state is CashReceiptState.CANCELLED

    def test_of_more_than_there_is_is_refused(self, till: Till) -> None:
        receipt = issued(till)
        result = till.gateway.cancel_cash_receipt(
            receipt_id=receipt.receipt_id,
            amount=won(110_001),
            reason="The customer left",
            idempotency_key=uuid.uuid4().hex,
        )
        assert isinstance(result, Declined)

    def test_that_never_was_is_absent(self, till: Till) -> None:
        assert till.gateway.cash_receipt(receipt_id="receipt-that-never-was") == Absent()


def issued(till: Till, order: str | None = None) -> CashReceipt:
    """This function will issue a receipt that is beyond doubt, under its order's own key."""
    order = order or order_id()
    result = till.gateway.issue_cash_receipt(
        order_id=order,
        amount=AMOUNT,
        tax_minor=10_000,
        name="Tenantry 2026-11",
        use=CashReceiptUse.EXPENSE_PROOF,
        identity="1248100998",
        idempotency_key=f"{order}-receipt",
    )
    assert isinstance(result, CashReceipt), result
    assert result.state in (CashReceiptState.IN_PROGRESS, CashReceiptState.COMPLETED)
    return result


class TransferCases(Cases):
    """Where a payer is told to send money by hand."""

    needed = (Capability.TRANSFER_INSTRUCTIONS,)

    def test_names_the_account_the_sum_and_what_to_write(self, till: Till) -> None:
        order = order_id()
        told = till.gateway.transfer_instructions(order_id=order, amount=AMOUNT)
        assert told.account
        assert (told.amount, told.memo) == (AMOUNT, order)
