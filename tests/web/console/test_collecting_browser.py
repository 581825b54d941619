"""The pages of debts, bank statements and consents, read by axe on a phone and on a desk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import catalogue, dunning, plan_moves
from invoices.models import BankTransfer, Invoice, PriceConsent, Subscription
from invoices.plan_moves import Move, Moves
from jobs import transfers as transfers_step
from tenants.models import Tenant
from tests.browser import chromium, faults, open_page
from tests.factories import NOW, make_invoice
from tests.factories import PASSWORD as ADMINS_PASSWORD
from tests.invoices.collecting import gateway_at
from tests.invoices.plans import TEAM, dearer
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.portal.parts import admin_of, committed
from tests.web.site.serving import serve

LATE = NOW + timedelta(days=15)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def gateway(tmp_path: Path) -> Iterator[None]:
    """A gateway that opens virtual accounts."""
    with gateway_at(tmp_path):
        yield


@pytest.fixture
def debt(scenario: object, set_clock: Callable[[datetime], None]) -> Invoice:
    """An overdue invoice, deposits near it, and a dearer price that its payer is asked about."""
    set_clock(LATE)
    invoice: Invoice = committed(make_invoice)
    with control_session() as session:
        dunning.mark_overdue(control_session=session, now=LATE, limit=9)
        # Who is asked must have a subscription that is in force.
        held = session.scalars(
            select(Subscription).where(Subscription.tenant_id == invoice.tenant_id)
        ).one()
        catalogue.publish(control_session=session, terms=dearer(TEAM), actor=SYSTEM, now=LATE)
        found = Moves()
        plan_moves.schedule(
            control_session=session,
            move=Move(
                plan_code="team",
                currency=held.currency,
                from_version=1,
                to_version=2,
                on=(LATE + timedelta(days=5)).date(),
                notice_days=0,
            ),
            tenant_id=invoice.tenant_id,
            actor=SYSTEM,
            now=LATE,
            found=found,
        )
        assert [each.asked for each in found.moved] == [True], found.left
        moves_on = session.scalars(select(PriceConsent.moves_on)).one()
    # Near enough to be agreed to.
    set_clock(max(LATE, LATE + (moves_on - timedelta(days=29) - LATE.date())))
    return invoice


def bring_deposits(client: Any, debt: Invoice) -> None:
    """Import a statement of which one deposit is near an invoice and one is near none."""
    sign_in_staff(client, "admin")
    text = (
        "거래일시,입금액,의뢰인,적요\n"
        f"2026-03-20,1000,주식회사 한반도종합건축설계감리,{debt.number_text}\n"
        "2026-03-21,77000,가온건축,3월분\n"
    )
    fields = {"layout": "usual", "file": (io.BytesIO(text.encode("cp949")), "3월.csv")}
    page = "/console/transfers"
    assert send(client, page, fields, to=f"{page}/import").status_code == 303
    transfers_step.work()
    with control_session() as session:
        assert session.scalars(select(BankTransfer.state)).all() == ["open", "open"]


def sign_in_at(page: Page, door: str, email: str, password: str) -> None:
    page.goto(f"{door}/sign-in")
    page.fill("#email", email)
    page.fill("#password", password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_read_well_on_every_screen(
    app: Any, client: Any, browser: Browser, debt: Invoice, language: str
) -> None:
    bring_deposits(client, debt)
    with control_session() as session:
        tenant = session.get_one(Tenant, debt.tenant_id)
    doors = {
        "console": (
            staff_member("finance"),
            PASSWORD,
            ("/console/collecting", f"/console/collecting/{debt.tenant_id}", "/console/transfers"),
        ),
        "portal": (
            admin_of(tenant).email,
            ADMINS_PASSWORD,
            ("/portal/", f"/portal/invoices/{debt.id}/transfer", "/portal/plan/consent"),
        ),
    }
    wrong = []
    with serve(app) as address:
        for door, (email, password, paths) in doors.items():
            with open_page(browser, language=language) as page:
                admit(page, f"{address}/{door}", email=email, password=password)
                for path in paths:
                    answer = page.goto(f"{address}{path}")
                    assert answer is not None
                    assert answer.status == 200
                    wrong += faults(page)
                if door == "portal":
                    page.goto(f"{address}{paths[1]}")
                    page.locator("main form button[type=submit]").first.click()
                    page.wait_for_load_state()
                    wrong += faults(page)
    assert wrong == []


def test_a_dialog_that_was_refused_opens_again_at_its_field(
    app: Any, browser: Browser, debt: Invoice
) -> None:
    email = staff_member("finance")
    with (
        serve(app) as address,
        open_page(browser, f"{address}/console/sign-in", language="en") as page,
    ):
        sign_in_at(page, f"{address}/console", email, PASSWORD)
        page.goto(f"{address}/console/collecting/{debt.tenant_id}")
        page.locator("[data-dialog=rule]").click()
        page.fill("#retry-own", "now and then")
        page.fill("#why-rule-own", "agreed by telephone")
        page.locator("#rule button[type=submit]").click()
        page.wait_for_selector("dialog#rule[open] [aria-invalid]")
        page.wait_for_function("() => document.activeElement?.id === 'retry-own'")
        assert page.input_value("#retry-own") == "now and then"
        assert page.input_value("#why-rule-own") == "agreed by telephone"
        assert faults(page) == []
