"""Tax papers in the console: how far each has got, its XML, and what finance does with it."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser
from sqlalchemy import func, select, update

from app.base import secrets
from app.base.audit import SYSTEM
from app.base.db import control_session
from app.web.console import tax_papers
from invoices import cash_receipt_queue, cash_receipts, evidence
from invoices.models import CashReceipt, TaxInvoice, VatEvidence
from tests.browser import chromium, faults, open_page, screenshot
from tests.factories import NOW, make_invoice, make_tenant
from tests.invoices.issuing import issue
from tests.invoices.test_evidence import transfer
from tests.invoices.test_papers_by_hand import in_part_by_card
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.portal.parts import committed
from tests.web.site.serving import serve

LIST = "/console/tax-papers"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def act(client: Any, row: TaxInvoice, what: str, fields: dict[str, Any]) -> Any:
    """Sends a form from the page of the supply's papers."""
    page = f"{LIST}/of/{row.invoice_id}"
    return send(client, page, fields, to=f"{LIST}/{row.id}/{what}")


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day of the factories' invoices."""
    set_clock(NOW)


def tax_invoice(state: str = "issued") -> TaxInvoice:
    """A tax invoice of a supply that a transfer paid."""
    tenant = committed(make_tenant, state="active", converted_at=NOW)
    with control_session() as session:
        invoice = make_invoice(session, tenant=tenant)
        transfer(session, invoice)
        evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
        row = session.scalars(select(TaxInvoice).where(TaxInvoice.invoice_id == invoice.id)).one()
        if state == "issued":
            issue(session, row)
        if state == "failed":
            row.state, row.error_code, row.error = "failed", "-11000099", "인증서 만료"
        session.flush()
        return row


def again(row_id: UUID) -> TaxInvoice:
    with control_session() as session:
        return session.get_one(TaxInvoice, row_id)


def cash_receipt_without_an_answer() -> CashReceipt:
    with control_session() as session:
        invoice = make_invoice(session)
        chosen = VatEvidence(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            kind="cash_receipt",
            payment_id=transfer(session, invoice).id,
            chosen_at=NOW,
        )
        session.add(chosen)
        session.flush()
        receipt = CashReceipt(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            evidence_id=chosen.id,
            state="due",
            use="expense_proof",
            identity_sealed=secrets.encrypt("1208147521"),
            identity_masked="120***7521",
            issuer="toss-receipts",
            key="CR1",
            supply_minor=190_000,
            tax_minor=19_000,
            total_minor=209_000,
            created_at=NOW,
            asked_at=NOW,
        )
        session.add(receipt)
        session.flush()
    return receipt


def cash_receipt_that_a_person_cancels() -> tuple[CashReceipt, UUID]:
    """One that is known by its number alone, and its cancelling in part, which waits."""
    receipt = cash_receipt_without_an_answer()
    with control_session() as session:
        cash_receipt_queue.declare(
            control_session=session,
            row_id=receipt.id,
            number="123456789",
            why="their back office",
            actor=SYSTEM,
            now=NOW,
        )
        assert cash_receipts.cancel(
            control_session=session,
            invoice_id=receipt.invoice_id,
            cause_id=UUID(int=9),
            supply_minor=10_000,
            tax_minor=1_000,
            reason="refund",
            now=NOW,
        )
        cancelling = session.scalars(
            select(CashReceipt.id).where(CashReceipt.cancels_id == receipt.id)
        ).one()
        session.execute(update(CashReceipt).values(asked_at=NOW))
    return receipt, cancelling


