"""What is Toss Payments' own: its shapes, its keys, its codes, and its refunds."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.base.loopback import LoopbackServer
from app.base.money import Money
from invoices.gateways import port, toss_declines
from invoices.gateways.conformance.purchases import AMOUNT, order_id, paid, purchase, won
from invoices.gateways.conformance.till import Card
from tests.fakes.toss.cards import ERRORS
from tests.fakes.toss.shapes import RESPONSES, misfits
from tests.fakes.toss.till import TossTill, adapter, open_till


@pytest.fixture(scope="module")
def till() -> Iterator[Any]:
    with open_till() as opened:
        yield opened


def charge_body(**fields: Any) -> dict[str, Any]:
    return {"amount": 110_000, "orderId": order_id(), "orderName": "Tenantry", **fields}


def charge(till: TossTill, key: str | None = None, **more: Any) -> httpx.Response:
    """This function will charge a fresh billing key by hand, as any merchant may."""
    method = more.pop("method", None) or purchase(till).method
    body = more.pop("body", None) or charge_body(customerKey=method.customer_key)
    headers = {"Idempotency-Key": key} if key else {}
    headers |= more.pop("headers", {})
    path = f"/v1/billing/{method.token}"
    return till.running.ask("POST", path, json=body, headers=headers, **more)


class TestTheSimulator:
    def test_answers_in_the_published_shapes(self, till: TossTill) -> None:
        payment = paid(till)
        till.gateway.refund(
            gateway_payment_id=payment.gateway_payment_id,
            amount=won(10_000),
            reason="The customer left",
            idempotency_key=uuid.uuid4().hex,
        )
        till.close_day()
        today = datetime.now(UTC).date()
        days = {
            "startDate": str(today - timedelta(days=1)),
            "endDate": str(today + timedelta(days=2)),
        }
        seconds = {name: f"{day}T00:00:00" for name, day in days.items()}
        ask = till.running.ask
        shown = ask("GET", f"/v1/payments/{payment.gateway_payment_id}").json()
        assert misfits(shown, RESPONSES["Payment"]) == []
        for path, query, kind in (
            ("/v1/transactions", seconds, "Transaction"),
            ("/v1/settlements", days, "Settlement"),
        ):
            rows = ask("GET", path, params=query).json()
            assert len(rows) >= 2
            assert [misfit for row in rows for misfit in misfits(row, RESPONSES[kind])] == []

    def test_answers_a_registration_an_account_and_a_receipt_so_too(self, till: TossTill) -> None:
        ask = till.running.ask
        params = till.browser_returns(customer_key="customer-1", card=Card.PAYS)
        body = {"authKey": params["authKey"], "customerKey": "customer-1"}
        issued = ask("POST", "/v1/billing/authorizations/issue", json=body).json()
        assert misfits(issued, RESPONSES["Billing"]) == []
        opened = charge_body(bank="20", customerName="가나다")
        account = ask("POST", "/v1/virtual-accounts", json=opened).json()
        assert misfits(account, RESPONSES["Payment"]) == []
        wanted = charge_body(customerIdentityNumber="1248100998", type="지출증빙")
        receipt = ask("POST", "/v1/cash-receipts", json=wanted).json()
        assert misfits(receipt, RESPONSES["CashReceipt"]) == []
        refused = ask("GET", "/v1/payments/none")
        assert misfits(refused.json(), RESPONSES["Failure"]) == []
        assert refused.headers["x-tosspayments-trace-id"]

    def test_check_of_shapes_finds_what_does_not_fit(self) -> None:
        assert misfits({"code": 1}, RESPONSES["Failure"]) == [
            ".message: missing",
            ".code: 1 is not of type string",
        ]
        assert misfits({"code": "A", "message": "b", "more": 1}, RESPONSES["Failure"])

    def test_takes_basic_auth_with_a_colon_and_a_key_of_its_form(self, till: TossTill) -> None:
        def code(**more: Any) -> tuple[int, str]:
            answer = till.running.ask("GET", "/v1/payments/none", **more)
            return answer.status_code, answer.json()["code"]

        assert code(auth=("somebody", "")) == (401, "UNAUTHORIZED_KEY")
        bearer = {"Authorization": "Bearer test_sk_tenantry"}
        assert code(auth=None, headers=bearer) == (403, "INCORRECT_BASIC_AUTH_FORMAT")
        assert code() == (404, "NOT_FOUND_PAYMENT")


class TestAKey:
    def test_replays_its_first_answer_whatever_the_body_says_now(self, till: TossTill) -> None:
        method = purchase(till).method
        first = charge(till, "key-1", method=method)
        other = charge(till, "key-1", method=method)
        assert first.status_code == 200
        assert other.json() == first.json()

    def test_replays_a_decline_while_a_new_key_is_a_new_try(self, till: TossTill) -> None:
        method = purchase(till, Card.DECLINES_ONCE).method
        assert charge(till, "key-2", method=method).status_code == 403
        assert charge(till, "key-2", method=method).status_code == 403
        assert charge(till, "key-3", method=method).status_code == 200

    def test_counts_for_its_merchant_and_its_address_alone(self, till: TossTill) -> None:
        assert charge(till, "key-4").status_code == 200
        elsewhere = charge(till, "key-4", method=purchase(till).method)
        assert elsewhere.status_code == 200
        stranger = charge(till, "key-4", auth=("test_sk_another", ""))
        assert stranger.json()["code"] == "NOT_FOUND_BILLING"

    def test_that_is_too_long_is_refused_and_unused_keys_stay_free(self, till: TossTill) -> None:
        answer = charge(till, "k" * 301)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_IDEMPOTENCY_KEY")
        assert charge(till, "k" * 300).status_code == 200

    def test_that_was_forgotten_still_meets_the_used_order(self, till: TossTill) -> None:
        buying = purchase(till)
        first = buying.at(till.gateway)
        till.forget_keys()
        assert isinstance(buying.at(till.gateway), port.Unknown)
        assert buying.found(till.gateway) == first


class TestACode:
    @pytest.mark.parametrize("code", sorted(toss_declines.CLASSES))
    def test_of_a_decline_has_its_class_when_it_is_forced(self, till: TossTill, code: str) -> None:
        assert code in ERRORS
        till.running.steer("next", code=code)
        buying = purchase(till)
        result = buying.at(till.gateway)
        assert isinstance(result, port.Declined)
        assert (result.code, result.decline_class) == (code, toss_declines.CLASSES[code])
        assert till.captured(buying.order_id) == []
        found = till.gateway.lookup(order_id=buying.order_id)
        assert isinstance(found, port.Declined)
        assert found.decline_class is result.decline_class

    @pytest.mark.parametrize(
        "code",
        sorted(toss_declines.UNCERTAIN | {c for c, (status, _) in ERRORS.items() if status >= 500}),
    )
    def test_that_leaves_it_open_is_unknown(self, till: TossTill, code: str) -> None:
        till.running.steer("next", code=code)
        assert isinstance(purchase(till).at(till.gateway), port.Unknown)

    def test_that_nobody_knows_is_for_a_person(self) -> None:
        told = toss_declines.declined(code="SOMETHING_NEW", message="?")
        assert told.decline_class is port.DeclineClass.PERSON_MUST_LOOK

    def test_is_forced_by_a_header_under_a_test_key_only(self, till: TossTill) -> None:
        forced = {"TossPayments-Test-Code": "REJECT_CARD_COMPANY"}
        answer = charge(till, headers=forced)
        assert (answer.status_code, answer.json()["code"]) == (403, "REJECT_CARD_COMPANY")
        live = charge(till, headers=forced, auth=("live_sk_tenantry", ""))
        assert live.status_code == 200

    @pytest.mark.parametrize("fault", ["drop", "fail", "keep_failing", "busy"])
    def test_less_fault_told_beforehand_leaves_it_unknown_and_paid(
        self, till: TossTill, fault: str
    ) -> None:
        buying = purchase(till)
        till.running.steer("next", fault=fault)
        assert isinstance(buying.at(till.gateway), port.Unknown)
        assert buying.found_paid(till.gateway).amount == AMOUNT
        assert till.captured(buying.order_id) == [AMOUNT]


class TestAnAnswer:
    """Answers that the vendor could give and the simulator does not."""

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            [],
            {"status": "DONE"},
            {"status": "DONE", "approvedAt": "now", "currency": "KRW", "totalAmount": 1},
            {"status": "IN_PROGRESS"},
            {"status": "SOMETHING_NEW"},
            "no JSON",
        ],
    )
    def test_that_makes_no_sense_is_unknown_even_under_200(self, answer: Any) -> None:
        assert isinstance(self.charged(answer), port.Unknown)

    @pytest.mark.parametrize(
        ("field", "value"), [("totalAmount", 109_999), ("orderId", "order-another")]
    )
    def test_of_another_sum_or_order_is_unknown(self, field: str, value: Any) -> None:
        assert isinstance(self.charged({**self.good(), field: value}), port.Unknown)

    @pytest.mark.parametrize("amount", [110_000, 110_000.0, "110000"])
    def test_is_read_with_fields_and_forms_that_nobody_announced(self, amount: Any) -> None:
        told = {**self.good(), "totalAmount": amount, "balanceAmount": amount, "newer": {"a": [1]}}
        result = self.charged(told)
        assert isinstance(result, port.Succeeded)
        assert result.amount == AMOUNT

    @staticmethod
    def good() -> dict[str, Any]:
        return {
            "paymentKey": "p1",
            "orderId": "order-1",
            "status": "DONE",
            "currency": "KRW",
            "totalAmount": 110_000,
            "balanceAmount": 110_000,
            "approvedAt": "2026-11-20T14:05:00+09:00",
        }

    @staticmethod
    def charged(answer: Any) -> port.ChargeResult:
        body = answer if isinstance(answer, str) else json.dumps(answer)

        def vendor(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            start_response("200 OK", [("Content-Type", "application/json")])
            return [body.encode()]

        with serving(vendor) as url:
            gateway = adapter(url)
            result = gateway.charge(
                token="bill",
                customer_key="customer-1",
                order_id="order-1",
                amount=AMOUNT,
                tax_minor=10_000,
                name="Tenantry",
                idempotency_key="k",
                attempt_id="a",
            )
            gateway.close()
            return result


class serving:
    """A vendor of one answer, on a socket of its own."""

    def __init__(self, application: Any) -> None:
        self._server = LoopbackServer(application=application, port=0)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class TestMoney:
    def test_of_another_currency_is_refused_unsent(self, till: TossTill) -> None:
        buying = purchase(till)
        result = till.gateway.charge(
            token=buying.method.token,
            customer_key=buying.method.customer_key,
            order_id=buying.order_id,
            amount=Money(1_000, "USD"),
            tax_minor=0,
            name="Tenantry",
            idempotency_key=uuid.uuid4().hex,
            attempt_id="a",
        )
        assert isinstance(result, port.Declined)
        assert result.decline_class is port.DeclineClass.OUR_FAULT
        assert till.captured(buying.order_id) == []

    @pytest.mark.parametrize(
        ("tax", "supplied", "vat", "untaxed"),
        [(10_000, 100_000, 10_000, 0), (0, 0, 0, 110_000), (5_000, 50_000, 5_000, 55_000)],
    )
    def test_on_the_slip_is_split_as_on_the_invoice(
        self, till: TossTill, tax: int, supplied: int, vat: int, untaxed: int
    ) -> None:
        buying = purchase(till)
        till.gateway.charge(
            token=buying.method.token,
            customer_key=buying.method.customer_key,
            order_id=buying.order_id,
            amount=AMOUNT,
            tax_minor=tax,
            name="가" * 150,
            idempotency_key=uuid.uuid4().hex,
            attempt_id="a",
        )
        slip = till.running.ask("GET", f"/v1/payments/orders/{buying.order_id}").json()
        assert (slip["suppliedAmount"], slip["vat"], slip["taxFreeAmount"]) == (
            supplied,
            vat,
            untaxed,
        )


class TestARefund:
    @pytest.mark.parametrize(("tax", "untaxed"), [(None, 0), (1_000, 0), (0, 11_000), (500, 5_500)])
    def test_in_part_says_how_much_of_it_bore_no_tax(
        self, till: TossTill, tax: int | None, untaxed: int
    ) -> None:
        payment = paid(till)
        given = till.gateway.refund(
            gateway_payment_id=payment.gateway_payment_id,
            amount=won(11_000),
            reason="a part",
            idempotency_key=uuid.uuid4().hex,
            tax_minor=tax,
        )
        assert isinstance(given, port.Refunded)
        told = till.running.ask("GET", f"/v1/payments/{payment.gateway_payment_id}").json()
        assert [piece["taxFreeAmount"] for piece in told["cancels"]] == [untaxed]

    def test_asked_for_again_after_its_key_is_the_one_that_there_was(self, till: TossTill) -> None:
        payment = paid(till)
        first = self.refund(till, payment)
        till.forget_keys()
        assert self.refund(till, payment) == first

    def test_asked_for_again_where_it_was_in_pieces_is_for_a_person(self, till: TossTill) -> None:
        payment = paid(till)
        self.refund(till, payment, won(10_000))
        self.refund(till, payment)
        again = self.refund(till, payment)
        assert isinstance(again, port.Declined)
        assert again.decline_class is port.DeclineClass.PERSON_MUST_LOOK

    def test_of_a_transfer_needs_an_account_to_go_to(self, till: TossTill) -> None:
        order = order_id()
        opened = till.gateway.open_virtual_account(
            order_id=order,
            amount=AMOUNT,
            name="Tenantry",
            payer="가나다",
            bank="20",
            expires_at=datetime.now(UTC) + timedelta(days=1),
            idempotency_key=order,
        )
        assert isinstance(opened, port.VirtualAccount)
        till.deposit(order)
        assert isinstance(self.refund(till, opened), port.Declined)
        to = port.RefundAccount(bank="20", number="1002123456789", holder="가나다")
        assert isinstance(self.refund(till, opened, to_account=to), port.Refunded)

    @staticmethod
    def refund(
        till: TossTill,
        payment: Any,
        amount: Money | None = None,
        to_account: port.RefundAccount | None = None,
    ) -> port.RefundResult:
        return till.gateway.refund(
            gateway_payment_id=payment.gateway_payment_id,
            amount=amount,
            reason="The customer left",
            idempotency_key=uuid.uuid4().hex,
            to_account=to_account,
        )


class TestASettlement:
    def test_of_a_far_day_is_empty(self, till: TossTill) -> None:
        assert list(till.gateway.settlements(start=date(2020, 1, 1), end=date(2020, 1, 31))) == []
