"""A dispute that is lost: its payment is taken back, and is owed again or written off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import AuditEvent
from app.base.db import control_session as transaction
from app.base.errors import Conflict, Invalid
from app.base.invariants import offences
from app.base.messages import Message
from app.base.money import Money
from invoices import (
    corrections,
    credit_notes,
    evidence,
    lost_disputes,
    reconciliation,
    refunds,
    reversals,
    runs,
    settlement,
    vat_slips,
)
from invoices import payment as payment_protocol
from invoices import reconciliation_differences as differences
from invoices import reconciliation_matching as matching
from invoices.checks import INVARIANTS
from invoices.models import (
    DifferenceSettlement,
    Invoice,
    LedgerLine,
    Payment,
    PaymentAttempt,
    PaymentReversal,
    ReconciliationDifference,
    Refund,
    WriteOff,
)
from tenants.models import Tenant
from tests.factories import NOW, make_staff
from tests.invoices.collecting import attempts_of, collect, gateway_at, owing, register_card
from tests.invoices.test_reconciliation import finish, line, of, take
from tests.invoices.test_reversals import next_months
from tests.invoices.test_settlement import receive
from tests.sandbox.running import RunningSandbox
from tests.web.forms import send, sign_in_staff

PAGE = "/console/reconciliation"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def disputed(session: Session, *, lines: bool = True) -> tuple[Payment, ReconciliationDifference]:
    """A card payment that its payer disputes, as the gateway's books tell it."""
    invoice = owing(session)
    collect(session, invoice)
    payment = session.scalars(select(Payment).where(Payment.invoice_id == invoice.id)).one()
    if lines:
        named = {"gateway_payment_id": payment.gateway_payment_id}
        lost = line("dispute", -payment.amount_minor, line_id=f"dis_{payment.id}", **named)
        take(session, of(payment, line_id=f"mov_{payment.id}"), lost)
    else:
        matching.disputed(control_session=session, payment=payment, now=NOW)
    found = session.scalars(
        select(ReconciliationDifference).where(ReconciliationDifference.payment_id == payment.id)
    ).one()
    return payment, found


def end(session: Session, found: ReconciliationDifference, how: Any, reason: str = "lost") -> Any:
    return how(
        control_session=session,
        difference_id=found.id,
        reason=reason,
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )


def balances(session: Session) -> dict[str, int]:
    amount = func.sum(LedgerLine.debit_minor - LedgerLine.credit_minor)
    rows = session.execute(select(LedgerLine.account, amount).group_by(LedgerLine.account))
    return {account: int(sum_) for account, sum_ in rows}


def assert_sound(session: Session) -> None:
    session.flush()
    for rule in INVARIANTS:
        assert offences(control_session=session, invariant=rule, now=NOW) == [], rule.code


