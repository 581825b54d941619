"""The adapter of Stripe: cards registered on Stripe's own page, charged while nobody is there.

A charge is a PaymentIntent, created unconfirmed and then confirmed. Its id is known before any
money can move, and one intent is paid once however often it is confirmed: the charge protocol
stores the id in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from app.base.money import Money
from invoices.gateways import port, reading, stripe_reading, stripe_webhooks
from invoices.gateways.bare import BareGateway
from invoices.gateways.connections import Connections
from invoices.gateways.port import Capability, Declined, Succeeded, Unknown
from invoices.gateways.stripe_client import (
    PUBLIC_ADDRESS,
    Refused,
    Transport,
    answered,
    each,
    open_client,
    plain,
)
from invoices.gateways.stripe_declines import declined
from invoices.gateways.stripe_intents import (
    PAGE_SIZE,
    TEXT_LENGTH_MAX,
    Intents,
    Token,
    checked_id,
    our_fault,
    words,
)
from invoices.gateways.stripe_reading import NotAnAmount

# Stripe forgets keys after 24 hours at the earliest.
KEY_WINDOW = timedelta(hours=24)
_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,250}")
_METHOD_GONE = frozenset({"resource_missing", "payment_method_unexpected_state"})


def open_account(
    credentials: Mapping[str, str],
    *,
    connect_timeout_seconds: float,
    read_timeout_seconds: float,
    timezone: str,
) -> StripeGateway:
    """This function will open an account by its `secret_key` and `webhook_secret`."""
    base_url = credentials.get("base_url") or PUBLIC_ADDRESS
    connections = Connections(
        base_url=base_url,
        connect_timeout_seconds=connect_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
    )
    return StripeGateway(
        secret_key=credentials["secret_key"],
        base_url=base_url,
        transport=Transport(connections),
        webhook_secret=credentials["webhook_secret"],
        zone=ZoneInfo(timezone),
    )


class StripeGateway(BareGateway):
    """One account at Stripe."""

    name = "stripe"
    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.REVOKE,
            Capability.LOOKUP_METHOD,
            Capability.PREPARE,
            Capability.CHARGE,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
            Capability.LOOKUP_BY_ORDER,
            Capability.LOOKUP_BY_PAYMENT,
            Capability.LIST_PAYMENTS,
            Capability.WEBHOOKS,
            Capability.SIGNED_WEBHOOKS,
            Capability.CHARGE_WEBHOOKS,
            Capability.DISPUTES,
            Capability.BINDS_CUSTOMER,
            Capability.ASKS_HOLDER,
            Capability.SETTLEMENTS,
        }
    )
    key_window = KEY_WINDOW

    def __init__(
        self,
        *,
        secret_key: str,
        base_url: str,
        transport: Transport,
        webhook_secret: str,
        zone: tzinfo = UTC,
    ) -> None:
        """`zone`: whose days the settlements are told by."""
        client = open_client(secret_key=secret_key, base_url=base_url, transport=transport)
        self._transport = transport
        self._stripe = client.v1
        self._intents = Intents(client)
        self._webhook_secret = webhook_secret
        self._zone = zone

    def close(self) -> None:
        """This function will close the connections; the gateway is not used afterwards."""
        self._transport.close()

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> port.RegistrationStart:
        """This function will open Stripe's own page for a card (Checkout in setup mode)."""
        joint = "&" if urlsplit(return_url).query else "?"
        back = f"{return_url}{joint}"
        try:
            with answered():
                session = self._stripe.checkout.sessions.create(
                    {
                        "mode": "setup",
                        "allowed_payment_method_types": ["card"],
                        "customer_creation": "always",
                        "client_reference_id": customer_key,
                        "setup_intent_data": {"metadata": {"customer_key": customer_key}},
                        "locale": "ko" if language == "ko" else "en",
                        # Stripe writes the id in place of this word, which must stay as it is.
                        "success_url": back + "session_id={CHECKOUT_SESSION_ID}",
                        "cancel_url": back + urlencode({"cancelled": "1"}),
                    }
                )
        except Refused as refusal:
            raise _unexpected(refusal) from refusal
        return port.RegistrationStart(redirect_url=reading.text(plain(session), "url"))

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        """This function will read the card that the page has registered.

        Raises: RegistrationRefused, GatewayUnavailable.
        """
        session_id = params.get("session_id", "")
        if params.get("cancelled") or not _SESSION_ID.fullmatch(session_id):
            raise port.RegistrationRefused("No card was registered. You can try again.")
        expand = ["setup_intent.payment_method"]
        try:
            with answered():
                session = plain(
                    self._stripe.checkout.sessions.retrieve(session_id, {"expand": expand})
                )
        except Refused as refusal:
            if refusal.code != "resource_missing":
                raise _unexpected(refusal) from refusal
            raise port.RegistrationRefused(
                "The registration has expired or is not yours. Please register the card again."
            ) from refusal
        intent = session.get("setup_intent")
        if (
            session.get("client_reference_id") != customer_key
            or not isinstance(intent, dict)
            or intent.get("status") != "succeeded"
        ):
            raise port.RegistrationRefused(
                "The registration has expired or is not yours. Please register the card again."
            )
        return registered(intent, customer_key=customer_key, session=session)

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will detach the card; one that is gone already is fine."""
        try:
            with answered():
                self._stripe.payment_methods.detach(Token.read(token).method_id)
        except Refused as refusal:
            # Neither is said by a code: one never was, the other belongs to nobody any more.
            if refusal.status not in (400, 404) or refusal.code not in {*_METHOD_GONE, ""}:
                raise _unexpected(refusal) from refusal

    def method_stands(self, *, token: str, customer_key: str) -> bool:
        """This function will ask Stripe whose card it is: a detached one is nobody's any more."""
        known = Token.read(token)
        try:
            with answered():
                method = plain(self._stripe.payment_methods.retrieve(known.method_id))
        except Refused as refusal:
            if refusal.code not in _METHOD_GONE:
                raise _unexpected(refusal) from refusal
            return False
        return method.get("customer") == known.customer_id

    def prepare(
        self,
        *,
        token: str,
        customer_key: str,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        idempotency_key: str,
        attempt_id: str,
    ) -> port.PrepareResult:
        """This function will create the PaymentIntent and leave it unconfirmed."""
        told = self._intents.create(
            f"{idempotency_key}-prepare",
            token,
            customer_key,
            words(order_id, tax_minor, name, attempt_id),
            amount,
        )
        if isinstance(told, Declined | Unknown):
            return told
        return port.Prepared(gateway_payment_id=told["id"])

    def abandon(self, *, prepared_id: str, idempotency_key: str) -> port.LookupResult:
        """This function will cancel a prepared intent, or say what became of a confirmed one."""
        intent_id = checked_id(prepared_id)
        return self._intents.abandon(intent_id, f"{idempotency_key}-abandon")

    def charge(
        self,
        *,
        token: str,
        customer_key: str,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        idempotency_key: str,
        attempt_id: str,
        prepared_id: str | None = None,
    ) -> port.ChargeResult:
        """This function will confirm the prepared intent, or create and confirm one at once."""
        if prepared_id is not None:
            told = self._intents.confirm(checked_id(prepared_id), f"{idempotency_key}-confirm")
        else:
            at_once = {"confirm": True, "off_session": True}
            said = words(order_id, tax_minor, name, attempt_id) | at_once
            told = self._intents.create(idempotency_key, token, customer_key, said, amount)
        if isinstance(told, Declined | Unknown):
            return told
        try:
            found = stripe_reading.payment(told)
        except port.GatewayUnavailable as error:
            return Unknown(error.message)
        if isinstance(found, port.Absent):
            return Unknown("The gateway has not confirmed the payment.")
        if isinstance(found, Succeeded) and (found.amount, found.order_id) != (amount, order_id):
            return Unknown(
                f"The gateway confirmed {found.amount} for {found.order_id}, "
                f"not {amount} for {order_id}."
            )
        return found

    def refund(
        self,
        *,
        gateway_payment_id: str,
        amount: Money | None,
        reason: str,
        idempotency_key: str,
        to_account: port.RefundAccount | None = None,
        tax_minor: int | None = None,
    ) -> port.RefundResult:
        """This function will give money back: `amount`, or with None all that remains."""
        params: Any = {
            "payment_intent": checked_id(gateway_payment_id),
            "reason": "requested_by_customer",
            "metadata": {"reason": reason[:TEXT_LENGTH_MAX]},
            "expand": ["charge"],
        }
        try:
            if amount is not None:
                params["amount"] = stripe_reading.units(amount)
            with answered():
                given = plain(
                    self._stripe.refunds.create(params, {"idempotency_key": idempotency_key})
                )
            return stripe_reading.refund(given, payment_id=gateway_payment_id)
        except NotAnAmount as error:
            return our_fault("invalid_charge_amount", str(error))
        except Refused as refusal:
            return declined(refusal, payment_id=gateway_payment_id)
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> port.LookupResult:
        """This function will say what became of a payment, named by exactly one of the two."""
        if (order_id is None) == (gateway_payment_id is None):
            raise ValueError("Name the payment by its order or by its id: by exactly one.")
        try:
            if gateway_payment_id is not None:
                return stripe_reading.payment(self._intents.read(checked_id(gateway_payment_id)))
            return self._intents.of_order(str(order_id))
        except Refused as refusal:
            if refusal.code == "resource_missing":
                return port.Absent()
            return Unknown(f"The gateway refused the look-up: {refusal.message}")
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[Succeeded]:
        """This function will yield every payment approved in [start, end), oldest first."""
        query: Any = {
            "created": {"gte": int(start.timestamp()), "lte": int(end.timestamp())},
            "limit": PAGE_SIZE,
        }
        try:
            with answered():
                listed = self._stripe.charges.list(query)
            read = [stripe_reading.captured(row) for row in each(listed.auto_paging_iter())]
        except Refused as refusal:
            raise _unexpected(refusal) from refusal
        # Stripe tells the newest first.
        for payment in reversed(read):
            if payment is not None and start <= payment.approved_at < end:
                yield payment

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> port.GatewayEvent:
        """This function will check the signature and the time, and say what the event is about."""
        return stripe_webhooks.parse(
            secret=self._webhook_secret, headers=headers, raw_body=raw_body, now=now
        )

    def settlements(self, *, start: date, end: date) -> Iterator[port.SettlementLine]:
        """This function will yield every line that Stripe booked on the days [start, end]."""
        first = datetime.combine(start, time.min, self._zone)
        after = datetime.combine(end + timedelta(days=1), time.min, self._zone)
        query: Any = {
            "created": {"gte": int(first.timestamp()), "lt": int(after.timestamp())},
            "limit": PAGE_SIZE,
            "expand": ["data.source"],
        }
        try:
            with answered():
                listed = self._stripe.balance_transactions.list(query)
            for row in each(listed.auto_paging_iter()):
                yield stripe_reading.settlement_line(row, zone=self._zone)
        except Refused as refusal:
            raise _unexpected(refusal) from refusal


def registered(
    intent: Mapping[str, Any], *, customer_key: str, session: Mapping[str, Any]
) -> port.RegisteredMethod:
    """This function will read the card of a SetupIntent that succeeded, the method expanded."""
    method = intent.get("payment_method")
    card = method.get("card") if isinstance(method, dict) else None
    if not isinstance(method, dict) or not isinstance(card, dict):
        raise port.GatewayUnavailable("The gateway's answer lacks the card.")
    customer_id = session.get("customer") or intent.get("customer") or method.get("customer")
    token = Token(
        customer_id=reading.text({"customer": customer_id}, "customer"),
        method_id=reading.text(method, "id"),
        customer_key=customer_key,
    )
    return port.RegisteredMethod(
        token=str(token),
        customer_key=customer_key,
        kind="card",
        masked=stripe_reading.masked(method),
        brand=str(card.get("display_brand") or card.get("brand") or "card"),
        named=token.method_id,
        expires=f"{card['exp_year']}-{card['exp_month']:02}" if card.get("exp_year") else None,
    )


def _unexpected(refusal: Refused) -> port.GatewayUnavailable:
    return port.GatewayUnavailable(f"The gateway refused: {refusal.code}. {refusal.message}")
