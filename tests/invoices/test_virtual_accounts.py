"""Virtual accounts: opened once, their deposits received once, news of them believed by secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM, AuditEvent
from app.base.errors import Unavailable
from app.base.money import Money
from invoices import (
    account_deposits,
    credit_notes,
    gateway_events,
    refund_queue,
    reversals,
    virtual_accounts,
)
from invoices.gateways.port import Absent, EventKind, GatewayEvent, Trust, Unknown
from invoices.models import CreditGrant, Invoice, Payment, PaymentReversal, Refund, VirtualAccount
from tests.factories import NOW, make_invoice, make_staff
from tests.invoices.collecting import gateway_at
from tests.sandbox.running import RunningSandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def begin(session: Session, invoice: Invoice, now: datetime = NOW) -> Any:
    return virtual_accounts.begin(
        control_session=session,
        invoice_id=invoice.id,
        bank="088",
        actor=SYSTEM,
        now=now,
        real_now=clock.real_now(),
    )


def opened(session: Session, invoice: Invoice, now: datetime = NOW) -> VirtualAccount:
    opening = begin(session, invoice, now)
    result = virtual_accounts.perform(opening=opening)
    return virtual_accounts.record(
        control_session=session, account_id=opening.account_id, result=result, now=now
    )


def bank(sandbox: RunningSandbox, account: VirtualAccount, act: str = "deposit") -> None:
    answer = sandbox.ask("POST", f"/v1/virtual-accounts/{account.order_id}/{act}")
    assert answer.status_code == 200, answer.text


def look(session: Session, account: VirtualAccount, now: datetime = NOW) -> None:
    """What the job does: ask in no transaction, then write down."""
    question = account_deposits.ask(control_session=session, account_id=account.id)
    found = account_deposits.look(question=question)
    account_deposits.learn(control_session=session, account_id=account.id, found=found, now=now)


def look_until_believed(session: Session, account: VirtualAccount, now: datetime = NOW) -> None:
    """The job again and again, each claim of the row counted."""
    for attempt in range(1, account_deposits.ASKED_AGAIN_MAX + 1):
        account.attempts = attempt
        session.flush()
        try:
            look(session, account, now)
        except Unavailable:
            continue
        return
    raise AssertionError("the gateway's answer was never believed")


def news(account: VirtualAccount, secret: str | None, event_id: str = "e1") -> GatewayEvent:
    return GatewayEvent(
        event_id=event_id,
        kind=EventKind.ACCOUNT_DEPOSITED,
        trust=Trust.SECRET,
        occurred_at=datetime.now(UTC),
        order_id=account.order_id,
        secret=secret,
    )


def payments(session: Session, invoice: Invoice) -> list[Payment]:
    return list(session.scalars(select(Payment).where(Payment.invoice_id == invoice.id)))


def secret_of(sandbox: RunningSandbox, account: VirtualAccount) -> str:
    events = sandbox.ask("GET", "/v1/events").json()["events"]
    return next(
        str(e["data"]["secret"]) for e in events if e["data"].get("order_id") == account.order_id
    )


class TestOpening:
    def test_shows_a_number_and_keeps_the_secret_sealed(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        assert (account.state, account.amount_minor) == ("waiting", invoice.total_minor)
        assert account.number
        assert account.number.startswith("900-")
        bank(sandbox, account)
        assert account.secret_sealed is not None
        assert secret_of(sandbox, account) not in account.secret_sealed

    def test_again_opens_no_second_one(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        opened(control_session, invoice)
        assert begin(control_session, invoice) is None

    def test_that_was_never_answered_repeats_the_same_order(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        first = begin(control_session, invoice)
        virtual_accounts.perform(opening=first)
        virtual_accounts.record(
            control_session=control_session,
            account_id=first.account_id,
            result=Unknown("the line broke"),
            now=NOW,
        )
        again = begin(control_session, invoice, NOW + timedelta(hours=1))
        assert again == first
        account = virtual_accounts.record(
            control_session=control_session,
            account_id=again.account_id,
            result=virtual_accounts.perform(opening=again),
            now=NOW,
        )
        assert account.state == "waiting"

    def test_after_the_end_opens_another(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        old = opened(control_session, invoice)
        late = old.expires_at + timedelta(minutes=1)
        new = opened(control_session, invoice, late)
        assert (old.state, new.state) == ("expired", "waiting")
        assert new.order_id != old.order_id

    def test_of_a_paid_invoice_is_refused(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        with pytest.raises(virtual_accounts.NothingOpen):
            begin(control_session, invoice)


class TestADeposit:
    def test_pays_the_invoice_once_however_often_it_is_looked_at(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        look(control_session, account)
        assert account.state == "waiting"
        bank(sandbox, account)
        for _ in range(3):
            look(control_session, account)
        control_session.refresh(invoice)
        assert (invoice.state, account.state) == ("paid", "deposited")
        (paid,) = payments(control_session, invoice)
        assert (paid.kind, paid.gateway, paid.gateway_payment_id) == (
            "virtual_account",
            "sandbox",
            account.gateway_payment_id,
        )

    def test_for_what_was_paid_otherwise_meanwhile_is_credit(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        from invoices import transfers

        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        transfers.record_transfer(
            control_session=control_session,
            invoice_id=invoice.id,
            amount=Money(invoice.total_minor, "KRW"),
            payer="대한설계",
            paid_on=NOW.date(),
            staff_id=make_staff(control_session).id,
            now=NOW,
        )
        bank(sandbox, account)
        look(control_session, account)
        (grant,) = control_session.scalars(
            select(CreditGrant).where(CreditGrant.tenant_id == invoice.tenant_id)
        ).all()
        assert (grant.source, grant.amount_minor) == ("overpayment", invoice.total_minor)

    def test_on_an_account_that_is_over_still_counts(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        look(control_session, account, account.expires_at + timedelta(days=1))
        assert (account.state, account.look_at) == ("expired", None)
        bank(sandbox, account)
        gateway_events.store(
            control_session=control_session,
            gateway="sandbox",
            event=news(account, secret_of(sandbox, account)),
            now=NOW,
        )
        assert account.look_at == NOW
        look(control_session, account)
        control_session.refresh(invoice)
        assert invoice.state == "paid"

    def test_taken_back_by_the_bank_is_owed_again_and_may_come_again(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        assert account_deposits.taken_back(control_session=control_session, limit=9) == []
        bank(sandbox, account, "take-back")
        look_until_believed(control_session, account)
        assert account.state == "waiting"
        assert (invoice.state, invoice.open_minor) == ("issued", invoice.total_minor)
        (undone,) = reversals.work_list(control_session=control_session, limit=9)
        assert (undone.invoice.id, undone.reversal.source) == (invoice.id, "gateway")
        assert account_deposits.taken_back(control_session=control_session, limit=9) == []
        assert control_session.scalar(
            select(func.count()).where(AuditEvent.action == "virtual_account.taken_back")
        )
        bank(sandbox, account)
        look(control_session, account)
        assert invoice.state == "paid"
        assert [each.arrival for each in payments(control_session, invoice)] == [1, 2]
        assert reversals.work_list(control_session=control_session, limit=9) == []

    def test_taken_back_is_undone_once_however_often_it_is_told(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        account = opened(control_session, make_invoice(control_session))
        bank(sandbox, account)
        look(control_session, account)
        bank(sandbox, account, "take-back")
        for number in range(3):
            gateway_events.store(
                control_session=control_session,
                gateway="sandbox",
                event=news(account, secret_of(sandbox, account), f"e{number}"),
                now=NOW,
            )
            look_until_believed(control_session, account)
        assert len(control_session.scalars(select(PaymentReversal)).all()) == 1

    def test_goes_back_by_a_persons_transfer_and_never_through_the_gateway(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        credit_notes.issue(
            control_session=control_session,
            invoice_id=invoice.id,
            amount=Money(9_000, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=make_staff(control_session).id,
            now=NOW,
        )
        refund = control_session.scalars(select(Refund)).one()
        assert refund.state == "by_hand"
        named = {"control_session": control_session, "refunds": [refund]}
        assert refund_queue.by_transfer(**named) == {refund.id}
        with pytest.raises(refund_queue.NotWaiting):
            refund_queue.try_again(
                control_session=control_session, refund_id=refund.id, actor=SYSTEM, now=NOW
            )

    def test_taken_back_while_it_is_being_refunded_is_a_persons(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        credit_notes.issue(
            control_session=control_session,
            invoice_id=invoice.id,
            amount=Money(9_000, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=make_staff(control_session).id,
            now=NOW,
        )
        bank(sandbox, account, "take-back")
        look_until_believed(control_session, account)
        assert (account.state, invoice.state) == ("waiting", "paid")
        ((found, of),) = account_deposits.taken_back(control_session=control_session, limit=9)
        assert (found.id, of.id) == (account.id, invoice.id)

    def test_is_not_held_gone_because_the_gateway_is(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        account.attempts = 1
        with pytest.raises(account_deposits.StillUnclear):
            account_deposits.learn(
                control_session=control_session,
                account_id=account.id,
                found=Unknown("no answer within 2 s"),
                now=NOW,
            )
        assert account.state == "deposited"

    @pytest.mark.parametrize("silence", [Unknown("no answer within 2 s"), Absent()])
    def test_is_never_taken_back_by_silence(
        self, control_session: Session, sandbox: RunningSandbox, silence: Unknown | Absent
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        look(control_session, account)
        account.attempts = account_deposits.ASKED_AGAIN_MAX
        account_deposits.learn(
            control_session=control_session, account_id=account.id, found=silence, now=NOW
        )
        assert (account.state, invoice.state) == ("deposited", "paid")
        assert account.look_at == NOW + virtual_accounts.LOOKED_AT_EVERY


class TestNews:
    @pytest.mark.parametrize("secret", [None, "", "guessed"])
    def test_without_the_secret_is_neither_kept_nor_acted_on(
        self, control_session: Session, sandbox: RunningSandbox, secret: str | None
    ) -> None:
        account = opened(control_session, make_invoice(control_session))
        before = account.look_at
        with pytest.raises(account_deposits.NewsForged):
            gateway_events.store(
                control_session=control_session,
                gateway="sandbox",
                event=news(account, secret),
                now=NOW,
            )
        assert account.look_at == before

    def test_that_the_gateway_does_not_bear_out_moves_no_money(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = make_invoice(control_session)
        account = opened(control_session, invoice)
        bank(sandbox, account)
        bank(sandbox, account, "take-back")
        gateway_events.store(
            control_session=control_session,
            gateway="sandbox",
            event=news(account, secret_of(sandbox, account)),
            now=NOW,
        )
        look_until_believed(control_session, account)
        assert (account.state, account.heard_at) == ("waiting", None)
        assert payments(control_session, invoice) == []

    def test_of_another_order_is_nobodys_and_not_kept(self, control_session: Session) -> None:
        event = GatewayEvent(
            event_id="e9",
            kind=EventKind.ACCOUNT_DEPOSITED,
            trust=Trust.SECRET,
            occurred_at=NOW,
            order_id="nobodys-order",
            secret="x",
        )
        assert not gateway_events.store(
            control_session=control_session, gateway="sandbox", event=event, now=NOW
        )
