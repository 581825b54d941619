"""What waits for a person in finance, the most urgent first, each with the act that settles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import (
    ColumnElement,
    Date,
    Row,
    RowMapping,
    and_,
    bindparam,
    exists,
    func,
    select,
    union,
)

from app.base import clock
from app.base.config import settings
from app.base.db import planned_once
from app.base.errors import Invalid
from app.base.messages import Message
from app.web import evidence_words
from app.web.auth import see_other, staff_required
from app.web.console import billing_words, businesses, parked
from app.web.db import control
from app.web.i18n import gettext
from invoices import (
    drafts,
    evidence,
    invoicing,
    listing,
    papers_by_hand,
    payment_methods,
    payment_queue,
    reversals,
    runs,
    stuck,
    tax_ahead,
    tax_following,
    vat_deadlines,
)
from invoices.models import Invoice
from invoices.periods import months_after
from tenants import business_status, giving_up
from tenants.business_models import BusinessStatus
from tenants.models import Tenant
from tenants.texts import one_line

console_attention = Blueprint("console_attention", __name__, url_prefix="/console/attention")

FINANCE = ("finance",)
SHOWN_MAX = 50
REASON_LENGTH_MAX = 500
# How many days before its deadline a missing tax evidence shows here.
EVIDENCE_DAYS_BEFORE = 3
# Supplies whose evidence is still to come, and those that need one made elsewhere.
_TO_BE_CHOSEN = and_(vat_deadlines.UNCHOSEN, Invoice.supplied_on < bindparam("before", type_=Date))
# They wait however old they are: a bank, too, may take a deposit back long after the supply.
_TO_BE_MADE = Invoice.id.in_(
    union(papers_by_hand.to_be_made(), reversals.supplies_with_receipt_to_cancel())
)
# One question for every kind: on a good day nothing waits, and nothing more is asked. Its plan is
# kept: to make one takes ten times as long as to find out.
_FOUND = planned_once(
    select(
        payment_queue.WAITING.exists().label("waiting"),
        payment_queue.DECLINED.exists().label("declined"),
        exists().where(payment_methods.stranded()).label("stranded"),
        stuck.STUCK.exists().label("stuck"),
        drafts.STANDING.label("drafts"),
        exists().where(_TO_BE_CHOSEN).label("papers"),
        exists().where(_TO_BE_MADE).label("by_hand"),
        exists().where(tax_following.WAITS).label("notes"),
        select(Invoice.id).where(tax_ahead.to_be_credited()).exists().label("ahead"),
        vat_deadlines.WATCHED.label("watched"),
        business_status.TO_LOOK_AT.exists().label("flagged"),
        *(exists().where(kind.worn_out).label(word) for word, kind in parked.KINDS.items()),
        select(func.count())
        .where(Message.state == "failed")
        .scalar_subquery()
        .label("failed_mail"),
    )
)


@dataclass(frozen=True, slots=True)
class Correction:
    """A credit note that no paper follows, or a paper that no credit note followed yet."""

    id: UUID
    invoice_id: UUID
    number: str
    name: str
    why: str
    total_minor: int
    currency: str


class ReasonMissing(Invalid):
    """A person who settles what no machine could must say how they know."""


@console_attention.get("")
@staff_required()
def index() -> str:
    """This function will list everything that no machine will settle by itself."""
    now = clock.now()
    found = _found(now)

    def listed(kind: str, rows: Callable[..., list[Any]]) -> list[Any]:
        return rows(control_session=control(), limit=SHOWN_MAX) if found[kind] else []

    waiting = listed("waiting", payment_queue.waiting)
    declined = listed("declined", payment_queue.declined)
    flagged = listed("flagged", business_status.flagged)
    shown = {
        "waiting": waiting,
        "declined": declined,
        "stranded": listed("stranded", payment_methods.stranded_tenants),
        "stuck": listed("stuck", stuck.listed),
        "held": listed("drafts", drafts.held),
        "unreleased": (runs.waiting_for_two(control_session=control()) if found["drafts"] else []),
        "papers": due_evidence(now) if found["papers"] else [],
        "by_hand": evidence_by_hand() if found["by_hand"] else [],
        "corrections": [
            *(_notes_without_paper() if found["notes"] else []),
            *(_papers_without_note() if found["ahead"] else []),
        ],
        "parked": parked.listed(
            control_session=control(),
            words=[word for word in parked.KINDS if found[word]],
            limit=SHOWN_MAX,
        ),
        "pressing": _pressing(now) if found["watched"] else 0,
        "businesses": flagged,
        "failed_mail": found["failed_mail"],
    }
    return render_template(
        "console/attention/index.html",
        **shown,
        nothing=not any(shown.values()),
        numbers=_invoices_of([attempt.invoice_id for attempt in waiting]),
        names=_names(
            {attempt.tenant_id for attempt in waiting}
            | {invoice.tenant_id for invoice, _ in declined}
        ),
        why_held=billing_words.why_held,
        deadline=evidence.deadline,
        missing=billing_words.missing,
        business_names=_business_names(flagged),
        business_words=businesses.WORDS,
        may_act=g.staff.role in ("finance", "admin"),
        may_give_up=g.staff.role == "admin",
        now=now,
    )


def _found(now: datetime) -> RowMapping:
    """This function will tell of each kind whether anything waits, and count the failed mails."""
    asked = {
        "attempts_max": settings().work_attempts_max,
        "before": _supplied_before(now),
    }
    return control().execute(_FOUND, asked).mappings().one()


def _pressing(now: datetime) -> int:
    return vat_deadlines.board(control_session=control(), now=now, limit=SHOWN_MAX).pressing


def _business_names(flagged: list[BusinessStatus]) -> dict[str, list[str]]:
    if not flagged:
        return {}
    numbers = [row.registration_number for row in flagged]
    return business_status.names_of(control_session=control(), numbers=numbers)


def due_evidence(now: datetime) -> list[Row[Any]]:
    """This function will list supplies whose one VAT evidence is still to come, and soon due."""
    return _supplies(_TO_BE_CHOSEN, {"before": _supplied_before(now)})


def evidence_by_hand() -> list[Row[Any]]:
    """This function will list supplies that need a paper made elsewhere, and those whose cash
    receipt proves money that went again.
    """
    return _supplies(_TO_BE_MADE, {})


def _notes_without_paper() -> list[Correction]:
    """This function will list credit notes whose tax paper a person has to make."""
    notes = tax_following.waiting(control_session=control(), limit=SHOWN_MAX)
    names = _names({note.tenant_id for note in notes})
    return [
        Correction(
            *(note.id, note.invoice_id, note.number_text, names[note.tenant_id]),
            evidence_words.why(note.evidence_error or ""),
            *(note.total_minor, note.currency),
        )
        for note in notes
    ]


def _papers_without_note() -> list[Correction]:
    """This function will list supplies whose papers were amended by hand, and not the books."""
    return [
        Correction(
            *(row.id, row.id, row.number_text, row.name),
            gettext("Its tax papers were amended by hand: credit the customer as much."),
            tax_ahead.of_supply(
                control_session=control(), invoice=control().get_one(Invoice, row.id)
            ).total_minor,
            row.currency,
        )
        for row in _supplies(tax_ahead.to_be_credited(), {})
    ]


def _supplies(condition: ColumnElement[bool], days: dict[str, date]) -> list[Row[Any]]:
    # The oldest are picked first; only those few are then looked at whole.
    picked = (
        select(Invoice.id)
        .where(condition)
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
    return list(control().execute(query, days))


def _supplied_before(now: datetime) -> date:
    """Supplies before this day have their evidence due within EVIDENCE_DAYS_BEFORE days."""
    day = listing.today_of(now) + timedelta(EVIDENCE_DAYS_BEFORE)
    first = day.replace(day=1)
    return first if day.day >= evidence.DEADLINE_DAY else months_after(first, -1)


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


@console_attention.post("/parked/provisioning/<uuid:tenant_id>/give-up")
@staff_required("admin")
def give_up(tenant_id: UUID) -> Any:
    """This function will have a tenant undone that can't be made, and its application rejected."""
    giving_up.ask(
        control_session=control(),
        tenant_id=tenant_id,
        reason=request.form.get("why", ""),
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("What was made is undone within seconds, then the applicant is told."), "good")
    return see_other(url_for(".index"))


@console_attention.post("/parked/<word>/<uuid:key>/again")
@staff_required(*FINANCE)
def work_again(word: str, key: UUID) -> Any:
    """This function will have parked work tried at once."""
    parked.try_again(control_session=control(), word=word, key=key, actor=g.actor, now=clock.now())
    control().commit()
    flash(gettext("It is tried again within seconds."), "good")
    return see_other(url_for(".index"))
