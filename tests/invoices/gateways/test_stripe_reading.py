"""What the Stripe adapter makes of amounts, refusals, payments, books and messages."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import Invalid
from app.base.money import Money
from invoices.gateways import stripe_reading, stripe_webhooks
from invoices.gateways.port import (
    Absent,
    DeclineClass,
    Declined,
    EventKind,
    GatewayUnavailable,
    Refunded,
    SettlementKind,
    Succeeded,
    Trust,
    Unknown,
    WebhookRefused,
)
from invoices.gateways.stripe_client import Refused
from invoices.gateways.stripe_declines import declined
from invoices.gateways.stripe_reading import NotAnAmount
from tests.fakes.stripe.shapes import FIXTURES

SECRET = "whsec_of_this_test"
NOW = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")


def shaped(kind: str, **values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(FIXTURES[kind]), **values}


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "counted"),
        [
            (Money(110_000, "KRW"), 110_000),
            (Money(1_999, "USD"), 1_999),
            (Money(5_000, "JPY"), 5_000),
            (Money(12_340, "KWD"), 12_340),
            # Hundredths to us, none to Stripe.
            (Money(120_000, "UGX"), 120_000),
            (Money(1_500_00, "RWF"), 1_500),
        ],
    )
    def test_are_counted_in_stripes_units_and_back(self, amount: Money, counted: int) -> None:
        assert stripe_reading.units(amount) == counted
        assert stripe_reading.money(counted, amount.currency.lower()) == amount

    @pytest.mark.parametrize(
        "amount",
        [
            Money(12_345, "KWD"),  # the last of three decimals must be zero
            Money(120_050, "UGX"),
            Money(150, "ISK"),
            Money(1_500_50, "RWF"),
        ],
    )
    def test_finer_than_stripe_takes_them_are_refused(self, amount: Money) -> None:
        with pytest.raises(NotAnAmount):
            stripe_reading.units(amount)

    @given(
        st.integers(min_value=1, max_value=10**12), st.sampled_from(["KRW", "USD", "EUR", "VND"])
    )
    def test_of_any_size_survive_the_way_there_and_back(self, minor: int, currency: str) -> None:
        amount = Money(minor, currency)
        assert stripe_reading.money(stripe_reading.units(amount), currency.lower()) == amount

    @pytest.mark.parametrize("counted", [None, "100", 1.5, True])
    def test_that_are_no_whole_numbers_are_not_believed(self, counted: object) -> None:
        with pytest.raises(GatewayUnavailable):
            stripe_reading.money(counted, "krw")


class TestRefusals:
    @pytest.mark.parametrize(
        ("stated", "status", "expected"),
        [
            ({"decline_code": "insufficient_funds"}, 402, DeclineClass.RETRY_LATER),
            ({"decline_code": "issuer_not_available"}, 402, DeclineClass.RETRY_LATER),
            ({"decline_code": "stolen_card"}, 402, DeclineClass.NEW_METHOD_NEEDED),
            ({"code": "expired_card"}, 402, DeclineClass.NEW_METHOD_NEEDED),
            ({"decline_code": "authentication_required"}, 402, DeclineClass.NEW_METHOD_NEEDED),
            ({"decline_code": "revocation_of_authorization"}, 402, DeclineClass.NEW_METHOD_NEEDED),
            ({"decline_code": "fraudulent"}, 402, DeclineClass.PERSON_MUST_LOOK),
            ({"decline_code": "of_next_year"}, 402, DeclineClass.PERSON_MUST_LOOK),
            ({"code": "amount_too_small"}, 400, DeclineClass.OUR_FAULT),
            ({"code": "of_next_year"}, 400, DeclineClass.OUR_FAULT),
            ({"message": "Invalid API Key provided"}, 401, DeclineClass.OUR_FAULT),
            ({"code": "resource_missing", "param": "payment_method"}, 400,
             DeclineClass.NEW_METHOD_NEEDED),
            ({"code": "resource_missing", "param": "charge"}, 400, DeclineClass.OUR_FAULT),
        ],
    )  # fmt: skip
    def test_ask_of_us_what_their_code_says(
        self, stated: dict[str, str], status: int, expected: DeclineClass
    ) -> None:
        found = declined(Refused({"code": "card_declined", **stated}, status=status))
        assert found.decline_class is expected
        assert found.code == (stated.get("decline_code") or stated.get("code", "card_declined"))
        assert found.message

    @pytest.mark.parametrize(
        ("advice", "expected"),
        [
            ("do_not_try_again", DeclineClass.NEW_METHOD_NEEDED),
            ("confirm_card_data", DeclineClass.NEW_METHOD_NEEDED),
            ("try_again_later", DeclineClass.RETRY_LATER),
        ],
    )
    def test_that_say_little_follow_the_issuers_advice(
        self, advice: str, expected: DeclineClass
    ) -> None:
        stated = {"decline_code": "generic_decline", "advice_code": advice}
        assert declined(Refused(stated, status=402)).decline_class is expected

    def test_that_say_much_do_not(self) -> None:
        stated = {"decline_code": "stolen_card", "advice_code": "try_again_later"}
        found = declined(Refused(stated, status=402))
        assert found.decline_class is DeclineClass.NEW_METHOD_NEEDED


class TestAPayment:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({"status": "requires_confirmation"}, Absent),
            ({"status": "processing"}, Unknown),
            ({"status": "requires_capture"}, Unknown),
            ({"status": "of_next_year"}, Unknown),
            ({"status": "requires_payment_method", "last_payment_error": None}, Unknown),
            ({"status": "requires_action"}, Declined),
            ({"status": "canceled", "cancellation_reason": "requested_by_customer"}, Declined),
            ({"status": "canceled", "cancellation_reason": "abandoned"}, Absent),
            ({"status": "succeeded", "latest_charge": "ch_not_expanded"}, Unknown),
        ],
    )
    def test_is_what_its_status_says(self, said: dict[str, Any], expected: type) -> None:
        assert isinstance(stripe_reading.payment(shaped("payment_intent", **said)), expected)

    def test_that_succeeded_tells_what_was_captured_and_given_back(self) -> None:
        charge = shaped(
            "charge", currency="krw", amount=110_000, amount_captured=110_000, amount_refunded=10
        )
        said = {"status": "succeeded", "latest_charge": charge, "metadata": {"order_id": "o-1"}}
        found = stripe_reading.payment(shaped("payment_intent", **said))
        assert isinstance(found, Succeeded)
        assert (found.amount, found.refunded) == (Money(110_000, "KRW"), Money(10, "KRW"))
        assert (found.order_id, found.masked) == ("o-1", "**** **** **** 4242")

    def test_refunded_by_stripe_in_the_end_or_not_says_so(self) -> None:
        charge = shaped("charge", currency="usd", amount_captured=900, amount_refunded=100)
        said = {"amount": 100, "charge": charge}
        for status in ("succeeded", "pending"):
            found = stripe_reading.refund(shaped("refund", **said, status=status), payment_id="p")
            assert isinstance(found, Refunded)
            assert found.remaining == Money(800, "USD")
        failed = shaped("refund", **said, status="failed", failure_reason="lost_or_stolen_card")
        assert isinstance(stripe_reading.refund(failed, payment_id="p"), Declined)


class TestALineOfTheBooks:
    @pytest.mark.parametrize(
        ("category", "kind"),
        [
            ("charge", SettlementKind.PAYMENT),
            ("refund", SettlementKind.REFUND),
            ("dispute", SettlementKind.DISPUTE),
            ("dispute_reversal", SettlementKind.DISPUTE),
            ("fee", SettlementKind.FEE),
            ("payout", SettlementKind.PAYOUT),
            ("climate_order_purchase", SettlementKind.OTHER),
        ],
    )
    def test_is_of_the_kind_that_its_category_says(
        self, category: str, kind: SettlementKind
    ) -> None:
        row = shaped("balance_transaction", reporting_category=category)
        assert stripe_reading.settlement_line(row, zone=UTC).kind is kind

    def test_parts_the_fee_from_its_tax_and_stands_on_the_contracts_day(self) -> None:
        tax = {"amount": 360, "type": "tax", "currency": "krw"}
        row = shaped(
            "balance_transaction",
            amount=110_000,
            created=int(datetime(2026, 3, 31, 15, 0, tzinfo=UTC).timestamp()),
            currency="krw",
            fee=3_960,
            fee_details=[{"amount": 3_600, "type": "stripe_fee", "currency": "krw"}, tax],
            net=106_040,
            source=shaped("charge", payment_intent="pi_1", metadata={"order_id": "o-1"}),
        )
        line = stripe_reading.settlement_line(row, zone=SEOUL)
        assert (line.fee, line.fee_tax) == (Money(3_600, "KRW"), Money(360, "KRW"))
        assert line.gross - line.fee - line.fee_tax == line.net
        assert line.booked_on == date(2026, 4, 1)
        assert (line.gateway_payment_id, line.order_id) == ("pi_1", "o-1")

    def test_of_a_payout_says_when_it_arrives(self) -> None:
        payout = shaped("payout", arrival_date=int(datetime(2026, 4, 3, tzinfo=UTC).timestamp()))
        row = shaped("balance_transaction", reporting_category="payout", source=payout)
        line = stripe_reading.settlement_line(row, zone=SEOUL)
        assert line.paid_out_on == date(2026, 4, 3)
        assert line.gateway_payment_id is None


def signature(body: bytes, *, at: datetime = NOW, secret: str = SECRET) -> str:
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def message(kind: str, subject: dict[str, Any]) -> bytes:
    created = int(NOW.timestamp())
    event = shaped("event", id="evt_1", type=kind, created=created, data={"object": subject})
    return json.dumps(event).encode()


class TestAMessage:
    def parsed(self, body: bytes, header: str) -> Any:
        return stripe_webhooks.parse(
            secret=SECRET, headers={"STRIPE-SIGNATURE": header}, raw_body=body, now=NOW
        )

    @pytest.mark.parametrize(
        ("told", "kind"),
        [
            ("payment_intent.succeeded", EventKind.PAYMENT_SUCCEEDED),
            ("payment_intent.payment_failed", EventKind.PAYMENT_DECLINED),
            ("charge.refunded", EventKind.PAYMENT_REFUNDED),
            ("refund.failed", EventKind.PAYMENT_REFUNDED),
            ("charge.dispute.closed", EventKind.PAYMENT_DISPUTED),
            ("payout.failed", EventKind.PAYOUT_CHANGED),
            ("payment_method.detached", EventKind.METHOD_REVOKED),
            ("customer.updated", EventKind.OTHER),
        ],
    )
    def test_is_about_what_its_type_says(self, told: str, kind: EventKind) -> None:
        body = message(told, shaped("charge", payment_intent="pi_1", metadata={}))
        event = self.parsed(body, signature(body))
        assert (event.kind, event.trust) == (kind, Trust.SIGNED)
        assert (event.event_id, event.gateway_payment_id) == ("evt_1", "pi_1")
        assert (event.order_id, event.occurred_at) == (None, NOW)

    def test_signed_with_two_keys_while_one_replaces_the_other_is_taken(self) -> None:
        body = message("payment_intent.succeeded", shaped("payment_intent", id="pi_2"))
        old = signature(body, secret="whsec_before").partition(",")[2]
        event = self.parsed(body, f"{signature(body)},{old},v0=whatever")
        assert event.gateway_payment_id == "pi_2"

    @pytest.mark.parametrize("off", [timedelta(minutes=5, seconds=1), timedelta(days=10)])
    def test_of_another_time_is_refused_both_ways(self, off: timedelta) -> None:
        body = message("payment_intent.succeeded", shaped("payment_intent"))
        for at in (NOW - off, NOW + off):
            with pytest.raises(WebhookRefused):
                self.parsed(body, signature(body, at=at))

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "v1=abc",
            "t=,v1=abc",
            "t=١٢٣,v1=abc",
            "t=99999999999999,v1=abc",
            "t=-1,v1=abc",
            "t=1.5,v1=abc",
            "t=1773111600,v1=\udcff",
        ],
    )
    def test_with_a_header_of_no_sense_is_refused(self, header: str) -> None:
        with pytest.raises(WebhookRefused):
            self.parsed(b"{}", header)

    def test_with_two_time_stamps_is_refused(self) -> None:
        body = message("payment_intent.succeeded", shaped("payment_intent"))
        stale = NOW - timedelta(days=1)
        right = signature(body, at=stale)
        with pytest.raises(WebhookRefused):
            self.parsed(body, f"{right},t={int(NOW.timestamp())}")

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b"null", b"\xff", b'{"id": 1}', b"[" * 100_000]
    )
    def test_signed_and_unreadable_is_invalid(self, body: bytes) -> None:
        with pytest.raises(Invalid):
            self.parsed(body, signature(body))
