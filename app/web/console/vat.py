"""How VAT applies to a customer: what was decided, why, by which proof, and deciding anew."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for

from app.base import clock, files
from app.base.accounts import Staff
from app.base.errors import NotFound, TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.exports import download
from app.web.i18n import gettext, lazy
from app.web.refusals import words_of
from invoices import parties, vat_treatments
from tenants.models import Tenant

console_vat = Blueprint("console_vat", __name__, url_prefix="/console/vat")

FINANCE = ("finance",)
TREATMENTS = {
    "taxable": lazy("Taxable"),
    "zero_rated": lazy("Zero-rated"),
    "exempt": lazy("Exempt"),
    "foreign": lazy("Foreign, taxed until proved otherwise"),
}


class NoSuchTenant(NotFound):
    """There is no such customer."""


@console_vat.get("/<uuid:tenant_id>")
@staff_required()
def details(tenant_id: UUID) -> str:
    """This function will show how VAT applies to a customer, and what was decided before."""
    return _page(tenant_id)


def _page(tenant_id: UUID, *, error: TenantryError | None = None) -> str:
    tenant = _tenant(tenant_id)
    history = vat_treatments.decisions(control_session=control(), tenant_id=tenant_id)
    return render_template(
        "console/vat/details.html",
        tenant=tenant,
        now_is=parties.noted(tenant.billing_profile),
        percent=parties.vat_percent(
            {"vat_treatment": parties.vat_treatment(tenant.billing_profile)}
        ),
        history=history,
        who={row.id: _who(row.decided_by) for row in history},
        treatments=TREATMENTS,
        options=list(TREATMENTS.items()),
        may_act=g.staff.role in ("finance", "admin"),
        typed=request.form,
        error=error,
        told=words_of(error) if error else "",
        bytes_max=vat_treatments.FILE_BYTES_MAX,
    )


def _who(decided_by: str) -> str:
    try:
        staff = control().get(Staff, UUID(decided_by))
    except ValueError:
        return decided_by
    return staff.name if staff else decided_by


def _tenant(tenant_id: UUID) -> Tenant:
    tenant = control().get(Tenant, tenant_id)
    if tenant is None:
        raise NoSuchTenant("There is no such customer.")
    return tenant


@console_vat.post("/<uuid:tenant_id>")
@staff_required(*FINANCE)
def decide(tenant_id: UUID) -> Any:
    """This function will decide how VAT applies to a customer from the next bill on."""
    _tenant(tenant_id)
    try:
        proof = _proof(tenant_id)
        vat_treatments.decide(
            control_session=control(),
            tenant_id=tenant_id,
            treatment=request.form.get("treatment", ""),
            reason=request.form.get("reason", ""),
            proof=proof,
            actor=g.actor,
            now=clock.now(),
        )
    except TenantryError as error:
        control().rollback()
        return _page(tenant_id, error=error), 422
    control().commit()
    flash(gettext("Decided. It applies from the next bill on."), "good")
    return see_other(url_for(".details", tenant_id=tenant_id))


def _proof(tenant_id: UUID) -> vat_treatments.Proof | None:
    """What stands beside the form is checked first: a refused decision stores no file."""
    sent = request.files.get("proof")
    attached = sent is not None and bool(sent.filename)
    vat_treatments.check(
        treatment=request.form.get("treatment", ""),
        reason=request.form.get("reason", ""),
        proved=attached,
    )
    if sent is None or not attached:
        return None
    return vat_treatments.keep(
        tenant_id=tenant_id,
        file_name=sent.filename or "",
        chunks=files.chunks_of(sent.stream),  # type: ignore[arg-type]  # a stream of bytes
    )


@console_vat.get("/proofs/<uuid:decision_id>")
@staff_required()
def proof(decision_id: UUID) -> Any:
    """This function will send what proves a decision."""
    paper = vat_treatments.open_proof(control_session=control(), decision_id=decision_id)
    return download(
        paper.stream,
        file_name=paper.file_name,
        media_type=paper.media_type,
        size_bytes=paper.size_bytes,
    )
