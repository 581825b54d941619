from __future__ import annotations

import io
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.base import files
from app.base.config import settings
from tenants import databases, drawings
from tenants.schema import Drawing, Member, StorageEvent
from tests.conftest import administrator
from tests.factories import PASSWORD
from tests.naughty import NAUGHTY
from tests.web.forms import csrf_token, send
from tests.web.workspace.conftest import DXF, enter, upload
from tests.web.workspace.test_entrance import invite
from tests.workspaces import Workspace

PAGE = "/workspace/drawings"


def one_drawing(workspace: Workspace) -> Drawing:
    with workspace.session() as session:
        return session.scalars(select(Drawing).where(Drawing.deleted_at.is_(None))).one()


def member_id(workspace: Workspace, email: str) -> Any:
    with workspace.session() as session:
        return session.scalars(select(Member.id).where(Member.email == email)).one()


def download(client: Any, drawing_id: Any) -> Any:
    """The answer, read to its end: whoever asked for a file closes it."""
    answer = client.get(f"{PAGE}/{drawing_id}/file")
    answer.get_data()
    answer.close()
    return answer


class TestDrawings:
    def test_are_uploaded_listed_downloaded_and_deleted(
        self, admin: Any, workspace: Workspace
    ) -> None:
        assert upload(admin, name="도면 A.dxf").status_code == 303
        assert "도면 A.dxf" in admin.get(PAGE).text
        drawing = one_drawing(workspace)
        answer = download(admin, drawing.id)
        assert answer.data == DXF
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "%EB%8F%84%EB%A9%B4" in answer.headers["Content-Disposition"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Length"] == str(len(DXF))
        send(admin, PAGE, {}, to=f"{PAGE}/{drawing.id}/delete")
        assert download(admin, drawing.id).status_code == 404
        assert files.is_empty(prefix=drawings.prefix(workspace.tenant_id))

    def test_with_the_same_bytes_survive_each_other(self, admin: Any, workspace: Workspace) -> None:
        upload(admin, name="first.dxf")
        first = one_drawing(workspace)
        upload(admin, name="second.dxf")
        send(admin, PAGE, {}, to=f"{PAGE}/{first.id}/delete")
        second = one_drawing(workspace)
        assert second.name == "second.dxf"
        assert download(admin, second.id).data == DXF

    def test_are_searched_and_paged(
        self, admin: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            upload(admin, DXF + bytes([number]), f"part-{number}.dxf")
        assert "part-1.dxf" in admin.get(f"{PAGE}?q=T-1").text
        assert "part-2.dxf" not in admin.get(f"{PAGE}?q=T-1").text
        few = settings().model_copy(update={"page_size": 2})
        for module in ("app.web.workspace.drawings", "app.web.paging"):
            monkeypatch.setattr(f"{module}.settings", lambda: few)
        assert "part-0.dxf" not in admin.get(PAGE).text
        for page in ("2", "99"):
            assert "part-0.dxf" in admin.get(f"{PAGE}?page={page}").text
        for page in ("0", "-1", "x", "9" * 40):
            assert admin.get(f"{PAGE}?page={page}").status_code == 200

    @pytest.mark.parametrize("search", ["%", "_", "\\", "'; --", "\x00", "\ud800", "x" * 5000])
    def test_can_be_searched_for_anything(self, admin: Any, search: str) -> None:
        answer = admin.get(PAGE, query_string={"q": search.encode(errors="replace").decode()})
        assert answer.status_code == 200


class TestAnUpload:
    @pytest.mark.parametrize(
        ("data", "name", "says"),
        [
            (b"", "empty.dxf", "빈 파일"),
            (b"MZ\x90", "a.exe", "도면만"),
            (b"<html>", "a.pdf", "이름과 달라요"),
            (DXF, "", "골라 주세요"),
            (DXF + b"x" * 2000, "big.dxf", "공간이 없어요"),
        ],
    )
    def test_that_is_refused_says_why_beside_the_field(
        self, admin: Any, workspace: Workspace, data: bytes, name: str, says: str
    ) -> None:
        answer = upload(admin, data, name)
        assert answer.status_code in (409, 422)
        assert says in answer.text
        assert 'href="#file"' in answer.text
        with workspace.session() as session:
            assert not session.scalars(select(StorageEvent)).all()
        assert files.is_empty(prefix=drawings.prefix(workspace.tenant_id))

    def test_without_a_file_says_so(self, admin: Any) -> None:
        assert send(admin, PAGE, {}).status_code == 422

    def test_past_the_size_of_one_file_is_refused(
        self, admin: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = settings().model_copy(update={"upload_bytes_max": 100})
        monkeypatch.setattr(drawings, "settings", lambda: small)
        answer = upload(admin, DXF + b"x" * 200)
        assert answer.status_code == 422
        assert "보다 커요" in answer.text

    def test_past_the_size_of_a_request_is_cut_off(self, admin: Any) -> None:
        answer = admin.post(
            PAGE,
            input_stream=io.BytesIO(b"--x"),
            content_type="multipart/form-data; boundary=x",
            environ_overrides={"CONTENT_LENGTH": str(settings().upload_bytes_max + 2**20)},
        )
        assert answer.status_code == 413
        assert "52.4 MB까지만" in answer.text

    def test_by_a_stranger_is_cut_off_before_it_is_read(self, client: Any) -> None:
        answer = client.post(
            PAGE,
            input_stream=io.BytesIO(b"--x"),
            content_type="multipart/form-data; boundary=x",
            environ_overrides={"CONTENT_LENGTH": str(settings().request_bytes_max + 1)},
        )
        assert answer.status_code == 413
        assert "1.0 MB까지만" in answer.text

    def test_on_a_full_disk_loses_nothing_and_says_so(
        self, admin: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload(admin)

        def full(*_: Any, **__: Any) -> Any:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(files, "_write", full)
            answer = upload(admin, DXF + b"2", "second.dxf")
        assert answer.status_code == 503
        assert "저장하지 못했어요" in answer.text
        assert download(admin, one_drawing(workspace).id).data == DXF

    @pytest.mark.parametrize(
        "name", ["../../../etc/passwd.dxf", "..\\..\\boot.dxf", "/abs/olute.dxf", "a/../../b.dxf"]
    )
    def test_by_a_name_with_folders_stays_under_the_tenant(
        self, admin: Any, workspace: Workspace, name: str
    ) -> None:
        assert upload(admin, name=name).status_code == 303
        drawing = one_drawing(workspace)
        assert "/" not in drawing.name
        assert "\\" not in drawing.name
        root = settings().files
        inside = root / drawings.prefix(workspace.tenant_id)
        stored = [path for path in root.rglob("*") if path.is_file()]
        assert [path for path in stored if inside in path.parents] == [
            files.path(prefix=drawings.prefix(workspace.tenant_id), sha256=drawing.sha256)
        ]

    def test_and_an_invitation_take_every_naughty_string_without_failing(
        self, admin: Any, workspace: Workspace
    ) -> None:
        token = csrf_token(admin, PAGE)
        for number, text in enumerate(NAUGHTY):
            name = text.encode(errors="replace").decode()
            sent = {"csrf_token": token, "file": (io.BytesIO(DXF), f"{name}.dxf")}
            answer = admin.post(PAGE, data=sent)
            assert answer.status_code in (303, 422), (text, answer.text[:300])
            who = {"csrf_token": token, "email": f"n{number}@x.example", "name": name}
            answer = admin.post("/workspace/members", data=who | {"role": "member"})
            assert answer.status_code in (303, 409, 422), (text, answer.text[:300])
        for page in (PAGE, "/workspace/members"):
            answer = admin.get(page)
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
        with workspace.session() as session:
            held = session.scalars(select(Drawing.id)).all()
        for drawing_id in held:
            assert download(admin, drawing_id).status_code == 200


class TestMembers:
    def test_beyond_the_plan_s_seats_are_refused_with_the_number(
        self, admin: Any, workspace: Workspace
    ) -> None:
        for number in range(2):
            invite(admin, f"m{number}@customer.example")
        fields = {"email": "one-too-many@customer.example", "name": "이름", "role": "member"}
        answer = send(admin, "/workspace/members", fields)
        assert answer.status_code == 409
        assert "좌석 3개" in answer.text
        assert 'value="one-too-many@customer.example"' in answer.text

    def test_lose_their_sessions_with_their_seat_and_may_come_back(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        link = invite(admin)
        theirs = app.test_client()
        send(theirs, link, {"password": PASSWORD, "again": PASSWORD})
        who = member_id(workspace, "new@customer.example")
        path = f"/workspace/members/{who}/seat"
        send(admin, "/workspace/members", {"wish": "deactivate"}, to=path)
        assert theirs.get(PAGE).status_code == 302
        assert enter(theirs, workspace, email="new@customer.example").status_code == 403
        send(admin, "/workspace/members", {"wish": "reactivate"}, to=path)
        assert enter(theirs, workspace, email="new@customer.example").status_code == 303

    def test_who_are_no_admins_see_the_list_and_change_nothing(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        link = invite(admin)
        theirs = app.test_client()
        send(theirs, link, {"password": PASSWORD, "again": PASSWORD})
        assert workspace.admin_email in theirs.get("/workspace/members").text
        token = csrf_token(theirs, PAGE)
        for path in (
            "/workspace/members",
            f"/workspace/members/{workspace.admin_id}/seat",
            f"/workspace/members/{workspace.admin_id}/invite-again",
        ):
            assert theirs.post(path, data={"csrf_token": token}).status_code == 403

    def test_can_t_take_their_own_seat(self, admin: Any, workspace: Workspace) -> None:
        path = f"/workspace/members/{workspace.admin_id}/seat"
        for wish in ("deactivate", "destroy", ""):
            answer = send(admin, "/workspace/members", {"wish": wish}, to=path)
            assert answer.status_code == 422

    @pytest.mark.parametrize("email", ["", "no", "a b@c.example", "x@y", "a\x00@customer.example"])
    def test_with_a_wrong_address_are_refused_and_what_was_typed_is_kept(
        self, admin: Any, email: str
    ) -> None:
        fields = {"email": email, "name": "남은 이름", "role": "member"}
        answer = send(admin, "/workspace/members", fields)
        assert answer.status_code == 422
        assert 'value="남은 이름"' in answer.text
        assert 'href="#email"' in answer.text


class TestAnotherTenantsIds:
    def test_are_not_found_in_any_address(
        self, admin: Any, app: Any, workspace: Workspace, other: Workspace
    ) -> None:
        stranger = app.test_client()
        enter(stranger, other)
        upload(stranger, name="theirs.dxf")
        invite(stranger, "theirs@customer.example")
        theirs = one_drawing(other).id
        who = member_id(other, "theirs@customer.example")
        token = csrf_token(admin, PAGE)
        assert download(admin, theirs).status_code == 404
        for path, wish in (
            (f"{PAGE}/{theirs}/delete", ""),
            (f"/workspace/members/{who}/seat", "deactivate"),
            (f"/workspace/members/{who}/seat", "reactivate"),
            (f"/workspace/members/{who}/invite-again", ""),
            (f"/workspace/members/{other.admin_id}/seat", "deactivate"),
            (f"{PAGE}/{uuid4()}/delete", ""),
        ):
            answer = admin.post(path, data={"csrf_token": token, "wish": wish})
            assert answer.status_code == 404, path
        for path in (f"{PAGE}/1/file", f"{PAGE}/../../x", f"{PAGE}/%2e%2e%2fpasswd/file"):
            assert admin.get(path).status_code in (404, 308), path
        assert download(stranger, theirs).data == DXF

    def test_file_of_the_same_bytes_stays_when_the_other_s_goes(
        self, admin: Any, app: Any, workspace: Workspace, other: Workspace
    ) -> None:
        stranger = app.test_client()
        enter(stranger, other)
        upload(stranger)
        upload(admin)
        send(admin, PAGE, {}, to=f"{PAGE}/{one_drawing(workspace).id}/delete")
        assert download(stranger, one_drawing(other).id).data == DXF


def test_a_database_that_does_not_answer_is_said_to_be_away(
    admin: Any, workspace: Workspace, now: datetime
) -> None:
    from app.base.db import control_session

    with control_session() as session:
        name = databases.placement(session, workspace.tenant_id).database
    with administrator() as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    answer = admin.get(PAGE)
    assert answer.status_code == 503
    assert "응답하지 않아요" in answer.text
