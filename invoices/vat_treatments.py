"""How VAT applies to a customer: decided by finance, with a reason and a paper that proves it.

A decision counts from the next bill on; a bill keeps the treatment it was made with. Where a
customer lives decides nothing: one abroad is noted as foreign and taxed until somebody proves more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit, files, ids
from app.base.audit import Actor
from app.base.errors import Invalid, NotFound
from invoices import paper_files, parties
from invoices.models import VatDecision
from invoices.paper_files import OpenPaper
from invoices.vat import TREATMENTS
from tenants.models import GONE_STATES, Tenant
from tenants.texts import one_line

CHOICES = (*TREATMENTS, parties.FOREIGN)
REASON_LENGTH_MAX = 500
FILE_NAME_LENGTH_MAX = 200
FILE_BYTES_MAX = 10 * 1024 * 1024
# What a proof may be, by its first bytes: nothing that a browser would run.
_KINDS = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}


class DecisionUnsound(Invalid):
    """A treatment lacks its reason or its proof."""


class NoSuchCustomer(NotFound):
    """There is no such customer, or they are gone."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A stored paper that proves a treatment."""

    sha256: str
    file_name: str
    media_type: str
    size_bytes: int


def keep(*, tenant_id: UUID, file_name: str, chunks: Iterable[bytes]) -> Proof:
    """This function will store a proof. Call it before `decide`, in no transaction.

    Raises: DecisionUnsound for anything but a PDF, PNG or JPEG; FileTooLarge; StoreUnavailable.
    """
    pieces = iter(chunks)
    first = next(pieces, b"")
    media_type = next((kind for head, kind in _KINDS.items() if first.startswith(head)), None)
    if media_type is None:
        raise DecisionUnsound("Attach the proof as a PDF, PNG or JPEG file.", field="proof")
    stored = files.put(
        prefix=paper_files.prefix_of(tenant_id),
        chunks=(piece for group in ((first,), pieces) for piece in group),
        bytes_max=FILE_BYTES_MAX,
    )
    name = one_line(file_name)[-FILE_NAME_LENGTH_MAX:] or "proof"
    return Proof(stored.sha256, name, media_type, stored.size_bytes)


def check(*, treatment: str, reason: str, proved: bool) -> str:
    """This function will return the reason as it is kept.

    Raises: DecisionUnsound.
    """
    why = one_line(reason)[:REASON_LENGTH_MAX]
    if treatment not in CHOICES:
        raise DecisionUnsound("Choose how VAT applies.", field="treatment")
    if not why:
        raise DecisionUnsound("Say why: an inspection asks for it years later.", field="reason")
    if treatment == "zero_rated" and not proved:
        raise DecisionUnsound(
            "Zero-rating needs its proof: attach the contract, the foreign-exchange certificate"
            " or the ruling.",
            field="proof",
        )
    return why


def decide(
    *,
    control_session: Session,
    tenant_id: UUID,
    treatment: str,
    reason: str,
    proof: Proof | None,
    actor: Actor,
    now: datetime,
) -> VatDecision:
    """This function will decide how VAT applies to a customer's bills from now on.

    Raises: DecisionUnsound, NoSuchCustomer.
    """
    why = check(treatment=treatment, reason=reason, proved=proof is not None)
    tenant = control_session.get(Tenant, tenant_id, with_for_update=True, populate_existing=True)
    if tenant is None or tenant.state in GONE_STATES:
        raise NoSuchCustomer("There is no such customer.")
    before = parties.noted(tenant.billing_profile)
    row = VatDecision(
        id=ids.uuid7(),
        tenant_id=tenant_id,
        treatment=treatment,
        reason=why,
        file_sha256=proof.sha256 if proof else None,
        file_name=proof.file_name if proof else None,
        media_type=proof.media_type if proof else None,
        size_bytes=proof.size_bytes if proof else None,
        decided_by=actor.id or actor.kind,
        decided_at=now,
    )
    control_session.add(row)
    tenant.billing_profile = {
        **tenant.billing_profile,
        "vat_treatment": {
            "treatment": treatment,
            "reason": why,
            "evidence": f"{proof.file_name} {proof.sha256}" if proof else "",
        },
    }
    audit.append(
        control_session=control_session,
        actor=actor,
        action="tenant.vat_decided",
        subject_kind="tenant",
        subject_id=tenant_id,
        tenant_id=tenant_id,
        why=why,
        details={
            "from": before,
            "to": treatment,
            "proof_sha256": proof.sha256 if proof else None,
        },
        now=now,
    )
    control_session.flush()
    return row


def decisions(*, control_session: Session, tenant_id: UUID) -> list[VatDecision]:
    """This function will list what was decided on a customer, the newest first."""
    return list(
        control_session.scalars(
            select(VatDecision)
            .where(VatDecision.tenant_id == tenant_id)
            .order_by(VatDecision.decided_at.desc(), VatDecision.id.desc())
        )
    )


def open_proof(*, control_session: Session, decision_id: UUID) -> OpenPaper:
    """This function will open what proves a decision, for staff.

    Raises: NotFound, FileMissing.
    """
    row = control_session.get(VatDecision, decision_id)
    if row is None or row.file_sha256 is None:
        raise NotFound("There is no such file.")
    stream = files.open_stored(prefix=paper_files.prefix_of(row.tenant_id), sha256=row.file_sha256)
    return OpenPaper(
        stream, str(row.file_name), row.size_bytes or 0, media_type=str(row.media_type)
    )
