"""A card is registered by a gateway's script: on one page, and only there with a looser policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base.audit import Actor
from app.base.config import settings
from app.base.db import control_session
from invoices import gateway_accounts, payment_methods
from invoices.gateways import registry
from invoices.models import CardRegistration, PaymentMethod
from tests.browser import chromium, faults, open_page
from tests.factories import NOW, PASSWORD
from tests.fakes.toss.till import RunningToss
from tests.web.forms import send
from tests.web.portal.parts import admin_of, customer, sign_in
from tests.web.site.serving import serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def toss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningToss]:
    running = RunningToss(directory=tmp_path_factory.mktemp("toss"))
    yield running
    running.end()


@pytest.fixture
def account(app: Any, toss: RunningToss, set_clock: Callable[..., None]) -> Iterator[str]:
    """A merchant account at the simulator, the one that customers register cards at."""
    set_clock(NOW)
    registry.forget()
    actor = Actor.job("test")
    with control_session() as session:
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code="toss-main",
                gateway="toss",
                title_ko="카드",
                title_en="Card",
                credentials={
                    "base_url": toss.url,
                    "script_url": f"{toss.url}/v2/standard",
                    "client_key": "test_ck_tenantry",
                    "secret_key": "test_sk_tenantry",
                },
            ),
            actor=actor,
            now=NOW,
        )
        gateway_accounts.use(
            control_session=session, code="toss-main", place="default", actor=actor, now=NOW
        )
    yield "toss-main"
    registry.forget()


@pytest.fixture
def address(app: Any, account: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serve(app) as url:
        here = settings().model_copy(update={"public_url": url})
        monkeypatch.setattr(payment_methods, "settings", lambda: here)
        yield url


def begun(client: Any) -> str:
    """This function will begin a registration and return the address of its page."""
    answer = send(client, "/portal/payment", {}, to="/portal/payment/cards")
    assert answer.status_code == 303
    place: str = answer.headers["Location"]
    return place


class TestConverting:
    def test_registers_where_the_accounts_rules_say(
        self, client: Any, account: str, toss: RunningToss
    ) -> None:
        actor = Actor.job("test")
        with control_session() as session:
            for code, currencies in (("toss-more", ("KRW",)), ("toss-abroad", ("USD",))):
                gateway_accounts.add(
                    control_session=session,
                    account=gateway_accounts.NewAccount(
                        code=code,
                        gateway="toss",
                        title_ko="다른 카드",
                        title_en="Another card",
                        credentials={
                            "base_url": toss.url,
                            "script_url": f"{toss.url}/v2/standard",
                            "client_key": "test_ck_more",
                            "secret_key": "test_sk_more",
                        },
                        currencies=currencies,
                    ),
                    actor=actor,
                    now=NOW,
                )
                gateway_accounts.use(
                    control_session=session, code=code, place="offered", actor=actor, now=NOW
                )
        sign_in(client, customer())
        page = client.get("/portal/plan/convert?method=card")
        assert page.status_code == 200
        offered = re.findall(r'name="account" value="([a-z-]+)"', page.text)
        assert offered == ["toss-main", "toss-more"]
        answer = send(
            client,
            "/portal/plan/convert?method=card",
            {"account": "toss-more"},
            to="/portal/payment/cards",
        )
        assert answer.status_code == 303
        with control_session() as session:
            assert session.scalars(select(CardRegistration.gateway)).all() == ["toss-more"]


class TestThePage:
    def test_loads_the_gateways_script_and_gives_it_no_secret(
        self, client: Any, account: str, toss: RunningToss
    ) -> None:
        sign_in(client, customer())
        page = client.get(begun(client))
        assert page.status_code == 200
        assert f'src="{toss.url}/v2/standard"' in page.text
        assert "test_ck_tenantry" in page.text
        assert "test_sk_tenantry" not in page.text

    def test_alone_may_reach_that_gateway(
        self, client: Any, account: str, toss: RunningToss
    ) -> None:
        sign_in(client, customer())
        policy = client.get(begun(client)).headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["script-src"] == f"'self' {toss.url}"
        assert toss.url in rules["frame-src"]
        assert rules["style-src"] == "'self'"
        for elsewhere in ("/portal/payment", "/portal/", "/portal/plan"):
            answer = client.get(elsewhere)
            assert toss.url not in answer.headers["Content-Security-Policy"]
            assert "X-Tenantry-Origins" not in answer.headers

    def test_of_a_completed_registration_leads_back(self, client: Any, account: str) -> None:
        sign_in(client, customer())
        place = begun(client)
        with control_session() as session:
            session.scalars(select(CardRegistration)).one().completed_at = NOW
        answer = client.get(place)
        assert answer.status_code == 303
        assert answer.headers["Location"].endswith("/portal/payment")


class TestAPerson:
    def test_registers_a_card_by_clicking_through(self, browser: Browser, address: str) -> None:
        tenant = customer()
        with open_page(browser, address, language="en") as page:
            self.enter(page, address, admin_of(tenant).email)
            assert faults(page) == []
            page.get_by_role("button", name="Continue to the payment service").click()
            page.wait_for_url("**/billing-auth*")
            page.get_by_role("button", name="항상 결제됩니다").click()
            expect(page.get_by_text("The card is registered")).to_be_visible()
        with control_session() as session:
            method = session.scalars(select(PaymentMethod)).one()
        assert (method.gateway, method.brand) == ("toss-main", "현대")
        assert method.masked.startswith("43301234")

    def test_who_cancels_there_is_back_here_without_a_card(
        self, browser: Browser, address: str
    ) -> None:
        tenant = customer()
        with open_page(browser, address, language="en") as page:
            self.enter(page, address, admin_of(tenant).email)
            page.get_by_role("button", name="Continue to the payment service").click()
            page.get_by_role("button", name="Cancel").click()
            expect(page.get_by_text("No card was registered")).to_be_visible()
        with control_session() as session:
            assert session.scalars(select(PaymentMethod)).all() == []

    def test_hears_when_the_script_cannot_be_reached(
        self, browser: Browser, address: str, toss: RunningToss
    ) -> None:
        tenant = customer()
        with open_page(browser, address, language="en") as page:
            page.route(f"{toss.url}/**", lambda route: route.abort())
            self.enter(page, address, admin_of(tenant).email)
            page.get_by_role("button", name="Continue to the payment service").click()
            expect(page.get_by_role("alert")).to_contain_text("could not be reached")
            expect(page.get_by_role("button", name="Continue")).to_be_enabled()

    @staticmethod
    def enter(page: Page, address: str, email: str) -> None:
        page.goto(f"{address}/portal/sign-in")
        page.fill("#email", email)
        page.fill("#password", PASSWORD)
        page.press("#password", "Enter")
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.goto(f"{address}/portal/payment")
        page.locator("form[action$='/payment/cards'] button").first.click()
        page.wait_for_url("**/payment/registrations/*")
