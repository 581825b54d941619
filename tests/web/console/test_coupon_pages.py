"""Coupons and credit on the pages: finance makes and takes back, customers redeem and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from invoices import coupons, credit_grants, invoicing
from invoices.coupons import Availability
from invoices.credit_grants import Rollover
from invoices.discounts import Coupon
from invoices.models import CouponOffer, CouponRedemption, CreditGrant, Invoice
from tenants.models import Tenant
from tests.browser import chromium, open_page
from tests.factories import NOW, PASSWORD, make_readings, make_subscription, make_tenant
from tests.web import forms
from tests.web.forms import send, sign_in_staff
from tests.web.portal import parts
from tests.web.portal.parts import admin_of, customer
from tests.web.portal.test_portal_browser import LANGUAGES, look
from tests.web.site.serving import serve

COUPONS = "/console/coupons"
START = date(2026, 1, 31)
TERMS = {
    "code": "spring-26",
    "name_ko": "봄맞이 할인",
    "name_en": "Spring sale",
    "kind": "percentage",
    "percent": "12.5",
    "duration": "months",
    "months": "3",
    "max_redemptions": "30",
    "priority": "10",
    "charges": "base, seats",
    "expires_on": "2026-12-31",
}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    set_clock(NOW)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def offered(**terms: Any) -> CouponOffer:
    values: dict[str, Any] = {
        "code": "SPRING",
        "name_ko": "봄맞이 할인",
        "name_en": "Spring sale",
        "kind": "percentage",
        "percent": Decimal("12.5"),
        "duration": "forever",
    }
    with control_session() as session:
        return coupons.create(
            control_session=session,
            coupon=Coupon(**values | terms),
            availability=Availability(max_redemptions=30),
            actor=SYSTEM,
            now=NOW,
        )


def redemptions() -> list[CouponRedemption]:
    with control_session() as session:
        return list(session.scalars(select(CouponRedemption)))


def grants() -> list[CreditGrant]:
    with control_session() as session:
        return list(session.scalars(select(CreditGrant)))


def discounted_life() -> tuple[Tenant, Invoice]:
    """A customer whose second bill has every kind of line that is no charge."""
    tenant = customer(state="active", converted_at=NOW)
    offered()
    offered(
        code="TEN-SEATS",
        name_ko="사용자 10명 무료",
        name_en="Ten seats free",
        kind="free_units",
        units=Decimal(10),
        charges=("seats",),
        percent=Decimal(0),
        priority=1,
    )
    with control_session() as session:
        subscription = make_subscription(
            session, tenant=session.get_one(Tenant, tenant.id), starts_on=START
        )
        make_readings(session, tenant_id=tenant.id, start=START, end=date(2026, 3, 10), seats=34)
        for code in ("SPRING", "TEN-SEATS"):
            coupons.redeem(
                control_session=session,
                code=code,
                tenant_id=tenant.id,
                actor=SYSTEM,
                now=NOW,
                starts_on=START,
            )
        for minor, source, expires_on in (
            (20_000, "promotion", date(2026, 6, 30)),
            (700_000, "purchase", None),
        ):
            credit_grants.grant(
                control_session=session,
                tenant_id=tenant.id,
                amount=Money(minor, "KRW"),
                source=source,
                note="₩440,000 by transfer on 30 January",
                actor=SYSTEM,
                now=datetime(2026, 1, 30, tzinfo=UTC),
                expires_on=expires_on,
                rollover=Rollover(percent=Decimal(50), days=90) if expires_on else None,
                priority=10 if expires_on else 100,
            )
        issued = invoicing.bill(
            control_session=session, subscription_ids=[subscription.id], now=NOW
        ).issued
    with control_session() as session:
        return tenant, session.get_one(Invoice, issued[-1])


class TestFinance:
    def test_offers_a_coupon_as_it_was_typed(self, client: Any) -> None:
        customer()
        sign_in_staff(client, "finance")
        assert send(client, COUPONS, TERMS).status_code == 303
        with control_session() as session:
            made = session.scalars(select(CouponOffer)).one()
        assert (made.code, made.percent, made.months) == ("SPRING-26", Decimal("12.5"), 3)
        assert (made.charges, made.max_redemptions, made.priority) == (["base", "seats"], 30, 10)
        assert made.expires_at == datetime(2026, 12, 30, 15, tzinfo=UTC)
        assert "12.5% off (base, Additional seats)" in client.get(f"{COUPONS}?lang=en").text

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"code": "x"}, "code"),
            ({"percent": "abc"}, "percent"),
            ({"percent": "101"}, "percent"),
            ({"kind": "amount", "amount": "10.5"}, "amount"),
            ({"kind": "amount", "amount": "10"}, "currency"),
            ({"months": ""}, "months"),
            ({"charges": "no_such"}, "charges"),
            ({"max_redemptions": "0"}, "max_redemptions"),
            ({"expires_on": "soon"}, "expires_on"),
        ],
    )
    def test_is_told_what_is_wrong_beside_the_field(
        self, client: Any, wrong: dict[str, str], field: str
    ) -> None:
        customer()
        sign_in_staff(client, "finance")
        answer = send(client, COUPONS, TERMS | wrong)
        assert answer.status_code == 422
        assert f'id="{field}-error"' in answer.text
        assert "봄맞이 할인" in answer.text

    def test_retires_a_coupon(self, client: Any) -> None:
        made = offered()
        sign_in_staff(client, "finance")
        assert send(client, COUPONS, {}, to=f"{COUPONS}/{made.id}/retire").status_code == 303
        with control_session() as session:
            assert session.get_one(CouponOffer, made.id).retired_at is not None

    def test_records_credit_and_takes_it_back(self, client: Any) -> None:
        tenant = customer(state="active")
        page = f"/console/tenants/{tenant.id}/credits"
        sign_in_staff(client, "finance")
        fields = {
            "amount": "1,100,000",
            "source": "purchase",
            "note": "by transfer on 9 March",
            "expires_on": "2026-12-31",
            "rollover_percent": "50",
            "rollover_days": "90",
        }
        assert send(client, page, fields).status_code == 303
        (made,) = grants()
        assert (made.amount_minor, made.rollover_percent, made.rollover_days) == (
            1_100_000,
            50,
            90,
        )
        assert "₩1,100,000" in client.get(page).text
        revoke = f"{page}/{made.id}/revoke"
        assert send(client, page, {"reason": ""}, to=revoke).status_code == 422
        assert send(client, page, {"reason": "never paid"}, to=revoke).status_code == 303
        assert grants()[0].revoked_at is not None

    def test_redeems_and_releases_for_a_customer(self, client: Any) -> None:
        tenant = customer(state="active")
        offered()
        page = f"/console/tenants/{tenant.id}/credits"
        sign_in_staff(client, "finance")
        coupon = f"/console/tenants/{tenant.id}/coupons"
        fields = {"code": "spring", "starts_on": "2026-03-01"}
        assert send(client, page, fields, to=coupon).status_code == 303
        (made,) = redemptions()
        assert made.starts_on == date(2026, 3, 1)
        release = f"{coupon}/{made.id}/release"
        assert send(client, page, {"reason": "by mistake"}, to=release).status_code == 303
        assert redemptions()[0].state == "released"

    def test_reaches_no_other_customers_entries(self, client: Any) -> None:
        tenant, _ = discounted_life()
        stranger = parts.committed(make_tenant)
        sign_in_staff(client, "finance")
        page = f"/console/tenants/{stranger.id}/credits"
        for place in (
            f"{page}/{grants()[0].id}/revoke",
            f"/console/tenants/{stranger.id}/coupons/{redemptions()[0].id}/release",
        ):
            assert send(client, page, {"reason": "x"}, to=place).status_code == 404
        assert tenant.id != stranger.id

    def test_alone_may_act(self, client: Any) -> None:
        tenant = customer(state="active")
        sign_in_staff(client, "sales")
        assert client.get(COUPONS).status_code == 200
        page = f"/console/tenants/{tenant.id}/credits"
        assert 'name="amount"' not in client.get(page).text
        assert send(client, "/console/staff", {}, to=COUPONS).status_code in (403, 400)


class TestACustomer:
    def test_redeems_a_code_and_sees_it(self, client: Any) -> None:
        tenant = customer(state="active")
        offered()
        parts.sign_in(client, tenant)
        answer = send(client, "/portal/credits", {"code": "SPRING"}, to="/portal/credits/coupons")
        assert answer.status_code == 303
        assert "봄맞이 할인" in client.get("/portal/credits").text

    def test_hears_why_not(self, client: Any) -> None:
        tenant = customer(state="active")
        parts.sign_in(client, tenant)
        answer = send(client, "/portal/credits", {"code": "NONE"}, to="/portal/credits/coupons")
        assert answer.status_code == 422
        assert "이 코드의 쿠폰이 없어요" in answer.text

    def test_reads_on_the_invoice_what_was_taken_off(self, client: Any) -> None:
        tenant, invoice = discounted_life()
        parts.sign_in(client, tenant)
        shown = client.get(f"/portal/invoices/{invoice.id}?lang=en").text
        for words in (
            "Discount: Spring sale",
            "SPRING · 12.5% of ₩",
            "TEN-SEATS · 10 units free",
            "Prepaid credit used",
        ):
            assert words in shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_reads_well_on_both_screens(app: Any, browser: Browser, language: str) -> None:
    tenant, invoice = discounted_life()
    finance = forms.staff_member("finance")
    with serve(app) as address:
        with open_page(browser, language=language) as page:
            forms.admit(page, f"{address}/console", email=finance, password=forms.PASSWORD)
            wrong = look(
                page,
                address,
                {
                    "coupons": COUPONS,
                    "tenant_credits": f"/console/tenants/{tenant.id}/credits",
                    "discounted_invoice": f"/console/invoices/{invoice.id}",
                },
                language=language,
            )
        with open_page(browser, language=language) as page:
            email = admin_of(tenant).email
            forms.admit(page, f"{address}/portal", email=email, password=PASSWORD)
            wrong += look(
                page,
                address,
                {
                    "portal_credits": "/portal/credits",
                    "portal_discounted": f"/portal/invoices/{invoice.id}",
                },
                language=language,
            )
    assert not wrong
