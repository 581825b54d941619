"""Finance's pages of debts and of bank statements, and the customer's side of both."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from invoices import card_links, catalogue, dunning, plan_moves, reversals, settlement
from invoices.models import (
    BankStatement,
    BankTransfer,
    DunningHold,
    DunningRule,
    DunningWaiver,
    Invoice,
    PriceConsent,
    VirtualAccount,
)
from invoices.plan_moves import Move, Moves
from invoices.settlement import Arrival
from jobs import transfers as transfers_step
from tenants.models import Tenant
from tests.factories import NOW, make_invoice, make_subscription
from tests.invoices.collecting import gateway_at
from tests.invoices.plans import TEAM, dearer
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.parts import committed, customer, sign_in

LATE = NOW + timedelta(days=15)
PAGE = "/console/collecting"


@pytest.fixture(autouse=True)
def clock_late(scenario: object, set_clock: Callable[[datetime], None]) -> None:
    """A day after the factories' invoices were due."""
    set_clock(LATE)


@pytest.fixture
def debt() -> Invoice:
    """An overdue invoice, its tenant marked past due."""
    invoice = committed(make_invoice)
    with control_session() as session:
        dunning.mark_overdue(control_session=session, now=LATE, limit=9)
    return invoice


class TestDebts:
    @pytest.mark.parametrize(("language", "word"), [("ko", "연체"), ("en", "Debts")])
    def test_are_listed_and_shown(
        self, client: Any, debt: Invoice, language: str, word: str
    ) -> None:
        sign_in_staff(client, "finance")
        listed = client.get(PAGE, query_string={"lang": language}).text
        assert word in listed
        assert "209,000" in listed
        page = client.get(f"{PAGE}/{debt.tenant_id}", query_string={"lang": language}).text
        assert debt.number_text in page

    def test_rest_on_hold_and_again_not(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = f"{PAGE}/{debt.tenant_id}"
        no_reason = {"until": "2026-04-10", "why": " "}
        assert send(client, page, no_reason, to=f"{page}/hold").status_code == 422
        asked = {"until": "2026-04-10", "why": "they pay next week"}
        assert send(client, page, asked, to=f"{page}/hold").status_code == 303
        assert "they pay next week" in client.get(page).text
        assert send(client, page, {"why": "paid"}, to=f"{page}/lift").status_code == 303
        with control_session() as session:
            assert session.scalars(select(DunningHold)).one().lifted_at is not None

    def test_are_forgiven_with_a_reason(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = f"{PAGE}/{debt.tenant_id}"
        to = f"{page}/forgive/{debt.id}"
        assert send(client, page, {"why": ""}, to=to).status_code == 422
        assert send(client, page, {"why": "our mistake"}, to=to).status_code == 303
        with control_session() as session:
            assert session.scalars(select(DunningWaiver.why)).one() == "our mistake"
            assert session.get_one(Tenant, debt.tenant_id).state == "active"

    def test_are_followed_up_otherwise(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = f"{PAGE}/{debt.tenant_id}"
        rule = {"retry_days": "1,2", "grace_days": "30", "warning_days": "", "why": "agreed"}
        assert send(client, page, rule | {"retry_days": "x"}, to=f"{page}/rule").status_code == 422
        assert send(client, page, rule, to=f"{page}/rule").status_code == 303
        assert "1, 2" in client.get(page).text
        assert send(client, PAGE, rule, to=f"{PAGE}/plans/team/rule").status_code == 303
        assert "1,2" in client.get(PAGE).text

    @pytest.mark.parametrize("of", ["company", "plan"])
    def test_refused_keep_what_was_typed_in_their_dialog(
        self, client: Any, debt: Invoice, of: str
    ) -> None:
        sign_in_staff(client, "finance")
        own = f"{PAGE}/{debt.tenant_id}"
        page, to = (own, f"{own}/rule") if of == "company" else (PAGE, f"{PAGE}/plans/team/rule")
        rule = {"retry_days": "x<", "grace_days": "31", "warning_days": "", "why": "agreed & said"}
        refused = send(client, page, rule, to=to)
        assert refused.status_code == 422
        assert refused.text.count("data-sent") == 1
        for kept in ('value="x&lt;"', 'value="31"', "agreed &amp; said"):
            assert refused.text.count(kept) == 1
        assert refused.text.count("aria-invalid") == 1

    def test_say_the_customers_own_last_day_on_the_first_page(
        self, client: Any, debt: Invoice
    ) -> None:
        with control_session() as session:
            tenant = session.get_one(Tenant, debt.tenant_id)
            session.add(DunningRule(tenant_id=tenant.id, grace_days=40, set_at=LATE))
        sign_in(client, tenant)
        own = (LATE + timedelta(days=40)).date()
        assert f"{own}" in client.get("/portal/").text
        with control_session() as session:
            warned = session.get_one(Tenant, debt.tenant_id)
            warned.suspend_after = LATE + timedelta(days=47)
        assert f"{(LATE + timedelta(days=47)).date()}" in client.get("/portal/").text

    def test_are_for_finance_to_decide(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "sales")
        page = f"{PAGE}/{debt.tenant_id}"
        assert "/hold" not in client.get(page).text
        token = csrf_token(client, page)
        answer = client.post(f"{page}/hold", data={"csrf_token": token, "why": "x"})
        assert answer.status_code == 403


class TestADepositThatWentBack:
    @pytest.mark.parametrize(("language", "word"), [("ko", "취소된 입금"), ("en", "taken back")])
    def test_is_on_the_list_until_it_is_paid_anew(
        self, client: Any, debt: Invoice, language: str, word: str
    ) -> None:
        with control_session() as session:
            deposit = settlement.receive(
                control_session=session,
                invoice_id=debt.id,
                arrival=Arrival(
                    kind="virtual_account",
                    gateway="sandbox",
                    gateway_payment_id="pay_1",
                    amount=Money(debt.total_minor, debt.currency),
                    received_on=LATE.date(),
                ),
                actor=SYSTEM,
                now=LATE,
            )
            reversals.taken_by_bank(
                control_session=session, payment=deposit, reason="the bank says so", now=LATE
            )
        sign_in_staff(client, "finance")
        listed = client.get(PAGE, query_string={"lang": language}).text
        assert word in listed
        assert debt.number_text in listed


class TestStatements:
    def bring(self, client: Any, text: str, layout: str = "usual") -> Any:
        page = "/console/transfers"
        fields = {"layout": layout, "file": (io.BytesIO(text.encode("cp949")), "3월.csv")}
        return send(client, page, fields, to=f"{page}/import")

    def test_are_imported_and_the_rest_settled_by_hand(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "finance")
        sent = self.bring(client, f"거래일시,입금액,적요\n2026-03-20,1000,{debt.number_text}\n")
        assert sent.status_code == 303
        assert transfers_step.work() == 1
        page = client.get("/console/transfers", query_string={"lang": "en"}).text
        assert "its number is named" in page
        with control_session() as session:
            transfer = session.scalars(select(BankTransfer)).one()
        to = f"/console/transfers/{transfer.id}/settle"
        wrong = send(client, "/console/transfers", {"number": "INV-1"}, to=to)
        assert wrong.status_code == 404
        done = send(client, "/console/transfers", {"number": debt.number_text}, to=to)
        assert done.status_code == 303
        with control_session() as session:
            assert session.get_one(Invoice, debt.id).paid_minor == 1_000

    def test_with_a_fault_say_line_and_column(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        refused = self.bring(client, "거래일시,입금액\n어제,1000\n")
        assert refused.status_code == 422
        assert "2행 거래일시 열" in refused.text
        assert "어제" in refused.text

    @pytest.mark.parametrize("content", ["", "\n\n", ",,\n,,\n"])
    def test_without_a_word_are_told_so_at_the_field(self, client: Any, content: str) -> None:
        sign_in_staff(client, "finance")
        refused = self.bring(client, content)
        assert refused.status_code == 422
        assert 'id="file-error"' in refused.text
        assert "내용이 비어 있어요" in refused.text

    def test_read_wrongly_are_discarded_and_imported_anew(self, client: Any, debt: Invoice) -> None:
        sign_in_staff(client, "finance")
        page = "/console/transfers"
        wrong = {"name": "달러", "day": "거래일시", "amount": "입금액", "currency": "USD"}
        assert send(client, page, wrong, to=f"{page}/layouts").status_code == 303
        text = f"거래일시,입금액,적요\n2026-03-20,1000,{debt.number_text}\n"
        assert self.bring(client, text, layout="달러").status_code == 303
        again = self.bring(client, text)
        assert again.status_code == 409
        assert 'id="file-error"' in again.text
        with control_session() as session:
            to = f"{page}/imports/{session.scalars(select(BankStatement.id)).one()}/discard"
        assert send(client, page, {"why": ""}, to=to).status_code == 422
        assert send(client, page, {"why": "달러로 읽음"}, to=to).status_code == 303
        assert "취소됨" in client.get(page).text
        assert send(client, page, {"why": "달러로 읽음"}, to=to).status_code == 409
        assert self.bring(client, text).status_code == 303
        with control_session() as session:
            found = session.execute(select(BankTransfer.currency, BankTransfer.state)).all()
        assert sorted(tuple(row) for row in found) == [("KRW", "new"), ("USD", "ignored")]

    def test_are_discarded_by_finance_alone(self, client: Any) -> None:
        sign_in_staff(client, "sales")
        to = f"/console/transfers/imports/{UUID(int=7)}/discard"
        assert send(client, "/console/transfers", {"why": "x"}, to=to).status_code == 403

    @pytest.mark.parametrize("shape", ["%m-%d-%d", "%Y-%m-%d %"])
    def test_of_a_day_that_nobody_can_read_are_refused_at_the_field(
        self, client: Any, shape: str
    ) -> None:
        sign_in_staff(client, "finance")
        fields = {"name": "우리", "day": "일", "amount": "원", "currency": "KRW"}
        page = "/console/transfers"
        refused = send(client, page, fields | {"day_format": shape}, to=f"{page}/layouts")
        assert refused.status_code == 422
        assert 'id="day_format-error"' in refused.text

    def test_of_a_bank_with_headings_of_its_own_are_described(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        fields = {"name": "우리", "day": "일", "amount": "원", "currency": "KRW"}
        page = "/console/transfers"
        assert send(client, page, fields | {"day": ""}, to=f"{page}/layouts").status_code == 422
        assert send(client, page, fields, to=f"{page}/layouts").status_code == 303
        assert ">우리</option>" in client.get(page).text


class TestTheCardLink:
    def test_leads_to_the_card_page_after_signing_in(self, client: Any) -> None:
        tenant = customer()
        path = urlsplit(card_links.link(tenant_id=tenant.id, now=LATE)).path
        first = client.get(path)
        assert "/portal/sign-in" in first.headers["Location"]
        sign_in(client, tenant)
        assert client.get(path).headers["Location"].endswith("/portal/payment")

    def test_of_another_company_or_of_yesterday_leads_nowhere_else(self, client: Any) -> None:
        tenant, other = customer(), customer()
        sign_in(client, tenant)
        theirs = urlsplit(card_links.link(tenant_id=other.id, now=LATE)).path
        assert client.get(theirs).headers["Location"].endswith("/portal/")
        old = urlsplit(card_links.link(tenant_id=tenant.id, now=NOW - timedelta(days=90))).path
        for path in (old, "/portal/card/forged.x"):
            assert client.get(path).headers["Location"].endswith("/portal/payment")


class TestPayingByTransfer:
    @pytest.fixture
    def sandbox(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
            yield running

    def test_shows_an_account_and_the_deposit_opens_the_doors(
        self, client: Any, debt: Invoice, sandbox: Any
    ) -> None:
        with control_session() as session:
            tenant = session.get_one(Tenant, debt.tenant_id)
        sign_in(client, tenant)
        page = f"/portal/invoices/{debt.id}/transfer"
        assert send(client, page, {"bank": "999"}).status_code == 422
        assert send(client, page, {"bank": "088"}).status_code == 303
        with control_session() as session:
            account = session.scalars(select(VirtualAccount)).one()
        shown = client.get(page).text
        assert account.number in shown
        assert 'action="/portal/sign-out"' in shown  # the page's own account is not the bank's
        paid = sandbox.ask("POST", f"/v1/virtual-accounts/{account.order_id}/deposit")
        assert paid.status_code == 200
        with control_session() as session:
            session.get_one(VirtualAccount, account.id).look_at = LATE
        assert transfers_step.work() == 1
        with control_session() as session:
            assert session.get_one(Invoice, debt.id).state == "paid"
            assert session.get_one(Tenant, debt.tenant_id).state == "active"


class TestAgreeingToAPrice:
    def test_is_asked_read_and_given(
        self, client: Any, set_clock: Callable[[datetime], None]
    ) -> None:
        set_clock(NOW)
        subscription = committed(make_subscription)
        move = Move(
            plan_code="team",
            currency="KRW",
            from_version=1,
            to_version=2,
            on=(NOW + timedelta(days=30)).date(),
            notice_days=30,
        )
        with control_session() as session:
            catalogue.publish(control_session=session, terms=dearer(TEAM), actor=SYSTEM, now=NOW)
            plan_moves.schedule(
                control_session=session,
                move=move,
                tenant_id=subscription.tenant_id,
                actor=SYSTEM,
                now=NOW,
                found=Moves(),
            )
            asked = session.scalars(select(PriceConsent)).one()
            tenant = session.get_one(Tenant, subscription.tenant_id)
        set_clock(datetime.fromisoformat(f"{asked.opens_on}T03:00:00+00:00"))
        sign_in(client, tenant)
        assert "/portal/plan/consent" in client.get("/portal/plan").text
        page = client.get("/portal/plan/consent", query_string={"lang": "en"}).text
        assert "₩210,000" in page
        digest = page.split('name="text_sha256" value="')[1].split('"')[0]
        fields = {"answer": "yes", "language": "en", "text_sha256": digest}
        assert send(client, "/portal/plan/consent", fields).status_code == 422
        assert send(client, "/portal/plan/consent", fields | {"accept": "y"}).status_code == 303
        with control_session() as session:
            assert session.get_one(PriceConsent, asked.id).state == "given"