class TestTheList:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_numbers_and_states_and_filters_them(self, client: Any, language: str) -> None:
        issued, failed = tax_invoice(), tax_invoice("failed")
        sign_in_staff(client, "viewer")
        page = client.get(f"{LIST}?lang={language}").text
        assert str(issued.issue_id) in page
        assert failed.management_key in page
        only = client.get(f"{LIST}?state=failed").text
        assert failed.management_key in only
        assert str(issued.issue_id) not in only
        assert client.get(f"{LIST}?state=nonsense").status_code == 200

    def test_goes_back_a_page_at_a_time(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tax_papers, "LISTED_MAX", 2)
        made = [tax_invoice("failed").management_key for _ in range(3)]
        sign_in_staff(client, "viewer")
        newest = client.get(f"{LIST}?state=failed").text
        assert [key in newest for key in made] == [False, True, True]
        older = re.search(r'href="([^"]*before=[^"]*)"', newest)
        assert older is not None
        oldest = client.get(html.unescape(older[1])).text
        assert [key in oldest for key in made] == [True, False, False]


class TestASupplysPapers:
    def test_shows_the_state_and_sends_the_signed_xml(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "viewer")
        page = client.get(f"{LIST}/of/{row.invoice_id}?lang=en").text
        assert "Issued, not transmitted" in page
        assert "Amend" not in page
        sent = client.get(f"{LIST}/{row.id}/xml")
        assert sent.mimetype == "application/xml"
        assert b"<IssueID>" + str(row.issue_id).encode() in sent.data
        assert "attachment" in sent.headers["Content-Disposition"]

    def test_before_it_is_issued_has_no_xml(self, client: Any) -> None:
        row = tax_invoice("due")
        sign_in_staff(client, "finance")
        assert client.get(f"{LIST}/{row.id}/xml").status_code == 404

    def test_that_failed_says_why_and_is_tried_again(self, client: Any) -> None:
        row = tax_invoice("failed")
        sign_in_staff(client, "finance")
        page = client.get(f"{LIST}/of/{row.invoice_id}").text
        assert "-11000099" in page
        assert "인증서 만료" in page
        assert act(client, row, "again", {}).status_code == 303
        assert again(row.id).state == "due"

    def test_is_not_tried_again_by_a_viewer(self, client: Any) -> None:
        row = tax_invoice("failed")
        sign_in_staff(client, "viewer")
        assert act(client, row, "again", {}).status_code == 403
        assert again(row.id).state == "failed"

    def test_that_is_a_cash_receipt_without_an_answer_is_told_of_by_a_person(
        self, client: Any
    ) -> None:
        receipt = cash_receipt_without_an_answer()
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{receipt.invoice_id}"
        to = f"{LIST}/receipts/{receipt.id}/declare"
        assert to in client.get(page).text
        assert send(client, page, {"why": ""}, to=to).status_code == 422
        assert send(client, page, {"why": "their back office"}, to=to).status_code == 303
        with control_session() as session:
            assert session.get_one(CashReceipt, receipt.id).asked_at is None
        assert to not in client.get(page).text

    def test_that_is_a_cash_receipt_asked_about_right_now_is_left_to_the_worker(
        self, client: Any
    ) -> None:
        receipt = cash_receipt_without_an_answer()
        with control_session() as session:
            session.execute(
                update(CashReceipt).values(lease_until=func.clock_timestamp() + timedelta(hours=1))
            )
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{receipt.invoice_id}"
        to = f"{LIST}/receipts/{receipt.id}/declare"
        assert to not in client.get(page).text
        assert "지금 발급처에 확인하고 있어요" in client.get(page).text
        answer = send(client, page, {"why": "their back office", "number": "1"}, to=to)
        assert answer.status_code == 409

    def test_that_only_a_person_can_cancel_says_how(self, client: Any) -> None:
        receipt, cancelling = cash_receipt_that_a_person_cancels()
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{receipt.invoice_id}"
        shown = client.get(page).text
        assert "취소 승인번호" in shown
        assert "11,000" in shown
        to = f"{LIST}/receipts/{cancelling}/declare"
        assert send(client, page, {"why": "cancelled there"}, to=to).status_code == 422
        done = {"why": "cancelled there", "number": "987654321"}
        assert send(client, page, done, to=to).status_code == 303
        assert "직접 취소해야 해요" not in client.get(page).text

    def test_of_no_invoice_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        for path in (f"of/{UUID(int=7)}", f"{UUID(int=7)}/xml"):
            assert client.get(f"{LIST}/{path}").status_code == 404


