"""No page is forgotten: each is read by axe here in one walk, or in a walk of its room's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page
from sqlalchemy import select
from werkzeug.routing import Rule

from app.base import accounts, clock, secrets
from app.base.accounts import Staff
from app.base.db import control_session
from app.mailbox.shelf import Shelf
from app.mailbox.web import create_mailbox
from app.sandbox.cards import CARDS
from invoices.models import Invoice
from tenants import admins, signup
from tenants.models import Tenant
from tests.browser import chromium, faults, open_page
from tests.factories import NOW, PASSWORD, make_admin, make_application, make_tenant
from tests.invoices.test_reconciliation import line, take
from tests.mailbox.test_mail_catcher import written
from tests.sandbox import test_sandbox_pages as gateway
from tests.sandbox.running import RunningSandbox, running
from tests.web import forms
from tests.web.portal.parts import admin_of, committed
from tests.web.portal.stage import long_life
from tests.web.site.serving import serve

ROOT = Path(__file__).resolve().parents[2]
BOTH = "both@customer.example"
# What answers with a file, with another address, or with words for a program.
NO_PAGE = {
    *("console_accounts.home", "portal.card_link", "portal.registered", "workspace.home"),
    *("console_invoices.as_csv", "console_invoices.as_xlsx", "console_invoices.fetch_bundle"),
    *("console_invoices.paper", "console_ledger.statement", "console_quotations.pdf"),
    *("console_tax_papers.xml", "console_vat.proof", "portal.fetch_export", "portal.paper"),
    *("site.pages.robots", "workspace.download_drawing"),
}
# Pages that are read with more on them, in walks beside the tests of their rooms.
ELSEWHERE: dict[str, set[str]] = {
    "tests/web/api/test_openapi.py": {"api_reference.page"},
    "tests/web/console/test_api_keys.py": {"console_api_keys.keys"},
    "tests/web/console/test_billing_browser.py": {"console_billing.index"},
    "tests/web/console/test_catalogue_pages.py": {
        *("console_catalogue.index", "console_catalogue.details", "console_catalogue.new"),
    },
    "tests/web/console/test_collecting_browser.py": {
        *("console_collecting.index", "console_collecting.details", "console_transfers.index"),
        *("portal.pay_by_transfer", "portal.price_consent"),
    },
    "tests/web/console/test_corrections.py": {
        *("console_corrections.event", "console_invoices.line_events"),
    },
    "tests/web/console/test_coupon_pages.py": {
        *("console_coupons.index", "console_credits.details", "portal.credits"),
    },
    "tests/web/console/test_gateway_pages.py": {
        *("console_gateways.index", "console_gateways.new", "console_gateways.details"),
    },
    "tests/web/console/test_moving_pages.py": {"console_catalogue.ask_move"},
    "tests/web/console/test_review_browser.py": {
        *("review.queue", "review.details", "review.refusal"),
    },
    "tests/web/console/test_tax_papers_pages.py": {
        *("console_tax_papers.index", "console_tax_papers.of_invoice"),
    },
    "tests/web/console/test_vat_pages.py": {
        *("console_vat.details", "console_tax_deadlines.index", "console_businesses.index"),
    },
    "tests/web/portal/test_changes_browser.py": {
        *("portal.change", "portal.preview_change", "portal.timeline"),
        *("console_subscription.details", "console_subscription.change"),
        *("console_subscription.preview_change", "console_subscription.convert"),
        *("console_subscription.preview_conversion", "console_subscription.currency"),
    },
    "tests/web/portal/test_portal_browser.py": {
        *("portal.sign_in", "portal.forgot", "portal.overview", "portal.plan", "portal.invoices"),
        *("portal.invoice", "portal.payment", "portal.account", "portal.convert"),
        *("console_attention.index", "console_invoices.index", "console_invoices.details"),
        *("console_invoices.recent_bundles", "console_invoices.bundle"),
        *("console_tenants.index", "console_tenants.details"),
    },
    "tests/web/portal/test_registration.py": {"portal.registration"},
    "tests/web/site/test_site_browser.py": {
        *("site.pages.home", "site.pages.pricing", "site.pages.privacy", "site.pages.terms"),
        *("site.trial.form", "site.confirmation.renewed", "site.confirmation.status"),
    },
    "tests/web/test_why.py": {"portal.line_events"},
    "tests/web/workspace/test_workspace_browser.py": {
        *("workspace.sign_in", "workspace.welcome"),
        *("workspace.drawings_page", "workspace.members_page"),
    },
}
# Each with the endpoint that it stands for.
Places = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(directory=tmp_path_factory.mktemp("sandbox")) as process:
        yield process


@pytest.fixture
def mailbox(tmp_path: Path) -> Flask:
    shelf = Shelf(directory=tmp_path)
    letter = written("reader@customer.example", html="<p>Please open <a href='/'>this</a>.</p>")
    shelf.put(sender="a@b.example", recipients=["c@d.example"], raw=letter.as_bytes())
    return create_mailbox(shelf=shelf)


def token(purpose: str, subject: Any) -> str:
    """A link's secret, as a mail would bring it."""
    with control_session() as session:
        return accounts.issue_token(
            control_session=session,
            purpose=purpose,
            subject_id=subject.id,
            valid_for=timedelta(days=1),
            now=clock.now(),
        )


def site() -> Places:
    """What an applicant sees between the form and the status page."""
    first, second = (committed(make_application, state="submitted") for _ in range(2))
    used = token(signup._CONFIRM, second)
    with control_session() as session:
        signup.confirm(control_session=session, token=used, now=clock.now())
    return [
        ("site.trial.sent", f"/trial/sent/{secrets.sign('sent', str(first.id))}"),
        ("site.confirmation.show", f"/trial/confirm/{token(signup._CONFIRM, first)}"),
        ("site.confirmation.show", f"/trial/confirm/{used}"),
        ("site.pages.notice", "/notices/marketing"),
        ("", "/there/is/no/such/page"),
    ]


