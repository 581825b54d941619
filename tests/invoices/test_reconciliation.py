"""A gateway's lines against our books: what each stands for, what is booked, what is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.errors import Invalid
from app.base.invariants import offences
from app.base.money import Money
from invoices import (
    credit_notes,
    ledger,
    reconciliation,
    refund_queue,
    reversals,
    settlement,
)
from invoices import reconciliation_differences as differences
from invoices import reconciliation_missing as missing
from invoices import reconciliation_money_back as money_back
from invoices.gateways.port import SettlementKind, SettlementLine
from invoices.models import (
    DifferenceSettlement,
    LedgerEntry,
    LedgerLine,
    Payment,
    ReconciliationDay,
    ReconciliationDifference,
    Refund,
)
from invoices.models import SettlementLine as Line
from invoices.reconciliation import Question
from invoices.reconciliation_checks import REPORT_IS_LEDGER
from invoices.settlement import Arrival
from tests.factories import NOW, make_invoice, make_staff, make_tenant

GATEWAY = "sandbox"
DAY = date(2026, 3, 10)


def won(amount: int) -> Money:
    return Money(amount, "KRW")


def paid(session: Session, number: int = 1, on: date = DAY) -> Payment:
    """An invoice that was paid at the gateway."""
    invoice = make_invoice(session, tenant=make_tenant(session, state="active"))
    return settlement.receive(
        control_session=session,
        invoice_id=invoice.id,
        arrival=Arrival(
            kind="virtual_account",
            gateway=GATEWAY,
            gateway_payment_id=f"pay_{number}",
            amount=Money(invoice.total_minor, invoice.currency),
            received_on=on,
        ),
        actor=SYSTEM,
        now=NOW,
    )


def line(kind: str, gross: int, *, fee: int = 0, tax: int = 0, **said: Any) -> SettlementLine:
    return SettlementLine(
        line_id=said.pop("line_id", f"mov_{kind}_{gross}"),
        kind=SettlementKind(kind),
        gross=won(gross),
        fee=won(fee),
        fee_tax=won(tax),
        net=won(gross - fee - tax),
        booked_on=said.pop("booked_on", DAY),
        **said,
    )


def of(payment: Payment, **said: Any) -> SettlementLine:
    told = {"fee": 3_000, "tax": 300, "gateway_payment_id": payment.gateway_payment_id} | said
    return line("payment", told.pop("gross", payment.amount_minor), **told)


def reverse(session: Session, payment: Payment) -> None:
    """The bank took the deposit back."""
    reversals.taken_by_bank(
        control_session=session, payment=payment, reason="the bank took it", now=NOW
    )


def take(session: Session, *lines: SettlementLine) -> list[bool]:
    return [
        reconciliation.take(control_session=session, gateway=GATEWAY, told=each, now=NOW)
        for each in lines
    ]


def finish(session: Session, day: date = DAY) -> None:
    """The day, asked for and done with the lines that were taken."""
    day_id = reconciliation.ask(control_session=session, gateway=GATEWAY, day=day, now=NOW)
    row = session.get_one(ReconciliationDay, day_id, populate_existing=True)
    question = Question(row.id, GATEWAY, day, row.asked_at)
    reconciliation.finish(control_session=session, question=question, lines=0, now=NOW)


def balance(session: Session, account: str, place: str | None = None) -> int:
    query = select(func.coalesce(func.sum(LedgerLine.debit_minor - LedgerLine.credit_minor), 0))
    query = query.where(LedgerLine.account == account)
    if place:
        query = query.where(LedgerLine.place == place)
    return int(session.scalar(query) or 0)


def shown(session: Session) -> list[tuple[str, str, int]]:
    found = reconciliation.work_list(control_session=session, limit=50)
    return [(each.kind, each.cause, each.amount_minor) for each in found]


def the_difference(session: Session) -> ReconciliationDifference:
    (found,) = reconciliation.work_list(control_session=session, limit=50)
    return found


@pytest.fixture(autouse=True)
def _the_report_is_the_ledger(control_session: Session) -> Any:
    """Whatever a test did to the books, the invariant stands at its end."""
    yield
    control_session.flush()
    found = offences(control_session=control_session, invariant=REPORT_IS_LEDGER, now=NOW)
    assert found == []


class TestALine:
    def test_of_our_payment_books_its_fee_and_differs_in_nothing(
        self, control_session: Session
    ) -> None:
        payment = paid(control_session)
        assert take(control_session, of(payment)) == [True]
        assert shown(control_session) == []
        assert balance(control_session, "fees") == 3_000
        assert balance(control_session, "vat_receivable") == 300
        assert balance(control_session, "cash", GATEWAY) == payment.amount_minor - 3_300

    def test_taken_again_books_nothing_again(self, control_session: Session) -> None:
        payment = paid(control_session)
        lines = [of(payment), line("payout", -1_000), line("fee", -50), line("payment", 777)]
        assert take(control_session, *lines) == [True] * 4
        before = control_session.scalar(select(func.count()).select_from(LedgerEntry))
        shown_before = shown(control_session)
        assert take(control_session, *reversed(lines)) == [False] * 4
        finish(control_session)
        finish(control_session)
        assert control_session.scalar(select(func.count()).select_from(LedgerEntry)) == before
        assert shown(control_session) == shown_before

    def test_of_a_payout_moves_cash_to_our_bank(self, control_session: Session) -> None:
        payment = paid(control_session)
        net = payment.amount_minor - 3_300
        take(control_session, of(payment), line("payout", -net))
        assert balance(control_session, "cash", GATEWAY) == 0
        assert balance(control_session, "cash", "manual") == net

    def test_that_says_when_it_is_paid_out_moves_cash_on_that_day(
        self, control_session: Session
    ) -> None:
        payment = paid(control_session)
        told = of(payment)
        take(control_session, told, replace(told, paid_out_on=DAY + timedelta(days=2)))
        finish(control_session, DAY + timedelta(days=1))
        assert balance(control_session, "cash", "manual") == 0
        finish(control_session, DAY + timedelta(days=2))
        assert balance(control_session, "cash", "manual") == payment.amount_minor - 3_300
        assert balance(control_session, "cash", GATEWAY) == 0

    @pytest.mark.parametrize(("gross", "fee"), [(-500, 0), (0, 500)])
    def test_that_is_nothing_but_a_fee_is_booked_however_it_is_written(
        self, control_session: Session, gross: int, fee: int
    ) -> None:
        take(control_session, line("fee", gross, fee=fee))
        assert balance(control_session, "fees") == 500
        assert balance(control_session, "cash", GATEWAY) == -500

    def test_of_a_dispute_leaves_the_invoice_and_shows_the_payment(
        self, control_session: Session
    ) -> None:
        payment = paid(control_session)
        disputed = line("dispute", -payment.amount_minor, fee=20_000, gateway_payment_id="pay_1")
        take(control_session, of(payment), disputed)
        assert [kind for kind, _, _ in shown(control_session)] == ["disputed"]
        assert balance(control_session, "differences") == payment.amount_minor
        won_back = line("dispute", payment.amount_minor, gateway_payment_id="pay_1")
        take(control_session, won_back)
        assert balance(control_session, "differences") == 0
        assert len(shown(control_session)) == 1


class TestADifference:
    def test_is_a_line_that_stands_for_nothing(self, control_session: Session) -> None:
        take(control_session, line("payment", 50_000, fee=1_000, gateway_payment_id="pay_x"))
        assert shown(control_session) == [("missing_here", "not_ours", 50_000)]
        assert balance(control_session, "cash", GATEWAY) == 49_000
        assert balance(control_session, "differences") == -50_000

    def test_is_gone_once_our_own_news_of_the_payment_comes(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        take(control_session, line("payment", invoice.total_minor, gateway_payment_id="pay_1"))
        assert len(shown(control_session)) == 1
        settlement.receive(
            control_session=control_session,
            invoice_id=invoice.id,
            arrival=Arrival(
                kind="virtual_account",
                gateway=GATEWAY,
                gateway_payment_id="pay_1",
                amount=won(invoice.total_minor),
                received_on=DAY,
            ),
            actor=SYSTEM,
            now=NOW,
        )
        finish(control_session)
        assert shown(control_session) == []
        assert balance(control_session, "differences") == 0
        ending = control_session.scalars(select(DifferenceSettlement)).one()
        assert (ending.resolution, ending.settled_by) == ("matched", None)

    def test_is_a_payment_that_was_never_told_of(self, control_session: Session) -> None:
        payment = paid(control_session)
        finish(control_session, DAY)
        finish(control_session, DAY + timedelta(days=6))
        assert shown(control_session) == []
        finish(control_session, DAY + timedelta(days=7))
        assert shown(control_session) == [("missing_there", "never_told", -payment.amount_minor)]
        take(control_session, of(payment, booked_on=DAY))
        assert shown(control_session) == []

    def test_is_not_a_payment_from_before_we_reconciled(self, control_session: Session) -> None:
        paid(control_session, on=DAY - timedelta(days=1))
        finish(control_session, DAY)
        finish(control_session, DAY + timedelta(days=30))
        assert shown(control_session) == []

    @pytest.mark.parametrize("more", [-1_000, 1_000])
    def test_is_another_amount(self, control_session: Session, more: int) -> None:
        payment = paid(control_session)
        take(control_session, of(payment, gross=payment.amount_minor + more))
        assert shown(control_session) == [("other_amount", "other_sum", more)]
        assert balance(control_session, "differences") == -more

    def test_is_another_currency_in_each_of_them(self, control_session: Session) -> None:
        payment = paid(control_session)
        told = of(payment)
        dollars = {
            name: Money(getattr(told, name).amount_minor, "USD")
            for name in ("gross", "fee", "fee_tax", "net")
        }
        take(control_session, replace(told, **dollars))
        assert [cause for _, cause, _ in shown(control_session)] == ["exchanged"] * 2

    def test_is_another_day(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment, booked_on=DAY + timedelta(days=3)))
        assert shown(control_session) == [("other_day", "told_another_day", 0)]

    def test_is_no_deposit_that_a_bank_took_back(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment))
        reverse(control_session, payment)
        back = line("refund", -payment.amount_minor, gateway_payment_id="pay_1")
        take(control_session, back)
        assert shown(control_session) == []
        finish(control_session)
        finish(control_session, DAY + timedelta(days=missing.DAYS_BACK))
        assert shown(control_session) == []
        assert balance(control_session, "cash", GATEWAY) == -3_300

    def test_is_none_any_more_once_we_hear_that_the_bank_took_it(
        self, control_session: Session
    ) -> None:
        payment = paid(control_session)
        back = line("refund", -payment.amount_minor, gateway_payment_id="pay_1")
        take(control_session, of(payment), back)
        assert [kind for kind, _, _ in shown(control_session)] == ["refunded_there"]
        reverse(control_session, payment)
        assert shown(control_session) == []
        assert balance(control_session, "differences") == 0

    def test_is_a_deposit_of_which_only_the_coming_is_told(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment))
        reverse(control_session, payment)
        finish(control_session)
        finish(control_session, DAY + timedelta(days=missing.DAYS_BACK))
        assert shown(control_session) == [("missing_there", "never_told", payment.amount_minor)]

    def test_is_nothing_that_came_and_went_untold(self, control_session: Session) -> None:
        reverse(control_session, paid(control_session))
        finish(control_session)
        finish(control_session, DAY + timedelta(days=missing.DAYS_BACK))
        assert shown(control_session) == []

    def test_is_a_second_line_for_one_payment(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment), of(payment, line_id="again"))
        assert shown(control_session) == [("duplicate", "told_twice", payment.amount_minor)]
        assert balance(control_session, "differences") == -payment.amount_minor

    def test_is_a_line_that_says_something_else_than_before(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment), of(payment, fee=2_000))
        take(control_session, of(payment, fee=2_000))
        assert shown(control_session) == [("changed", "told_otherwise", 0)]
        assert balance(control_session, "fees") == 3_000
        kept = control_session.scalars(select(Line)).one()
        assert kept.fee_minor == 3_000

    def test_is_money_that_the_gateway_gave_back_by_itself(self, control_session: Session) -> None:
        payment = paid(control_session)
        refund = line("refund", -10_000, gateway_payment_id="pay_1")
        take(control_session, of(payment), refund)
        assert shown(control_session) == [("refunded_there", "refunded_there", -10_000)]
        assert balance(control_session, "cash", GATEWAY) == payment.amount_minor - 13_300

    def test_told_by_a_webhook_first_is_the_same_one(self, control_session: Session) -> None:
        payment = paid(control_session)
        for _ in range(2):
            money_back.went_back(
                control_session=control_session, payment=payment, in_all=won(30_000), now=NOW
            )
        pieces = [
            line("refund", -amount, gateway_payment_id="pay_1") for amount in (10_000, 20_000)
        ]
        take(control_session, of(payment), *pieces)
        assert shown(control_session) == [("refunded_there", "refunded_there", -30_000)]
        take(control_session, line("refund", -1, gateway_payment_id="pay_1"))
        assert len(shown(control_session)) == 2
        assert balance(control_session, "cash", GATEWAY) == payment.amount_minor - 33_301


class TestSettlingADifference:
    def staff(self, session: Session) -> Any:
        return make_staff(session, role="finance").id

    def test_wants_a_reason(self, control_session: Session) -> None:
        take(control_session, line("payment", 50_000))
        with pytest.raises(Invalid) as refused:
            differences.accept(
                control_session=control_session,
                difference_id=the_difference(control_session).id,
                reason="  ",
                staff_id=self.staff(control_session),
                now=NOW,
            )
        assert refused.value.field == "reason"

    def test_by_accepting_it_lets_the_sum_stand(self, control_session: Session) -> None:
        take(control_session, line("payment", 50_000))
        found, staff = the_difference(control_session), self.staff(control_session)
        said = {"difference_id": found.id, "reason": "another shop's", "staff_id": staff}
        differences.accept(control_session=control_session, now=NOW, **said)
        assert shown(control_session) == []
        assert balance(control_session, "differences") == -50_000
        with pytest.raises(differences.SettledAlready):
            differences.accept(control_session=control_session, now=NOW, **said)

    def test_that_never_came_gives_the_cash_up(self, control_session: Session) -> None:
        payment = paid(control_session)
        finish(control_session, DAY)
        finish(control_session, DAY + timedelta(days=7))
        differences.accept(
            control_session=control_session,
            difference_id=the_difference(control_session).id,
            reason="the gateway went under",
            staff_id=self.staff(control_session),
            now=NOW,
        )
        assert balance(control_session, "cash", GATEWAY) == 0
        assert balance(control_session, "differences") == payment.amount_minor
        take(control_session, of(payment, fee=0, tax=0))
        assert shown(control_session) == [("missing_here", "given_up_before", payment.amount_minor)]
        assert balance(control_session, "cash", GATEWAY) == payment.amount_minor

    def test_by_a_payment_of_ours_settles_both_sides(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, of(payment, gateway_payment_id="renamed"))
        finish(control_session, DAY)
        finish(control_session, DAY + timedelta(days=7))
        kinds = {kind: cause for kind, cause, _ in shown(control_session)}
        assert kinds == {"missing_here": "not_ours", "missing_there": "another_name"}
        line_of = next(
            each
            for each in reconciliation.work_list(control_session=control_session, limit=9)
            if each.kind == "missing_here"
        )
        assert differences.candidates(control_session=control_session, difference=line_of) == [
            payment
        ]
        differences.link(
            control_session=control_session,
            difference_id=line_of.id,
            payment_id=payment.id,
            reason="the gateway renamed it",
            staff_id=self.staff(control_session),
            now=NOW,
        )
        assert shown(control_session) == []
        assert balance(control_session, "differences") == 0

    def test_by_a_payment_of_another_sum_is_refused(self, control_session: Session) -> None:
        payment = paid(control_session)
        take(control_session, line("payment", 1, gateway_payment_id="renamed"))
        with pytest.raises(differences.NotThatPayment):
            differences.link(
                control_session=control_session,
                difference_id=the_difference(control_session).id,
                payment_id=payment.id,
                reason="it looks alike",
                staff_id=self.staff(control_session),
                now=NOW,
            )


class TestARefundThatFinanceMadeAtTheGateway:
    """Of a deposit on a virtual account, say: no gateway knows the payer's own account."""

    def refund(self, session: Session) -> Refund:
        credit_notes.issue(
            control_session=session,
            invoice_id=paid(session).invoice_id,
            amount=won(9_000),
            keep=False,
            reason="wrong seats",
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        return session.scalars(select(Refund)).one()

    def made(self, session: Session, refund: Refund) -> Refund:
        return refund_queue.declare_sent(
            control_session=session,
            refund_id=refund.id,
            why="cancelled to their account",
            actor=SYSTEM,
            now=NOW,
            at_gateway=True,
        )

    def told(self, session: Session) -> None:
        take(session, line("payment", 209_000, gateway_payment_id="pay_1"))
        take(session, line("refund", -9_000, gateway_payment_id="pay_1"))

    def test_is_the_line_that_tells_of_it_later(self, control_session: Session) -> None:
        refund = self.made(control_session, self.refund(control_session))
        assert (refund.state, refund.sent_from) == ("succeeded", GATEWAY)
        self.told(control_session)
        assert shown(control_session) == []
        assert balance(control_session, "cash", GATEWAY) == 200_000

    def test_that_was_told_before_is_settled_where_it_was_told(
        self, control_session: Session
    ) -> None:
        refund = self.refund(control_session)
        self.told(control_session)
        with pytest.raises(refund_queue.NotWaiting):
            self.made(control_session, refund)
        differences.link_refund(
            control_session=control_session,
            difference_id=the_difference(control_session).id,
            refund_id=refund.id,
            reason="we made it there",
            staff_id=make_staff(control_session, role="finance").id,
            now=NOW,
        )
        assert refund.sent_from == GATEWAY
        assert shown(control_session) == []
        assert balance(control_session, "differences") == 0
        assert balance(control_session, "cash", GATEWAY) == 200_000


class TestTheBooks:
    def test_balance_with_everything_in_them(self, control_session: Session) -> None:
        payment, other = paid(control_session), paid(control_session, 2)
        take(
            control_session,
            of(payment),
            of(other, gross=other.amount_minor - 5, line_id="short"),
            line("refund", -10, gateway_payment_id="pay_1"),
            line("dispute", -20, fee=3, gateway_payment_id="pay_2"),
            line("fee", -7),
            line("other", 11),
            line("payout", -1_000),
        )
        totals = ledger.trial_balance(control_session=control_session)
        assert sum(each.debit_minor - each.credit_minor for each in totals) == 0
        said = control_session.scalar(select(func.sum(Line.net_minor)))
        assert balance(control_session, "cash", GATEWAY) == said
