"""Drawings: a tenant's files, listed in its own database and stored by digest under its prefix.

Bytes change only under the lock of the storage limit. The same bytes in two drawings are one file,
which goes with the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, true

from app.base import files
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from tenants import limits, members
from tenants.databases import TenantSession
from tenants.schema import Drawing, Member, StorageEvent
from tenants.texts import seen_line

NAME_LENGTH_MAX = 200
SNIFFED_BYTES = 1024


class FileEmpty(Invalid):
    """The file has no bytes."""


class NameMissing(Invalid):
    """No file was chosen, or its name has nothing that can be seen."""


class WrongType(Invalid):
    """The file is not one of the kinds that are kept here, or not what its name says."""


class StorageFull(Conflict):
    """The plan has no room for these bytes: it has `bytes_max`, of which `bytes_held` are used."""

    def __init__(self, *, bytes_max: int, bytes_held: int) -> None:
        super().__init__(
            f"There is no room for this file: the plan holds {bytes_max / 1e9:.1f} GB, "
            f"{bytes_held / 1e9:.1f} GB are in use. Delete something, or choose a larger plan."
        )
        self.bytes_max = bytes_max
        self.bytes_held = bytes_held


class NoSuchDrawing(NotFound):
    """This tenant has no such drawing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: what its name ends with, what it is called, how its bytes begin."""

    endings: tuple[str, ...]
    media_type: str
    begins: Callable[[bytes], bool]


def _is_dxf(head: bytes) -> bool:
    """Binary, or text: a group code 0 before SECTION, perhaps after comments (999)."""
    if head.startswith(b"AutoCAD Binary DXF\r\n\x1a\x00"):
        return True
    lines = [line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").splitlines()]
    while len(lines) > 2 and lines[0] == b"999":
        del lines[:2]
    return lines[:2] == [b"0", b"SECTION"]


KINDS = (
    Kind((".dxf",), "image/vnd.dxf", _is_dxf),
    Kind((".dwg",), "image/vnd.dwg", lambda head: bool(re.match(rb"AC10\d\d", head))),
    Kind((".step", ".stp"), "model/step", lambda head: head.lstrip().startswith(b"ISO-10303-21;")),
    Kind((".pdf",), "application/pdf", lambda head: b"%PDF-" in head),
    Kind((".png",), "image/png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    Kind((".jpg", ".jpeg"), "image/jpeg", lambda head: head.startswith(b"\xff\xd8\xff")),
)
# SVG is left out on purpose: it can carry scripts.
ENDINGS = tuple(ending for kind in KINDS for ending in kind.endings)


def prefix(tenant_id: UUID) -> str:
    """This function will return where a tenant's drawings are stored."""
    return f"tenants/{tenant_id}/drawings"


def upload(
    *,
    tenant_session: TenantSession,
    name: str,
    stream: BinaryIO,
    member_id: UUID,
    actor: Actor,
    now: datetime,
) -> Drawing:
    """This function will store a file and list it; `stream` can be read again from its beginning.

    Raises: NameMissing, FileEmpty, WrongType, FileTooLarge; StorageFull telling the limit;
    StoreUnavailable.
    """
    called = clean_name(name)
    kind = sniff(called, stream.read(SNIFFED_BYTES))
    stored = _put(tenant_session, stream)
    room = limits.lock(tenant_session=tenant_session, key=limits.STORAGE_BYTES)
    held, last_at = _held(tenant_session)
    added = 0 if _in_use(tenant_session, stored.sha256) else stored.size_bytes
    if room is not None and added and held + added > room:
        # No drawing uses these bytes; whoever uploads the same ones looks again under this lock.
        files.delete(prefix=_prefix(tenant_session), sha256=stored.sha256)
        raise StorageFull(bytes_max=room, bytes_held=held)
    if not files.path(prefix=_prefix(tenant_session), sha256=stored.sha256).exists():
        # Somebody deleted the last drawing with the same bytes while ours were being written.
        _put(tenant_session, stream)
    drawing = Drawing(
        name=called,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        media_type=kind.media_type,
        uploaded_by=member_id,
        uploaded_at=now,
    )
    tenant_session.add(drawing)
    tenant_session.flush()
    tenant_session.add(
        StorageEvent(
            at=max(now, last_at) if last_at else now,
            drawing_id=drawing.id,
            delta_bytes=added,
            bytes_after=held + added,
            kind="upload",
            actor=f"{actor.kind}:{actor.id or ''}",
        )
    )
    tenant_session.flush()
    members.note_act(tenant_session=tenant_session, member_id=member_id, now=now)
    return drawing


def _put(tenant_session: TenantSession, stream: BinaryIO) -> files.StoredFile:
    stream.seek(0)
    return files.put(
        prefix=_prefix(tenant_session),
        chunks=files.chunks_of(stream),
        bytes_max=settings().upload_bytes_max,
    )


def _prefix(tenant_session: TenantSession) -> str:
    return prefix(tenant_session.placement.tenant_id)


def _held(tenant_session: TenantSession) -> tuple[int, datetime | None]:
    """Bytes held, and when they last changed; the lock on the limit is held."""
    last = tenant_session.execute(
        select(StorageEvent.bytes_after, StorageEvent.at).order_by(StorageEvent.id.desc()).limit(1)
    ).first()
    return (last.bytes_after, last.at) if last else (0, None)


def _in_use(tenant_session: TenantSession, sha256: str) -> bool:
    return bool(
        tenant_session.scalar(
            select(exists().where(Drawing.sha256 == sha256, Drawing.deleted_at.is_(None)))
        )
    )


