from __future__ import annotations

import hashlib
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.base import files
from app.base.audit import Actor
from app.base.db import control_session
from app.base.errors import Invalid
from tenants import databases, drawings, limits
from tenants.schema import Drawing, StorageEvent
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
DXF = b"  0\r\nSECTION\r\n  2\r\nHEADER\r\n"
PDF = b"%PDF-1.7\n"


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now, limits={"seats": 2, "storage_bytes": 1_000})


def put(workspace: Workspace, now: datetime, data: bytes = DXF, name: str = "part.dxf") -> Drawing:
    with workspace.session() as session:
        return drawings.upload(
            tenant_session=session,
            name=name,
            stream=io.BytesIO(data),
            member_id=workspace.admin_id,
            actor=BY,
            now=now,
        )


def take_away(workspace: Workspace, drawing: Drawing, now: datetime) -> None:
    with workspace.session() as session:
        digest = drawings.delete(tenant_session=session, drawing_id=drawing.id, actor=BY, now=now)
    with workspace.session() as session:
        drawings.sweep(tenant_session=session, sha256=digest)


def events(workspace: Workspace) -> list[tuple[str, int, int]]:
    with workspace.session() as session:
        found = session.execute(
            select(StorageEvent.kind, StorageEvent.delta_bytes, StorageEvent.bytes_after).order_by(
                StorageEvent.id
            )
        )
        return [tuple(row) for row in found]


def stored(workspace: Workspace, drawing: Drawing) -> bool:
    prefix = drawings.prefix(workspace.tenant_id)
    return files.path(prefix=prefix, sha256=drawing.sha256).exists()