def doors(tenant: Tenant) -> Places:
    """What a person sees who is not signed in yet."""
    with control_session() as session:
        colleague = session.scalars(select(Staff).limit(1)).one()
    admin = admin_of(tenant)
    return [
        ("console_accounts.sign_in", "/console/sign-in"),
        ("console_accounts.forgot", "/console/forgot"),
        ("console_accounts.welcome", f"/console/welcome/{token('staff_invited', colleague)}"),
        ("console_accounts.reset", f"/console/reset/{token('staff_reset', colleague)}"),
        ("portal.welcome", f"/portal/welcome/{token(admins.INVITATION, admin)}"),
        ("portal.reset", f"/portal/reset/{token(admins.RESET, admin)}"),
    ]


def desk(client: Any, tenant: Tenant) -> Places:
    """What staff sees, with something on each page."""
    with control_session() as session:
        take(session, line("payment", 50_000, gateway_payment_id="pay_x"))
        invoices = session.scalars(
            select(Invoice.id).where(Invoice.tenant_id == tenant.id).order_by(Invoice.number)
        ).all()
    forms.sign_in_staff(client, "finance")
    back = f"/console/invoices/{invoices[0]}/take-back"
    fields = {"amount": "11000", "why": "wrong seats"}
    assert forms.send(client, f"{back}?amount=11000", fields, to=back).status_code == 303
    applicant = committed(make_application, state="confirmed", sla_due_at=NOW)
    return [
        ("console_accounts.people", "/console/staff"),
        ("console_trails.audit_trail", "/console/audit"),
        ("console_trails.mail", "/console/mail"),
        ("console_ledger.index", "/console/ledger?month=2026-03"),
        ("console_closing.index", "/console/closing?month=2026-02"),
        ("console_reconciliation.index", "/console/reconciliation"),
        ("console_invoices.money_back", "/console/invoices/money-back"),
        ("console_invoices.take_back", f"/console/invoices/{invoices[1]}/take-back?amount=11000"),
        ("console_quotations.of_tenant", f"/console/quotations/tenant/{tenant.id}"),
        ("console_quotations.of_application", f"/console/quotations/application/{applicant.id}"),
        ("", "/console/tenants/00000000-0000-0000-0000-000000000007"),
    ]


def gateways_pages(sandbox: RunningSandbox, language: str) -> Places:
    """The pages of the sandbox gateway that a customer meets: card, card taken, and a slip."""
    key = f"walk-{language}"
    paid = gateway.charge(sandbox, key, token=gateway.token(sandbox)).json()
    opened = [gateway.open_registration(sandbox)["url"] for _ in range(2)]
    gateway.type_card(opened[0], CARDS[0].number)
    urls = (sandbox.url, *opened, sandbox.url + paid["receipt_path"])
    return [("", f"{url}?lang={language}") for url in urls]


def sign_in(page: Page, door: str, email: str, password: str) -> None:
    page.goto(f"{door}/sign-in")
    page.fill("#email", email)
    page.fill("#password", password)
    page.press("#password", "Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_that_no_other_walk_reads_pleases_axe_and_fits_every_screen(
    app: Any, browser: Browser, sandbox: RunningSandbox, mailbox: Flask, language: str
) -> None:
    tenant = long_life()
    for each in (tenant, committed(make_tenant)):
        committed(make_admin, tenant=each, email=BOTH)
    admin = forms.staff_member("admin")
    outside = [*site(), *doors(tenant), *gateways_pages(sandbox, language)]
    inside = desk(app.test_client(), tenant)
    wrong: list[str] = []

    def look(page: Page, places: Places) -> None:
        for _endpoint, place in places:
            answer = page.goto(place if "://" in place else f"{address}{place}")
            assert answer is not None
            assert "text/html" in answer.headers["content-type"], place
            assert answer.status in (200, 404, 409, 410), place
            wrong.extend(faults(page))

    with (
        serve(app) as address,
        serve(mailbox) as letters,
        open_page(browser, language=language) as page,
    ):
        look(page, outside)
        look(page, [("", f"{letters}/?to=nobody"), ("", f"{letters}/")])
        page.locator(".mails a").first.click()
        wrong += faults(page)
        forms.admit(page, f"{address}/console", email=admin, password=forms.PASSWORD)
        look(page, inside)
        sign_in(page, f"{address}/portal", BOTH, PASSWORD)
        assert page.url.endswith("/portal/choose")
        wrong += faults(page)
    assert wrong == []
    here = {endpoint for endpoint, _place in (*outside, *inside) if endpoint} | {"portal.choose"}
    elsewhere = {endpoint for found in ELSEWHERE.values() for endpoint in found}
    assert pages(app).keys() == here | elsewhere


def pages(app: Any) -> dict[str, Rule]:
    """Every address of ours that shows a page to people."""
    return {
        rule.endpoint: rule
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods
        and rule.endpoint not in NO_PAGE
        and not rule.rule.startswith(("/api/", "/static/", "/healthz", "/readyz", "/metrics", "/_"))
    }


@pytest.mark.parametrize("walk", ELSEWHERE)
def test_a_walk_elsewhere_opens_what_is_said_of_it(app: Any, walk: str) -> None:
    source = (ROOT / walk).read_text()
    assert re.search(r"\b(faults|axe_violations|look)\(\s*page", source)
    for endpoint in ELSEWHERE[walk]:
        words = re.sub(r"<[^>]*>", "", pages(app)[endpoint].rule).split("/")
        assert [word for word in words if word not in source] == [], endpoint