def delete(*, tenant_session: TenantSession, drawing_id: UUID, actor: Actor, now: datetime) -> str:
    """This function will take a drawing off the list and return its digest, to be swept.

    The bytes go in a transaction of their own after this one (`sweep`): a rollback must not find
    the row back and the file gone.

    Raises: NoSuchDrawing.
    """
    limits.lock(tenant_session=tenant_session, key=limits.STORAGE_BYTES)
    drawing = find(tenant_session=tenant_session, drawing_id=drawing_id)
    drawing.deleted_at = now
    tenant_session.flush()
    held, last_at = _held(tenant_session)
    freed = 0 if _in_use(tenant_session, drawing.sha256) else drawing.size_bytes
    tenant_session.add(
        StorageEvent(
            at=max(now, last_at) if last_at else now,
            drawing_id=drawing.id,
            delta_bytes=-freed,
            bytes_after=held - freed,
            kind="delete",
            actor=f"{actor.kind}:{actor.id or ''}",
        )
    )
    tenant_session.flush()
    return drawing.sha256


def sweep(*, tenant_session: TenantSession, sha256: str) -> bool:
    """This function will remove bytes that no drawing uses any more, and tell whether it did."""
    limits.lock(tenant_session=tenant_session, key=limits.STORAGE_BYTES)
    if _in_use(tenant_session, sha256):
        return False
    files.delete(prefix=_prefix(tenant_session), sha256=sha256)
    return True


def sweep_old(*, tenant_session: TenantSession, before: datetime) -> int:
    """This function will remove bytes written before a real time that no drawing uses.

    An upload that was killed before its commit left them. It says how many there were.
    """
    used = set(tenant_session.scalars(select(Drawing.sha256).where(Drawing.deleted_at.is_(None))))
    old = files.written_before(prefix=_prefix(tenant_session), before=before)
    # Each is looked at again under the lock: the same bytes may be on their way in just now.
    return sum(
        sweep(tenant_session=tenant_session, sha256=sha256) for sha256 in old if sha256 not in used
    )


def find(*, tenant_session: TenantSession, drawing_id: UUID) -> Drawing:
    """This function will return a drawing that is not deleted.

    Raises: NoSuchDrawing.
    """
    drawing = tenant_session.get(Drawing, drawing_id, populate_existing=True)
    if drawing is None or drawing.deleted_at is not None:
        raise NoSuchDrawing("There is no such drawing.")
    return drawing


def open_(*, tenant_session: TenantSession, drawing_id: UUID) -> tuple[Drawing, BinaryIO]:
    """This function will return a drawing and its bytes, opened for reading.

    Raises: NoSuchDrawing, FileMissing.
    """
    drawing = find(tenant_session=tenant_session, drawing_id=drawing_id)
    return drawing, files.open_stored(prefix=_prefix(tenant_session), sha256=drawing.sha256)


def list_(
    *, tenant_session: TenantSession, search: str, page: int, page_size: int
) -> list[tuple[Drawing, str]]:
    """This function will return a page of drawings, newest first, each with who uploaded it."""
    rows = tenant_session.execute(
        select(Drawing, Member.name)
        .join(Member, Member.id == Drawing.uploaded_by)
        .where(Drawing.deleted_at.is_(None), _matches(search))
        .order_by(Drawing.uploaded_at.desc(), Drawing.id.desc())
        .offset((page - 1) * page_size)
        .limit(page_size)
    )
    return [(drawing, uploader) for drawing, uploader in rows]


def count(*, tenant_session: TenantSession, search: str = "") -> int:
    """This function will tell how many drawings a search finds."""
    return (
        tenant_session.scalar(
            select(func.count())
            .select_from(Drawing)
            .where(Drawing.deleted_at.is_(None), _matches(search))
        )
        or 0
    )


def _matches(search: str) -> ColumnElement[bool]:
    wanted = seen_line(search)
    return Drawing.name.icontains(wanted, autoescape=True) if wanted else true()


def bytes_held(*, tenant_session: TenantSession) -> int:
    """This function will tell how many bytes are stored now."""
    return _held(tenant_session)[0]


def clean_name(text: str) -> str:
    """This function will return a file's name for showing: no folders, nothing that can't be seen.

    It is never a path: bytes are found by their digest. A name too long loses its middle.

    Raises: NameMissing, field `file`.
    """
    name = seen_line(text.replace("\\", "/").rpartition("/")[2]).strip(". ")
    if not name:
        raise NameMissing("Choose a file to upload.", field="file")
    if len(name) > NAME_LENGTH_MAX:
        ending = PurePosixPath(name).suffix[:10]
        name = name[: NAME_LENGTH_MAX - len(ending)] + ending
    return name


def sniff(name: str, head: bytes) -> Kind:
    """This function will tell a file's kind by its name, and refuse bytes that belie it.

    Raises: FileEmpty, WrongType; field `file`.
    """
    if not head:
        raise FileEmpty("This file is empty. Choose another one.", field="file")
    ending = PurePosixPath(name).suffix.lower()
    kind = next((kind for kind in KINDS if ending in kind.endings), None)
    if kind is None:
        raise WrongType(
            "Only drawings are kept here: DXF, DWG, STEP, PDF, PNG and JPEG.", field="file"
        )
    if not kind.begins(head):
        raise WrongType(
            "This file is not what its name says. Save it again in the format you meant.",
            field="file",
        )
    return kind
