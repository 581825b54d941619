"""The workspace in Chromium: axe on every page, a file uploaded by keyboard and without scripts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base import accounts, clock
from app.base.audit import Actor
from app.base.db import control_session
from tenants import drawings, lifecycle, members
from tenants.personal_data import invitation_purpose
from tenants.schema import Drawing, Member
from tests.browser import chromium, faults, open_page
from tests.factories import PASSWORD
from tests.web.site.serving import serve
from tests.web.workspace.conftest import DXF
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
LONG = "프레스 금형 하부 홀더 조립도 " + "가나다라마바사" * 12
PAGES = ("/workspace/drawings", "/workspace/drawings?q=없는+이름", "/workspace/members")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    with serve(app) as url:
        yield url


@pytest.fixture
def busy(app: Any, now: datetime) -> Workspace:
    """A workspace with one of every kind of row, and names that are too long."""
    clock.set_now(now)
    made = make_workspace(now=now, limits={"seats": 50, "storage_bytes": 1_000_000})
    with made.session() as session:
        for number, name in enumerate((LONG, "part.dxf", "x" * 180)):
            drawings.upload(
                tenant_session=session,
                name=f"{name}.dxf",
                stream=io.BytesIO(DXF + bytes([number])),
                member_id=made.admin_id,
                actor=BY,
                now=now,
            )
            member = members.invite(
                tenant_session=session,
                email=f"{'long-' * number * 3}address-{number}@customer.example",
                name=(LONG, "Kim", "다")[number][:60],
                role="member",
                actor=BY,
                now=now,
            )
        members.deactivate(tenant_session=session, member_id=member.id, actor=BY, now=now)
    return made


def enter(page: Page, workspace: Workspace) -> None:
    page.fill("#workspace", workspace.slug)
    page.fill("#email", workspace.admin_email)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/workspace/drawings")


def invitation(workspace: Workspace) -> str:
    with workspace.session() as session:
        member_id = session.scalars(select(Member.id).where(Member.name == "Kim")).one()
    with control_session() as session:
        token = accounts.issue_token(
            control_session=session,
            purpose=invitation_purpose(workspace.tenant_id),
            subject_id=member_id,
            valid_for=timedelta(days=1),
            now=clock.now(),
        )
    return f"/workspace/welcome/{workspace.slug}/{token}"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, busy: Workspace, language: str
) -> None:
    welcome = invitation(busy)
    found = []
    with open_page(browser, f"{address}/workspace/sign-in", language=language) as page:
        found += faults(page)
        page.fill("#workspace", "nowhere")
        page.keyboard.press("Enter")
        expect(page.locator("[role=alert]")).to_be_visible()
        found += faults(page)
        page.goto(address + welcome)
        found += faults(page)
        page.goto(f"{address}/workspace/sign-in")
        enter(page, busy)
        for path in PAGES:
            page.goto(address + path)
            found += faults(page)
        page.locator("button[data-dialog^=seat-]").first.click()
        expect(page.locator("dialog[open], dialog:popover-open").first).to_be_visible()
        found += faults(page)
    with control_session() as session:
        lifecycle.suspend(
            control_session=session,
            tenant_id=busy.tenant_id,
            reason="trial_ended",
            actor=BY,
            now=clock.now(),
        )
    with open_page(browser, f"{address}/workspace/sign-in", language=language) as page:
        page.fill("#workspace", busy.slug)
        page.fill("#email", busy.admin_email)
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("a[href='/portal/sign-in']")
        found += faults(page)
    assert found == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_drawing_is_uploaded_and_deleted_with_and_without_scripts(
    browser: Browser, address: str, workspace: Workspace, tmp_path: Path, scripts: bool
) -> None:
    file = tmp_path / "도면.dxf"
    file.write_bytes(DXF)
    with open_page(browser, f"{address}/workspace/sign-in", scripts=scripts) as page:
        enter(page, workspace)
        page.set_input_files("#file", file)
        page.locator("button", has_text="올리기").press("Enter")
        link = page.get_by_role("link", name="도면.dxf")
        expect(link).to_be_visible()
        with page.expect_download() as download:
            link.press("Enter")
        assert Path(download.value.path()).read_bytes() == DXF
        assert download.value.suggested_filename == "도면.dxf"
        page.locator("button", has_text="삭제…").press("Enter")
        page.locator("dialog button[type=submit]").press("Enter")
        expect(page.get_by_text("아직 도면이 없어요")).to_be_visible()
    with workspace.session() as session:
        assert session.scalars(select(Drawing.deleted_at)).one() is not None
