"""The second half: two months of work, invoices, payments and papers, and one trial that ends."""

from __future__ import annotations

import io
import re
import secrets
import zipfile
from collections import Counter
from pathlib import Path

from app.base import clock
from app.cli.demo import cast
from app.cli.demo.browser import Browser, DidNotWork, Page
from app.cli.demo.road import Customer, Play

PAGES_MAX = 40
_INVOICE = re.compile(r"/console/invoices/[0-9a-f-]{36}")
_OWN_INVOICE = re.compile(r"/portal/invoices/[0-9a-f-]{36}$")
_ASKED = re.compile(r'id="amount"[^>]*placeholder="([^"]+)"')


def work(play: Play) -> None:
    """This function will let every tenant invite colleagues and store real files."""
    with play.report.step("members") as members:
        for customer in play.tenants:
            wanted = min(customer.prospect.seats, 4) - 1
            for number in range(wanted):
                invite(customer, number)
                members.count += 1
        leaving = play.of("card")[0]
        _take_a_seat(leaving)
        members.note(seats_taken_back=1)
    with play.report.step("drawings") as drawings:
        stored = 0
        for customer in play.tenants:
            sheets = {
                "ground-floor.dxf": cast.dxf(lines=2_000),
                "section-a.dxf": cast.dxf(lines=600) + secrets.token_hex(8).encode(),
                "permit.pdf": cast.pdf("Permit drawing"),
            }
            for name, content in sheets.items():
                upload(customer, name, content)
                stored += len(content)
                drawings.count += 1
        one = play.tenants[0]
        page = one.browser.open("/workspace/drawings")
        got = one.browser.open(page.link("/file"))
        play.report.expect(len(got.content) > 100, "a drawing came back empty")
        one.browser.send(page, {}, action="/delete")
        drawings.note(kilobytes=stored // 1000, downloaded=1, deleted=1)


def invite(customer: Customer, number: int) -> None:
    """This function will invite a colleague into the workspace: a seat is taken."""
    page = customer.browser.open("/workspace/members")
    values = {
        "email": customer.prospect.colleague(number),
        "name": f"Member {number + 1}",
        "role": "member",
    }
    customer.browser.send(page, values, having="email")


def _take_a_seat(customer: Customer) -> None:
    page = customer.browser.open("/workspace/members")
    for form in page.forms:
        if form.fields.get("wish") == "deactivate":
            customer.browser.send(page, {}, action=form.action)
            return
    raise DidNotWork("no seat can be taken back on the members page")


def upload(customer: Customer, name: str, content: bytes) -> None:
    """This function will store a file in the workspace."""
    page = customer.browser.open("/workspace/drawings")
    files = {"file": (name, content, "application/octet-stream")}
    customer.browser.send(page, {}, action="/workspace/drawings", files=files)


def convert(play: Play) -> None:
    """This function will let who pays by card register one, and all who pay subscribe."""
    with play.report.step("cards") as cards:
        for customer in play.of(*cast.CARDS):
            _register_card(customer, cast.CARDS[customer.story])
            cards.count += 1
    with play.report.step("conversion") as conversions:
        for customer in play.of(*cast.PAYING):
            method = "transfer" if customer.story == "transfer" else "card"
            page = customer.browser.open("/portal/plan/convert", method=method)
            customer.browser.send(page, {"accept": "y"}, having="text_sha256")
            conversions.count += 1
        play.stage.settle()


def _register_card(customer: Customer, number: str) -> None:
    page = customer.browser.open("/portal/payment")
    hosted = customer.browser.send(page, {}, action="/payment/cards")
    back = customer.browser.send(hosted, {"number": number})
    if "/portal/" not in back.url:
        raise DidNotWork(f"the card page of {customer.prospect.company} did not lead back")


def live(play: Play) -> None:
    """This function will play two months: work goes on, bills fall due, cards fail and recover."""
    with play.report.step("first month") as step:
        for days in (2, 5, 4, 2, 8, 7, 3):
            play.stage.days_later(days)
            step.count += days
            for customer in play.of("card")[:3]:
                if customer.prospect.seats > 5 and step.count < 20:
                    invite(customer, 10 + step.count)
                upload(customer, f"revision-{step.count}.dxf", cast.dxf(lines=300 + step.count))
    pay_by_transfer(play)
    with play.report.step("second month") as step:
        for days in (2, 12, 8, 8):
            play.stage.days_later(days)
            step.count += days
    pay_by_transfer(play)
    play.stage.settle()


def pay_by_transfer(play: Play) -> None:
    """This function will record, as finance, what the bank's statement shows."""
    payers = {customer.prospect.company for customer in play.of("transfer")}
    with play.report.step("bank transfers") as step:
        for address in open_invoices(play.finance):
            page = play.finance.open(address)
            if not any(payer in page.text for payer in payers):
                continue
            values = {
                "amount": _total(page),
                "payer": next(payer for payer in payers if payer in page.text)[:40],
                "paid_on": clock.today(clock.now(), "Asia/Seoul").isoformat(),
            }
            play.finance.send(page, values, having="paid_on")
            step.count += 1
        play.stage.settle()


def _total(page: Page) -> str:
    """What the bank's statement shows is what the invoice asks for."""
    found = _ASKED.search(page.text)
    if found is None:
        raise DidNotWork(f"{page.url} does not say how much was asked for")
    return re.sub(r"\D", "", found.group(1))


def open_invoices(finance: Browser) -> list[str]:
    """This function will list the pages of invoices that are issued and unpaid."""
    found: dict[str, None] = {}
    for number in range(1, PAGES_MAX):
        page = finance.open("/console/invoices", state="issued", page=number)
        fresh = [match.group() for match in map(_INVOICE.search, page.links) if match]
        if not set(fresh) - set(found):
            break
        found.update(dict.fromkeys(fresh))
    return list(found)


def papers(play: Play, folder: Path) -> None:
    """This function will fetch every paper as one ZIP, as finance does, and unpack it."""
    with play.report.step("receipt") as step:
        page = play.finance.open("/console/invoices", state="")
        bundle = play.finance.send(page, {}, action="/bundles").url.partition("?")[0]

        def ready() -> bool:
            return '"ready"' in play.finance.open(bundle, format="json").content.decode()

        play.stage.wait(ready, "the ZIP of all papers")
        got = play.finance.open(f"{bundle}/papers.zip")
        with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
            archive.extractall(folder)
            papers_by_kind = Counter(
                _kind(name) for name in archive.namelist() if name.endswith(".pdf")
            )
        step.count = sum(papers_by_kind.values())
        step.note(**papers_by_kind)
        for path in folder.rglob("*.pdf"):
            play.report.expect(path.read_bytes()[:5] == b"%PDF-", f"{path.name} is not a PDF")
    with play.report.step("own papers") as step:
        customer = play.of("card")[0]
        page = customer.browser.open("/portal/invoices")
        detail = customer.browser.open(
            next(link for link in page.links if _OWN_INVOICE.search(link))
        )
        for link in sorted({link for link in detail.links if "/papers/" in link}):
            got = customer.browser.open(link)
            play.report.expect(got.content.startswith(b"%PDF-"), f"{link} is not a PDF")
            step.count += 1


def _kind(name: str) -> str:
    """A paper's file is called after what it is, then its number."""
    return re.split(r"[-_ ]", Path(name).name)[0].lower()
