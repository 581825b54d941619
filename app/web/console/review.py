"""The reviewers' desk: the queue, one application beside it, and the acts that decide it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, g, make_response, render_template, request, url_for

from app.base import clock
from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.errors import Conflict, Invalid
from app.web.auth import see_other, staff_required
from app.web.console import businesses
from app.web.console.review_words import (
    ACTS,
    GROUND_NAMES,
    GROUND_SENTENCES,
    SHARED_NAMES,
    TAB_NAMES,
    conflict_words,
)
from app.web.db import control, db
from app.web.i18n import _, language
from app.web.paging import page_number, pages_of
from app.web.site.prices import currencies
from invoices import catalogue
from tenants import review as room
from tenants.models import Application
from tenants.texts import one_line

review = Blueprint("review", __name__, url_prefix="/console/review")

REVIEWERS = ("sales",)


@review.get("")
@staff_required()
def queue() -> str:
    """This function will show the queue, most urgent first."""
    return _desk(None)


@review.get("/<uuid:application_id>")
@staff_required()
def details(application_id: UUID) -> str:
    """This function will show one application beside the queue."""
    return _desk(application_id)


def _desk(
    application_id: UUID | None, *, problem: str = "", errors: dict[str, str] | None = None
) -> str:
    found = (
        room.details(control_session=control(), application_id=application_id)
        if application_id
        else None
    )
    plans = _plans() if found else []
    tab = _tab(found.application if found else None)
    page = page_number()
    search = request.args.get("q", "")[:100]
    counts = room.counts(control_session=control())
    listed = room.queue(
        control_session=control(),
        tab=tab,
        search=search,
        page=page,
        total=None if search else counts[tab],
    )
    return render_template(
        "console/review/desk.html",
        rows=listed.rows,
        total=listed.total,
        page=page,
        pages=pages_of(listed.total, size=room.PAGE_SIZE),
        search=search,
        tab=tab,
        tabs=[
            {
                "label": name,
                "url": url_for("review.queue", tab=key),
                "count": counts[key],
                "active": key == tab,
            }
            for key, name in TAB_NAMES.items()
        ],
        nav_counts={"review": counts["confirmed"]},
        found=found,
        current=application_id,
        problem=problem,
        errors=errors or {},
        now=clock.now(),
        held_by=_held_by(found, clock.now()),
        may_act=g.staff.role in (*REVIEWERS, "admin"),
        history=_history(found),
        shared_names=SHARED_NAMES,
        **businesses.of(
            found.application.registration_number if found else None,
            found.application.country if found else "",
        ),
        plans=plans,
        plan_names=dict(plans),
        currencies=list(currencies().items()),
        s=settings(),
    )


def _tab(application: Application | None) -> str:
    wish = request.args.get("tab", "")
    if wish in TAB_NAMES:
        return wish
    return application.state if application and application.state in TAB_NAMES else "confirmed"


def _held_by(found: Any, now: datetime) -> str:
    """The name of somebody else who works on the application just now."""
    if found is None or found.application.state != "confirmed":
        return ""
    application = found.application
    if application.claimed_by in (None, g.staff.id):
        return ""
    fresh = application.claimed_at >= room.stale_before(now)
    return found.staff.get(str(application.claimed_by), "") if fresh else ""


def _plans() -> list[tuple[str, str]]:
    offered = catalogue.names_on_offer(control_session=control(), currency=settings().currency)
    korean = language() == "ko"
    return [(code, name_ko if korean else name_en) for code, name_ko, name_en in offered]


def _history(found: Any) -> list[dict[str, Any]]:
    if found is None:
        return []
    return [_entry(event, found.staff) for event in reversed(found.history)]


def _entry(event: AuditEvent, staff: dict[str, str]) -> dict[str, Any]:
    what, tone = ACTS.get(event.action, (event.action, "calm"))
    who = {"visitor": _("the applicant"), "staff": staff.get(event.actor_id or "", "")}
    why = GROUND_NAMES.get(event.why or "", event.why)
    return {
        "at": event.at,
        "who": who.get(event.actor_kind, event.actor_id or event.actor_kind),
        "what": what,
        "why": why,
        "tone": tone,
    }


@review.post("/<uuid:application_id>/claim")
@staff_required(*REVIEWERS)
def claim(application_id: UUID) -> Any:
    """This function will take an application for the reviewer who asks."""

    def act() -> Response:
        room.claim(
            control_session=control(),
            application_id=application_id,
            actor=g.actor,
            now=clock.now(),
        )
        db.session.commit()
        return see_other(url_for("review.details", application_id=application_id))

    return _attempt(application_id, act)


@review.post("/<uuid:application_id>/release")
@staff_required(*REVIEWERS)
def release(application_id: UUID) -> Any:
    """This function will give an application back to the queue."""

    def act() -> Response:
        room.release(
            control_session=control(),
            application_id=application_id,
            actor=g.actor,
            now=clock.now(),
        )
        db.session.commit()
        return see_other(url_for("review.details", application_id=application_id))

    return _attempt(application_id, act)


@review.post("/<uuid:application_id>/approve")
@staff_required(*REVIEWERS)
def approve(application_id: UUID) -> Any:
    """This function will approve an application; provisioning begins when this commits."""

    def act() -> Response:
        currency = request.form.get("currency", "")
        if currency not in currencies():
            raise Invalid("Choose a currency.", field="currency")
        version = catalogue.current(
            control_session=control(),
            plan_code=one_line(request.form.get("plan_code", "")),
            currency=currency,
        )
        tenant = room.approve(
            control_session=control(),
            application_id=application_id,
            trial_days=request.form.get("trial_days", 0, type=int),
            plan_code=version.plan_code,
            limits=catalogue.limits_of(version),
            features=version.features,
            quotas=version.quotas,
            currency=currency,
            actor=g.actor,
            now=clock.now(),
        )
        db.session.commit()
        flash(
            _("Approved: the database of %(company)s is being made.", company=tenant.name), "good"
        )
        return _next(application_id)

    return _attempt(application_id, act)


def _attempt(application_id: UUID, act: Callable[[], Response]) -> Any:
    """Somebody else was first, or an answer is wrong: the desk says so and shows how it stands."""
    try:
        return act()
    except Conflict as error:
        db.session.rollback()
        return make_response(_desk(application_id, problem=conflict_words(error)), error.status)
    except Invalid as error:
        db.session.rollback()
        said = {error.field or "": _(error.message)}
        return make_response(_desk(application_id, errors=said), error.status)


def _next(besides: UUID) -> Response:
    """The next application opens itself, so that a queue is worked off without going back."""
    following = room.next_waiting(
        control_session=control(), staff_id=g.staff.id, now=clock.now(), besides=besides
    )
    if following is None:
        return see_other(url_for("review.queue"))
    return see_other(url_for("review.details", application_id=following))


@review.get("/<uuid:application_id>/reject")
@staff_required(*REVIEWERS)
def refusal(application_id: UUID) -> str:
    """This function will ask for the reason of a refusal."""
    return _refusal(application_id)


@review.post("/<uuid:application_id>/reject")
@staff_required(*REVIEWERS)
def reject(application_id: UUID) -> Any:
    """This function will show the mail of a refusal first, and reject when it was seen."""
    reason, ground = request.form.get("reason", ""), request.form.get("ground", "")

    def act() -> Response:
        if request.form.get("wish") != "reject":
            preview = room.reject_preview(
                control_session=control(),
                application_id=application_id,
                reason=reason,
                ground=ground,
            )
            return make_response(_refusal(application_id, preview=preview))
        application = room.reject(
            control_session=control(),
            application_id=application_id,
            reason=reason,
            ground=ground,
            actor=g.actor,
            now=clock.now(),
        )
        db.session.commit()
        flash(
            _("Rejected %(reference)s; the mail goes out.", reference=application.reference), "info"
        )
        return _next(application_id)

    try:
        return act()
    except Invalid as error:
        db.session.rollback()
        said = {error.field or "reason": _(error.message)}
        return make_response(_refusal(application_id, errors=said), error.status)
    except Conflict as error:
        db.session.rollback()
        return make_response(_desk(application_id, problem=conflict_words(error)), error.status)


def _refusal(
    application_id: UUID,
    *,
    preview: tuple[str, str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> str:
    found = room.details(control_session=control(), application_id=application_id)
    reader = found.application.language
    return render_template(
        "console/review/reject.html",
        application=found.application,
        held_by=_held_by(found, clock.now()),
        grounds=list(GROUND_NAMES.items()),
        ground=request.form.get("ground", ""),
        reason=request.form.get("reason", ""),
        sentences=[(GROUND_NAMES[key], text[reader]) for key, text in GROUND_SENTENCES.items()],
        preview=preview,
        errors=errors or {},
    )


@review.post("/tenants/<uuid:tenant_id>/extend")
@staff_required(*REVIEWERS)
def extend(tenant_id: UUID) -> Any:
    """This function will lengthen a trial."""
    tenant = room.extend_trial(
        control_session=control(),
        tenant_id=tenant_id,
        days=request.form.get("days", 0, type=int),
        actor=g.actor,
        now=clock.now(),
    )
    db.session.commit()
    flash(_("The trial of %(company)s is longer now.", company=tenant.name), "good")
    if tenant.application_id is None:
        return see_other(url_for("review.queue", tab="approved"))
    return see_other(url_for("review.details", application_id=tenant.application_id))
