"""Payment accounts on the pages: admins keep them, customers choose among them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base.audit import SYSTEM, AuditEvent
from app.base.config import settings
from app.base.db import control_session
from invoices import gateway_accounts
from invoices.gateway_accounts import NewAccount
from invoices.gateways import registry
from invoices.models import CardRegistration, GatewayAccount, PaymentMethod
from tests.browser import chromium, open_page
from tests.factories import NOW, PASSWORD
from tests.fakes.portone.__main__ import API_SECRET, STORE_ID, WEBHOOK_SECRET
from tests.fakes.portone.book import CHANNELS
from tests.fakes.portone.running import NUMBERS, RunningPortOne, running
from tests.web import forms
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal import parts
from tests.web.portal.parts import admin_of, customer
from tests.web.portal.test_portal_browser import LANGUAGES, enter, look
from tests.web.site.serving import serve

GATEWAYS = "/console/gateways"
NEW = f"{GATEWAYS}/new/sandbox"
SECRET = "sk_that_nobody_sees_again"
FORM = {
    "code": "second",
    "title_ko": "두 번째 카드",
    "title_en": "Second card",
    "currencies": "krw, usd",
    "credential-base_url": "http://127.0.0.1:9",
    "credential-secret_key": SECRET,
    "credential-webhook_secret": "whsec_c2Vjb25k",
}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> Iterator[None]:
    set_clock(NOW)
    registry.forget()
    yield
    registry.forget()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def portone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortOne]:
    with running(directory=tmp_path_factory.mktemp("portone")) as found:
        yield found


def stored(code: str = "second") -> GatewayAccount:
    with control_session() as session:
        return gateway_accounts.found(control_session=session, code=code)


def make(code: str, place: str = "offered", **said: Any) -> None:
    """An account that the console would have stored."""
    values: dict[str, Any] = {
        "gateway": "sandbox",
        "title_ko": f"{code} 결제",
        "title_en": f"Pay by {code}",
        "credentials": {
            "base_url": "http://127.0.0.1:9",
            "secret_key": SECRET,
            "webhook_secret": "whsec_c2Vjb25k",
        },
    }
    with control_session() as session:
        account = NewAccount(code=code, **(values | said))
        gateway_accounts.add(control_session=session, account=account, actor=SYSTEM, now=NOW)
        gateway_accounts.use(control_session=session, code=code, place=place, actor=SYSTEM, now=NOW)


class TestAnAdmin:
    def test_adds_an_account_whose_secrets_no_page_shows_again(self, client: Any) -> None:
        sign_in_staff(client)
        answer = send(client, NEW, FORM)
        assert answer.status_code == 303
        assert stored().currencies == ["KRW", "USD"]
        shown = client.get(f"{GATEWAYS}/second?lang=en").text
        assert "http://localhost/hooks/second" in shown
        assert "http://127.0.0.1:9" in shown
        for page in (GATEWAYS, f"{GATEWAYS}/second", "/console/audit"):
            assert SECRET not in client.get(page).text

    def test_is_told_what_is_wrong_and_types_secrets_again(self, client: Any) -> None:
        sign_in_staff(client)
        answer = send(client, NEW, FORM | {"credential-base_url": "http://elsewhere.example"})
        assert answer.status_code == 422
        assert "https://로 시작해야 해요" in answer.text
        assert "두 번째 카드" in answer.text
        assert SECRET not in answer.text
        send(client, NEW, FORM)
        assert send(client, NEW, FORM).status_code == 409

    def test_rotates_one_secret_and_keeps_the_rest(self, client: Any) -> None:
        sign_in_staff(client)
        make("second")
        before = stored().credentials_sealed
        page = f"{GATEWAYS}/second"
        fields = {"credential-secret_key": "sk_new", "credential-base_url": "http://127.0.0.1:9"}
        assert send(client, page, fields, to=f"{page}/credentials").status_code == 303
        assert stored().credentials_sealed != before
        with control_session() as session:
            trail = session.scalars(
                select(AuditEvent).where(AuditEvent.action == "gateway_account.credentials_rotated")
            ).one()
        assert trail.details["fields"] == ["base_url", "secret_key"]
        assert "sk_new" not in json.dumps(trail.details)

    def test_says_when_it_is_used_disables_it_for_a_reason_and_takes_it_back(
        self, client: Any
    ) -> None:
        sign_in_staff(client)
        make("second", place="none")
        page = f"{GATEWAYS}/second"
        assert send(client, page, {"place": "default"}, to=f"{page}/use").status_code == 303
        assert stored().is_default
        assert send(client, page, {"reason": " "}, to=f"{page}/disable").status_code == 422
        assert send(client, page, {"reason": "계약 종료"}, to=f"{page}/disable").status_code == 303
        assert stored().disabled_at is not None
        assert send(client, page, {"place": "offered"}, to=f"{page}/use").status_code == 409
        assert send(client, page, {}, to=f"{page}/enable").status_code == 303
        assert stored().disabled_at is None

    def test_tests_the_connection_and_reads_what_the_gateway_said(
        self, client: Any, portone: RunningPortOne
    ) -> None:
        sign_in_staff(client)
        by_portone(portone, "kakaopay")
        make("second")
        for code, words in (("kakaopay", "인증 정보가 맞아요"), ("second", "연결 확인에 실패")):
            page = f"{GATEWAYS}/{code}"
            assert send(client, page, {}, to=f"{page}/test").status_code == 303
            assert words in client.get(page).text

    @pytest.mark.parametrize("page", [GATEWAYS, NEW, f"{GATEWAYS}/second"])
    @pytest.mark.parametrize("role", ["finance", "sales", "viewer"])
    def test_alone_sees_them(self, client: Any, page: str, role: str) -> None:
        make("second")
        sign_in_staff(client, role)
        assert client.get(page).status_code == 403

    def test_finds_no_gateway_and_no_account_that_are_not_there(self, client: Any) -> None:
        sign_in_staff(client)
        assert client.get(f"{GATEWAYS}/new/nowhere").status_code == 404
        assert client.get(f"{GATEWAYS}/nowhere").status_code == 404


class TestACustomer:
    def choose(self, client: Any, account: str) -> Any:
        return send(client, "/portal/payment", {"account": account}, to="/portal/payment/cards")

    def test_chooses_among_the_accounts_that_take_their_currency(self, client: Any) -> None:
        make("won", currencies=("KRW",))
        make("dollars", currencies=("USD",))
        make("hidden", place="none")
        parts.sign_in(client, customer())
        shown = client.get("/portal/payment?lang=en").text
        assert "Pay by won" in shown
        assert "Pay by dollars" not in shown
        assert "Pay by hidden" not in shown
        for code in ("dollars", "hidden", "nowhere"):
            assert self.choose(client, code).status_code == 404
        with control_session() as session:
            assert list(session.scalars(select(CardRegistration))) == []

    def test_is_offered_the_fallback_while_the_default_does_not_answer(self, client: Any) -> None:
        make("first", place="default")
        make("second", place="fallback")
        parts.sign_in(client, customer())
        assert "Pay by second" not in client.get("/portal/payment?lang=en").text
        answer = self.choose(client, "first")
        assert answer.location == "/portal/payment?instead_of=first"
        shown = client.get(f"{answer.location}&lang=en").text
        assert shown.index("Pay by second") < shown.index("Pay by first")
        assert self.choose(client, "second").location == "/portal/payment?instead_of=second"

    def test_is_led_by_a_link_to_a_page_that_our_policy_does_not_name(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make("first", place="default")
        monkeypatch.setattr(
            type(registry.gateway("first")), "begin_registration", _at_another_address
        )
        parts.sign_in(client, customer())
        shown = self.choose(client, "first")
        assert shown.status_code == 200
        assert 'href="https://checkout.example/session"' in shown.text

    def test_sees_no_button_where_nothing_is_open(self, client: Any) -> None:
        make("dollars", place="default", currencies=("USD",))
        parts.sign_in(client, customer())
        assert "/portal/payment/cards" not in client.get("/portal/payment").text
        client.get("/portal/payment")
        token = csrf_token(client, "/portal/account")
        answer = client.post("/portal/payment/cards", data={"csrf_token": token})
        assert answer.status_code == 404


def _at_another_address(_self: Any, **_words: Any) -> Any:
    from invoices.gateways.port import RegistrationStart

    return RegistrationStart(redirect_url="https://checkout.example/session")


def by_portone(portone: RunningPortOne, *channels: str) -> None:
    for channel in channels:
        make(
            channel,
            gateway="portone",
            credentials={
                "base_url": portone.url,
                "channel": channel,
                "store_id": STORE_ID,
                "channel_key": CHANNELS[channel][1],
                "api_secret": API_SECRET,
                "webhook_secret": WEBHOOK_SECRET,
            },
        )


class TestInTheBrowser:
    @pytest.mark.parametrize("channel", ["kakaopay", "naverpay", "paypal"])
    @pytest.mark.parametrize("width", [1280, 390])
    def test_a_wallet_is_registered_by_portones_script(
        self,
        *,
        app: Any,
        browser: Browser,
        portone: RunningPortOne,
        monkeypatch: pytest.MonkeyPatch,
        channel: str,
        width: int,
    ) -> None:
        by_portone(portone, channel)
        tenant = customer(state="active", converted_at=NOW)
        with serve(app) as address, open_page(browser, address, width=width) as page:
            monkeypatch.setenv("TENANTRY_PUBLIC_URL", address)
            settings.cache_clear()
            enter_portal(page, address, tenant)
            page.get_by_role("button", name=f"{channel} 결제").click()
            page.get_by_role("button", name="결제 서비스로 계속하기").click()
            if channel == "paypal":
                page.get_by_role("button", name="PayPal").click()
            redirected = width < 640 and channel != "paypal"
            window: Any = page if redirected else page.frame_locator("iframe[title=PortOne]")
            window.locator(f'input[value="{NUMBERS["pays"]}"]').check()
            window.get_by_role("button", name="등록하기").click()
            page.wait_for_url(re.compile("/portal/payment$"))
            expect(page.get_by_text("카드를 등록했", exact=False).first).to_be_visible()
        with control_session() as session:
            method = session.scalars(select(PaymentMethod)).one()
        assert (method.gateway, method.is_default) == (channel, True)
        monkeypatch.undo()
        settings.cache_clear()

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_every_page_reads_well_on_both_screens(
        self, app: Any, browser: Browser, portone: RunningPortOne, language: str, tmp_path: Path
    ) -> None:
        by_portone(portone, "kakaopay", "naverpay", "paypal")
        make("second", place="default", title_ko="이름이 아주 긴 해외 카드 결제")
        make("third", place="fallback")
        make("gone")
        with control_session() as session:
            gateway_accounts.disable(
                control_session=session, code="gone", reason="left", actor=SYSTEM, now=NOW
            )
        admin = forms.staff_member("admin")
        tenant = customer()
        places = {
            "gateways": GATEWAYS,
            "gateway_new": f"{GATEWAYS}/new/portone",
            "gateway": f"{GATEWAYS}/kakaopay",
            "gateway_gone": f"{GATEWAYS}/gone",
        }
        with serve(app) as address:
            with open_page(browser, language=language) as page:
                forms.admit(page, f"{address}/console", email=admin, password=forms.PASSWORD)
                wrong = look(page, address, places, language=language)
            with open_page(browser, language=language) as page:
                email = admin_of(tenant).email
                forms.admit(page, f"{address}/portal", email=email, password=PASSWORD)
                wrong += look(
                    page,
                    address,
                    {"portal_choose": "/portal/payment?instead_of=second"},
                    language=language,
                )
        assert not wrong


def enter_portal(page: Page, address: str, tenant: Any) -> None:
    email = admin_of(tenant).email
    enter(page, address, audience="portal", email=email, password=PASSWORD)
    page.goto(f"{address}/portal/payment")
