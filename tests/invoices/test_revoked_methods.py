"""A method that ends at its gateway ends here, and one that ends here is forgotten there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.base import secrets
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from app.base.messages import Message
from invoices import forgetting as customers
from invoices import gateway_events, payment_methods
from invoices.gateways import registry
from invoices.gateways.port import Capability, EventKind, Trust
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import GatewayEvent, PaymentMethod
from jobs import gateway_events as listening
from jobs import payment_methods as forgetting
from tenants.models import Tenant
from tests.factories import NOW, make_admin, make_invoice, make_tenant
from tests.invoices.collecting import gateway_at, register_card
from tests.sandbox.running import RunningSandbox

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def debtor(sandbox: RunningSandbox) -> Tenant:
    with transaction() as session:
        tenant = make_tenant(session, state="active", converted_at=NOW)
        make_admin(session, tenant=tenant)
        make_invoice(session, tenant=tenant)
        session.refresh(tenant)
    return tenant


def registered(tenant: Tenant) -> PaymentMethod:
    with transaction() as session:
        method = register_card(session, tenant)
        session.refresh(method)
    return method


def token_of(method: PaymentMethod) -> str:
    return secrets.decrypt(method.token_sealed)


def end_there(sandbox: RunningSandbox, method: PaymentMethod) -> None:
    body = {"token": token_of(method), "customer_key": method.customer_key}
    assert sandbox.ask("POST", "/v1/methods/revoke", json=body).status_code == 200


def tell(of: PaymentMethod, event_id: str = "evt_1", **changed: Any) -> None:
    event = Heard(
        **{
            "event_id": event_id,
            "kind": EventKind.METHOD_REVOKED,
            "trust": Trust.SIGNED,
            "occurred_at": NOW,
            "method": token_of(of),
            **changed,
        }
    )
    with transaction() as session:
        gateway_events.store(control_session=session, gateway="sandbox", event=event, now=NOW)
    while listening.work():
        continue


def again(method: PaymentMethod) -> PaymentMethod:
    with transaction() as session:
        return session.get_one(PaymentMethod, method.id)


def shown(tenant: Tenant) -> list[Any]:
    with transaction() as session:
        found = payment_methods.methods(control_session=session, tenant_id=tenant.id)
        return [(method.id, method.is_default) for method in found]


def mails() -> list[Message]:
    with transaction() as session:
        return list(session.scalars(select(Message).where(Message.kind == "payment_method_gone")))


class TestAMethodThatEndsAtItsGateway:
    def test_is_not_used_any_more_and_another_card_is_asked_for(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        method = registered(debtor)
        end_there(sandbox, method)
        for event_id in ("evt_1", "evt_1", "evt_2"):
            tell(method, event_id)
        found = again(method)
        assert (found.revoked_at is None, found.is_default) == (False, False)
        assert found.forgotten_at is not None
        assert shown(debtor) == []
        written = mails()
        assert written
        assert len({mail.recipient for mail in written}) == len(written)
        assert all(method.masked in mail.text for mail in written)
        with transaction() as session:
            waiting = select(GatewayEvent).where(GatewayEvent.applied_at.is_(None))
            assert session.scalars(waiting).all() == []

    def test_leaves_its_place_to_the_card_before_it_and_nobody_is_asked(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        first, second = registered(debtor), registered(debtor)
        end_there(sandbox, second)
        tell(second)
        assert shown(debtor) == [(first.id, True)]
        assert mails() == []

    def test_is_not_missed_where_nothing_is_to_be_paid(self, sandbox: RunningSandbox) -> None:
        with transaction() as session:
            tenant = make_tenant(session, state="active", converted_at=NOW)
            make_admin(session, tenant=tenant)
            session.refresh(tenant)
        method = registered(tenant)
        end_there(sandbox, method)
        tell(method)
        assert again(method).revoked_at is not None
        assert mails() == []

    def test_only_by_a_lie_still_stands(self, sandbox: RunningSandbox, debtor: Tenant) -> None:
        method = registered(debtor)
        tell(method)
        assert again(method).revoked_at is None
        assert shown(debtor) == [(method.id, True)]

    def test_unknown_to_us_changes_nothing(self, sandbox: RunningSandbox, debtor: Tenant) -> None:
        method = registered(debtor)
        tell(method, method="somebody-elses")
        assert again(method).revoked_at is None

    @pytest.mark.parametrize(
        ("trust", "believed"),
        [(Trust.SIGNED, True), (Trust.SECRET, True), (Trust.UNSIGNED, False)],
    )
    def test_is_believed_by_proof_where_the_gateway_cannot_be_asked(
        self,
        sandbox: RunningSandbox,
        debtor: Tenant,
        monkeypatch: pytest.MonkeyPatch,
        trust: Trust,
        believed: bool,
    ) -> None:
        method = registered(debtor)
        at = registry.gateway("sandbox")
        fewer = at.capabilities - {Capability.LOOKUP_METHOD}
        monkeypatch.setattr(at, "capabilities", fewer, raising=False)
        tell(method, trust=trust, secret=token_of(method))
        assert (again(method).revoked_at is not None) is believed

    def test_is_asked_about_again_while_the_gateway_is_away(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        method = registered(debtor)
        end_there(sandbox, method)
        sandbox.kill()
        try:
            tell(method)
        finally:
            sandbox.start()
        assert again(method).revoked_at is None
        with transaction() as session:
            session.execute(update(GatewayEvent).values(retry_at=None))
        while listening.work():
            continue
        assert again(method).revoked_at is not None


class TestAMethodThatEndsHere:
    def remove(self, method: PaymentMethod) -> None:
        with transaction() as session:
            payment_methods.revoke(
                control_session=session,
                tenant_id=method.tenant_id,
                method_id=method.id,
                actor=SYSTEM,
                now=NOW,
            )

    def stands_there(self, method: PaymentMethod) -> bool:
        return registry.gateway("sandbox").method_stands(
            token=token_of(method), customer_key=method.customer_key
        )

    def test_is_forgotten_there_however_often_that_fails(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        method = registered(debtor)
        self.remove(method)
        sandbox.kill()
        try:
            assert forgetting.work() == 1
        finally:
            sandbox.start()
        assert self.stands_there(method)
        found = again(method)
        assert (found.forgotten_at, found.attempts) == (None, 1)
        assert "GatewayUnavailable" in str(found.last_error)
        with transaction() as session:
            session.execute(update(PaymentMethod).values(retry_at=None))
        assert forgetting.work() == 1
        assert not self.stands_there(method)
        assert again(method).forgotten_at is not None
        assert forgetting.work() == 0

    def test_is_not_missed_when_the_gateway_confirms_it(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        method = registered(debtor)
        self.remove(method)
        end_there(sandbox, method)
        tell(method)
        assert again(method).forgotten_at is not None
        assert mails() == []
        assert forgetting.work() == 0


class TestACardOfACustomerWhoIsErased:
    def erase(self, tenant: Tenant, *, later: timedelta = timedelta()) -> int:
        """As the destruction does: once, and again until nothing is left."""
        at = {"tenant_id": tenant.id, "now": NOW + later}
        with transaction() as session:
            erasing = customers.forget_late if later else customers.forget
            erasing(control_session=session, **at)
            return customers.left(control_session=session, tenant_id=tenant.id)["payment_method"]

    def test_keeps_its_token_until_its_gateway_has_forgotten_it(
        self, sandbox: RunningSandbox, debtor: Tenant
    ) -> None:
        method = registered(debtor)
        assert self.erase(debtor) == 1
        assert again(method).masked == ""
        assert shown(debtor) == []
        assert forgetting.work() == 1
        assert not registry.gateway("sandbox").method_stands(
            token=token_of(method), customer_key=method.customer_key
        )
        assert self.erase(debtor, later=timedelta(seconds=1)) == 0
        assert again(method).token_sealed == ""

    def test_is_not_waited_for_for_ever(self, sandbox: RunningSandbox, debtor: Tenant) -> None:
        method = registered(debtor)
        assert self.erase(debtor) == 1
        assert self.erase(debtor, later=customers.GATEWAY_TOLD_FOR) == 0
        assert again(method).token_sealed == ""
        assert forgetting.work() == 0
