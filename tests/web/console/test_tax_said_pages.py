"""What finance says of tax papers: handed in, made elsewhere, or amended ahead of the books."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import tax_amendments, tax_following
from invoices.documents.papers import Amendment
from invoices.models import CreditNote, Invoice, TaxInvoice
from invoices.tax_amendments import AmendmentWrong
from tests.browser import chromium, faults, open_page, screenshot
from tests.factories import NOW
from tests.invoices.issuing import issue
from tests.invoices.test_papers_by_hand import in_part_by_card
from tests.invoices.test_refunds import take_back
from tests.web.console.test_tax_papers_pages import LIST, act, tax_invoice
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.portal.parts import committed
from tests.web.site.serving import serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day of the factories' invoices."""
    set_clock(NOW)


def amended(session: Session, row: TaxInvoice, amendment: Amendment, **more: Any) -> None:
    sheets = tax_amendments.amend(
        control_session=session,
        tax_invoice_id=row.id,
        amendment=amendment,
        reason="두 번 발행",
        actor=SYSTEM,
        now=NOW,
        **more,
    )
    issue(session, *sheets)


def returned() -> TaxInvoice:
    """A tax invoice less by 50,000 won and 4,321 of tax, which nobody credited yet."""
    row = tax_invoice()
    with control_session() as session:
        less = {"on": NOW.date(), "supply_minor": 50_000, "tax_minor": 4_321}
        amended(session, row, Amendment.RETURN, **less)
    return row


def credit_note_after_issued_twice() -> CreditNote:
    """One that the step found no paper for."""
    row = tax_invoice()
    with control_session() as session:
        amended(session, row, Amendment.ISSUED_TWICE)
        note = take_back(session, session.get_one(Invoice, row.invoice_id), 55_000)
        with pytest.raises(AmendmentWrong) as refused:
            tax_following.after_credit_note(control_session=session, credit_note=note, now=NOW)
        tax_following.give_up(control_session=session, credit_note_id=note.id, error=refused.value)
        return note


class TestAPaperThatSomebodyHandedIn:
    APPROVAL = "20260310-41000000-0000abcd"

    def test_is_noted_by_finance_and_is_not_said_to_be_transmitted(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "finance")
        waits = f"{LIST}?state=to-hand-in"
        assert str(row.issue_id) in client.get(waits).text
        wrong = act(client, row, "handed-in", {"number": "12", "handed_in_on": "2026-03-10"})
        assert wrong.status_code == 422
        assert "승인번호 24자리를 적어 주세요" in wrong.text
        done = {"number": self.APPROVAL, "handed_in_on": "2026-03-10"}
        assert act(client, row, "handed-in", done).status_code == 303
        shown = client.get(f"{LIST}/of/{row.invoice_id}", query_string={"lang": "en"}).text
        assert self.APPROVAL.replace("-", "") in shown
        assert "Not transmitted" in shown
        assert str(row.issue_id) not in client.get(waits).text

    def test_is_not_noted_by_a_viewer(self, client: Any) -> None:
        row = tax_invoice()
        sign_in_staff(client, "viewer")
        page = f"{LIST}/of/{row.invoice_id}"
        assert "/handed-in" not in client.get(page).text
        assert send(client, page, {}, to=f"{LIST}/{row.id}/handed-in").status_code == 403

    def test_that_there_is_not_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        for what in (f"{UUID(int=7)}/handed-in", f"credit-notes/{UUID(int=7)}/made"):
            assert send(client, LIST, {}, to=f"{LIST}/{what}").status_code == 404


class TestACreditNoteThatNoPaperFollows:
    def test_is_named_to_finance_until_its_paper_is_noted(self, client: Any) -> None:
        note = credit_note_after_issued_twice()
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{note.invoice_id}"
        for language, why in (
            ("ko", "다른 곳에서 발행한 증빙"),
            ("en", "a paper issued elsewhere"),
        ):
            shown = client.get("/console/attention", query_string={"lang": language}).text
            assert note.number_text in shown
            assert why in shown
        client.get(page, query_string={"lang": "ko"})
        to = f"{LIST}/credit-notes/{note.id}/made"
        assert send(client, page, {"number": "1", "words": "홈택스"}, to=to).status_code == 422
        done = {
            "number": "20260310-41000000-00000009",
            "issued_on": "2026-03-10",
            "words": "홈택스",
        }
        assert send(client, page, done, to=to).status_code == 303
        assert done["number"] in client.get(page).text
        assert note.number_text not in client.get("/console/attention").text

    def test_is_tried_again_on_demand(self, client: Any) -> None:
        note = credit_note_after_issued_twice()
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{note.invoice_id}"
        again = f"{LIST}/credit-notes/{note.id}/again"
        assert send(client, page, {}, to=again).status_code == 303
        assert note.number_text not in client.get("/console/attention").text
        assert send(client, page, {}, to=again).status_code == 409


class TestAPaperAmendedByHand:
    def test_leads_to_the_credit_note_that_it_waits_for(self, client: Any) -> None:
        row = returned()
        sign_in_staff(client, "finance")
        page = f"{LIST}/of/{row.invoice_id}"
        waiting = client.get("/console/attention").text
        assert page in waiting
        assert "54,321" in waiting
        (asked,) = re.findall(r'href="([^"]+take-back[^"]+)"', client.get(page).text)
        planned = client.get(html.unescape(asked)).text
        assert "50,000" in planned
        assert "4,321" in planned


class TestTheirPages:
    def test_have_no_faults_in_either_language(self, app: Any, browser: Browser) -> None:
        committed(in_part_by_card)
        shown = {
            "stuck": f"{LIST}/of/{credit_note_after_issued_twice().invoice_id}",
            "ahead": f"{LIST}/of/{returned().invoice_id}",
            "attention": "/console/attention",
            "deadlines": "/console/tax-deadlines",
        }
        email = staff_member("finance")
        pictures = os.environ.get("TENANTRY_PICTURES", "")
        with serve(app) as address:
            for language in ("ko", "en"):
                with open_page(browser, language=language) as page:
                    admit(page, f"{address}/console", email=email, password=PASSWORD)
                    for name, path in shown.items():
                        page.goto(f"{address}{path}")
                        for unfold in page.locator("main details > summary").all():
                            unfold.click()
                        assert faults(page) == []
                        for width in (1280, 390) if pictures else ():
                            page.set_viewport_size({"width": width, "height": 844})
                            screenshot(page, Path(pictures) / f"{name}-{language}-{width}.png")
