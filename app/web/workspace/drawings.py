"""The drawings: listed, searched, uploaded, downloaded and deleted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, flash, g, render_template, request, send_file, url_for

from app.base import clock, files
from app.base.config import settings
from app.base.errors import TenantryError
from app.web.auth import see_other
from app.web.format import filesize
from app.web.i18n import gettext
from app.web.paging import page_within, pages_of
from app.web.security import accepts_upload
from app.web.workspace.blueprint import workspace
from app.web.workspace.guard import workspace_required
from tenants import drawings, limits, members


@workspace.get("/drawings")
@workspace_required()
def drawings_page() -> Any:
    """This function will list the drawings, newest first, or those that a search finds."""
    return _page()


def _page(error: TenantryError | None = None) -> str:
    session, search = g.tenant_session, request.args.get("q", "")[:200]
    total = drawings.count(tenant_session=session, search=search)
    page = page_within(total)
    return render_template(
        "workspace/drawings.html",
        rows=drawings.list_(
            tenant_session=session, search=search, page=page, page_size=settings().page_size
        ),
        search=search,
        page=page,
        pages=pages_of(total),
        total=total,
        bytes_held=drawings.bytes_held(tenant_session=session),
        bytes_max=limits.read(tenant_session=session, key=limits.STORAGE_BYTES),
        upload_bytes_max=settings().upload_bytes_max,
        endings=",".join(drawings.ENDINGS),
        error=_message(error) if error else "",
        now=clock.now(),
    )


def _message(error: TenantryError) -> str:
    if isinstance(error, drawings.StorageFull):
        return gettext(
            "There is no room for this file: the plan holds %(most)s, %(held)s are in use. Delete "
            "something, or choose a larger plan in the portal.",
            most=filesize(error.bytes_max),
            held=filesize(error.bytes_held),
        )
    if isinstance(error, files.FileTooLarge):
        return gettext(
            "This file is larger than %(most)s, the limit of one file.",
            most=filesize(settings().upload_bytes_max),
        )
    if isinstance(error, files.StoreUnavailable):
        return gettext("The file could not be stored just now. Nothing was changed; try again.")
    return gettext(error.message)


@workspace.post("/drawings")
@accepts_upload
@workspace_required()
def upload_drawing() -> Any:
    """This function will store one file, or say beside the field what is wrong with it."""
    sent = request.files.get("file")
    try:
        if sent is None:
            raise drawings.NameMissing("Choose a file to upload.", field="file")
        drawing = drawings.upload(
            tenant_session=g.tenant_session,
            name=sent.filename or "",
            stream=sent.stream,  # type: ignore[arg-type]  # werkzeug's is an IO[bytes] too
            member_id=g.member.id,
            actor=g.actor,
            now=clock.now(),
        )
    except TenantryError as error:
        return _page(error), error.status
    flash(gettext("%(name)s is stored.", name=drawing.name), "good")
    return see_other(url_for("workspace.drawings_page"))


@workspace.get("/drawings/<uuid:drawing_id>/file")
@workspace_required()
def download_drawing(drawing_id: UUID) -> Response:
    """This function will send a drawing's bytes as a download, never to be shown by the browser."""
    drawing, stream = drawings.open_(tenant_session=g.tenant_session, drawing_id=drawing_id)
    members.note_act(tenant_session=g.tenant_session, member_id=g.member.id, now=clock.now())
    answer = send_file(
        stream, mimetype=drawing.media_type, as_attachment=True, download_name=drawing.name
    )
    answer.content_length = drawing.size_bytes
    return answer


@workspace.post("/drawings/<uuid:drawing_id>/delete")
@workspace_required()
def delete_drawing(drawing_id: UUID) -> Any:
    """This function will delete a drawing; its bytes go unless another drawing has the same."""
    sha256 = drawings.delete(
        tenant_session=g.tenant_session, drawing_id=drawing_id, actor=g.actor, now=clock.now()
    )
    members.note_act(tenant_session=g.tenant_session, member_id=g.member.id, now=clock.now())
    g.unswept.append(sha256)
    flash(gettext("The drawing is deleted."), "good")
    return see_other(url_for("workspace.drawings_page"))