class TestAPaperOfSomebodyElses:
    @pytest.mark.parametrize(
        ("language", "said"),
        [
            ("ko", ("직접 발행해야 해요", "카드 매출전표가 증빙이고", "세금계산서")),
            ("en", ("A person issues this one", "A card slip proves a part", "Tax invoice")),
        ],
    )
    def test_says_which_and_over_how_much(
        self, client: Any, language: str, said: tuple[str, ...]
    ) -> None:
        invoice = committed(in_part_by_card)
        sign_in_staff(client, "viewer")
        page = client.get(f"{LIST}/of/{invoice.id}", query_string={"lang": language}).text
        assert all(words in page for words in said)
        assert "99,091" in page
        assert "9,909" in page
        assert "/by-hand" not in page  # a viewer notes nothing

    def test_is_noted_by_finance_and_waits_no_more(self, client: Any) -> None:
        invoice = committed(in_part_by_card)
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{invoice.id}"
        assert page in client.get("/console/attention").text
        typed = {"number": "20260310-41000000-00000001", "words": "홈택스"}
        wrong = send(client, page, typed, to=f"{page}/by-hand")
        assert wrong.status_code == 422
        assert "발행한 날을 적어 주세요" in wrong.text
        assert typed["number"] in wrong.text
        done = typed | {"issued_on": "2026-03-10"}
        assert send(client, page, done, to=f"{page}/by-hand").status_code == 303
        shown = client.get(page).text
        assert "다른 곳에서 발행함" in shown
        assert typed["number"] in shown
        assert page not in client.get("/console/attention").text

    def test_waits_however_old_its_supply_is(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        invoice = committed(in_part_by_card)
        set_clock(NOW + timedelta(days=400))
        sign_in_staff(client, "finance")
        assert f"{LIST}/of/{invoice.id}" in client.get("/console/attention").text


class TestAmending:
    def test_corrects_the_buyer_on_two_sheets(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "finance")
        typed = {"amendment": "01", "reason": "이름이 틀렸어요", "name": "㈜바른이름"}
        assert act(client, row, "amend", typed).status_code == 303
        page = client.get(f"{LIST}/of/{row.invoice_id}?lang=en").text
        assert page.count("Wrong entries") >= 2
        assert "it is not issued yet" in page

    def test_tells_what_is_missing_and_keeps_what_was_typed(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "finance")
        answer = act(client, row, "amend", {"amendment": "03", "reason": "돌려받음"})
        assert answer.status_code == 422
        assert "돌려받음" in answer.text

    def test_for_a_reason_that_a_credit_note_has_is_refused(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "finance")
        answer = act(client, row, "amend", {"amendment": "04", "reason": "x"})
        assert answer.status_code == 422
        assert again(row.id).state == "issued"


class TestThesePages:
    def test_have_no_faults_in_either_language(self, app: Any, browser: Browser) -> None:
        row = tax_invoice()
        tax_invoice("failed")
        shown = {
            "of": f"{LIST}/of/{row.invoice_id}",
            "by-hand": f"{LIST}/of/{committed(in_part_by_card).id}",
            "receipt": f"{LIST}/of/{cash_receipt_that_a_person_cancels()[0].invoice_id}",
        }
        email = staff_member("finance")
        pictures = os.environ.get("TENANTRY_PICTURES", "")
        with serve(app) as address:
            for language in ("ko", "en"):
                with open_page(browser, language=language) as page:
                    admit(page, f"{address}/console", email=email, password=PASSWORD)
                    page.goto(f"{address}{LIST}")
                    assert faults(page) == []
                    for name, path in shown.items():
                        page.goto(f"{address}{path}")
                        for unfold in page.locator("main details > summary").all():
                            unfold.click()
                        assert faults(page) == []
                        for width in (1280, 390) if pictures else ():
                            page.set_viewport_size({"width": width, "height": 844})
                            screenshot(page, Path(pictures) / f"{name}-{language}-{width}.png")
