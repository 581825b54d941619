"""The trial form and what follows it, over HTTP."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.config import settings
from app.base.db import control_session
from app.base.messages import Message
from tenants.models import Application, Consent
from tests.factories import make_catalogue
from tests.naughty import naughty
from tests.web.forms import csrf_token, send

ANSWERS = {
    "company": "주식회사 한빛정밀",
    "country": "KR",
    "registration_number": "124-81-00998",
    "contact_name": "담당자",
    "email": "contact@hanbit.example",
    "phone": "02-1234-5678",
    "seats_expected": "12",
    "plan_code": "team",
    "message": "도면이 많아요.",
}


@pytest.fixture(autouse=True)
def _prices(client: Any) -> None:
    with control_session() as session:
        make_catalogue(session)


def apply(client: Any, **changes: str) -> Any:
    return send(client, "/trial", ANSWERS | changes)


def applications() -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).select_from(Application)) or 0


def confirmation_link() -> str:
    with control_session() as session:
        text = session.scalars(select(Message.text).order_by(Message.id.desc())).first()
    found = re.search(r"/trial/confirm/[\w-]+", text or "")
    assert found
    return found.group(0)


class TestForm:
    def test_shows_at_most_seven_fields_and_ticks_nothing(self, client: Any) -> None:
        page = client.get("/trial").text
        folded = page[page.index('<details class="more"') : page.index("</details>")]
        trap = page[page.index('class="trap') : page.index("trial-notice")]
        visible = page.replace(folded, "").replace(trap, "")
        names = re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', visible)
        asked = [n for n in names if n not in ("csrf_token", "marketing")]
        assert len(asked) == 7
        assert "marketing" in names
        assert "checked" not in page

    def test_keeps_what_was_typed_and_tells_every_fault_by_its_field(self, client: Any) -> None:
        answer = apply(client, registration_number="124-81-00999", email="nobody", company="<b>&")
        assert answer.status_code == 422
        for field in ("registration_number", "email"):
            assert f'id="{field}-error"' in answer.text
            assert f'href="#{field}"' in answer.text
        assert 'value="124-81-00999"' in answer.text
        assert 'value="&lt;b&gt;&amp;"' in answer.text
        assert applications() == 0

    def test_of_a_foreign_company_needs_no_number(self, client: Any) -> None:
        answer = apply(client, country="DE", registration_number="", phone="+49 30 901820")
        assert answer.status_code == 303

    def test_sent_twice_is_one_application(self, client: Any) -> None:
        first, second = apply(client), apply(client)
        assert first.headers["Location"] == second.headers["Location"]
        assert applications() == 1

    def test_answers_the_same_to_whoever_uses_an_address_that_is_open(self, client: Any) -> None:
        apply(client)
        other = apply(client, company="다른 회사", message="")
        page = client.get(other.headers["Location"])
        assert page.status_code == 200
        assert "한빛정밀" not in page.text
        assert ANSWERS["email"] not in page.text
        assert applications() == 1

    def test_without_its_token_is_refused(self, client: Any) -> None:
        for token in ("", "forged", csrf_token(client, "/trial")[:-2] + "xx"):
            answer = client.post("/trial", data=ANSWERS | {"csrf_token": token})
            assert answer.status_code == 400
        assert applications() == 0

    def test_with_the_trap_filled_stores_nothing_and_says_so(self, client: Any) -> None:
        answer = apply(client, fax_extension="555")
        assert answer.status_code == 422
        assert "is-caught" in answer.text
        assert applications() == 0

    @pytest.mark.parametrize("field", [*ANSWERS, "fax_extension", "marketing"])
    def test_takes_naughty_strings_in_every_field(self, client: Any, field: str) -> None:
        token = csrf_token(client, "/trial")
        for text in naughty(field):
            answer = client.post("/trial", data={**ANSWERS, "csrf_token": token, field: text})
            assert answer.status_code in (303, 422), (field, text)
            assert "<script>alert" not in answer.text

    def test_stores_consents_with_the_hash_of_what_was_shown(self, client: Any) -> None:
        apply(client, marketing="y")
        page = client.get("/privacy?lang=ko").text
        with control_session() as session:
            rows = {row.kind: row for row in session.scalars(select(Consent))}
        assert rows["privacy_notice"].text_sha256 in page
        assert rows["marketing"].granted
        assert rows["marketing"].channel == "web"

    def test_of_one_address_is_limited_and_keeps_the_answers(self, limited_client: Any) -> None:
        token = csrf_token(limited_client, "/trial")
        answers = [
            limited_client.post("/trial", data={**ANSWERS, "csrf_token": token}) for _ in range(11)
        ]
        assert [a.status_code for a in answers] == [303] * 10 + [429]
        assert 'value="contact@hanbit.example"' in answers[-1].text


class TestConfirmation:
    def test_shows_on_get_and_confirms_on_post(self, client: Any) -> None:
        apply(client)
        link = confirmation_link()
        for _ in range(2):
            page = client.get(link)
            assert page.status_code == 200
            assert page.headers["Cache-Control"] == "no-store"
            assert page.headers["Referrer-Policy"] == "no-referrer"
        answer = send(client, link, {})
        assert answer.status_code == 303
        status = client.get(answer.headers["Location"])
        assert status.status_code == 200
        assert "한빛정밀" in status.text

    def test_replayed_says_that_it_was_used(self, client: Any) -> None:
        apply(client)
        link = confirmation_link()
        token = csrf_token(client, link)
        assert client.post(link, data={"csrf_token": token}).status_code == 303
        assert client.post(link, data={"csrf_token": token}).status_code == 409
        assert client.get(link).status_code == 409

    def test_expired_offers_a_fresh_link(self, client: Any, set_clock: Any) -> None:
        apply(client)
        link = confirmation_link()
        set_clock(clock.now() + timedelta(hours=settings().confirmation_hours, minutes=1))
        page = client.get(link)
        assert page.status_code == 410
        answer = send(client, link, {}, to=link.replace("confirm", "renew"))
        assert answer.headers["Location"] == "/trial/renewed"
        assert client.get(confirmation_link()).status_code == 200

    def test_forged_looks_like_an_expired_one(self, client: Any) -> None:
        page = client.get("/trial/confirm/forged")
        assert page.status_code == 410
        answer = send(client, "/trial/confirm/forged", {}, to="/trial/renew/forged")
        assert answer.headers["Location"] == "/trial/renewed"


class TestStatus:
    @pytest.mark.parametrize("signed", ["x", "x.y", "0199f0aa-0000-7000-8000-000000000000.forged"])
    def test_opens_by_our_own_links_only(self, client: Any, signed: str) -> None:
        assert client.get(f"/status/{signed}").status_code == 422

    def test_follows_the_application(self, client: Any) -> None:
        apply(client)
        link = send(client, confirmation_link(), {}).headers["Location"]
        with control_session() as session:
            row = session.scalars(select(Application)).one()
            row.state = "erased"
        assert client.get(link).status_code == 404


class TestPrices:
    def test_come_from_the_catalogue_in_the_readers_currency(self, client: Any) -> None:
        assert "₩190,000" in client.get("/pricing?lang=ko").text
        assert "$149.00" in client.get("/pricing?lang=en").text
        assert "₩49,000" in client.get("/?lang=ko").text

    def test_of_a_month_are_added_up_as_invoices_are(self, client: Any) -> None:
        page = client.get("/pricing?currency=KRW&seats=12&storage=150").text
        # Team: 190,000 + 2 people more at 15,000 + 50 GB more at 200.
        assert "₩230,000" in page

    @pytest.mark.parametrize("typed", ["", "-5", "٣", "1e9", "9" * 400, "<b>", "NaN"])
    def test_survive_whatever_is_asked(self, client: Any, typed: str) -> None:
        asked = {"seats": typed, "storage": typed, "currency": typed}
        answer = client.get("/pricing", query_string=asked)
        assert answer.status_code == 200
        assert "<b>" not in answer.text
