"""The current list taken along: as CSV, as XLSX, or all of its papers as one ZIP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import flash, g, jsonify, render_template, request, url_for

from app.base import clock
from app.base.audit import append
from app.base.config import settings
from app.base.errors import Invalid, NotFound
from app.web.auth import see_other, staff_required
from app.web.chips import chip_face
from app.web.console import invoice_filters
from app.web.console.invoices import FINANCE, console_invoices
from app.web.db import control
from app.web.exports import CSV, XLSX, Column, csv_file, download, xlsx_file
from app.web.i18n import gettext
from invoices import bundles, listing
from invoices.listing import InvoiceRow
from invoices.models import DocumentBundle


@console_invoices.get("/export.csv")
@staff_required()
def as_csv() -> Any:
    """This function will send the current list as CSV."""
    file = csv_file(columns=_columns(), rows=_rows())
    return _sent(file, "csv", CSV)


@console_invoices.get("/export.xlsx")
@staff_required()
def as_xlsx() -> Any:
    """This function will send the current list as a workbook."""
    file = xlsx_file(title=gettext("Invoices"), columns=_columns(), rows=_rows())
    return _sent(file, "xlsx", XLSX)


def _sent(file: Any, ending: str, media_type: str) -> Any:
    now = clock.now()
    append(
        control_session=control(),
        actor=g.actor,
        action="invoices.exported",
        subject_kind="staff",
        subject_id=g.staff.id,
        details={"format": ending, "state": request.args.get("state", "")},
        now=now,
    )
    control().commit()
    day = listing.today_of(now)
    return download(file, file_name=f"invoices-{day:%Y%m%d}.{ending}", media_type=media_type)


def _columns() -> list[Column]:
    return [
        Column(gettext("Number"), 18),
        Column(gettext("State"), 14),
        Column(gettext("Company"), 28),
        Column(gettext("Business number"), 16),
        Column(gettext("Period from"), 12),
        Column(gettext("Period to"), 12),
        Column(gettext("Supplied on"), 12),
        Column(gettext("Issued"), 20),
        Column(gettext("Due"), 12),
        Column(gettext("Paid"), 20),
        Column(gettext("Currency"), 9),
        Column(gettext("Supply value"), 14),
        Column(gettext("VAT"), 12),
        Column(gettext("Total"), 14),
        Column(gettext("Still open"), 14),
    ]


def _rows() -> Iterator[list[Any]]:
    for row in listing.export_rows(
        control_session=control(),
        filters=invoice_filters.asked(),
        now=clock.now(),
        sort=invoice_filters.sort_asked(),
    ):
        yield _cells(row)


def _cells(row: InvoiceRow) -> list[Any]:
    return [
        row.number_text or "",
        str(chip_face("invoice", row.state).word),
        row.tenant_name,
        row.registration_number,
        row.period_start,
        row.period_end and row.period_end - timedelta(days=1),
        row.supplied_on,
        row.issued_at,
        row.due_on,
        row.paid_at,
        row.currency,
        row.subtotal,
        row.tax,
        row.total,
        row.open,
    ]


@console_invoices.post("/bundles")
@staff_required(*FINANCE)
def request_bundle() -> Any:
    """This function will ask for the papers of the current list as one ZIP."""
    try:
        bundle = bundles.request(
            control_session=control(),
            filters=invoice_filters.asked(),
            staff_id=g.staff.id,
            now=clock.now(),
        )
    except Invalid as error:
        control().rollback()
        flash(_refusal(error), "bad")
        return see_other(url_for(".index", **invoice_filters.carried()))
    control().commit()
    return see_other(url_for(".bundle", bundle_id=bundle.id))


def _refusal(error: Invalid) -> str:
    if isinstance(error, bundles.TooMuchToBundle):
        return gettext(
            "Choose a shorter period: one ZIP holds up to %(most)s invoices.",
            most=settings().bulk_documents_max,
        )
    return gettext(error.message)


@console_invoices.get("/bundles")
@staff_required()
def recent_bundles() -> str:
    """This function will list the ZIPs asked for of late."""
    return render_template(
        "console/invoices/bundles.html", rows=bundles.recent(control_session=control())
    )


@console_invoices.get("/bundles/<uuid:bundle_id>")
@staff_required()
def bundle(bundle_id: UUID) -> Any:
    """This function will show how far a ZIP has come; as JSON for the script that asks again."""
    found = control().get(DocumentBundle, bundle_id)
    if found is None:
        raise NotFound("There is no such ZIP.")
    if request.args.get("format") == "json":
        return jsonify(state=found.state, done=found.done_count, total=found.total_count)
    return render_template("console/invoices/bundle.html", bundle=found)


@console_invoices.get("/bundles/<uuid:bundle_id>/papers.zip")
@staff_required()
def fetch_bundle(bundle_id: UUID) -> Any:
    """This function will send a finished ZIP."""
    opened = bundles.open_bundle(control_session=control(), bundle_id=bundle_id)
    return download(
        opened.stream,
        file_name=opened.file_name,
        media_type=opened.media_type,
        size_bytes=opened.size_bytes,
    )
