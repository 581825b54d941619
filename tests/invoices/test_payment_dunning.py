"""Declines and debts: retries by class, past due, suspension, and the way back by paying."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.messages import Message
from app.base.money import Money
from invoices import (
    dunning,
    dunning_warnings,
    gateway_accounts,
    payment_methods,
    transfers,
)
from invoices.models import Invoice
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_invoice, make_staff, make_tenant
from tests.invoices.collecting import (
    attempts_of,
    charges,
    collect,
    gateway_at,
    owing,
    register_card,
)
from tests.invoices.test_reversals import next_months
from tests.sandbox.running import RunningSandbox

LADDER = (2, 5, 7, 7)
DUE = timedelta(days=settings().payment_term_days)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def tenant_of(session: Session, invoice: Invoice) -> Tenant:
    return session.get_one(Tenant, invoice.tenant_id, populate_existing=True)


def mails(session: Session, kind: str) -> list[str]:
    return list(session.scalars(select(Message.text).where(Message.kind == kind)))


class TestACardWithoutMoney:
    def test_is_tried_again_after_2_5_7_and_7_days_and_then_no_more(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "insufficient")
        moment = NOW
        for days in LADDER:
            collect(control_session, invoice, moment)
            assert invoice.collect_at == moment + timedelta(days=days)
            assert collect(control_session, invoice, moment + timedelta(days=days - 1)) is None
            moment += timedelta(days=days)
        collect(control_session, invoice, moment)
        assert invoice.collect_at is None
        attempts = attempts_of(control_session, invoice)
        assert [attempt.state for attempt in attempts] == ["declined"] * 5
        assert len({attempt.idempotency_key for attempt in attempts}) == 5
        assert len({attempt.order_id for attempt in attempts}) == 5
        assert len(mails(control_session, "payment_declined")) == 5
        assert tenant_of(control_session, invoice).state == "past_due"

    def test_that_has_it_the_next_time_pays(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "declines_once")
        collect(control_session, invoice)
        collect(control_session, invoice, NOW + timedelta(days=2))
        assert invoice.state == "paid"
        assert len(charges(sandbox, invoice)) == 1

    def test_replaced_begins_a_ladder_of_its_own(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "insufficient")
        collect(control_session, invoice)
        later = NOW + timedelta(days=1)
        tenant = tenant_of(control_session, invoice)
        register_card(control_session, tenant, "insufficient", now=later)
        control_session.expire_all()
        collect(control_session, invoice, later)
        assert invoice.collect_at == later + timedelta(days=LADDER[0])


class TestADeclineByItsClass:
    @pytest.mark.parametrize("card", ["stolen", "expired"])
    def test_that_needs_a_new_card_waits_for_one_and_says_so(
        self, control_session: Session, sandbox: RunningSandbox, card: str
    ) -> None:
        invoice = owing(control_session, card)
        collect(control_session, invoice)
        assert invoice.collect_at is None
        (mail,) = mails(control_session, "payment_declined")
        assert "다른 카드를 등록" in mail
        assert "/portal/card/" in mail

    def test_that_a_person_must_look_at_is_not_held_against_the_tenant(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "suspected")
        collect(control_session, invoice)
        assert invoice.collect_at is None
        assert mails(control_session, "payment_declined") == []
        overdue = NOW + DUE + timedelta(days=1)
        assert dunning.mark_overdue(control_session=control_session, now=overdue, limit=9) == 0


class TestADebt:
    def mark(self, session: Session, now: datetime) -> int:
        return dunning.mark_overdue(control_session=session, now=now, limit=9)

    def test_is_past_due_the_day_after_its_due_date_and_not_before(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session, card=None)
        assert self.mark(control_session, NOW + DUE) == 0
        assert self.mark(control_session, NOW + DUE + timedelta(days=1)) == 1
        assert self.mark(control_session, NOW + DUE + timedelta(days=1)) == 0
        assert tenant_of(control_session, invoice).state == "past_due"

    def test_unpaid_after_the_grace_suspends_and_paying_by_card_opens_at_once(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "stolen")
        collect(control_session, invoice)
        late = NOW + DUE + timedelta(days=1)
        self.mark(control_session, late)
        ripe = late + timedelta(days=settings().past_due_grace_days)
        before = ripe - timedelta(days=settings().suspension_warning_days)
        assert dunning_warnings.warn(control_session=control_session, now=before, limit=9) == 1
        assert dunning_warnings.suspend(
            control_session=control_session, tenant_id=invoice.tenant_id, now=ripe
        )
        tenant = tenant_of(control_session, invoice)
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "unpaid")
        register_card(control_session, tenant, now=ripe)
        control_session.expire_all()
        collect(control_session, invoice, ripe)
        assert tenant_of(control_session, invoice).state == "active"

    def test_is_forgiven_only_when_every_overdue_invoice_is_paid(
        self, control_session: Session
    ) -> None:
        tenant = make_tenant(control_session, state="active", converted_at=NOW)
        first = make_invoice(control_session, tenant=tenant)
        control_session.execute(
            update(type(first)).where(Invoice.id == first.id).values(collect_at=None)
        )
        late = NOW + DUE + timedelta(days=1)
        second = self.another(control_session, first)
        self.mark(control_session, late)
        staff = make_staff(control_session, role="finance")
        for invoice, state in ((first, "past_due"), (second, "active")):
            transfers.record_transfer(
                control_session=control_session,
                invoice_id=invoice.id,
                amount=Money(invoice.total_minor, invoice.currency),
                payer="대한설계",
                paid_on=NOW.date(),
                staff_id=staff.id,
                now=late,
            )
            assert tenant_of(control_session, invoice).state == state

    def another(self, session: Session, first: Invoice) -> Invoice:
        """The same tenant's invoice for a second, older subscription."""
        from invoices.models import Subscription

        old = session.get_one(Subscription, first.subscription_id)
        session.execute(
            update(Subscription)
            .where(Subscription.id == old.id)
            .values(state="cancelled", ends_on=Subscription.starts_on)
        )
        return make_invoice(session, tenant=session.get_one(Tenant, first.tenant_id))

    def test_does_not_open_what_staff_shut(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        lifecycle.suspend(
            control_session=control_session,
            tenant_id=invoice.tenant_id,
            reason="staff",
            actor=SYSTEM,
            now=NOW,
        )
        collect(control_session, invoice)
        assert invoice.state == "paid"
        assert tenant_of(control_session, invoice).state == "suspended"


class TestACustomerWhoseOnlyAccountIsDisabled:
    def test_is_asked_for_another_card_once_and_shown_to_people(
        self, control_session: Session
    ) -> None:
        invoice = self.at_a_disabled_account(control_session)
        for _ in range(2):
            invoice.collect_at = NOW
            assert collect(control_session, invoice) is None
        (mail,) = mails(control_session, "payment_method_needed")
        assert str(invoice.number_text) in mail
        assert attempts_of(control_session, invoice) == []
        assert self.shown(control_session) == [invoice.tenant_id]

    @pytest.mark.parametrize(
        ("language", "said", "unsaid"),
        [
            ("ko", "카드가 거절된 것은 아니며", "승인되지 않았습니다"),
            ("en", "Your card was not declined", "was not approved"),
        ],
    )
    def test_is_not_told_of_a_decline_that_never_was(
        self, control_session: Session, language: str, said: str, unsaid: str
    ) -> None:
        invoice = self.at_a_disabled_account(control_session)
        tenant_of(control_session, invoice).language = language
        collect(control_session, invoice)
        (mail,) = mails(control_session, "payment_method_needed")
        assert said in mail
        assert unsaid not in mail
        assert mails(control_session, "payment_declined") == []

    def test_is_asked_once_a_day_however_many_invoices_wait(self, control_session: Session) -> None:
        first = self.at_a_disabled_account(control_session)
        second = next_months(control_session, first)
        for invoice, day in ((first, 0), (second, 0), (second, 1)):
            now = NOW + timedelta(days=40 + day)
            invoice.collect_at = now
            assert collect(control_session, invoice, now=now) is None
        assert len(mails(control_session, "payment_method_needed")) == 2

    def test_is_charged_again_as_soon_as_it_is_enabled(self, control_session: Session) -> None:
        invoice = self.at_a_disabled_account(control_session)
        gateway_accounts.enable(
            control_session=control_session, code="cards", actor=SYSTEM, now=NOW
        )
        assert self.shown(control_session) == []
        method = payment_methods.default_method(
            control_session=control_session, tenant_id=invoice.tenant_id
        )
        assert method is not None

    def test_is_not_whoever_has_a_card_elsewhere_or_none_at_all(
        self, control_session: Session
    ) -> None:
        invoice = self.at_a_disabled_account(control_session)
        make_invoice(control_session)
        tenant = tenant_of(control_session, invoice)
        elsewhere = make_card(control_session, tenant=tenant)
        assert self.shown(control_session) == []
        elsewhere.revoked_at = NOW
        control_session.flush()
        assert self.shown(control_session) == [tenant.id]

    def shown(self, session: Session) -> list[object]:
        found = payment_methods.stranded_tenants(control_session=session, limit=9)
        return [tenant.id for tenant in found]

    def at_a_disabled_account(self, session: Session) -> Invoice:
        invoice = make_invoice(session)
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code="cards",
                gateway="toss",
                title_ko="카드",
                title_en="Card",
                credentials={"client_key": "test_ck_1", "secret_key": "test_sk_1"},
            ),
            actor=SYSTEM,
            now=NOW,
        )
        card = make_card(session, tenant=tenant_of(session, invoice))
        card.gateway, card.is_default = "cards", False
        gateway_accounts.disable(
            control_session=session, code="cards", reason="closed", actor=SYSTEM, now=NOW
        )
        session.flush()
        return invoice
