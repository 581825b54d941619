"""Merchant accounts: credentials come in and never out, and who is used when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.base import clock, secrets
from app.base.audit import SYSTEM, AuditEvent
from app.base.config import settings
from app.base.db import control_session as own_session
from invoices import gateway_accounts, payment, payment_methods
from invoices.gateway_accounts import (
    AccountDisabled,
    AccountTaken,
    AccountUnsound,
    NewAccount,
    NoSuchAccount,
)
from invoices.gateways import registry
from invoices.gateways.port import Absent
from invoices.models import GatewayAccount, PaymentMethod
from tests.factories import NOW, make_invoice, make_tenant

KEYS = {
    "base_url": "http://127.0.0.1:9",
    "secret_key": "sk_of_the_second",
    "webhook_secret": "whsec_c2Vjb25k",
}


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    registry.forget()
    yield
    registry.forget()


def add(session: Session, code: str = "second", **said: Any) -> GatewayAccount:
    values: dict[str, Any] = {
        "code": code,
        "gateway": "sandbox",
        "title_ko": "두 번째",
        "title_en": "The second",
        "credentials": KEYS,
    }
    return gateway_accounts.add(
        control_session=session, account=NewAccount(**(values | said)), actor=SYSTEM, now=NOW
    )


def use(session: Session, code: str, place: str) -> GatewayAccount:
    return gateway_accounts.use(
        control_session=session, code=code, place=place, actor=SYSTEM, now=NOW
    )


def offered(session: Session, currency: str = "KRW", **asked: str) -> list[str]:
    found = gateway_accounts.choices(control_session=session, currency=currency, **asked)
    return [choice.code for choice in found]


class TestAnAccount:
    def test_keeps_its_credentials_sealed_and_out_of_the_trail(
        self, control_session: Session
    ) -> None:
        account = add(control_session)
        assert "sk_of_the_second" not in account.credentials_sealed
        assert json.loads(secrets.decrypt(account.credentials_sealed)) == KEYS
        said = control_session.scalars(
            select(AuditEvent).where(AuditEvent.subject_id == str(account.id))
        ).one()
        assert said.action == "gateway_account.added"
        assert "sk_of" not in json.dumps(said.details)

    @pytest.mark.parametrize("code", ["", "a", "Second", "1st", "se cond", "a" * 41, "../x"])
    def test_has_a_code_that_fits_an_address(self, control_session: Session, code: str) -> None:
        with pytest.raises(AccountUnsound):
            add(control_session, code)

    @pytest.mark.parametrize("code", ["sandbox", "manual", "second"])
    def test_never_takes_a_code_that_means_another(
        self, control_session: Session, code: str
    ) -> None:
        add(control_session)
        with pytest.raises(AccountTaken):
            add(control_session, code)

    @pytest.mark.parametrize(
        ("said", "field"),
        [
            ({"gateway": "nowhere"}, "gateway"),
            ({"title_ko": ""}, "title_ko"),
            ({"title_en": "x" * 61}, "title_en"),
            ({"currencies": ("won",)}, "currencies"),
            ({"credentials": KEYS | {"secret_key": " "}}, "secret_key"),
            ({"credentials": KEYS | {"base_url": "http://elsewhere.example"}}, "base_url"),
            ({"credentials": KEYS | {"base_url": "file:///etc/passwd"}}, "base_url"),
        ],
    )
    def test_with_a_fault_is_told_where(
        self, control_session: Session, said: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(AccountUnsound) as raised:
            add(control_session, **said)
        assert raised.value.field == field

    @pytest.mark.parametrize("change", ["code = 'other'", "gateway = 'manual'"])
    def test_never_becomes_another(self, control_session: Session, change: str) -> None:
        add(control_session)
        with pytest.raises(DBAPIError, match="keeps its code"):
            control_session.execute(text(f"UPDATE gateway_account SET {change}"))

    def test_is_never_deleted(self, control_session: Session) -> None:
        add(control_session)
        with pytest.raises(DBAPIError, match="permission denied"):
            control_session.execute(text("DELETE FROM gateway_account"))

    def test_that_is_not_there_is_said_so(self, control_session: Session) -> None:
        with pytest.raises(NoSuchAccount):
            use(control_session, "nowhere", "default")


class TestTheDefault:
    def test_is_the_settings_while_none_is_stored_as_such(self, control_session: Session) -> None:
        add(control_session)
        assert gateway_accounts.default_code(control_session=control_session) == settings().gateway
        assert offered(control_session) == ["sandbox"]

    def test_moves_and_the_one_before_stays_on_offer(self, control_session: Session) -> None:
        add(control_session)
        add(control_session, "third")
        use(control_session, "second", "default")
        use(control_session, "third", "default")
        assert gateway_accounts.default_code(control_session=control_session) == "third"
        rows = gateway_accounts.listed(control_session=control_session)
        assert [(row.code, row.is_default, row.is_offered) for row in rows] == [
            ("third", True, False),
            ("second", False, True),
        ]

    def test_is_one_whatever_the_program_does(self, control_session: Session) -> None:
        add(control_session).is_default = True
        add(control_session, "third")
        with pytest.raises(IntegrityError, match="uq_gateway_account_default"):
            control_session.execute(text("UPDATE gateway_account SET is_default = true"))

    def test_gets_the_methods_that_are_registered_from_now_on(
        self, control_session: Session
    ) -> None:
        add(control_session)
        use(control_session, "second", "default")
        tenant = make_tenant(control_session)
        begun = payment_methods.begin_registration(
            control_session=control_session, tenant_id=tenant.id, now=NOW
        )
        assert begun.gateway == "second"
        elsewhere = payment_methods.begin_registration(
            control_session=control_session, tenant_id=tenant.id, now=NOW, account="sandbox"
        )
        assert elsewhere.customer_key != begun.customer_key

    def test_can_not_be_disabled_and_stay_it(self, control_session: Session) -> None:
        add(control_session)
        use(control_session, "second", "default")
        with pytest.raises(AccountUnsound):
            gateway_accounts.disable(
                control_session=control_session, code="second", reason=" ", actor=SYSTEM, now=NOW
            )
        row = gateway_accounts.disable(
            control_session=control_session, code="second", reason="left", actor=SYSTEM, now=NOW
        )
        assert (row.is_default, row.disabled_at) == (False, NOW)
        with pytest.raises(AccountDisabled):
            use(control_session, "second", "default")
        gateway_accounts.enable(
            control_session=control_session, code="second", actor=SYSTEM, now=NOW
        )
        assert use(control_session, "second", "default").is_default


@pytest.fixture
def committed(scenario: Any) -> None:
    """Accounts that other transactions see, too: the default, its fallback, and one in dollars."""
    with own_session() as session:
        for code in ("first", "second", "third"):
            add(session, code)
        add(session, "dollars", currencies=("USD",))
        use(session, "first", "default")
        use(session, "second", "fallback")
        use(session, "third", "offered")
        use(session, "dollars", "offered")


@pytest.mark.usefixtures("committed")
class TestWhatIsOffered:
    def test_is_the_default_first_and_only_what_takes_the_currency(self) -> None:
        with own_session() as session:
            assert offered(session) == ["first", "third"]
            assert offered(session, "USD") == ["first", "dollars", "third"]

    def test_has_the_fallback_instead_of_one_that_did_not_answer(self) -> None:
        with own_session() as session:
            assert offered(session, instead_of="first") == ["second", "third", "first"]

    def test_leaves_out_what_can_not_be_opened(self) -> None:
        with own_session() as session:
            session.execute(
                text("UPDATE gateway_account SET credentials_sealed = 'x' WHERE code = 'third'")
            )
        with own_session() as session:
            assert offered(session) == ["first"]

    def test_is_nothing_that_takes_no_registration(self) -> None:
        with own_session() as session:
            add(session, "bank", gateway="manual", credentials={"account": "은행 1"})
            use(session, "bank", "offered")
        with own_session() as session:
            assert "bank" not in offered(session)


@pytest.mark.usefixtures("committed")
class TestOpening:
    def test_sees_rotated_credentials_when_its_memory_ends(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = registry.gateway("first")
        with own_session() as session:
            gateway_accounts.rotate(
                control_session=session,
                code="first",
                credentials={"secret_key": "sk_new"},
                actor=SYSTEM,
                now=NOW,
            )
            stored = gateway_accounts.found(control_session=session, code="first")
            assert json.loads(secrets.decrypt(stored.credentials_sealed)) == (
                KEYS | {"secret_key": "sk_new"}
            )
        assert registry.gateway("first") is before
        monkeypatch.setenv("TENANTRY_GATEWAY_ACCOUNT_SECONDS", "0")
        settings.cache_clear()
        after = registry.gateway("first")
        assert after is not before
        assert registry.gateway("first") is after  # nothing changed: connections are kept
        monkeypatch.undo()
        settings.cache_clear()

    def test_of_a_disabled_account_still_works(self) -> None:
        with own_session() as session:
            gateway_accounts.disable(
                control_session=session, code="first", reason="left", actor=SYSTEM, now=NOW
            )
        assert registry.gateway("first").name == "sandbox"

    def test_says_when_the_gateway_does_not_answer(self) -> None:
        answer = gateway_accounts.ask(code="first")
        assert not answer.well
        assert "no answer" in answer.said


@pytest.mark.usefixtures("committed")
class TestAChargeWhoseOutcomeIsUnknown:
    def test_is_never_moved_to_another_account(self) -> None:
        with own_session() as session:
            tenant = make_tenant(session, state="active", converted_at=NOW)
            for code, is_default in (("third", False), ("first", True)):
                session.add(
                    PaymentMethod(
                        tenant_id=tenant.id,
                        gateway=code,
                        customer_key=f"key at {code}",
                        token_sealed=secrets.encrypt("tok"),
                        masked="****",
                        brand="any",
                        is_default=is_default,
                        registered_at=NOW,
                    )
                )
            invoice_id = make_invoice(session, tenant=tenant).id
        order = self.begin(invoice_id)
        assert order.gateway == "first"
        result = payment.perform(order=order)  # nobody listens there
        with own_session() as session:
            payment.record(
                control_session=session, attempt_id=order.attempt_id, result=result, now=NOW
            )
            gateway_accounts.disable(
                control_session=session, code="first", reason="away", actor=SYSTEM, now=NOW
            )
        assert self.begin(invoice_id) is None
        with own_session() as session:
            again = payment.reopen(control_session=session, attempt_id=order.attempt_id)
            assert again.gateway == "first"
            # Only what is certain not to have been charged is charged elsewhere.
            payment.record(
                control_session=session,
                attempt_id=order.attempt_id,
                result=Absent(),
                now=NOW,
            )
        assert self.begin(invoice_id).gateway == "third"

    @staticmethod
    def begin(invoice_id: Any) -> Any:
        with own_session() as session:
            return payment.begin(
                control_session=session, invoice_id=invoice_id, now=NOW, real_now=clock.real_now()
            )
