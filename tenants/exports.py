"""Exports: all of a tenant's own data as one ZIP, for as long as its database exists.

Asked for in the portal, also while the workspace is shut; built by a job, streamed to the disk, and
gone again after a week.
"""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.base import audit, files, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, NotFound
from app.base.spreadsheets import disarmed
from tenants import correspondence, databases, drawings, lifecycle
from tenants.databases import NoDatabase, Placement, TenantSession
from tenants.models import EXPORT, LIVE_STATES, Tenant, TenantExport
from tenants.schema import Drawing, Member, SeatEvent, StorageEvent

PACKER = Actor.job("exports")
EXPIRES_AFTER = timedelta(days=7)
LISTED_MAX = 50
ROWS_AT_ONCE = 1_000

_TABLES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "members.csv": (
        Member,
        ("id", "email", "name", "role", "invited_at", "activated_at", "deactivated_at"),
    ),
    "drawings.csv": (
        Drawing,
        (
            "id",
            "name",
            "sha256",
            "size_bytes",
            "media_type",
            "uploaded_by",
            "uploaded_at",
            "deleted_at",
        ),
    ),
    "seat_events.csv": (SeatEvent, ("id", "at", "member_id", "delta", "seats_after", "actor")),
    "storage_events.csv": (
        StorageEvent,
        ("id", "at", "drawing_id", "kind", "delta_bytes", "bytes_after", "actor"),
    ),
}


class NoSuchExport(NotFound):
    """This tenant has no such export, or its file is gone by now."""


class NotReady(Conflict):
    """The export is still being made."""


class ExportMoved(Conflict):
    """Another worker finished this export, or the tenant is on its way out."""


@dataclass(frozen=True, slots=True)
class Order:
    """An export to be made; holds no connection."""

    export_id: UUID
    place: Placement


@dataclass(slots=True)
class Opened:
    """A finished export: its name for the reader, its size, and its bytes opened for reading."""

    file_name: str
    size_bytes: int
    stream: BinaryIO


def prefix(tenant_id: UUID) -> str:
    """This function will return where a tenant's exports are stored."""
    return f"tenants/{tenant_id}/exports"


def request(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime
) -> TenantExport:
    """This function will ask for an export; one that is being made already is returned instead.

    Raises: NoSuchTenant; NoDatabase when there is nothing to export, yet or any more.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    if tenant.state not in LIVE_STATES:
        raise NoDatabase("There is no data to export.")
    waiting = control_session.scalar(
        select(TenantExport).where(TenantExport.tenant_id == tenant_id, TenantExport.state == "due")
    )
    if waiting is not None:
        return waiting
    export = TenantExport(tenant_id=tenant_id, requested_at=now)
    control_session.add(export)
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action="export.requested",
        subject_kind="export",
        subject_id=export.id,
        tenant_id=tenant_id,
        now=now,
    )
    notify(control_session, "exports")
    return export


def list_(*, control_session: Session, tenant_id: UUID) -> list[TenantExport]:
    """This function will return a tenant's latest exports, newest first."""
    return list(
        control_session.scalars(
            select(TenantExport)
            .where(TenantExport.tenant_id == tenant_id)
            .order_by(TenantExport.requested_at.desc(), TenantExport.id.desc())
            .limit(LISTED_MAX)
        )
    )


def open_(*, control_session: Session, tenant_id: UUID, export_id: UUID, now: datetime) -> Opened:
    """This function will open a finished export of this very tenant.

    Raises: NoSuchExport; NotReady.
    """
    export = control_session.get(TenantExport, export_id)
    if export is None or export.tenant_id != tenant_id or export.state == "expired":
        raise NoSuchExport("There is no such export any more. Please ask for a new one.")
    if export.state == "due" or export.sha256 is None or export.size_bytes is None:
        raise NotReady("This export is still being made. You will get a mail.")
    if export.expires_at is not None and export.expires_at <= now:
        raise NoSuchExport("There is no such export any more. Please ask for a new one.")
    tenant = control_session.get_one(Tenant, tenant_id)
    return Opened(
        file_name=f"{tenant.slug}-{export.requested_at:%Y%m%d-%H%M}.zip",
        size_bytes=export.size_bytes,
        stream=files.open_stored(prefix=prefix(tenant_id), sha256=export.sha256),
    )


