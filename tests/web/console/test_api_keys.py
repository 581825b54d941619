"""API keys in the console: shown once, rotated with an overlap, revoked at once, all audited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select, text

from app.base import clock
from app.base.audit import AuditEvent
from app.base.db import control_session
from tenants.api_key_models import ApiKey
from tests.browser import chromium, faults, open_page
from tests.web.api.calling import event, make_customer, make_key, push
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.site.serving import serve

PAGE = "/console/api-keys"
NEW = {"name": "render farm", "scopes": "events:write"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def secret_on(answer: Any) -> str:
    found = set(re.findall(r"tk_[a-z0-9]{10}_[\w-]{43}", answer.text))
    assert len(found) == 1
    return str(found.pop())


def key_ids() -> list[UUID]:
    with control_session() as session:
        return list(session.scalars(select(ApiKey.id).order_by(ApiKey.id)))


def acts() -> list[str]:
    with control_session() as session:
        return list(
            session.scalars(
                select(AuditEvent.action)
                .where(AuditEvent.subject_kind == "api_key")
                .order_by(AuditEvent.id)
            )
        )


class TestMaking:
    def test_shows_the_secret_once_and_keeps_it_nowhere(self, client: Any) -> None:
        sign_in_staff(client)
        make_customer()
        answer = send(client, PAGE, NEW)
        secret = secret_on(answer)
        assert answer.headers["Cache-Control"] == "no-store"
        assert push(client, event(), key=secret).status_code == 200
        page = client.get(PAGE).text
        assert "render farm" in page
        assert secret not in page
        with control_session() as session:
            for table in ("api_key", "audit_event", "web_session"):
                rows = session.scalars(text(f"SELECT t::text FROM {table} t")).all()
                assert not [row for row in rows if secret[14:] in row], table
        assert acts() == ["api_key.made"]

    @pytest.mark.parametrize(
        ("fields", "place"),
        [
            ({"name": "", "scopes": "events:write"}, "name"),
            ({"name": "x" * 61, "scopes": "events:write"}, "name"),
            ({"name": "kept"}, "scope-0"),
            ({"name": "kept", "scopes": "everything"}, "scope-0"),
        ],
    )
    def test_names_the_wrong_field(self, client: Any, fields: dict[str, str], place: str) -> None:
        sign_in_staff(client)
        answer = send(client, PAGE, fields)
        assert (answer.status_code, key_ids()) == (422, [])
        assert f'href="#{place}"' in answer.text
        assert f'id="{place}"' in answer.text

    @pytest.mark.parametrize("role", ["sales", "finance", "viewer"])
    def test_is_an_admins_and_so_is_the_page(self, client: Any, role: str) -> None:
        sign_in_staff(client, role)
        assert client.get(PAGE).status_code == 403
        answer = send(client, "/console/staff", NEW, to=PAGE)
        assert (answer.status_code, key_ids()) == (403, [])
        assert PAGE not in client.get("/console/staff").text

    def test_is_found_in_an_admins_navigation(self, client: Any) -> None:
        sign_in_staff(client)
        assert f'href="{PAGE}"' in client.get("/console/staff").text


class TestRotating:
    def test_lets_the_old_secret_work_until_the_overlap_ends(
        self, client: Any, set_clock: Callable[[datetime], None]
    ) -> None:
        make_customer()
        old = make_key()
        sign_in_staff(client)
        answer = send(client, PAGE, {"overlap": "24"}, to=f"{PAGE}/{key_ids()[0]}/rotate")
        new = secret_on(answer)
        begun = clock.now()
        for hours, expected in ((23, 200), (25, 401)):
            set_clock(begun + timedelta(hours=hours))
            assert push(client, event(), key=old).status_code == expected
            assert push(client, event(), key=new).status_code == 200
        assert acts() == ["api_key.made", "api_key.rotated"]

    def test_without_an_overlap_ends_the_old_secret_now(self, client: Any) -> None:
        old = make_key()
        sign_in_staff(client)
        send(client, PAGE, {"overlap": "0"}, to=f"{PAGE}/{key_ids()[0]}/rotate")
        assert push(client, event(), key=old).status_code == 401

    def test_happens_once_and_never_to_a_key_that_is_over(self, client: Any) -> None:
        make_key()
        sign_in_staff(client)
        first = key_ids()[0]
        rotate = f"{PAGE}/{first}/rotate"
        assert send(client, PAGE, {"overlap": "1"}, to=rotate).status_code == 422
        assert send(client, PAGE, {"overlap": "24"}, to=rotate).status_code == 200
        assert send(client, PAGE, {"overlap": "24"}, to=rotate).status_code == 409
        second = key_ids()[1]
        send(client, PAGE, {}, to=f"{PAGE}/{second}/revoke")
        again = send(client, PAGE, {"overlap": "24"}, to=f"{PAGE}/{second}/rotate")
        assert (again.status_code, len(key_ids())) == (409, 2)


class TestRevoking:
    def test_ends_a_key_at_once_and_is_written_down_once(self, client: Any) -> None:
        secret = make_key()
        sign_in_staff(client)
        revoke = f"{PAGE}/{key_ids()[0]}/revoke"
        for _ in range(2):
            assert send(client, PAGE, {}, to=revoke).status_code == 303
        assert push(client, event(), key=secret).status_code == 401
        assert acts() == ["api_key.made", "api_key.revoked"]

    def test_of_a_key_that_never_was_is_not_found(self, client: Any) -> None:
        sign_in_staff(client)
        nobody = "00000000-0000-7000-8000-000000000000"
        assert send(client, PAGE, {}, to=f"{PAGE}/{nobody}/revoke").status_code == 404


class TestThePage:
    def test_has_no_faults_in_either_language(self, app: Any, browser: Browser) -> None:
        email = staff_member("admin")
        now = clock.now()
        for change in ({}, {"expires_at": now + timedelta(days=1)}, {"revoked_at": now}):
            make_key(**change)
        with serve(app) as address:
            for language in ("ko", "en"):
                with open_page(browser, language=language) as page:
                    admit(page, f"{address}/console", email=email, password=PASSWORD)
                    page.goto(f"{address}{PAGE}")
                    assert faults(page) == []
                    page.fill("#name", "render farm")
                    page.locator("main form button[type=submit]").last.click()
                    page.wait_for_selector(".notice")
                    assert faults(page) == []
