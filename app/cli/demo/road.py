"""The first half of the road, over HTTP: visit, signup, review, provisioning, first sign-in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from app.cli.demo import cast
from app.cli.demo.browser import Browser, DidNotWork, Page
from app.cli.demo.cast import Prospect
from app.cli.demo.mailbox import Mailbox
from app.cli.demo.report import Report
from app.cli.demo.stage import Stage

REVIEW_PAGES_MAX = 20


@dataclass
class Customer:
    """A prospect on the way, and their browser."""

    prospect: Prospect
    browser: Browser
    status_page: str = ""

    @property
    def story(self) -> str:
        """Which story of the table they play."""
        return self.prospect.story


@dataclass
class Play:
    """Everything that the scenes share."""

    stage: Stage
    report: Report
    mailbox: Mailbox
    customers: list[Customer]
    sales: Browser
    finance: Browser
    staff_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    def of(self, *stories: str) -> list[Customer]:
        """This function will return the customers of these stories."""
        return [customer for customer in self.customers if customer.story in stories]

    @property
    def tenants(self) -> list[Customer]:
        """Who got a database: everybody that sales approves."""
        return self.of(*cast.PAYING, "never_converts")


def apply(play: Play) -> None:
    """This function will let every prospect look around and send the trial form."""
    with play.report.step("visit") as visits, play.report.step("signup") as signups:
        refused = 0
        for customer in play.customers:
            browser, prospect = customer.browser, customer.prospect
            browser.open("/", utm_source="demo", utm_campaign=prospect.plan)
            browser.open("/pricing")
            form = browser.open("/trial", plan=prospect.plan)
            visits.count += 3
            bad = prospect.story in cast.REFUSED
            answer = browser.send(
                form, prospect.form, having="seats_expected", expect=422 if bad else 200
            )
            signups.count += 1
            refused += bad
            if bad:
                play.report.expect(
                    "error-summary" in answer.text and prospect.company in answer.text,
                    f"{prospect.story}: the form came back without its error or what was typed",
                )
        again = play.of("card")[0]
        page = again.browser.open("/trial")
        again.browser.send(page, again.prospect.form, having="seats_expected")
        signups.note(refused=refused, sent_twice=1)


def confirm(play: Play) -> None:
    """This function will open each confirmation mail, and confirm as its reader does."""
    with play.report.step("confirmation") as step:
        for customer in play.customers:
            if customer.story in (*cast.REFUSED, "never_confirms"):
                continue
            link = play.mailbox.link(customer.prospect.email, "/trial/confirm/")
            page = customer.browser.open(link)
            done = customer.browser.send(page, {}, action="/trial/confirm/")
            customer.status_page = done.url
            step.count += 1
        once = play.of("card")[0]
        link = play.mailbox.link(once.prospect.email, "/trial/confirm/")
        once.browser.open(link, expect=409)
        step.note(replayed_link="refused")


def sign_in_staff(play: Play, role: str) -> None:
    """This function will sign a member of staff in: sales or finance."""
    browser = {"sales": play.sales, "finance": play.finance}[role]
    page = browser.open("/console/sign-in")
    values = {"email": cast.STAFF[role], "password": play.staff_password}
    browser.send(page, values, having="password")


def review(play: Play) -> None:
    """This function will work the queue off: approve, reject with a reason, look at the rest."""
    sign_in_staff(play, "sales")
    by_company = {customer.prospect.company: customer for customer in play.customers}
    with play.report.step("review") as step:
        rejected = 0
        for address in _waiting(play):
            page = play.sales.open(address)
            customer = next((by_company[name] for name in by_company if name in page.text), None)
            if customer is None:
                raise DidNotWork(f"{address} shows none of the prospects")
            if customer.story == "rejected":
                _reject(play.sales, page)
                rejected += 1
            else:
                foreign = customer.prospect.country != "KR"
                play.sales.send(
                    page,
                    {
                        "trial_days": 14,
                        "plan_code": customer.prospect.plan,
                        "currency": "USD" if foreign else "KRW",
                    },
                    action="/approve",
                )
            step.count += 1
        step.note(approved=step.count - rejected, rejected=rejected)


def _waiting(play: Play) -> list[str]:
    found: dict[str, None] = {}
    for number in range(1, REVIEW_PAGES_MAX):
        page = play.sales.open("/console/review", page=number)
        fresh = [link.partition("?")[0] for link in page.links if _is_application(link)]
        if not set(fresh) - set(found):
            break
        found.update(dict.fromkeys(fresh))
    return list(found)


def _is_application(link: str) -> bool:
    path = link.partition("?")[0]
    return "/console/review/" in path and len(path.rpartition("/")[2]) == 36


def _reject(browser: Browser, page: Page) -> None:
    refusal = browser.open(page.url.partition("?")[0] + "/reject")
    values = {"reason": "이번에는 도면이 아닌 자료를 다루는 곳으로 보여요.", "ground": "other"}
    preview = browser.send(refusal, values, action="/reject")
    browser.send(preview, {**values, "wish": "reject"}, action="/reject")


def provision(play: Play) -> None:
    """This function will wait until every approved tenant has its database."""
    with play.report.step("provisioning") as step:
        play.stage.settle()
        for customer in play.tenants:
            play.mailbox.link(customer.prospect.email, "/portal/welcome/")
            step.count += 1


def welcome(play: Play) -> None:
    """This function will let every admin choose a password and open the portal and workspace."""
    with play.report.step("welcome") as step:
        for customer in play.tenants:
            link = play.mailbox.link(customer.prospect.email, "/portal/welcome/")
            browser = customer.browser
            page = browser.open(link)
            chosen = {"password": cast.PASSWORD, "again": cast.PASSWORD}
            browser.send(page, chosen, having="again")
            overview = browser.open("/portal/")
            if customer.prospect.country == "KR":
                _fill_in_billing(browser, customer.prospect)
            inside = browser.send(overview, {}, action="/portal/workspace")
            play.report.expect(
                "/workspace/" in inside.url and "sign-in" not in inside.url,
                f"{customer.prospect.company} could not enter its workspace",
            )
            step.count += 1


def _fill_in_billing(browser: Browser, prospect: Prospect) -> None:
    page = browser.open("/portal/account")
    values = {
        "representative": "대표자",
        "address": "서울특별시 종로구 세종대로 209",
        "business_type": "서비스업",
        "business_item": "설계",
        "email": prospect.email,
    }
    form = page.form(having="representative")
    known = {name: value for name, value in values.items() if name in form.fields}
    browser.send(page, known, having="representative")