def due_condition() -> ColumnElement[bool]:
    """This function will return the condition that an export waits to be made."""
    return TenantExport.state == "due"


def begin(*, control_session: Session, export_id: UUID) -> Order | None:
    """This function will find what is to be exported; None says that it is made already.

    Raises: NoSuchExport, NoSuchTenant, NoDatabase.
    """
    export = control_session.get(TenantExport, export_id, populate_existing=True)
    if export is None:
        raise NoSuchExport("There is no such export.")
    if export.state != "due":
        return None
    return Order(export_id, databases.placement(control_session, export.tenant_id))


def perform(order: Order) -> files.StoredFile:
    """This function will write the ZIP to the disk; neither it nor a drawing is held in memory.

    Raises: TenantDatabaseUnavailable, StoreUnavailable, FileMissing.
    """
    folder = settings().files / "building"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name on the disk: a killed worker leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder) as file:
            _build(order, file)
            file.seek(0)
            return files.put(prefix=prefix(order.place.tenant_id), chunks=files.chunks_of(file))
    except OSError as error:
        raise files.StoreUnavailable(
            f"The export could not be written ({error.strerror})."
        ) from error


def _build(order: Order, file: Any) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        with databases.tenant_session(order.place) as session:
            for name, (model, columns) in _TABLES.items():
                _add_table(archive, name, session, model, columns)
            drawn = session.execute(
                select(Drawing.id, Drawing.name, Drawing.sha256)
                .where(Drawing.deleted_at.is_(None))
                .order_by(Drawing.id)
            ).all()
        # The database has its connection back while the files are copied.
        for drawing_id, name, sha256 in drawn:
            _add_file(archive, order.place, drawing_id, name, sha256)


def _add_table(
    archive: zipfile.ZipFile,
    name: str,
    session: TenantSession,
    model: Any,
    columns: Sequence[str],
) -> None:
    rows = session.execute(
        select(*(getattr(model, column) for column in columns))
        .order_by(model.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    with (
        archive.open(name, "w", force_zip64=True) as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text,
    ):
        _write_csv(text, columns, rows)


def _write_csv(text: io.TextIOBase, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    return disarmed(str(value))


def _add_file(
    archive: zipfile.ZipFile, place: Placement, drawing_id: UUID, name: str, sha256: str
) -> None:
    """A drawing deleted while the export is made is left out; one whose bytes are lost is told."""
    try:
        stored = files.open_stored(prefix=drawings.prefix(place.tenant_id), sha256=sha256)
    except files.FileMissing:
        with (
            suppress(drawings.NoSuchDrawing),
            databases.tenant_session(place) as session,
        ):
            drawings.find(tenant_session=session, drawing_id=drawing_id)
            raise
        return
    # Drawings are compressed well enough by their own formats, or not at all by ours.
    entry = zipfile.ZipInfo(f"drawings/{drawing_id}/{name}")
    entry.compress_type = zipfile.ZIP_STORED
    with stored, archive.open(entry, "w", force_zip64=True) as target:
        for chunk in files.chunks_of(stored):
            target.write(chunk)


def record(
    *, control_session: Session, order: Order, stored: files.StoredFile, now: datetime
) -> TenantExport:
    """This function will note that an export is ready, and tell the administrators by mail.

    Raises: ExportMoved when it is not waiting any more; its file is then removed by the caller.
    """
    tenant = lifecycle.locked(control_session, order.place.tenant_id)
    export = control_session.get(
        TenantExport, order.export_id, with_for_update=True, populate_existing=True
    )
    if export is None or export.state != "due" or tenant.state not in LIVE_STATES:
        raise ExportMoved("This export is not waited for any more.")
    expires_at = now + EXPIRES_AFTER
    states.move(
        control_session=control_session,
        machine=EXPORT,
        row=export,
        to="ready",
        actor=PACKER,
        now=now,
        values={
            "ready_at": now,
            "expires_at": expires_at,
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
        },
    )
    correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name="export_ready",
        event=f"export_ready:{export.id}",
        context={
            "size": f"{stored.size_bytes / 1e6:,.1f} MB",
            "expires": correspondence.local(expires_at, tenant),
        },
        now=now,
    )
    return export
