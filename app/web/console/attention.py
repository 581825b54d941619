"""What waits for a person in finance, the most urgent first, each with the act that settles it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import ColumnElement, CompoundSelect, Row, func, select, union

from app.base import clock
from app.base.errors import Invalid
from app.base.messages import Message
from app.web.auth import see_other, staff_required
from app.web.console import billing_words, businesses, parked
from app.web.db import control
from app.web.i18n import gettext
from invoices import (
    drafts,
    evidence,
    invoicing,
    listing,
    payment_methods,
    payment_queue,
    reversals,
    runs,
    vat_deadlines,
)
from invoices.models import Invoice, VatEvidence
from invoices.periods import months_after
from tenants import business_status
from tenants.models import Tenant
from tenants.texts import one_line

console_attention = Blueprint("console_attention", __name__, url_prefix="/console/attention")

FINANCE = ("finance",)
SHOWN_MAX = 50
REASON_LENGTH_MAX = 500
# How many days before its deadline a missing tax evidence shows here.
EVIDENCE_DAYS_BEFORE = 3


class ReasonMissing(Invalid):
    """A person who settles what no machine could must say how they know."""


@console_attention.get("")
@staff_required()
def index() -> str:
    """This function will list everything that no machine will settle by itself."""
    now = clock.now()
    waiting = payment_queue.waiting(control_session=control(), limit=SHOWN_MAX)
    declined = payment_queue.declined(control_session=control(), limit=SHOWN_MAX)
    papers = due_evidence(now)
    by_hand = evidence_by_hand(now)
    numbers = _invoices_of([attempt.invoice_id for attempt in waiting])
    names = _names(
        {attempt.tenant_id for attempt in waiting} | {invoice.tenant_id for invoice, _ in declined}
    )
    held = drafts.held(control_session=control(), limit=SHOWN_MAX)
    unreleased = [run for run in runs.standing(control_session=control()) if run.needs_second]
    stuck = listing.stuck(control_session=control(), limit=SHOWN_MAX)
    board = vat_deadlines.board(control_session=control(), now=now, limit=SHOWN_MAX)
    flagged = business_status.flagged(control_session=control(), limit=SHOWN_MAX)
    rows = parked.listed(control_session=control(), limit=SHOWN_MAX)
    stranded = payment_methods.stranded_tenants(control_session=control(), limit=SHOWN_MAX)
    failed_mail = control().scalar(
        select(func.count()).select_from(Message).where(Message.state == "failed")
    )
    return render_template(
        "console/attention/index.html",
        waiting=waiting,
        numbers=numbers,
        declined=declined,
        stranded=stranded,
        stuck=stuck,
        held=held,
        unreleased=unreleased,
        why_held=billing_words.why_held,
        papers=papers,
        by_hand=by_hand,
        deadline=evidence.deadline,
        missing=billing_words.missing,
        parked=rows,
        pressing=board.pressing,
        businesses=flagged,
        business_names=business_status.names_of(
            control_session=control(), numbers=[row.registration_number for row in flagged]
        ),
        business_words=businesses.WORDS,
        failed_mail=failed_mail or 0,
        names=names,
        nothing=not (
            (waiting or declined or held or unreleased or stuck or stranded)
            or (papers or by_hand or rows or failed_mail or board.pressing or flagged)
        ),
        may_act=g.staff.role in ("finance", "admin"),
        now=now,
    )


def due_evidence(now: datetime) -> list[Row[Any]]:
    """This function will list supplies whose one VAT evidence is still to come, and soon due."""
    today = listing.today_of(now)
    return _supplies(
        Invoice.evidence_at.is_(None),
        Invoice.state.in_(("issued", "paid")),
        Invoice.total_minor > 0,
        Invoice.supplied_on < _supplied_before(today + timedelta(EVIDENCE_DAYS_BEFORE)),
    )


def _supplies(*conditions: ColumnElement[bool]) -> list[Row[Any]]:
    # The oldest are picked first; only those few are then looked at whole.
    picked = (
        select(Invoice.id)
        .where(*conditions)
        .order_by(Invoice.supplied_on)
        .limit(SHOWN_MAX)
        .subquery()
    )
    query = (
        select(
            Invoice.id,
            Invoice.number_text,
            Invoice.supplied_on,
            Invoice.evidence_at,
            Invoice.total_minor,
            Invoice.currency,
            Tenant.name,
        )
        .join(picked, picked.c.id == Invoice.id)
        .join(Tenant, Tenant.id == Invoice.tenant_id)
        .order_by(Invoice.supplied_on, Invoice.id)
    )
    return list(control().execute(query))


def _supplied_before(day: date) -> date:
    """Supplies before this day have their deadline by `day`."""
    first = day.replace(day=1)
    return first if day.day >= evidence.DEADLINE_DAY else months_after(first, -1)


def evidence_by_hand(now: datetime) -> list[Row[Any]]:
    """This function will list this and last month's supplies that need a paper made elsewhere."""
    since = months_after(listing.today_of(now).replace(day=1), -1)
    made_elsewhere = select(VatEvidence.invoice_id).where(VatEvidence.kind == "by_hand")
    to_make: CompoundSelect[UUID] = union(
        made_elsewhere, reversals.supplies_with_receipt_to_cancel()
    )
    return _supplies(Invoice.supplied_on >= since, Invoice.id.in_(to_make))


def _invoices_of(ids: list[UUID]) -> dict[UUID, Invoice]:
    rows = control().scalars(select(Invoice).where(Invoice.id.in_(ids))) if ids else ()
    return {invoice.id: invoice for invoice in rows}


def _names(ids: set[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    rows = control().execute(select(Tenant.id, Tenant.name).where(Tenant.id.in_(ids)))
    return dict(rows.all())


@console_attention.post("/attempts/<uuid:attempt_id>/never-charged")
@staff_required(*FINANCE)
def never_charged(attempt_id: UUID) -> Any:
    """This function will settle an attempt of which the gateway's back office knows no money."""
    why = one_line(request.form.get("why", ""))[:REASON_LENGTH_MAX]
    if not why:
        raise ReasonMissing("Please say where you looked: it is written to the audit trail.")
    payment_queue.declare_never_charged(
        control_session=control(),
        attempt_id=attempt_id,
        why=why,
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("Settled as never charged. The invoice is collected anew."), "good")
    return see_other(url_for(".index"))


@console_attention.post("/subscriptions/<uuid:subscription_id>/again")
@staff_required(*FINANCE)
def bill_again(subscription_id: UUID) -> Any:
    """This function will have a parked subscription billed at once."""
    invoicing.retry(
        control_session=control(),
        subscription_id=subscription_id,
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("It is tried again within seconds."), "good")
    return see_other(url_for(".index"))


@console_attention.post("/parked/<word>/<uuid:key>/again")
@staff_required(*FINANCE)
def work_again(word: str, key: UUID) -> Any:
    """This function will have parked work tried at once."""
    parked.try_again(control_session=control(), word=word, key=key, actor=g.actor, now=clock.now())
    control().commit()
    flash(gettext("It is tried again within seconds."), "good")
    return see_other(url_for(".index"))
