"""Finance's pages of money: taking back with a look beforehand, refunds, and the books to take."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from app.cli.ledger import ledger_commands
from invoices import settlement
from invoices.models import CreditNote, Invoice, Payment, Refund
from tests.factories import NOW, make_invoice, make_tenant
from tests.web.forms import send, sign_in_staff
from tests.web.portal.parts import committed

LIST = "/console/invoices"


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Any) -> None:
    """The day on which the factories' invoices are issued."""
    set_clock(NOW)


@pytest.fixture
def invoice() -> Invoice:
    """An issued invoice over 209,000 won."""
    tenant = committed(make_tenant, state="active", converted_at=NOW)
    found: Invoice = committed(make_invoice, tenant=tenant)
    return found


def again(invoice_id: UUID) -> Invoice:
    with control_session() as session:
        return session.get_one(Invoice, invoice_id)


def pay(client: Any, invoice: Invoice) -> None:
    fields = {"amount": "209000", "payer": "가나다", "paid_on": "2026-03-10"}
    page = f"{LIST}/{invoice.id}"
    assert send(client, page, fields, to=f"{page}/transfer").status_code == 303


class TestTakingBack:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_first_what_would_happen(
        self, client: Any, invoice: Invoice, language: str
    ) -> None:
        sign_in_staff(client, "finance")
        asked = {"amount": "11,000", "lang": language}
        page = client.get(f"{LIST}/{invoice.id}/take-back", query_string=asked)
        assert page.status_code == 200
        assert "₩10,000" in page.text
        assert "₩1,000" in page.text
        assert again(invoice.id).credited_minor == 0

    def test_makes_the_credit_note(self, client: Any, invoice: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = f"{LIST}/{invoice.id}/take-back?amount=11000"
        fields = {"amount": "11000", "keep": "", "why": "wrong seats"}
        answer = send(client, page, fields, to=f"{LIST}/{invoice.id}/take-back")
        assert answer.status_code == 303
        assert again(invoice.id).credited_minor == 11_000
        shown = client.get(f"{LIST}/{invoice.id}?lang=en").text
        assert "Credit note" in shown

    @pytest.mark.parametrize(
        ("field", "value"), [("amount", "209001"), ("amount", "x"), ("why", "")]
    )
    def test_refuses_what_does_not_fit(
        self, client: Any, invoice: Invoice, field: str, value: str
    ) -> None:
        sign_in_staff(client, "finance")
        fields = {"amount": "11000", "why": "wrong seats"} | {field: value}
        page = f"{LIST}/{invoice.id}/take-back?amount=11000"
        answer = send(client, page, fields, to=f"{LIST}/{invoice.id}/take-back")
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text

    def test_is_finances_alone(self, client: Any, invoice: Invoice) -> None:
        sign_in_staff(client, "sales")
        assert client.get(f"{LIST}/{invoice.id}/take-back").status_code == 403
        assert client.get(f"{LIST}/money-back").status_code == 403
        assert client.get("/console/ledger").status_code == 403


class TestAPaymentByMistake:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_is_taken_back_with_a_reason_and_shown_as_such(
        self, client: Any, invoice: Invoice, language: str
    ) -> None:
        sign_in_staff(client, "finance")
        pay(client, invoice)
        with control_session() as session:
            payment_id = session.scalars(select(Payment.id)).one()
        page = f"{LIST}/{invoice.id}"
        to = f"{page}/payments/{payment_id}/take-back"
        assert send(client, page, {"reason": " "}, to=to).status_code == 422
        assert again(invoice.id).state == "paid"
        assert send(client, page, {"reason": "another company's"}, to=to).status_code == 303
        assert again(invoice.id).open_minor == 209_000
        shown = client.get(page, query_string={"lang": language}).text
        assert "another company" in shown
        assert to not in shown
        assert ("taken back on" if language == "en" else "취소") in shown

    def test_is_not_another_invoices(self, client: Any, invoice: Invoice) -> None:
        sign_in_staff(client, "finance")
        pay(client, invoice)
        other: Invoice = committed(make_invoice)
        with control_session() as session:
            payment_id = session.scalars(select(Payment.id)).one()
        page = f"{LIST}/{other.id}"
        to = f"{page}/payments/{payment_id}/take-back"
        assert send(client, page, {"reason": "x"}, to=to).status_code == 404


def deposit(invoice: Invoice) -> None:
    """Money that came to a virtual account at a gateway."""
    with control_session() as session:
        settlement.receive(
            control_session=session,
            invoice_id=invoice.id,
            arrival=settlement.Arrival(
                kind="virtual_account",
                gateway="sandbox",
                gateway_payment_id="pay_1",
                amount=Money(209_000, "KRW"),
                received_on=NOW.date(),
            ),
            actor=SYSTEM,
            now=NOW,
        )


class TestRefundsOfTransfers:
    @pytest.mark.parametrize(
        ("came", "how", "left"),
        [("bank", {}, "manual"), ("account", {"from": "gateway"}, "sandbox")],
    )
    def test_wait_until_somebody_says_how_they_were_sent(
        self, client: Any, invoice: Invoice, came: str, how: dict[str, str], left: str
    ) -> None:
        sign_in_staff(client, "finance")
        if came == "bank":
            pay(client, invoice)
        else:
            deposit(invoice)
        page = f"{LIST}/{invoice.id}/take-back?amount=11000"
        send(
            client,
            page,
            {"amount": "11000", "why": "wrong seats"},
            to=f"{LIST}/{invoice.id}/take-back",
        )
        with control_session() as session:
            refund_id = session.scalars(select(Refund.id)).one()
            number = session.scalars(select(CreditNote.number_text)).one()
        listed = client.get(f"{LIST}/money-back?lang=en").text
        assert number in listed
        assert ("Ask the payer for an account" in listed) is (came == "account")
        assert ('name="from"' in listed) is (came == "account")
        send(
            client,
            f"{LIST}/money-back",
            {"why": "statement of 10 March", **how},
            to=f"{LIST}/refunds/{refund_id}/sent",
        )
        with control_session() as session:
            sent = session.get_one(Refund, refund_id)
            assert (sent.state, sent.sent_from) == ("succeeded", left)
        assert number not in client.get(f"{LIST}/money-back").text


class TestWritingOff:
    @pytest.mark.parametrize(
        ("language", "said"),
        [
            ("ko", "부가세는 그대로 납부해야 하며, 대손세액공제는"),
            ("en", "Its VAT stays payable: relief for bad debt"),
        ],
    )
    def test_says_that_the_tax_stays(
        self, client: Any, invoice: Invoice, language: str, said: str
    ) -> None:
        sign_in_staff(client, "finance")
        page = client.get(f"{LIST}/{invoice.id}", query_string={"lang": language})
        assert said in page.text

    def test_closes_the_invoice(self, client: Any, invoice: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = f"{LIST}/{invoice.id}"
        send(client, page, {"why": "bankrupt"}, to=f"{page}/write-off")
        assert again(invoice.id).state == "written_off"
        assert client.get(page).status_code == 200


class TestTheLedger:
    @pytest.mark.parametrize(("language", "name"), [("ko", "선수수익"), ("en", "Deferred revenue")])
    def test_shows_what_stands_on_each_account(
        self, client: Any, invoice: Invoice, language: str, name: str
    ) -> None:
        sign_in_staff(client, "finance")
        page = client.get("/console/ledger", query_string={"month": "2026-03", "lang": language})
        assert page.status_code == 200
        assert name in page.text
        assert "₩209,000" in page.text

    def test_of_no_month_is_refused(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        assert client.get("/console/ledger?month=2026-13").status_code == 422

    @pytest.mark.parametrize("kind", ["journal", "trial-balance"])
    def test_is_taken_along_and_balances(self, client: Any, invoice: Invoice, kind: str) -> None:
        sign_in_staff(client, "finance")
        sent = client.get(f"/console/ledger/{kind}.csv?month=2026-03&lang=ko")
        rows = list(csv.DictReader(io.StringIO(sent.data.decode("utf-8-sig"))))
        assert sum(int(row["차변"]) for row in rows) == 209_000
        assert sum(int(row["대변"]) for row in rows) == 209_000
        book = client.get(f"/console/ledger/{kind}.xlsx?month=2026-03")
        assert book.data.startswith(b"PK")

    def test_is_written_by_the_command(self, invoice: Invoice, tmp_path: Any) -> None:
        told = CliRunner().invoke(ledger_commands, ["trial-balance", "--month", "2026-03"])
        assert told.exit_code == 0, told.output
        assert "외상매출금" in told.output
        target = tmp_path / "books.xlsx"
        asked = ["journal", "--month", "2026-03", "--output", str(target)]
        assert CliRunner().invoke(ledger_commands, asked).exit_code == 0
        assert target.read_bytes().startswith(b"PK")
        assert CliRunner().invoke(ledger_commands, ["journal", "--month", "x"]).exit_code == 2
