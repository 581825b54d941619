"""What happened: the audit trail, and the mail that went out or did not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import func, select

from app.base import clock, states
from app.base.accounts import Staff
from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.errors import NotFound
from app.base.messages import MESSAGE, Message
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext
from app.web.paging import id_of, page_number, pages_of

console_trails = Blueprint("console_trails", __name__, url_prefix="/console")


@console_trails.get("/audit")
@staff_required()
def audit_trail() -> Any:
    """This function will show who did what, when and why, newest first."""
    query = select(AuditEvent)
    for name in ("subject_kind", "subject_id", "actor_kind", "action"):
        if wanted := request.args.get(name, "").strip():
            query = query.where(getattr(AuditEvent, name) == wanted)
    tenant_id = id_of("tenant")
    if tenant_id is not None:
        query = query.where(AuditEvent.tenant_id == tenant_id)
    page = page_number()
    size = settings().page_size
    # One row more than a page tells whether there is another: the trail is never counted.
    found = list(
        control().scalars(
            query.order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
            .offset((page - 1) * size)
            .limit(size + 1)
        )
    )
    return render_template(
        "console/trails/audit.html",
        rows=found[:size],
        names=_staff_names(found),
        page=page,
        pages=page + (len(found) > size),
        filtered=tenant_id is not None
        or any(request.args.get(name) for name in ("subject_kind", "subject_id", "action")),
    )


def _staff_names(events: list[AuditEvent]) -> dict[str, str]:
    ids = {
        UUID(event.actor_id) for event in events if event.actor_kind == "staff" and event.actor_id
    }
    rows = control().execute(select(Staff.id, Staff.name).where(Staff.id.in_(ids)))
    return {str(staff_id): name for staff_id, name in rows}


@console_trails.get("/mail")
@staff_required()
def mail() -> Any:
    """This function will list messages by state; their texts hold secret links and stay unseen."""
    by_state = select(Message.state, func.count()).group_by(Message.state)
    counts = dict(control().execute(by_state).all())
    state = request.args.get("state", "")
    query = select(Message)
    if state in MESSAGE.states:
        query = query.where(Message.state == state)
    page, size = page_number(), settings().page_size
    total = counts.get(state, 0) if state in MESSAGE.states else sum(counts.values())
    rows = control().scalars(
        query.order_by(Message.created_at.desc()).offset((page - 1) * size).limit(size)
    )
    return render_template(
        "console/trails/mail.html",
        rows=list(rows),
        counts=counts,
        state=state,
        page=page,
        pages=pages_of(total),
        total=total,
    )


@console_trails.post("/mail/<uuid:message_id>/again")
@staff_required("sales", "finance")
def send_again(message_id: UUID) -> Any:
    """This function will put a failed message back on the list of what is due."""
    message = control().get(Message, message_id)
    if message is None:
        raise NotFound("There is no such message.")
    states.move(
        control_session=control(),
        machine=MESSAGE,
        row=message,
        to="due",
        actor=g.actor,
        now=clock.now(),
        why="sent again by hand",
    )
    message.attempts, message.retry_at = 0, None
    control().commit()
    flash(gettext("It goes out again within seconds."), "good")
    return see_other(url_for("console_trails.mail"))
