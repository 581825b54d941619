"""The disk is full: a clear answer, nothing half stored, and it works once there is room again."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.base import clock, files
from app.base.config import settings
from app.base.db import control_session
from invoices.documents import press
from invoices.models import Document
from jobs import documents
from tenants.schema import Drawing, StorageEvent
from tests.factories import make_invoice
from tests.scenarios.full_disk import Disk, small_disk
from tests.web.forms import csrf_token, sign_in_staff
from tests.web.workspace.conftest import DXF, enter
from tests.workspaces import Workspace, make_workspace

PAGE = "/workspace/drawings"
# Kept in memory while it arrives, and so large that the server keeps it on its own disk.
SMALL, LARGE = DXF + b"x" * 100_000, DXF + b"y" * 2_000_000


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Stored files and half-received ones are on a disk of their own."""
    with small_disk(tmp_path / "disk") as made:
        (made.folder / "received").mkdir()
        elsewhere = settings().model_copy(update={"files_dir": made.folder / "files"})
        monkeypatch.setattr(files, "settings", lambda: elsewhere)
        monkeypatch.setattr(tempfile, "tempdir", str(made.folder / "received"))
        yield made


class TestAnUploadToAFullDisk:
    # Python's own temporary file forgets the one that it could not move to the disk.
    @pytest.mark.filterwarnings("ignore:.*unclosed file:pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
    @pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
    def test_is_refused_in_words_stores_nothing_and_succeeds_later(
        self, app: Any, disk: Disk, now: datetime, content: bytes
    ) -> None:
        clock.set_now(now)
        workspace = make_workspace(now=now, limits={"seats": 3, "storage_bytes": 10_000_000})
        client = app.test_client()
        enter(client, workspace)
        part = FileStorage(io.BytesIO(content), "part.dxf")
        boundary, body = encode_multipart({"csrf_token": csrf_token(client, PAGE), "file": part})
        sent = {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}
        before = disk.files()
        with disk.full():
            answer = client.post(PAGE, **sent)
            assert answer.status_code == 503
            assert "저장하지 못했어요" in answer.text
        assert disk.files() == before
        assert self.stored(workspace) == ([], [])
        assert client.post(PAGE, **sent).status_code == 303
        assert self.stored(workspace) == (["part.dxf"], [len(content)])
        (kept,) = disk.files()
        assert kept.read_bytes() == content

    def stored(self, workspace: Workspace) -> tuple[list[str], list[int]]:
        with workspace.session() as session:
            names = list(session.scalars(select(Drawing.name)))
            return names, list(session.scalars(select(StorageEvent.delta_bytes)))


@pytest.fixture
def running_press() -> Iterator[None]:
    """A press that was running before the disk was full."""
    press.start()
    yield
    press.stop()


class TestAPaperOnAFullDisk:
    @pytest.mark.usefixtures("running_press", "scenario")
    def test_waits_says_so_and_is_printed_once_there_is_room(
        self, client: Any, disk: Disk, now: datetime
    ) -> None:
        clock.set_now(now)
        with control_session() as session:
            invoice_id = make_invoice(session, now=now).id
        sign_in_staff(client, "finance")
        with disk.full():
            assert documents.work() > 0
            assert [path for path in disk.files() if path.name != "ballast"] == []
            waiting = self.papers()
            assert {paper.state for paper in waiting} == {"due"}
            assert all("could not be stored" in str(paper.last_error) for paper in waiting)
            page = f"/console/invoices/{invoice_id}"
            assert client.get(page).status_code == 200
            assert client.get(f"{page}/papers/{waiting[0].id}").status_code == 503
        with control_session() as session:
            session.execute(update(Document).values(retry_at=None))  # the pause is over
        documents.work()
        printed = self.papers()
        assert {paper.state for paper in printed} == {"ready"}
        for paper in printed:
            answer = client.get(f"/console/invoices/{invoice_id}/papers/{paper.id}")
            assert answer.data.startswith(b"%PDF-")
            assert hashlib.sha256(answer.data).hexdigest() == paper.sha256
            answer.close()

    def papers(self) -> list[Document]:
        with control_session() as session:
            return list(session.scalars(select(Document)))
