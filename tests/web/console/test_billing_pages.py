"""The billing run's page: drafts, who releases them, and what is to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from invoices import invoicing, rehearsal
from invoices.models import Invoice, RunRelease, Subscription
from tests.factories import make_readings, make_subscription, make_tenant
from tests.web.forms import send, sign_in_staff

PAGE, ATTENTION = "/console/billing", "/console/attention"
START = date(2026, 1, 31)
NOW = datetime(2026, 5, 31, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    set_clock(NOW)


@pytest.fixture
def with_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A grace of ten days, and two people from ₩500,000 on."""
    monkeypatch.setenv("TENANTRY_INVOICE_GRACE_HOURS", "240")
    monkeypatch.setenv("TENANTRY_RUN_RELEASE_LIMIT", "KRW=500000")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def limited(with_grace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No grace, and two people all the same."""
    monkeypatch.setenv("TENANTRY_INVOICE_GRACE_HOURS", "0")
    settings.cache_clear()


def bill_these(ids: list[UUID], at: datetime | None = None) -> None:
    with control_session() as session:
        invoicing.bill(control_session=session, subscription_ids=ids, now=at or clock.now())


def bill_all(at: datetime | None = None) -> None:
    with control_session() as session:
        ids = list(session.scalars(select(Subscription.id)))
    bill_these(ids, at)


def spiking() -> None:
    """A customer whose last month has three hundred times the usual storage."""
    with control_session() as session:
        tenant = make_tenant(session, state="active", name="한빛정밀공업 주식회사")
        make_subscription(session, tenant=tenant, starts_on=START)
        for start, end, gigabytes in (
            (START, date(2026, 4, 30), 300),
            (date(2026, 4, 30), date(2026, 6, 30), 90_000),
        ):
            make_readings(
                session, tenant_id=tenant.id, start=start, end=end, seats=14, gigabytes=gigabytes
            )


def newcomers(count: int) -> None:
    with control_session() as session:
        for _ in range(count):
            tenant = make_tenant(session, state="active")
            make_subscription(session, tenant=tenant, starts_on=date(2026, 5, 31))


def rehearsed(as_of: date) -> rehearsal.Rehearsal:
    with control_session() as session:
        return rehearsal.rehearse(control_session=session, as_of=as_of)


class TestPage:
    @pytest.mark.parametrize(
        ("language", "words"),
        [("ko", "그때까지 청구할 것이 없어요"), ("en", "Nothing is due by then")],
    )
    def test_says_so_where_nothing_is_due(self, client: Any, language: str, words: str) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(PAGE, query_string={"lang": language})
        assert page.status_code == 200
        assert words in page.text

    def test_of_the_last_day_there_is_says_that_none_is_due(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(PAGE, query_string={"as_of": "9999-12-31", "lang": "en"})
        assert page.status_code == 422
        assert "No bill is ever due on that day." in page.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_what_is_to_come_beside_what_was(self, client: Any, language: str) -> None:
        spiking()
        bill_all(datetime(2026, 5, 30, 3, 0, tzinfo=UTC))
        sign_in_staff(client, "finance")
        page = client.get(PAGE, query_string={"lang": language})
        assert "한빛정밀공업 주식회사" in page.text
        why = {"ko": "평소의 3배 이상이에요", "en": "3 times the usual or more"}
        assert why[language] in page.text
        with control_session() as session:
            assert session.scalar(select(Invoice.id).where(Invoice.state == "draft")) is None

    def test_puts_odd_bills_first_with_the_difference_and_the_totals(self, client: Any) -> None:
        newcomers(1)
        spiking()
        bill_all(datetime(2026, 5, 30, 3, 0, tzinfo=UTC))
        sign_in_staff(client, "viewer")
        page = client.get(PAGE, query_string={"lang": "en"}).text
        found = rehearsed(NOW.date())
        (odd, usual), (bills, total, before) = found.bills, found.totals()["KRW"]
        assert (odd.odd, usual.odd, bills) == (True, False, 2)
        shown = [f"₩{amount:,}" for amount in (total, before, odd.before_minor)]
        shown += [f"+₩{amount:,}" for amount in (total - before, odd.difference_minor)]
        assert [amount for amount in shown if amount not in page] == []
        rows = page.partition("Bills to come")[2]
        assert 0 < rows.index(odd.tenant_name) < rows.index(usual.tenant_name)

    def test_takes_a_day_and_refuses_what_is_none(self, client: Any) -> None:
        newcomers(1)
        sign_in_staff(client, "viewer")
        assert client.get(PAGE, query_string={"as_of": "2026-07-01"}).status_code == 200
        assert client.get(PAGE, query_string={"as_of": "soon"}).status_code == 422

    def test_is_not_for_strangers(self, client: Any) -> None:
        assert client.get(PAGE).headers["Location"].startswith("/console/sign-in")


class TestReleasingARun:
    def test_above_the_limit_takes_two_people(
        self, app: Any, client: Any, with_grace: None
    ) -> None:
        newcomers(3)
        bill_all()
        sign_in_staff(client, "finance")
        to = f"{PAGE}/runs/2026-05-31/KRW/release"
        assert send(client, PAGE, {}, to=to).status_code == 303
        with control_session() as session:
            release = session.scalars(select(RunRelease)).one()
            assert release.needs_second
        agree = f"{PAGE}/releases/{release.id}/approve"
        assert send(client, PAGE, {}, to=agree).status_code == 403
        second = sign_in_staff(app.test_client(), "admin")
        assert send(second, PAGE, {}, to=agree).status_code == 303
        bill_all()
        with control_session() as session:
            assert set(session.scalars(select(Invoice.state))) == {"issued"}

    @pytest.mark.parametrize(
        ("language", "gathers", "sent"),
        [
            ("ko", "그날의 다른 청구가 모두 계산되면 자동 발행", "이미 ₩209,000 발행"),
            ("en", "when the other bills of that day are composed", "after ₩209,000 issued"),
        ],
    )
    def test_of_which_bills_are_to_come_or_went_out_says_so(
        self, client: Any, limited: None, language: str, gathers: str, sent: str
    ) -> None:
        newcomers(3)
        with control_session() as session:
            ids = list(session.scalars(select(Subscription.id).order_by(Subscription.id)))
        bill_these(ids[:1])
        sign_in_staff(client, "finance")
        page = client.get(PAGE, query_string={"lang": language}).text
        assert gathers in page
        assert sent not in page
        bill_these(ids[:1], at=NOW + timedelta(hours=7))
        bill_these(ids[1:])
        page = client.get(PAGE, query_string={"lang": language}).text
        assert gathers not in page
        assert sent in page

    def test_is_not_for_those_who_read(self, client: Any, with_grace: None) -> None:
        newcomers(1)
        bill_all()
        sign_in_staff(client, "sales")
        assert "/release" not in client.get(PAGE).text
        to = f"{PAGE}/runs/2026-05-31/KRW/release"
        assert send(client, PAGE, {}, to=to).status_code == 403

    @pytest.mark.parametrize("day", ["2026-01-01", "soon"])
    def test_of_nothing_is_refused(self, client: Any, day: str) -> None:
        sign_in_staff(client, "finance")
        to = f"{PAGE}/runs/{day}/KRW/release"
        assert send(client, PAGE, {}, to=to).status_code in (404, 422)


class TestAHeldBill:
    @pytest.fixture
    def held(self, app: Any) -> Invoice:
        spiking()
        bill_all()
        with control_session() as session:
            return session.scalars(select(Invoice).where(Invoice.state == "draft")).one()

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_waits_among_what_needs_attention(
        self, client: Any, held: Invoice, language: str
    ) -> None:
        sign_in_staff(client, "finance")
        page = client.get(ATTENTION, query_string={"lang": language})
        assert {"ko": "보류된 청구", "en": "Bills held back"}[language] in page.text
        assert f"{PAGE}/drafts/{held.id}/release" in page.text
        assert client.get(f"/console/invoices/{held.id}").status_code == 200

    def test_passes_with_a_reason(self, client: Any, held: Invoice) -> None:
        sign_in_staff(client, "finance")
        to = f"{PAGE}/drafts/{held.id}/release"
        assert send(client, ATTENTION, {"why": " "}, to=to).status_code == 422
        assert send(client, ATTENTION, {"why": "they moved in"}, to=to).status_code == 303
        bill_all()
        with control_session() as session:
            assert session.get_one(Invoice, held.id).state == "issued"

    def test_is_thrown_away_with_a_reason(self, client: Any, held: Invoice) -> None:
        sign_in_staff(client, "finance")
        to = f"{PAGE}/drafts/{held.id}/throw-away"
        assert send(client, ATTENTION, {"why": ""}, to=to).status_code == 422
        assert send(client, ATTENTION, {"why": "meter ran wild"}, to=to).status_code == 303
        with control_session() as session:
            session.execute(
                text("UPDATE reading SET quantity = 300 WHERE meter = 'storage_gb_days'")
            )
        bill_all()
        with control_session() as session:
            states = session.scalars(select(Invoice.state)).all()
        assert sorted(states) == ["issued"] * 5 + ["void"]
