import csv
import io
import re
import zipfile
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.base.audit import AuditEvent
from app.base.db import control_session
from invoices.models import DocumentBundle, Invoice, Payment
from jobs.bundles import STEP
from tests.factories import NOW, make_invoice, make_tenant
from tests.naughty import NAUGHTY
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.parts import committed, customer

LIST = "/console/invoices"


def invoice(name: str | None = None) -> Invoice:
    """This function will issue an invoice to a new customer and commit it."""
    tenant = committed(make_tenant, state="active", name=name, converted_at=NOW)
    return committed(make_invoice, tenant=tenant)


def again(invoice_id: UUID) -> Invoice:
    """This function will read an invoice anew."""
    with control_session() as session:
        return session.get_one(Invoice, invoice_id)


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Any) -> None:
    """The day on which the factories' invoices are issued."""
    set_clock(NOW)


class TestList:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_numbers_sums_and_tabs(self, client: Any, language: str) -> None:
        first, second = invoice(), invoice()
        sign_in_staff(client, "viewer")
        page = client.get(LIST, query_string={"lang": language})
        assert page.status_code == 200
        assert first.number_text in page.text
        assert second.number_text in page.text
        assert "₩418,000" in page.text  # two base fees of ₩190,000 and 10 % on top

    def test_filters_by_what_the_address_says(self, client: Any) -> None:
        first, second = invoice("가나다 주식회사"), invoice("마바사 주식회사")
        sign_in_staff(client, "finance")
        page = client.get(LIST, query_string={"q": "가나다"}).text
        assert first.number_text in page
        assert second.number_text not in page
        page = client.get(LIST, query_string={"tenant": str(second.tenant_id)}).text
        assert first.number_text not in page
        assert second.number_text in page
        assert first.number_text not in client.get(LIST, query_string={"state": "paid"}).text
        page = client.get(LIST, query_string={"from": "2026-03-11"}).text
        assert first.number_text not in page

    @pytest.mark.parametrize(
        "query",
        [
            "state=nonsense",
            "page=-1",
            "page=99999999999999",
            "page=%C2%B2",
            "from=2026-02-31",
            "until=0000-00-00",
            "tenant=1%27%3B--",
            "sort=password",
            "sort=-total",
            "sort=due",
            "q=%00",
        ],
    )
    def test_ignores_nonsense_in_the_address(self, client: Any, query: str) -> None:
        invoice()
        sign_in_staff(client, "viewer")
        assert client.get(f"{LIST}?{query}").status_code == 200

    def test_takes_naughty_strings_in_the_search(self, client: Any) -> None:
        invoice()
        sign_in_staff(client, "viewer")
        for text in NAUGHTY:
            answer = client.get(LIST, query_string={"q": text})
            assert answer.status_code == 200, text
            assert "<script>alert" not in answer.text

    def test_counts_again_as_soon_as_something_was_paid(self, client: Any) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        assert self.tab(client, "paid") == 0
        settle(client, found)
        assert self.tab(client, "paid") == 1

    def tab(self, client: Any, state: str) -> int:
        page = client.get(LIST).text
        counted = re.search(rf'state={state}"[^>]*>[^<]*<span class="count">(\d+)', page)
        assert counted
        return int(counted.group(1))


def settle(client: Any, found: Invoice, **changed: str) -> Any:
    fields = {"amount": "209,000", "payer": "가나다", "paid_on": "2026-03-10"} | changed
    page = f"{LIST}/{found.id}"
    return send(client, page, fields, to=f"{page}/transfer")


class TestDetails:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_says_why_each_number_is_what_it_is(self, client: Any, language: str) -> None:
        found = invoice()
        sign_in_staff(client, "viewer")
        page = client.get(f"{LIST}/{found.id}", query_string={"lang": language})
        assert page.status_code == 200
        assert "team v1" in page.text
        assert {"ko": "정액", "en": "Flat fee"}[language] in page.text

    def test_an_unknown_one_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        assert client.get(f"{LIST}/{UUID(int=7)}").status_code == 404

    def test_a_paper_of_another_invoice_is_not_found(self, client: Any) -> None:
        first, second = invoice(), invoice()
        sign_in_staff(client, "viewer")
        with control_session() as session:
            from invoices.models import Document

            theirs = session.scalars(
                select(Document.id).where(Document.subject_id == second.id)
            ).first()
        assert client.get(f"{LIST}/{first.id}/papers/{theirs}").status_code == 404
        # Its own is there, but not printed yet: said in words, not as a fault.
        assert client.get(f"{LIST}/{second.id}/papers/{theirs}").status_code == 503


class TestTransfer:
    def test_settles_the_invoice(self, client: Any) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        assert settle(client, found).status_code == 303
        assert again(found.id).state == "paid"
        with control_session() as session:
            payment = session.scalars(select(Payment)).one()
        assert (payment.gateway, payment.payer, payment.received_on) == (
            "manual",
            "가나다",
            date(2026, 3, 10),
        )

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("amount", "0"),
            ("amount", "-209000"),
            ("amount", "209000.5"),
            ("amount", "NaN"),
            ("amount", "1e400000"),
            ("amount", "1e999999999"),
            ("amount", "1_000"),
            ("amount", ""),
            ("payer", " "),
            ("payer", "가" * 101),
            ("paid_on", "2026-03-11"),
            ("paid_on", "2026-03-09"),
            ("paid_on", "yesterday"),
        ],
    )
    def test_refuses_what_the_bank_did_not_say(self, client: Any, field: str, value: str) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        answer = settle(client, found, **{field: value})
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert again(found.id).state == "issued"

    def test_takes_no_naughty_amount_and_never_falls(self, client: Any) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        for text in NAUGHTY:
            assert settle(client, found, amount=text, payer=text, paid_on=text).status_code == 422

    def test_happens_once(self, client: Any) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        token = csrf_token(client, f"{LIST}/{found.id}")
        fields = {"csrf_token": token, "amount": "209000", "payer": "x", "paid_on": "2026-03-10"}
        answers = [client.post(f"{LIST}/{found.id}/transfer", data=fields) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 409]


