"""Statements coming in: each deposit once, the certain ones settled, the rest left to a person."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.errors import Invalid
from app.base.states import IllegalMove
from invoices import statement_import, statement_layouts, statements
from invoices.models import BankTransfer, CreditGrant, Invoice, Payment
from invoices.statement_import import Imported
from tests.factories import NOW, make_invoice, make_staff

HEAD = "거래일시,보낸분,적요,입금액,거래후잔액"


def statement(*lines: str) -> bytes:
    return "\r\n".join([HEAD, *lines]).encode("cp949")


def paid(invoice: Invoice, amount: int | None = None, memo: str | None = None) -> str:
    shown = invoice.number_text if memo is None else memo
    return f'2026-03-12 09:10,모르는이름,{shown},"{amount or invoice.total_minor:,}",'


def bring(session: Session, content: bytes, **changed: Any) -> Imported:
    values: dict[str, Any] = {
        "file_name": "3월 거래내역.csv",
        "layout": statements.USUAL,
        "staff_id": make_staff(session, role="finance").id,
        "now": NOW,
    }
    return statement_import.import_statement(
        control_session=session, content=content, **(values | changed)
    )


def match_all(session: Session) -> list[bool]:
    """What the job does with every new deposit."""
    waiting = session.scalars(
        select(BankTransfer.id).where(statement_import.due()).order_by(BankTransfer.line_number)
    ).all()
    return [
        statement_import.match(control_session=session, transfer_id=each, now=NOW)
        for each in waiting
    ]


def settle(session: Session, invoice: Invoice) -> Payment:
    transfer = session.scalars(select(BankTransfer).where(BankTransfer.state == "open")).one()
    return statement_import.settle(
        control_session=session,
        transfer_id=transfer.id,
        invoice_id=invoice.id,
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )


def credit(session: Session) -> int:
    return session.scalar(select(func.coalesce(func.sum(CreditGrant.amount_minor), 0))) or 0


class TestImporting:
    def test_settles_what_is_certain_and_leaves_the_rest(self, control_session: Session) -> None:
        sure, unsure = make_invoice(control_session), make_invoice(control_session)
        done = bring(control_session, statement(paid(sure), paid(unsure, amount=1)))
        assert (done.new, done.repeated) == (2, 0)
        assert match_all(control_session) == [True, False]
        control_session.expire_all()
        assert (sure.state, unsure.state) == ("paid", "issued")
        payment = control_session.scalars(
            select(Payment).where(Payment.invoice_id == sure.id)
        ).one()
        assert (payment.received_on.isoformat(), payment.payer) == ("2026-03-12", "모르는이름")
        assert payment.recorded_by is None

    def test_the_same_file_twice_changes_nothing(self, control_session: Session) -> None:
        content = statement(paid(make_invoice(control_session)))
        first = bring(control_session, content)
        match_all(control_session)
        again = bring(control_session, content)
        assert again == Imported(first.statement_id, 0, 1)
        assert match_all(control_session) == []
        assert control_session.scalar(select(func.count()).select_from(Payment)) == 1

    def test_an_overlapping_statement_adds_only_what_is_new(self, control_session: Session) -> None:
        one, two = make_invoice(control_session), make_invoice(control_session)
        bring(control_session, statement(paid(one)))
        done = bring(control_session, statement(paid(two), paid(one)))
        assert (done.new, done.repeated) == (1, 1)

    def test_two_equal_deposits_are_two(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        assert bring(control_session, statement(paid(invoice), paid(invoice))).new == 2

    @pytest.mark.parametrize(
        "content", [b"", statement(), statement("2026-03-12,a,b,0,"), statement("x,a,b,1,")]
    )
    def test_without_a_deposit_or_with_a_fault_writes_nothing(
        self, control_session: Session, content: bytes
    ) -> None:
        with pytest.raises(Invalid) as refused:
            bring(control_session, content)
        assert refused.value.field == "file"
        assert control_session.scalar(select(func.count()).select_from(BankTransfer)) == 0


class TestSettlingByHand:
    def waiting(self, session: Session, invoice: Invoice, amount: int) -> None:
        bring(session, statement(paid(invoice, amount=amount)))
        assert match_all(session) == [False]

    def test_too_little_leaves_a_remainder(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        self.waiting(control_session, invoice, 100_000)
        settle(control_session, invoice)
        assert (invoice.state, invoice.open_minor) == ("issued", invoice.total_minor - 100_000)

    def test_too_much_is_kept_as_credit(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        self.waiting(control_session, invoice, invoice.total_minor + 5_000)
        settle(control_session, invoice)
        assert invoice.state == "paid"
        assert credit(control_session) == 5_000

    def test_paid_twice_is_kept_as_credit(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        bring(control_session, statement(paid(invoice), paid(invoice)))
        assert match_all(control_session) == [True, False]
        settle(control_session, invoice)
        assert credit(control_session) == invoice.total_minor

    def test_happens_once(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        self.waiting(control_session, invoice, 1_000)
        settle(control_session, invoice)
        transfer = control_session.scalars(select(BankTransfer)).one()
        with pytest.raises(IllegalMove):
            statement_import.settle(
                control_session=control_session,
                transfer_id=transfer.id,
                invoice_id=invoice.id,
                staff_id=make_staff(control_session).id,
                now=NOW,
            )
        assert control_session.scalar(select(func.count()).select_from(Payment)) == 1

    def test_of_a_void_invoice_is_refused(self, control_session: Session) -> None:
        from app.base.audit import SYSTEM
        from invoices import invoicing

        invoice = make_invoice(control_session)
        self.waiting(control_session, invoice, 1_000)
        invoicing.void(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="wrong",
            actor=SYSTEM,
            now=NOW,
        )
        with pytest.raises(statement_import.NotForAnInvoice):
            settle(control_session, invoice)

    def test_what_is_for_nobody_is_put_aside_and_may_be_taken_up(
        self, control_session: Session
    ) -> None:
        self.waiting(control_session, make_invoice(control_session), 7)
        transfer = control_session.scalars(select(BankTransfer)).one()
        by = {
            "control_session": control_session,
            "transfer_id": transfer.id,
            "staff_id": make_staff(control_session).id,
            "now": NOW,
        }
        statement_import.put_aside(why="interest of the bank", **by)
        assert transfer.state == "ignored"
        statement_import.take_up(**by)
        assert transfer.state == "open"


class TestADepositsRow:
    def test_can_be_changed_by_nobody(self, control_session: Session) -> None:
        bring(control_session, statement(paid(make_invoice(control_session))))
        for change in ("UPDATE bank_transfer SET amount_minor = 1", "DELETE FROM bank_transfer"):
            with pytest.raises(DatabaseError), control_session.begin_nested():
                control_session.execute(text(change))


class TestAPayerWhoIsKnown:
    def test_is_known_by_the_name_that_paid_before(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        bring(control_session, statement(paid(invoice)))
        match_all(control_session)
        from invoices.models import Subscription
        from tenants.models import Tenant

        control_session.execute(
            text("UPDATE subscription SET state = 'cancelled', ends_on = starts_on")
        )
        tenant = control_session.get_one(Tenant, invoice.tenant_id)
        control_session.expire_all()
        second = make_invoice(control_session, tenant=tenant)
        bring(control_session, statement(paid(second, memo="")))
        assert match_all(control_session) == [True]
        assert control_session.get_one(Subscription, second.subscription_id)


class TestLayouts:
    def save(self, session: Session, **changed: Any) -> Any:
        values: dict[str, Any] = {
            "name": " 우리 은행 ",
            "headings": {"day": "거래일", "amount": "찾으신금액, 맡기신금액", "payer": "기재내용"},
            "day_format": "",
            "currency": "KRW",
            "actor": SYSTEM,
            "now": NOW,
        }
        return statement_layouts.save(control_session=session, **(values | changed))

    def test_are_kept_by_name_and_replaced(self, control_session: Session) -> None:
        self.save(control_session)
        self.save(control_session, day_format="%Y%m%d")
        found = statement_layouts.listed(control_session=control_session)
        assert [each.name for each in found] == ["usual", "우리 은행"]
        kept = statement_layouts.named(control_session=control_session, name="우리 은행")
        assert kept.headings["amount"] == ["찾으신금액", "맡기신금액"]
        assert kept.day_format == "%Y%m%d"

    @pytest.mark.parametrize(
        ("field", "changed"),
        [
            ("name", {"name": " "}),
            ("name", {"name": "usual"}),
            ("day", {"headings": {"amount": "a"}}),
            ("amount", {"headings": {"day": "a", "amount": ",".join("abcdefghi")}}),
            ("day_format", {"day_format": "yyyy-mm-dd"}),
            ("day_format", {"day_format": "%m-%d-%d"}),
            ("day_format", {"day_format": "%Y-%m-%d %"}),
            ("day_format", {"day_format": "%Y-%m-%d %Q"}),
            ("day_format", {"day_format": "%d.%m."}),
            ("day_format", {"day_format": "%y%Y%m%d"}),
            ("currency", {"currency": "XXX"}),
        ],
    )
    def test_that_make_no_sense_are_refused_at_their_field(
        self, control_session: Session, field: str, changed: dict[str, Any]
    ) -> None:
        with pytest.raises(Invalid) as refused:
            self.save(control_session, **changed)
        assert refused.value.field == field
