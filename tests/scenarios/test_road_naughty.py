"""A company whose every word is an attack walks the whole road: each place holds it literally."""

from __future__ import annotations

import csv
import io
import re

import pypdf

from app.cli.demo.browser import Page
from app.cli.demo.cast import dxf
from tests.naughty import NAUGHTY
from tests.scenarios import walk
from tests.scenarios.reading import Reading
from tests.scenarios.walk import Company
from tests.scenarios.whole_system import WholeSystem

# SQL, HTML, a template and a format.
LEGAL_NAME = "1'; DROP TABLE users-- 1 <script>alert(123)</script> {{7*7}} %s"
# A formula before it and a face behind it; then as long as a company's name may be.
NAME = f"=cmd|' /C calc'!A0 {LEGAL_NAME} 👩🏽".ljust(100, "긴")
CONTACT = '"><img src=x onerror=alert(123)> ${7*7}'
REPRESENTATIVE = '"><img src=x onerror=alert(1)>'
ADDRESS = "서울 '); DELETE FROM invoice; -- <b onmouseover=alert(1)>길</b> {% raw %}"
FILE = '"><svg onload=alert(1)>.dxf'


def attacker(system: WholeSystem) -> Company:
    # Everything naughty that a form's text may hold, line by line, as long as a message may be.
    lines = "\n".join(text for text in NAUGHTY if len(text) < 200 and text.isprintable())
    walker = walk.company(system, email="buyer@naughty.example", name=NAME)
    walker.contact, walker.message = CONTACT, lines[:2_000]
    return walker


def tell_billing_details(walker: Company) -> Page:
    page = walker.browser.open("/portal/account")
    values = {
        "name": LEGAL_NAME,
        "representative": REPRESENTATIVE,
        "address": ADDRESS,
        "business_type": "<i>업</i>",
        "business_item": "%(item)s",
        "email": walker.email,
    }
    return walker.browser.send(page, values, having="representative")


def assert_says(page: Page | str, *texts: str) -> None:
    """The page holds each text for the eye, and nothing of it for the machine."""
    read = Reading(page if isinstance(page, str) else page.text)
    assert read.runs == []
    assert "img" not in read.tags
    for text in texts:
        assert " ".join(text.split()) in read.text


class TestACompanyNamedWithAttacks:
    def test_is_held_literally_on_every_page_mail_paper_and_list(self, system: WholeSystem) -> None:
        walker, sales, finance = attacker(system), system.staff("sales"), system.staff("finance")
        application_id = walk.sign_up(system, walker)
        assert_says(sales.open(f"/console/review/{application_id}"), NAME, CONTACT)
        assert_says(sales.open("/console/review"), NAME)
        assert_says(sales.open("/console/review", q=NAME[:100]))

        walk.approve(sales, application_id)
        tenant_id = walk.tenant_of(system, application_id)
        walk.await_trial(system, tenant_id)
        walk.move_in(system, walker)
        assert_says(tell_billing_details(walker), LEGAL_NAME, REPRESENTATIVE, ADDRESS)
        assert_says(walk.upload(walker, FILE, dxf(lines=3)), FILE, NAME)
        assert_says(walker.browser.open("/workspace/members"), CONTACT)
        walk.convert(walker, method="transfer")

        self.papers(system, walker)
        self.finance_pages(system, finance, str(tenant_id))
        self.mails(system, walker)
        stored = system.ask("SELECT name, billing_profile FROM tenant WHERE id = %s", tenant_id)
        assert stored[0][0] == NAME
        assert stored[0][1]["address"] == ADDRESS
        assert system.check() == []

    def papers(self, system: WholeSystem, walker: Company) -> None:
        printed = walk.papers(system, walker)
        assert len(printed) > 1
        for paper in printed:
            document = pypdf.PdfReader(io.BytesIO(paper))
            # Lines are broken where the column ends, so words are compared without spaces.
            text = re.sub(r"\s", "", "".join(page.extract_text() for page in document.pages))
            assert LEGAL_NAME.replace(" ", "") in text
            assert "/JavaScript" not in str(document.trailer["/Root"])
        for page in walk.invoices(walker):
            assert_says(page, LEGAL_NAME)

    def finance_pages(self, system: WholeSystem, finance: walk.Browser, tenant_id: str) -> None:
        assert_says(finance.open("/console/invoices", tenant=tenant_id), NAME)
        bill = system.ask("SELECT id FROM invoice WHERE tenant_id = %s", tenant_id)[0][0]
        assert_says(finance.open(f"/console/invoices/{bill}"), NAME)
        assert_says(finance.open(f"/console/tenants/{tenant_id}"), NAME)
        listed = finance.open("/console/invoices/export.csv", tenant=tenant_id)
        rows = list(csv.reader(io.StringIO(listed.content.decode("utf-8-sig"))))
        # A quotation mark before it, so that a spreadsheet reads a text and no formula.
        assert rows[1][2] == f"'{NAME}"

    def mails(self, system: WholeSystem, walker: Company) -> None:
        letters = system.mailbox.letters(walker.email)
        assert len(letters) > 2
        for letter in letters:
            assert letter["to"] == [walker.email]
            assert_says(letter["html"])
            assert "49" not in letter["subject"]
        named = [letter for letter in letters if NAME in letter["text"]]
        assert named
        for letter in named:
            assert_says(letter["html"], NAME)
