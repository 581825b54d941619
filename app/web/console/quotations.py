"""Quotations in the console: made for a company or an applicant, and taken along as a PDF."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.exports import download
from app.web.i18n import gettext, language
from app.web.refusals import words_of
from app.web.site.prices import currencies
from invoices import catalogue, paper_files, quotations
from invoices.quotations import Wish
from tenants.models import Application, Tenant

console_quotations = Blueprint("console_quotations", __name__, url_prefix="/console/quotations")

SELLERS = ("sales", "finance")


@console_quotations.get("/tenant/<uuid:tenant_id>")
@staff_required()
def of_tenant(tenant_id: UUID) -> str:
    """This function will show a company's quotations, and make another."""
    return _page(tenant=_found(Tenant, tenant_id))


@console_quotations.post("/tenant/<uuid:tenant_id>")
@staff_required(*SELLERS)
def quote_tenant(tenant_id: UUID) -> Any:
    """This function will write a quotation for a company."""
    return _make(tenant=_found(Tenant, tenant_id))


@console_quotations.get("/application/<uuid:application_id>")
@staff_required()
def of_application(application_id: UUID) -> str:
    """This function will show an applicant's quotations, and make another."""
    return _page(application=_found(Application, application_id))


@console_quotations.post("/application/<uuid:application_id>")
@staff_required(*SELLERS)
def quote_application(application_id: UUID) -> Any:
    """This function will write a quotation for an applicant."""
    return _make(application=_found(Application, application_id))


@console_quotations.get("/<uuid:quotation_id>/<language_code>.pdf")
@staff_required()
def pdf(quotation_id: UUID, language_code: str) -> Any:
    """This function will print a quotation and send it."""
    paper = quotations.paper(
        control_session=control(), quotation_id=quotation_id, language=language_code
    )
    control().rollback()
    printed = quotations.printed(paper=paper, language=language_code)
    return download(
        io.BytesIO(printed.pdf),
        file_name=f"{paper.number}-{language_code}.pdf",
        media_type=paper_files.MEDIA_TYPE,
        size_bytes=len(printed.pdf),
    )


def _found(model: type[Any], row_id: UUID) -> Any:
    row = control().get(model, row_id)
    if row is None or getattr(row, "erased_at", None) is not None:
        raise NotFound("There is no such company.")
    return row


def _make(*, tenant: Tenant | None = None, application: Application | None = None) -> Any:
    try:
        made = quotations.make(
            control_session=control(),
            wish=_wish(),
            tenant=tenant,
            application=application,
            actor=g.actor,
            now=clock.now(),
        )
    except (Invalid, Conflict, NotFound) as error:
        control().rollback()
        return _page(tenant=tenant, application=application, error=error), error.status
    number = made.number_text
    back = _address(tenant, application)
    control().commit()
    flash(gettext("Quotation %(number)s is made.", number=number), "good")
    return see_other(back)


def _wish() -> Wish:
    return Wish(
        plan_code=request.form.get("plan_code", "").replace("\x00", ""),
        currency=request.form.get("currency", "") if _known_currency() else "KRW",
        seats=_count("seats"),
        months=_count("months"),
        valid_days=_count("valid_days"),
    )


def _known_currency() -> bool:
    return request.form.get("currency", "") in currencies()


def _count(field: str) -> int:
    text = request.form.get(field, "").strip().replace(",", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 7 else 0


def _address(tenant: Tenant | None, application: Application | None) -> str:
    if tenant is not None:
        return url_for(".of_tenant", tenant_id=tenant.id)
    assert application is not None
    return url_for(".of_application", application_id=application.id)


def _page(
    *,
    tenant: Tenant | None = None,
    application: Application | None = None,
    error: TenantryError | None = None,
) -> str:
    currency = "KRW" if (tenant or application).country == "KR" else "USD"  # type: ignore[union-attr]  # one of them is there
    if tenant is not None:
        currency = tenant.currency
        back = url_for("console_tenants.details", tenant_id=tenant.id)
        name, seats, plan = tenant.name, tenant.limits.get("seats") or 1, tenant.plan_code
    else:
        assert application is not None
        back = url_for("review.details", application_id=application.id)
        name, seats = application.company, application.seats_expected
        plan = application.plan_code
    korean = language() == "ko"
    return render_template(
        "console/quotations/index.html",
        name=name,
        back=back,
        address=_address(tenant, application),
        rows=quotations.of(
            control_session=control(),
            tenant_id=tenant.id if tenant else None,
            application_id=application.id if application else None,
        ),
        currencies=list(currencies().items()),
        plans=[
            (code, ko if korean else en)
            for code, ko, en in catalogue.names_on_offer(
                control_session=control(), currency=currency
            )
        ],
        values={
            "plan_code": plan,
            "currency": currency,
            "seats": seats,
            "months": 12,
            "valid_days": 30,
        }
        | {key: request.form[key] for key in request.form if key != "csrf_token"},
        may_make=g.staff.role in (*SELLERS, "admin"),
        is_over=quotations.is_over,
        today=clock.today(clock.now(), settings().contract_timezone),
        told=words_of(error) if error else "",
        error=error,
    )
