"""From a number on an invoice to an event, and to what finance puts right about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session, usage_session
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.models import Invoice
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tenants import events, meters
from tenants.usage_models import Event
from tests.browser import WIDTHS, chromium, faults, open_page, screenshot
from tests.factories import make_subscription, make_tenant
from tests.tenants.counting import meter
from tests.web.forms import PASSWORD, admit, csrf_token, send, sign_in_staff, staff_member
from tests.web.site.serving import serve

START, FIRST, SECOND = date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
AT = datetime(2026, 2, 10, 3, 0, 0, 250_000, tzinfo=UTC)
SIZE = "12345678901234567.125"


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


@pytest.fixture
def tenant_id(app: Any, set_clock: Any) -> UUID:
    """A company with four events of ten units each in February, billed for it on the first."""
    units = Charge(
        code="units",
        name_ko="사용량",
        name_en="Units",
        meter="units",
        timing="arrears",
        pricing=Pricing(model="per_unit", unit_amount=Decimal(100)),
    )
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=[meter("units", aggregation="sum")],
            actor=SYSTEM,
            now=seoul(START),
        )
        terms = PlanTerms(
            plan_code="units",
            position=8,
            currency="KRW",
            name_ko="사용량",
            name_en="Units",
            seats_max=5,
            storage_bytes_max=10**9,
            charges=(units,),
        )
        catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=seoul(START))
        tenant = make_tenant(session, state="active")
        subscription = make_subscription(
            session, tenant=tenant, starts_on=START, plan_code="units", now=seoul(START)
        )
    sent = [
        {
            "id": f"/gate/a {number}",
            "tenant": str(tenant.id),
            "type": "api.call",
            "time": AT.isoformat(),
            "quantity": 10,
            "properties": {"size": Decimal(SIZE), "region": "seoul"},
        }
        for number in range(4)
    ]
    with control_session() as session, usage_session() as usage:
        events.accept(usage_session=usage, control_session=session, events=sent, now=AT)
    bill(subscription.id, FIRST)
    set_clock(seoul(FIRST, 12))
    return tenant.id


def bill(subscription_id: UUID, on: date) -> None:
    with control_session() as session, usage_session() as usage:
        invoicing.bill(
            control_session=session,
            subscription_ids=[subscription_id],
            now=seoul(on),
            usage_session=usage,
        )


def invoices(tenant_id: UUID) -> list[Invoice]:
    with control_session() as session:
        return list(
            session.scalars(
                select(Invoice).where(Invoice.tenant_id == tenant_id).order_by(Invoice.supplied_on)
            )
        )


def behind(tenant_id: UUID) -> str:
    return f"/console/invoices/{invoices(tenant_id)[0].id}/lines/1/events?lang=en"


def event_page(tenant_id: UUID, number: int = 0, act: str = "", **changes: str) -> str:
    query = {
        "id": f"/gate/a {number}",
        "type": "api.call",
        "time": AT.isoformat(),
        "invoice": str(invoices(tenant_id)[0].id),
        "line": "1",
        "lang": "en",
    }
    return f"/console/events/{tenant_id}{act}?{urlencode(query | changes)}"


def form(**changes: str) -> dict[str, str]:
    """The form as it stands on the page, changed as somebody types."""
    return {
        "type": "api.call",
        "time": "2026-02-10T12:00:00.250000+09:00",
        "quantity": "10",
        "properties": f'{{"size": {SIZE}, "region": "seoul"}}',
        "reason": "Counted twice.",
    } | changes


def quantities(tenant_id: UUID) -> list[int]:
    with usage_session() as session:
        return [
            int(each)
            for each in session.scalars(
                select(Event.quantity).where(Event.tenant_id == tenant_id).order_by(Event.id)
            )
        ]


class TestAnEventBehindALine:
    def test_leads_to_its_own_page_with_a_form_for_finance_alone(
        self, app: Any, client: Any, tenant_id: UUID
    ) -> None:
        sign_in_staff(client, "viewer")
        listed = client.get(behind(tenant_id))
        assert listed.text.count(f"/console/events/{tenant_id}?id=/gate/a+") == 4
        page = client.get(event_page(tenant_id))
        assert page.status_code == 200
        assert "Nothing was corrected" in page.text
        assert SIZE in page.text
        assert "/void?" not in page.text
        finance = sign_in_staff(app.test_client(), "finance")
        page = unescape(finance.get(event_page(tenant_id)).text)
        assert [value for value in form(reason="").values() if value not in page] == []

    @pytest.mark.parametrize("act", ["/amend", "/void"])
    def test_is_put_right_by_finance_alone_and_not_without_the_token(
        self, app: Any, client: Any, tenant_id: UUID, act: str
    ) -> None:
        sign_in_staff(client, "finance")
        assert client.post(event_page(tenant_id, act=act), data=form()).status_code == 400
        sales = sign_in_staff(app.test_client(), "sales")
        fields = form() | {"csrf_token": csrf_token(sales, "/console/invoices")}
        assert sales.post(event_page(tenant_id, act=act), data=fields).status_code == 403
        assert quantities(tenant_id) == [10] * 4

    @pytest.mark.parametrize(
        "changes", [{"id": "nobody's"}, {"time": "noon"}, {"id": "\x00"}, {"type": "other"}]
    )
    def test_that_is_not_there_is_not_found(
        self, client: Any, tenant_id: UUID, changes: dict[str, str]
    ) -> None:
        sign_in_staff(client, "finance")
        assert client.get(event_page(tenant_id, **changes)).status_code == 404


class TestAmending:
    def test_is_told_on_both_pages_and_billed_by_the_next_invoice_with_both_numbers(
        self, client: Any, tenant_id: UUID
    ) -> None:
        sign_in_staff(client, "finance")
        page = event_page(tenant_id)
        answer = send(client, page, form(quantity="25"), to=event_page(tenant_id, act="/amend"))
        assert answer.status_code == 303
        assert quantities(tenant_id) == [25, 10, 10, 10]
        shown = client.get(answer.location + "&lang=en").text
        assert "Counted twice." in shown
        assert "The finance" in shown
        listed = client.get(behind(tenant_id)).text
        assert "Events of this period were corrected" in listed
        assert "Counted twice." in listed
        with usage_session() as session:
            sizes = session.scalars(select(Event.properties["size"].astext)).all()
        assert set(sizes) == {SIZE}
        bill(invoices(tenant_id)[0].subscription_id, SECOND)
        first, second = invoices(tenant_id)
        told = client.get(f"/console/invoices/{second.id}?lang=en").text
        for words in (first.number_text, "40 · ₩4,000", "55 · ₩5,500"):
            assert words in told
        with control_session() as session:
            noted = session.scalars(
                select(AuditEvent).where(AuditEvent.subject_kind == "event")
            ).one()
        assert (noted.action, noted.why) == ("event.amended", "Counted twice.")
        assert "Usage event amended" in client.get(f"/console/tenants/{tenant_id}?lang=en").text

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"quantity": "many"}, "The quantity is no number"),
            ({"properties": "{size}"}, "Give a JSON object"),
            ({"properties": '{"a": {}}'}, "Give a JSON object"),
            ({"time": "2026-02-10T12:00:00"}, "Give a time with its zone"),
            ({"type": " "}, "The type is empty"),
            ({"quantity": "9", "reason": " "}, "Give a reason"),
            ({}, "Say what of the event is to change."),
        ],
    )
    def test_of_what_is_unsound_is_refused_at_the_field_with_the_input_kept(
        self, client: Any, tenant_id: UUID, changes: dict[str, str], words: str
    ) -> None:
        sign_in_staff(client, "finance")
        typed = form(**changes)
        answer = send(client, event_page(tenant_id), typed, to=event_page(tenant_id, act="/amend"))
        assert answer.status_code == 422
        page = unescape(answer.text)
        assert words in page
        assert typed["quantity"] in page
        assert quantities(tenant_id) == [10] * 4


class TestVoiding:
    def test_takes_the_event_off_the_list_and_says_so_there(
        self, client: Any, tenant_id: UUID
    ) -> None:
        sign_in_staff(client, "finance")
        page = event_page(tenant_id, 2)
        act = event_page(tenant_id, 2, act="/void")
        token_page = event_page(tenant_id, 3)
        answer = send(client, page, {"reason": "A test run."}, to=act)
        assert answer.status_code == 303
        assert quantities(tenant_id) == [10] * 3
        shown = client.get(answer.location + "&lang=en").text
        assert "This event was voided" in shown
        assert "/amend?" not in shown
        listed = client.get(behind(tenant_id)).text
        assert "Taken out of this period" in listed
        assert "A test run." in listed
        again = send(client, token_page, form(quantity="3"), to=act.replace("/void", "/amend"))
        assert again.status_code == 409
        assert "This event was voided. Send what is right" in again.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_pages_have_no_faults(
    app: Any, client: Any, browser: Browser, tenant_id: UUID, language: str
) -> None:
    email = staff_member("finance")
    sign_in_staff(client, "admin")
    for number, act in ((1, "/void"), (2, "/amend")):
        answer = send(
            client,
            event_page(tenant_id),
            form(quantity="7") if act == "/amend" else {"reason": "시험 호출"},
            to=event_page(tenant_id, number, act=act),
        )
        assert answer.status_code == 303
    with (
        serve(app) as address,
        open_page(browser, language=language) as page,
    ):
        admit(page, f"{address}/console", email=email, password=PASSWORD)
        wrong = []
        for name, place in {
            "behind": behind(tenant_id),
            "event": event_page(tenant_id),
            "voided": event_page(tenant_id, 1),
            "amended": event_page(tenant_id, 2),
        }.items():
            page.goto(f"{address}{place.replace('lang=en', f'lang={language}')}")
            wrong += faults(page)
            if folder := os.environ.get("TENANTRY_SHOTS"):
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 844})
                    screenshot(page, Path(folder) / f"correct-{name}.{language}.{width}.png")
    assert wrong == []