class TestVoid:
    def test_needs_a_reason(self, client: Any) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        page = f"{LIST}/{found.id}"
        assert send(client, page, {"reason": "  "}, to=f"{page}/void").status_code == 422
        assert send(client, page, {"reason": "두 번 청구"}, to=f"{page}/void").status_code == 303
        assert again(found.id).state == "void"


class TestRoles:
    @pytest.mark.parametrize("role", ["sales", "viewer"])
    @pytest.mark.parametrize("act", ["transfer", "void", "collect"])
    def test_those_who_read_may_not_act(self, client: Any, role: str, act: str) -> None:
        found = invoice()
        sign_in_staff(client, role)
        assert client.get(f"{LIST}/{found.id}").status_code == 200
        token = csrf_token(client, f"{LIST}/{found.id}")
        answer = client.post(f"{LIST}/{found.id}/{act}", data={"csrf_token": token})
        assert answer.status_code == 403
        assert again(found.id).state == "issued"

    @pytest.mark.parametrize("act", ["transfer", "void", "collect"])
    def test_a_form_without_its_token_changes_nothing(self, client: Any, act: str) -> None:
        found = invoice()
        sign_in_staff(client, "finance")
        answer = client.post(f"{LIST}/{found.id}/{act}", data={"csrf_token": "forged"})
        assert answer.status_code == 400
        assert again(found.id).state == "issued"

    def test_a_customer_s_session_opens_nothing_here(self, client: Any) -> None:
        from tests.web.portal.parts import sign_in

        sign_in(client, customer())
        stolen = client.get_cookie("tenantry_portal").value
        client.set_cookie("tenantry_staff", stolen)
        for page in (LIST, "/console/attention", "/console/tenants"):
            assert client.get(page).status_code == 302


class TestExport:
    def test_csv_holds_the_current_list_and_nothing_that_runs(self, client: Any) -> None:
        bad, other = invoice("=cmd|' /C calc'!A0"), invoice("남의 회사")
        sign_in_staff(client, "viewer")
        answer = client.get(f"{LIST}/export.csv", query_string={"tenant": str(bad.tenant_id)})
        assert answer.status_code == 200
        assert answer.mimetype == "text/csv"
        rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
        assert len(rows) == 2
        assert rows[1][0] == bad.number_text
        assert rows[1][2] == "'=cmd|' /C calc'!A0"
        assert rows[0][-2:] == ["합계", "미수금"]
        assert rows[1][-2:] == ["209000", "209000"]
        assert other.number_text not in answer.text

    def test_xlsx_holds_texts_as_texts(self, client: Any) -> None:
        bad = invoice("=1+1")
        sign_in_staff(client, "viewer")
        answer = client.get(f"{LIST}/export.xlsx")
        assert answer.status_code == 200
        with zipfile.ZipFile(io.BytesIO(answer.data)) as book:
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert "<f>" not in sheet
        assert "=1+1" in sheet
        assert bad.number_text in sheet
        assert "<v>209000</v>" in sheet

    def test_is_written_to_the_audit_trail(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        client.get(f"{LIST}/export.csv")
        with control_session() as session:
            actions = session.scalars(select(AuditEvent.action)).all()
        assert "invoices.exported" in actions


class TestBundle:
    def test_is_asked_for_and_its_progress_shown(self, client: Any) -> None:
        invoice()
        sign_in_staff(client, "finance")
        answer = send(client, LIST, {}, to=f"{LIST}/bundles?state=issued")
        assert answer.status_code == 303
        page = client.get(answer.location)
        assert page.status_code == 200
        assert "progress" in page.text
        told = client.get(answer.location, query_string={"format": "json"}).json
        assert told == {"state": "due", "done": 0, "total": None}
        assert client.get(f"{answer.location}/papers.zip").status_code == 503
        with control_session() as session:
            session.execute(update(DocumentBundle).values(done_count=25, total_count=60))
        told = client.get(answer.location, query_string={"format": "json"}).json
        assert told == {"state": "due", "done": 25, "total": 60}
        page = client.get(answer.location).text
        assert 'value="25"' in page
        assert 'max="60"' in page
        assert "papers.zip" not in page, "there is nothing to download yet"
        assert STEP.work() == 1
        told = client.get(answer.location, query_string={"format": "json"}).json
        assert (told["state"], told["done"]) == ("ready", told["total"])
        assert "<progress" not in client.get(answer.location).text
        assert client.get(f"{answer.location}/papers.zip").status_code == 200
        assert client.get(f"{LIST}/bundles").status_code == 200

    def test_of_nothing_is_refused_in_words(self, client: Any) -> None:
        invoice()
        sign_in_staff(client, "finance")
        answer = send(client, LIST, {}, to=f"{LIST}/bundles?state=paid")
        assert answer.status_code == 303
        assert answer.location.endswith("state=paid")
