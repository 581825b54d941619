"""A gateway that can't look payments up: what stays unknown there is parked for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session as committed
from app.base.money import Money
from invoices import gateway_accounts, payment_methods
from invoices.gateways import registry
from invoices.gateways.conformance import Card
from invoices.models import Invoice, PaymentAttempt
from tests.conftest import ROOT
from tests.factories import NOW, make_invoice, make_tenant
from tests.invoices.collecting import clear_up, collect


@pytest.fixture
def till(scenario: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account at the gateway that another package adds."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "data" / "outsider"))
    from acme_pay.till import AcmeTill

    registry.forget()
    opened = AcmeTill()
    with committed() as session:
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code="acme-main",
                gateway="acme_pay",
                title_ko="에이크미",
                title_en="Acme",
                credentials={
                    "base_url": f"http://127.0.0.1:{opened.server.server_port}",
                    "api_key": "ours",
                },
            ),
            actor=SYSTEM,
            now=NOW,
        )
    yield opened
    registry.forget()
    opened.close()


def owing(session: Session, till: Any, card: Card) -> Invoice:
    """An invoice of a tenant whose card at that gateway behaves so."""
    tenant = make_tenant(session, state="active", converted_at=NOW)
    registration = payment_methods.begin_registration(
        control_session=session, tenant_id=tenant.id, now=NOW, account="acme-main"
    )
    params = till.browser_returns(customer_key=registration.customer_key, card=card)
    payment_methods.complete_registration(
        control_session=session,
        registration_id=registration.id,
        registered=payment_methods.exchange(registration=registration, params=params),
        actor=SYSTEM,
        now=NOW,
    )
    return make_invoice(session, tenant=tenant)


class TestAnUnknownOutcome:
    def test_is_told_by_the_same_key_while_that_counts(self, till: Any) -> None:
        with committed() as session:
            invoice = owing(session, till, Card.PAYS_THEN_DROPS)
            attempt = self.unknown(session, invoice)
            assert clear_up(session, attempt).state == "succeeded"
            assert self.taken(till, attempt) == 1

    def test_is_parked_once_the_key_is_spent_and_never_charged_again(
        self, till: Any, set_clock: Callable[..., None]
    ) -> None:
        with committed() as session:
            invoice = owing(session, till, Card.PAYS_AND_KEEPS_FAILING)
            attempt = self.unknown(session, invoice)
            assert clear_up(session, attempt).state == "unknown"
            session.execute(
                update(PaymentAttempt).values(
                    key_expires_at=clock.real_now(), attempts=settings().work_attempts_max - 1
                )
            )
            session.expire_all()
            parked = clear_up(session, attempt)
            assert parked.state == "needs_person"
            assert "look up" in str(parked.last_error)
            assert collect(session, invoice) is None
            assert self.taken(till, attempt) == 1

    @staticmethod
    def unknown(session: Session, invoice: Invoice) -> PaymentAttempt:
        attempt = collect(session, invoice)
        assert attempt is not None
        assert attempt.state == "unknown"
        return attempt

    @staticmethod
    def taken(till: Any, attempt: PaymentAttempt) -> int:
        captured = till.captured(attempt.order_id)
        assert set(captured) <= {Money(attempt.amount_minor, attempt.currency)}
        return len(captured)