@pytest.mark.usefixtures("sandbox")
class TestALostDispute:
    def test_opens_its_invoice_and_evens_the_differences(self, control_session: Session) -> None:
        payment, found = disputed(control_session)
        assert balances(control_session)["differences"] == payment.amount_minor
        end(control_session, found, lost_disputes.owed_again)
        invoice = control_session.get_one(Invoice, payment.invoice_id, populate_existing=True)
        assert (invoice.state, invoice.open_minor) == ("issued", invoice.total_minor)
        # Not the card that was disputed, by itself.
        assert invoice.collect_at is None
        now = balances(control_session)
        assert (now["differences"], now["receivable"]) == (0, payment.amount_minor)
        assert [each.state for each in attempts_of(control_session, invoice)] == ["taken_back"]
        settled = control_session.scalars(select(DifferenceSettlement)).one()
        assert (settled.resolution, settled.reason) == ("taken_back", "lost")
        actions = set(control_session.scalars(select(AuditEvent.action)))
        assert {"payment.reversed", "difference.taken_back"} <= actions
        mail = select(Message).where(Message.kind == "payment_reversed")
        assert "카드사" in control_session.scalars(mail).one().text
        assert_sound(control_session)
        finish(control_session)
        assert_sound(control_session)

    def test_is_paid_by_another_card(self, control_session: Session) -> None:
        payment, found = disputed(control_session)
        end(control_session, found, lost_disputes.owed_again)
        invoice = control_session.get_one(Invoice, payment.invoice_id, populate_existing=True)
        register_card(control_session, control_session.get_one(Tenant, invoice.tenant_id))
        control_session.expire_all()
        assert invoice.collect_at is not None
        collect(control_session, invoice)
        control_session.expire_all()
        assert invoice.state == "paid"
        states = [each.state for each in attempts_of(control_session, invoice)]
        assert states == ["taken_back", "succeeded"]
        assert_sound(control_session)

    def test_charges_nothing_either_that_its_credit_had_settled(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        order = payment_protocol.begin(
            control_session=control_session,
            invoice_id=invoice.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        assert order is not None
        # Money came another way while the card was charged: all of the card's is credit.
        receive(control_session, invoice, invoice.total_minor)
        other = next_months(control_session, invoice)
        payment_protocol.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=payment_protocol.perform(order=order),
            now=NOW,
        )
        settlement.use_credit(control_session=control_session, invoice=other, now=NOW)
        assert other.state == "paid"
        payment = control_session.scalars(select(Payment).where(Payment.kind == "card")).one()
        matching.disputed(control_session=control_session, payment=payment, now=NOW)
        found = control_session.scalars(select(ReconciliationDifference)).one()
        end(control_session, found, lost_disputes.owed_again)
        assert (other.state, other.collect_at) == ("issued", None)
        assert_sound(control_session)

    def test_is_written_off(self, control_session: Session) -> None:
        payment, found = disputed(control_session)
        end(control_session, found, lost_disputes.written_off)
        invoice = control_session.get_one(Invoice, payment.invoice_id, populate_existing=True)
        assert invoice.state == "written_off"
        now = balances(control_session)
        assert (now["differences"], now["receivable"]) == (0, 0)
        assert now["write_offs"] == payment.amount_minor
        settled = control_session.scalars(select(DifferenceSettlement)).one()
        assert settled.resolution == "written_off"
        mail = select(Message).where(Message.kind == "payment_reversed")
        assert control_session.scalars(mail).all() == []
        assert_sound(control_session)

    def test_above_the_limit_is_written_off_by_two(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runs, "limit_minor", lambda _currency: 1)
        payment, found = disputed(control_session)
        end(control_session, found, lost_disputes.written_off)
        assert control_session.scalars(select(WriteOff)).all() == []
        waits = corrections.waiting_for(
            control_session=control_session, invoice_id=payment.invoice_id
        )
        assert waits is not None
        assert_sound(control_session)

    def test_told_before_the_books_is_even_once_they_come(self, control_session: Session) -> None:
        payment, found = disputed(control_session, lines=False)
        end(control_session, found, lost_disputes.owed_again)
        assert balances(control_session)["differences"] == -payment.amount_minor
        named = {"gateway_payment_id": payment.gateway_payment_id}
        take(control_session, of(payment), line("dispute", -payment.amount_minor, **named))
        assert balances(control_session)["differences"] == 0
        assert_sound(control_session)

    def test_that_is_won_after_all_is_shown_again(self, control_session: Session) -> None:
        payment, found = disputed(control_session)
        end(control_session, found, lost_disputes.owed_again)
        named = {"gateway_payment_id": payment.gateway_payment_id}
        take(control_session, line("dispute", payment.amount_minor, **named))
        (shown,) = reconciliation.work_list(control_session=control_session, limit=9)
        assert (shown.kind, shown.cause) == ("disputed", "came_back")
        assert not lost_disputes.may_end(control_session=control_session, difference=shown)
        assert_sound(control_session)

    def test_is_ended_once_and_for_a_reason(self, control_session: Session) -> None:
        _, found = disputed(control_session)
        with pytest.raises(Invalid):
            end(control_session, found, lost_disputes.owed_again, " ")
        end(control_session, found, lost_disputes.owed_again)
        for how in (lost_disputes.owed_again, lost_disputes.written_off):
            with pytest.raises(differences.SettledAlready):
                end(control_session, found, how)
        reversals = select(func.count()).select_from(PaymentReversal)
        assert control_session.scalar(reversals) == 1


GIVEN_BACK = 11_000


def disputed_after_a_refund(
    session: Session, *, taken: int | None = None
) -> tuple[Payment, ReconciliationDifference]:
    """A card payment of which a part went back by us, before its payer disputed the rest."""
    payment, _ = disputed(session, lines=False)
    credit_notes.issue(
        control_session=session,
        invoice_id=payment.invoice_id,
        amount=Money(GIVEN_BACK, "KRW"),
        keep=False,
        reason="a part",
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )
    refund = session.scalars(select(Refund)).one()
    order = refunds.begin(
        control_session=session, refund_id=refund.id, now=NOW, real_now=clock.real_now()
    )
    assert order is not None
    sent = refunds.perform(order=order, real_now=clock.real_now())
    refunds.record(control_session=session, refund_id=refund.id, result=sent, now=NOW)
    lost = taken or payment.amount_minor - GIVEN_BACK
    named = {"gateway_payment_id": payment.gateway_payment_id}
    told = [of(payment), line("refund", -GIVEN_BACK, **named), line("dispute", -lost, **named)]
    take(session, *told)
    return payment, session.scalars(select(ReconciliationDifference)).one()


@pytest.mark.usefixtures("sandbox")
class TestALostDisputeOfWhatARefundLeft:
    def test_opens_the_rest_which_another_card_pays(self, control_session: Session) -> None:
        payment, found = disputed_after_a_refund(control_session)
        end(control_session, found, lost_disputes.owed_again)
        rest = payment.amount_minor - GIVEN_BACK
        invoice = control_session.get_one(Invoice, payment.invoice_id, populate_existing=True)
        assert (invoice.state, invoice.open_minor) == ("issued", rest)
        now = balances(control_session)
        assert (now["differences"], now["receivable"]) == (0, rest)
        assert vat_slips.proved(control_session=control_session, invoice_id=invoice.id) == 0
        register_card(control_session, control_session.get_one(Tenant, invoice.tenant_id))
        control_session.expire_all()
        collect(control_session, invoice)
        control_session.expire_all()
        assert invoice.state == "paid"
        assert vat_slips.proved(control_session=control_session, invoice_id=invoice.id) == rest
        assert_sound(control_session)

    def test_is_written_off_without_what_went_back(self, control_session: Session) -> None:
        payment, found = disputed_after_a_refund(control_session)
        end(control_session, found, lost_disputes.written_off)
        assert balances(control_session)["write_offs"] == payment.amount_minor - GIVEN_BACK
        assert_sound(control_session)

    def test_opens_all_where_the_bank_took_all(self, control_session: Session) -> None:
        payment, found = disputed_after_a_refund(control_session, taken=209_000)
        end(control_session, found, lost_disputes.owed_again)
        invoice = control_session.get_one(Invoice, payment.invoice_id, populate_existing=True)
        assert invoice.open_minor == payment.amount_minor == 209_000
        assert balances(control_session)["differences"] == 0
        assert_sound(control_session)

    def test_is_none_where_some_is_still_there(self, control_session: Session) -> None:
        _, found = disputed_after_a_refund(control_session, taken=5_000)
        with pytest.raises(lost_disputes.NotLost):
            end(control_session, found, lost_disputes.owed_again)

    def test_is_held_to_what_was_refunded_by_the_database(self, control_session: Session) -> None:
        payment, _ = disputed(control_session)
        with pytest.raises(DBAPIError, match="cannot be reversed"):
            reversals.lost_dispute(
                control_session=control_session,
                payment=payment,
                amount_minor=payment.amount_minor - 1,
                reason="a slip",
                staff_id=make_staff(control_session, role="finance").id,
                now=NOW,
            )


@pytest.mark.usefixtures("sandbox")
class TestADisputeThatIsNotLost:
    def test_is_one_that_was_won(self, control_session: Session) -> None:
        payment, found = disputed(control_session)
        named = {"gateway_payment_id": payment.gateway_payment_id}
        take(control_session, line("dispute", payment.amount_minor, **named))
        self.assert_refused(control_session, found)

    def test_is_one_of_a_payment_of_which_a_part_is_on_its_way_back(
        self, control_session: Session
    ) -> None:
        payment, found = disputed(control_session)
        note = credit_notes.issue(
            control_session=control_session,
            invoice_id=payment.invoice_id,
            amount=Money(1_100, "KRW"),
            keep=False,
            reason="a part",
            staff_id=make_staff(control_session, role="finance").id,
            now=NOW,
        )
        assert note is not None
        assert control_session.scalars(select(Refund)).all()
        with pytest.raises(Conflict):
            end(control_session, found, lost_disputes.owed_again)

    def test_is_any_other_difference(self, control_session: Session) -> None:
        take(control_session, line("payment", 50_000, gateway_payment_id="pay_x"))
        found = control_session.scalars(select(ReconciliationDifference)).one()
        self.assert_refused(control_session, found)

    def assert_refused(self, session: Session, found: ReconciliationDifference) -> None:
        assert not lost_disputes.may_end(control_session=session, difference=found)
        with pytest.raises(lost_disputes.NotLost):
            end(session, found, lost_disputes.owed_again)


class TestOnThePage:
    @pytest.mark.parametrize(
        ("how", "state"), [("owed", "issued"), ("given_up", "written_off"), ("accept", "paid")]
    )
    def test_each_end_is_offered_and_made(
        self, client: Any, sandbox: RunningSandbox, set_clock: Any, how: str, state: str
    ) -> None:
        set_clock(NOW)
        with transaction() as session:
            payment, found = disputed(session)
            invoice_id, difference_id = payment.invoice_id, found.id
            chosen = evidence.choose(control_session=session, invoice_id=invoice_id, now=NOW)
            assert chosen is not None
            assert chosen.kind == "card_slip"
        sign_in_staff(client, role="finance")
        page = client.get(PAGE).text
        assert 'value="owed"' in page
        assert 'value="given_up"' in page
        form = {"how": how, "reason": "the bank decided"}
        to = f"{PAGE}/{difference_id}/settle"
        assert send(client, PAGE, form, to=to).status_code == 303
        assert self.state_of(invoice_id) == state
        client.get(f"/console/invoices/{invoice_id}").text.index("2026")
        # Its slip went with the payment: a person issues what proves the supply now.
        papers = f"/console/tax-papers/of/{invoice_id}"
        assert ("Card slip lost" in client.get(f"{papers}?lang=en").text) is (how != "accept")
        assert (papers in client.get("/console/attention").text) is (how != "accept")
        assert send(client, PAGE, form, to=to).status_code == 409

    def state_of(self, invoice_id: UUID) -> str:
        with transaction() as session:
            assert session.scalars(select(PaymentAttempt)).all()
            return session.get_one(Invoice, invoice_id).state
