"""Finance's desk for debts: who owes since when, what follows, and what is done otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select

from app.base import clock
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web.auth import see_other, staff_required
from app.web.console.typed import a_day
from app.web.contract_words import plan_names
from app.web.db import control
from app.web.i18n import gettext
from app.web.refusals import words_of
from invoices import account_deposits, dunning_debts, dunning_holds, dunning_rules, reversals
from invoices.dunning_rules import Exceptions
from invoices.models import Invoice, Plan
from tenants.models import Tenant

console_collecting = Blueprint("console_collecting", __name__, url_prefix="/console/collecting")

FINANCE = ("finance",)
SHOWN_MAX = 100
FIELDS = ("retry_days", "grace_days", "warning_days")


class NoSuchTenant(NotFound):
    """There is no such company."""


@console_collecting.get("")
@staff_required()
def index() -> str:
    """This function will list who owes, the longest first, and what is done otherwise for plans."""
    return _list_page()


def _list_page(*, error: TenantryError | None = None, plan_code: str = "") -> str:
    now = clock.now()
    debtors = dunning_holds.debtors(control_session=control(), limit=SHOWN_MAX)
    plans = control().scalars(select(Plan.code).order_by(Plan.position)).all()
    rules = dunning_rules.rules_of_plans(control_session=control())
    return render_template(
        "console/collecting/list.html",
        rows=_rows(debtors, now),
        plans=[(code, plan_names([code]), rules.get(code)) for code in plans],
        taken_back=account_deposits.taken_back(control_session=control(), limit=SHOWN_MAX),
        undone=reversals.work_list(control_session=control(), limit=SHOWN_MAX),
        usual=dunning_rules.usual(),
        may_act=g.staff.role in ("finance", "admin"),
        typed=request.form,
        error=error,
        failed=plan_code,
        told=words_of(error) if error else "",
    )


def _rows(debtors: list[Tenant], now: datetime) -> list[dict[str, Any]]:
    tenant_ids = [tenant.id for tenant in debtors]
    debts = dunning_debts.sums(control_session=control(), tenant_ids=tenant_ids, now=now)
    holds = dunning_debts.standing_holds(control_session=control(), tenant_ids=tenant_ids, now=now)
    return [
        {
            "id": tenant.id,
            "tenant": tenant,
            "count": debts[tenant.id].invoices,
            "open_minor": debts[tenant.id].open_minor,
            "hold": holds.get(tenant.id),
        }
        for tenant in debtors
    ]


def _debts(tenant_id: UUID, now: datetime) -> list[Invoice]:
    return list(
        control().scalars(
            select(Invoice)
            .where(Invoice.tenant_id == tenant_id, dunning_debts.owed(now))
            .order_by(Invoice.due_on, Invoice.number)
            .limit(SHOWN_MAX)
        )
    )


@console_collecting.get("/<uuid:tenant_id>")
@staff_required()
def details(tenant_id: UUID) -> str:
    """This function will show one company's debts, what holds for it, and finance's acts."""
    return _page(tenant_id)


def _page(tenant_id: UUID, *, error: TenantryError | None = None, failed: str = "") -> str:
    tenant, now = control().get(Tenant, tenant_id), clock.now()
    if tenant is None:
        raise NoSuchTenant("There is no such company.")
    return render_template(
        "console/collecting/details.html",
        tenant=tenant,
        debts=_debts(tenant_id, now),
        hold=dunning_holds.standing(control_session=control(), tenant_id=tenant_id, now=now),
        rules=dunning_rules.rules_of(control_session=control(), tenant=tenant),
        own=dunning_rules.own_rule(control_session=control(), tenant_id=tenant_id),
        today=dunning_debts.today_of(now),
        may_act=g.staff.role in ("finance", "admin"),
        typed=request.form,
        error=error,
        failed=failed,
        told=words_of(error) if error else "",
    )


def _act(tenant_id: UUID, name: str, act: Callable[[], object], said: str) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        act()
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(tenant_id, error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".details", tenant_id=tenant_id))


@console_collecting.post("/<uuid:tenant_id>/hold")
@staff_required(*FINANCE)
def hold(tenant_id: UUID) -> Any:
    """This function will let a company's debts rest up to a day."""

    def act() -> None:
        until = a_day(request.form.get("until", ""), "until")
        if until is None:
            raise Invalid("Enter the day as 2026-03-10.", field="until")
        dunning_holds.hold(
            control_session=control(),
            tenant_id=tenant_id,
            until=until,
            why=request.form.get("why", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        )

    return _act(tenant_id, "hold", act, gettext("On hold. Nobody is reminded or shut out."))


@console_collecting.post("/<uuid:tenant_id>/lift")
@staff_required(*FINANCE)
def lift(tenant_id: UUID) -> Any:
    """This function will end a hold before its day."""
    return _act(
        tenant_id,
        "lift",
        lambda: dunning_holds.lift(
            control_session=control(),
            tenant_id=tenant_id,
            why=request.form.get("why", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        ),
        gettext("The hold is over. What it put off is tried now."),
    )


@console_collecting.post("/<uuid:tenant_id>/forgive/<uuid:invoice_id>")
@staff_required(*FINANCE)
def forgive(tenant_id: UUID, invoice_id: UUID) -> Any:
    """This function will stop following one invoice up."""
    found = control().get(Invoice, invoice_id)
    if found is None or found.tenant_id != tenant_id:
        raise NoSuchTenant("There is no such invoice.")
    return _act(
        tenant_id,
        f"forgive-{invoice_id}",
        lambda: dunning_holds.forgive(
            control_session=control(),
            invoice_id=invoice_id,
            why=request.form.get("why", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        ),
        gettext("It is not followed up any more. The amount is still owed."),
    )


@console_collecting.post("/<uuid:tenant_id>/rule")
@staff_required(*FINANCE)
def tenant_rule(tenant_id: UUID) -> Any:
    """This function will change what holds for one company."""
    return _act(
        tenant_id,
        "rule",
        lambda: _set_rule(tenant_id=tenant_id),
        gettext("Saved. It holds from now on."),
    )


@console_collecting.post("/plans/<plan_code>/rule")
@staff_required(*FINANCE)
def plan_rule(plan_code: str) -> Any:
    """This function will change what holds for everybody on one plan."""
    try:
        _set_rule(plan_code=plan_code)
    except Invalid as error:
        control().rollback()
        return _list_page(error=error, plan_code=plan_code), error.status
    control().commit()
    flash(gettext("Saved. It holds from now on."), "good")
    return see_other(url_for(".index"))


def _set_rule(*, tenant_id: UUID | None = None, plan_code: str | None = None) -> None:
    dunning_rules.set_rule(
        control_session=control(),
        exceptions=Exceptions(**{name: request.form.get(name, "") for name in FIELDS}),
        actor=g.actor,
        why=request.form.get("why", ""),
        now=clock.now(),
        tenant_id=tenant_id,
        plan_code=plan_code,
    )
