"""Which card is charged first, and which may stand in: said by the customer, in the portal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from app.base.audit import AuditEvent
from app.base.db import control_session
from invoices.models import Invoice, PaymentMethod
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_invoice
from tests.web.forms import send
from tests.web.portal.parts import admin_of, committed, customer, sign_in

PAGE = "/portal/payment"


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


@pytest.fixture
def tenant() -> Tenant:
    return customer(state="active", converted_at=NOW)


@pytest.fixture
def first(tenant: Tenant) -> PaymentMethod:
    card: PaymentMethod = committed(make_card, tenant=tenant)
    return card


@pytest.fixture
def other(tenant: Tenant, first: PaymentMethod) -> PaymentMethod:
    with control_session() as session:
        card = PaymentMethod(
            tenant_id=tenant.id,
            gateway="sandbox",
            customer_key=first.customer_key,
            token_sealed=first.token_sealed,
            masked="5555-44**-****-4444",
            brand="sandbox",
            is_default=False,
            registered_at=NOW,
        )
        session.add(card)
        return card


def again(card: PaymentMethod) -> tuple[bool, bool]:
    with control_session() as session:
        found = session.get_one(PaymentMethod, card.id)
        return found.is_default, found.is_fallback


def act(client: Any, card: PaymentMethod, what: str, **fields: str) -> Any:
    return send(client, PAGE, fields, to=f"{PAGE}/cards/{card.id}/{what}")


def said(tenant: Tenant) -> list[tuple[str, str]]:
    """Who did what with the tenant's cards."""
    with control_session() as session:
        rows = session.execute(
            select(AuditEvent.action, AuditEvent.actor_id)
            .where(AuditEvent.tenant_id == tenant.id, AuditEvent.action.like("payment_method.%"))
            .order_by(AuditEvent.id)
        )
        return [(action, actor) for action, actor in rows]


class TestTheCardThatIsChargedFirst:
    def test_is_the_one_that_the_customer_chose(
        self, client: Any, tenant: Tenant, first: PaymentMethod, other: PaymentMethod
    ) -> None:
        with control_session() as session:
            invoice = make_invoice(session, tenant=session.get_one(Tenant, tenant.id))
            invoice.collect_at = None
        sign_in(client, tenant)
        assert act(client, other, "first").status_code == 303
        assert again(first) == (False, False)
        assert again(other) == (True, False)
        assert said(tenant) == [("payment_method.made_default", str(admin_of(tenant).id))]
        with control_session() as session:
            assert session.get_one(Invoice, invoice.id).collect_at is not None
        assert "먼저 결제해요" in client.get(PAGE).text

    def test_is_chosen_by_nobody_whose_form_was_forged(
        self, client: Any, tenant: Tenant, first: PaymentMethod, other: PaymentMethod
    ) -> None:
        sign_in(client, tenant)
        for what in ("first", "stand-in"):
            to = f"{PAGE}/cards/{other.id}/{what}"
            forged = client.post(to, data={"csrf_token": "forged", "allow": "yes"})
            assert forged.status_code == 400
            assert client.get(to).status_code == 405
        assert again(first) == (True, False)
        assert again(other) == (False, False)

    def test_of_another_company_is_not_there(
        self, client: Any, app: Any, tenant: Tenant, other: PaymentMethod
    ) -> None:
        thief = customer()
        committed(make_card, tenant=thief)
        sign_in(client, thief)
        for what in ("first", "stand-in"):
            assert act(client, other, what, allow="yes").status_code == 404
        assert again(other) == (False, False)


class TestTheCardThatStandsIn:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_does_so_from_the_customers_word_until_they_take_it_back(
        self,
        client: Any,
        tenant: Tenant,
        first: PaymentMethod,
        other: PaymentMethod,
        language: str,
    ) -> None:
        sign_in(client, tenant)
        words = {"ko": "거절될 때 대신 결제", "en": "If the first is declined"}[language]
        assert words not in client.get(PAGE, query_string={"lang": language}).text
        assert act(client, other, "stand-in", allow="yes").status_code == 303
        assert again(other) == (False, True)
        assert words in client.get(PAGE, query_string={"lang": language}).text
        assert act(client, other, "stand-in", allow="no").status_code == 303
        assert again(other) == (False, False)
        assert [action for action, _ in said(tenant)] == [
            "payment_method.fallback_allowed",
            "payment_method.fallback_ended",
        ]

    def test_is_never_the_first(
        self, client: Any, tenant: Tenant, first: PaymentMethod, other: PaymentMethod
    ) -> None:
        sign_in(client, tenant)
        refused = act(client, first, "stand-in", allow="yes")
        assert refused.status_code == 409
        assert "이미 먼저 결제하는 카드예요" in refused.text
        assert again(first) == (True, False)

    def test_is_nothing_to_choose_with_one_card(
        self, client: Any, tenant: Tenant, first: PaymentMethod
    ) -> None:
        sign_in(client, tenant)
        page = client.get(PAGE).text
        assert "/stand-in" not in page
        assert "/first" not in page
