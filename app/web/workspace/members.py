"""Who has a seat: members are listed for everyone, and invited or deactivated by admins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import accounts, clock
from app.base import sessions as stored
from app.base.config import settings
from app.base.errors import Invalid, TenantryError
from app.base.messages import queue_mail
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language, lazy
from app.web.paging import page_within, pages_of
from app.web.security import limiter, mail_limit
from app.web.sessions import end_sessions
from app.web.workspace.blueprint import workspace
from app.web.workspace.guard import workspace_required
from tenants import limits, members
from tenants.personal_data import invitation_purpose
from tenants.schema import Member

INVITATION_DAYS = 7
ROLE_NAMES = {
    "member": lazy("Member: sees, uploads and deletes drawings"),
    "admin": lazy("Admin: also says who has a seat"),
}
ROLE_WORDS = {"member": lazy("Member"), "admin": lazy("Admin")}


@workspace.get("/members")
@workspace_required()
def members_page() -> Any:
    """This function will list the members and, to an admin, offer seats."""
    return _page()


def _page(*, form: Any = None, error: TenantryError | None = None) -> str:
    session = g.tenant_session
    total = members.count(tenant_session=session)
    page = page_within(total)
    return render_template(
        "workspace/members.html",
        rows=members.list_(tenant_session=session, page=page, page_size=settings().page_size),
        page=page,
        pages=pages_of(total),
        total=total,
        seats_taken=members.seats_taken(tenant_session=session),
        seats_max=limits.read(tenant_session=session, key=limits.SEATS),
        role_names=ROLE_NAMES,
        role_words=ROLE_WORDS,
        form=form or {},
        error=error,
        message=_message(error) if error else "",
        may_change=g.member.role == "admin",
        me=g.member,
    )


def _message(error: TenantryError) -> str:
    if isinstance(error, members.SeatsTaken):
        return gettext(
            "All %(seats)s seats of the plan are taken. Deactivate somebody, or choose a larger "
            "plan in the portal.",
            seats=error.seats_max,
        )
    return gettext(error.message)


@workspace.post("/members")
@mail_limit(5)
@workspace_required("admin")
def invite_member() -> Any:
    """This function will give somebody a seat and mail them a link."""
    try:
        member = members.invite(
            tenant_session=g.tenant_session,
            email=request.form.get("email", ""),
            name=request.form.get("name", ""),
            role=request.form.get("role", ""),
            actor=g.actor,
            now=clock.now(),
        )
    except TenantryError as error:
        return _page(form=request.form, error=error), error.status
    _mail_link(member)
    flash(gettext("The invitation is on its way."), "good")
    return see_other(url_for("workspace.members_page"))


def _mail_link(member: Member) -> None:
    """Written to control, which commits after the tenant's own database: no link without a seat."""
    now = clock.now()
    token = accounts.issue_token(
        control_session=control(),
        purpose=invitation_purpose(g.tenant.id),
        subject_id=member.id,
        valid_for=timedelta(days=INVITATION_DAYS),
        now=now,
    )
    queue_mail(
        control_session=control(),
        room="tenants",
        name="member_invited",
        to=member.email,
        language=language(),
        context={
            "slug": g.tenant.slug,
            "company": g.tenant.name,
            "member_name": member.name,
            "invited_by": g.member.name,
            "link": f"{settings().public_url}/workspace/welcome/{g.tenant.slug}/{token}",
            "valid_days": INVITATION_DAYS,
        },
        now=now,
        regarding_id=g.tenant.id,
    )


@workspace.post("/members/<uuid:member_id>/invite-again")
@limiter.limit("5/hour", key_func=lambda: request.path)
@workspace_required("admin")
def invite_member_again(member_id: UUID) -> Any:
    """This function will mail a fresh link to somebody who lost theirs or forgot the password."""
    member = members.find(tenant_session=g.tenant_session, member_id=member_id)
    if member.deactivated_at is not None:
        raise members.MemberInactive("This membership has ended. Ask an admin of your company.")
    _mail_link(member)
    flash(gettext("The invitation is on its way."), "good")
    return see_other(url_for("workspace.members_page"))


@workspace.post("/members/<uuid:member_id>/seat")
@workspace_required("admin")
def change_seat(member_id: UUID) -> Any:
    """This function will take a member's seat or give it back."""
    wish = request.form.get("wish", "")
    change = {"deactivate": members.deactivate, "reactivate": members.reactivate}.get(wish)
    if change is None:
        raise Invalid("The request was not understood.")
    if member_id == g.member.id:
        raise Invalid("You can't take your own seat. Ask another admin.")
    try:
        change(tenant_session=g.tenant_session, member_id=member_id, actor=g.actor, now=clock.now())
    except (members.SeatsTaken, members.LastAdmin) as error:
        return _page(error=error), error.status
    if wish == "deactivate":
        end_sessions(
            stored.end_all(
                control_session=control(),
                user_id=member_id,
                tenant_id=g.tenant.id,
                audience="workspace",
            )
        )
    flash(gettext("Saved."), "good")
    return see_other(url_for("workspace.members_page"))