class TestADrawing:
    def test_comes_back_as_it_was_uploaded(self, workspace: Workspace, now: datetime) -> None:
        made = put(workspace, now)
        with workspace.session() as session:
            found, stream = drawings.open_(tenant_session=session, drawing_id=made.id)
            with stream:
                assert stream.read() == DXF
        assert (found.name, found.media_type) == ("part.dxf", "image/vnd.dxf")
        assert events(workspace) == [("upload", len(DXF), len(DXF))]

    def test_with_bytes_that_another_has_shares_them_until_the_last_is_gone(
        self, workspace: Workspace, now: datetime
    ) -> None:
        first, second = put(workspace, now), put(workspace, now, name="copy.dxf")
        take_away(workspace, first, now + timedelta(hours=1))
        assert stored(workspace, second)
        take_away(workspace, second, now + timedelta(hours=2))
        assert not stored(workspace, second)
        size = len(DXF)
        assert events(workspace) == [
            ("upload", size, size),
            ("upload", 0, size),
            ("delete", 0, size),
            ("delete", -size, 0),
        ]

    def test_that_is_deleted_is_gone_from_list_search_and_download(
        self, workspace: Workspace, now: datetime
    ) -> None:
        made = put(workspace, now)
        take_away(workspace, made, now)
        with workspace.session() as session:
            assert drawings.count(tenant_session=session) == 0
            with pytest.raises(drawings.NoSuchDrawing):
                drawings.open_(tenant_session=session, drawing_id=made.id)
            with pytest.raises(drawings.NoSuchDrawing):
                drawings.delete(tenant_session=session, drawing_id=made.id, actor=BY, now=now)

    def test_is_written_again_when_its_bytes_went_between_writing_and_listing(
        self, workspace: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = put(workspace, now)
        lock = drawings.limits.lock

        def others_come_first(**arguments: Any) -> int | None:
            monkeypatch.setattr(drawings.limits, "lock", lock)
            take_away(workspace, first, now)
            return lock(**arguments)

        monkeypatch.setattr(drawings.limits, "lock", others_come_first)
        second = put(workspace, now)
        assert stored(workspace, second)

    def test_is_found_by_a_part_of_its_name_and_wildcards_are_plain_letters(
        self, workspace: Workspace, now: datetime
    ) -> None:
        put(workspace, now, name="도면 100%_A.dxf")
        put(workspace, now, name="other.dxf")
        with workspace.session() as session:
            for search, hits in (
                ("100%_a", 1),
                ("%", 1),
                ("_", 1),
                ("도면", 1),
                ("", 2),
                ("z\x00", 0),
            ):
                assert drawings.count(tenant_session=session, search=search) == hits, search
            rows = drawings.list_(tenant_session=session, search="도면", page=1, page_size=10)
        assert [(row.name, uploader) for row, uploader in rows] == [("도면 100%_A.dxf", "관리자")]


class TestAnUpload:
    @pytest.mark.parametrize(
        ("name", "data", "error"),
        [
            ("a.dxf", b"", drawings.FileEmpty),
            ("", DXF, drawings.NameMissing),
            ("../..", DXF, drawings.NameMissing),
            ("a.exe", b"MZ", drawings.WrongType),
            ("a.svg", b"<svg onload=alert(1)>", drawings.WrongType),
            ("a.pdf", b"<html>", drawings.WrongType),
            ("a.dwg", PDF, drawings.WrongType),
            ("a.png", b"\xff\xd8\xff", drawings.WrongType),
            ("noending", PDF, drawings.WrongType),
        ],
    )
    def test_of_what_is_not_a_drawing_is_refused(
        self, workspace: Workspace, now: datetime, name: str, data: bytes, error: type[Invalid]
    ) -> None:
        with pytest.raises(error) as refused:
            put(workspace, now, data, name)
        assert refused.value.field == "file"
        assert events(workspace) == []

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.DXF", b"999\r\nmade by hand\r\n" + DXF),
            ("a.dxf", b"AutoCAD Binary DXF\r\n\x1a\x00"),
            ("a.dwg", b"AC1032\x00"),
            ("a.stp", b"ISO-10303-21;\nHEADER;"),
            ("a.pdf", PDF),
            ("a.png", b"\x89PNG\r\n\x1a\n"),
            ("a.JPEG", b"\xff\xd8\xff\xe0"),
        ],
    )
    def test_of_every_kind_of_drawing_is_taken(
        self, workspace: Workspace, now: datetime, name: str, data: bytes
    ) -> None:
        assert put(workspace, now, data, name).size_bytes == len(data)

    def test_that_the_plan_has_no_room_for_is_refused_and_leaves_no_bytes(
        self, workspace: Workspace, now: datetime
    ) -> None:
        put(workspace, now, PDF + b"a" * 900, "a.pdf")
        big = PDF + b"b" * 200
        with pytest.raises(drawings.StorageFull) as refused:
            put(workspace, now, big, "b.pdf")
        assert (refused.value.bytes_max, refused.value.bytes_held) == (1000, 909)
        digest = hashlib.sha256(big).hexdigest()
        path = files.path(prefix=drawings.prefix(workspace.tenant_id), sha256=digest)
        assert not path.exists()

    def test_of_bytes_that_are_there_takes_no_room_even_where_there_is_none(
        self, workspace: Workspace, now: datetime
    ) -> None:
        first = put(workspace, now)
        with control_session() as session:
            place = databases.placement(session, workspace.tenant_id)
        limits.put(place, {limits.STORAGE_BYTES: 1})
        put(workspace, now, name="again.dxf")
        with pytest.raises(drawings.StorageFull):
            put(workspace, now, PDF, "other.pdf")
        assert stored(workspace, first)

    def test_past_the_limit_of_one_file_is_refused(
        self, workspace: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = drawings.settings().model_copy(update={"upload_bytes_max": 100})
        monkeypatch.setattr(drawings, "settings", lambda: small)
        with pytest.raises(files.FileTooLarge):
            put(workspace, now, PDF + b"x" * 100, "a.pdf")
        assert files.is_empty(prefix=drawings.prefix(workspace.tenant_id))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\Users\\me\\도면.dxf", "도면.dxf"),
        ("a\x00b\r\nSet-Cookie: x.pdf", "ab Set-Cookie: x.pdf"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 300 + ".dxf", "x" * 196 + ".dxf"),
        ("도면".encode().decode(), "도면"),
    ],
)
def test_a_file_s_name_is_for_showing_and_never_a_path(given: str, shown: str) -> None:
    assert drawings.clean_name(given) == shown
