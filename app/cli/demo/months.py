"""The second half: two months of work, invoices, payments and papers, and one trial that ends."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

from app.base import clock
from app.cli.demo import cast
from app.cli.demo.browser import Browser, DidNotWork
from app.cli.demo.road import Customer, Play

PAPER_PAGES_MAX = 40
_UUID = re.compile(r"/console/invoices/([0-9a-f-]{36})")


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
        for days in (3, 4, 7, 7, 7, 4):
            play.stage.days_later(days)
            step.count += days
            for customer in play.of("card")[:3]:
                if customer.prospect.seats > 5 and step.count < 20:
                    invite(customer, 10 + step.count)
                upload(customer, f"revision-{step.count}.dxf", cast.dxf(lines=300 + step.count))
    pay_by_transfer(play)
    with play.report.step("second month") as step:
        for days in (5, 8, 8, 8, 3):
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
            form = page.form(having="paid_on")
            values: dict[str, Any] = {
                "payer": next(payer for payer in payers if payer in page.text)[:40],
                "paid_on": clock.today(clock.now(), "Asia/Seoul").isoformat(),
            }
            if not form.fields.get("amount"):
                raise DidNotWork(f"{address}: the transfer form does not propose an amount")
            play.finance.send(page, values, having="paid_on")
            step.count += 1
        play.stage.settle()


def open_invoices(finance: Browser) -> list[str]:
    """This function will list the pages of invoices that are issued and unpaid."""
    return invoice_pages(finance, state="issued")


def invoice_pages(finance: Browser, **filters: Any) -> list[str]:
    """This function will walk through the list of invoices and return each one's page."""
    found: dict[str, None] = {}
    page = finance.open("/console/invoices", **filters)
    for _ in range(PAPER_PAGES_MAX):
        found.update(
            dict.fromkeys(
                f"/console/invoices/{match.group(1)}"
                for match in map(_UUID.search, page.links)
                if match
            )
        )
        further = [link for link in page.links if "after=" in link or 'rel="next"' in link]
        if not further or further[0] == page.url:
            break
        page = finance.open(further[0])
    return list(found)


def papers(play: Play, folder: Path) -> None:
    """This function will download every paper, as finance does, into a folder."""
    with play.report.step("receipt") as step:
        folder.mkdir(parents=True, exist_ok=True)
        kinds: dict[str, int] = {}
        for address in invoice_pages(play.finance):
            page = play.finance.open(address)
            for link in sorted({link for link in page.links if "/papers/" in link}):
                got = play.finance.open(link)
                if not got.content.startswith(b"%PDF-"):
                    raise DidNotWork(f"{link} is not a PDF")
                name = link.rpartition("/")[2][:60]
                (folder / f"{address.rpartition('/')[2][:8]}-{name}.pdf").write_bytes(got.content)
                step.count += 1
        step.note(**kinds)
