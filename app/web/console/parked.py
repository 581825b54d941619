"""Work that failed too often and waits for a person: what it is, whose, and why it failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, select
from sqlalchemy.orm import Session

from app.base import leases
from app.base.audit import Actor, append
from app.base.config import settings
from app.base.db import notify
from app.base.errors import NotFound
from app.web.i18n import lazy
from invoices import payment_methods
from invoices.models import (
    CashReceipt,
    Document,
    DocumentBundle,
    GatewayEvent,
    PaymentMethod,
    ReconciliationDay,
    TaxInvoice,
    tax_invoice_is_open,
)
from tenants.models import (
    DestructionRun,
    MeteringDay,
    ProvisioningRun,
    Tenant,
    TenantDatabase,
    TenantExport,
)


class NothingParked(NotFound):
    """This work does not wait for anybody."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of work: its table, what is open in it, and the step that does it."""

    model: Any
    name: Any
    step: str
    unfinished: ColumnElement[bool]
    has_tenant: bool = True

    @property
    def key(self) -> Any:
        """The column by which a row is known."""
        return self.model.__mapper__.primary_key[0]

    @property
    def worn_out(self) -> ColumnElement[bool]:
        """Open, and tried `attempts_max` times, which settings say."""
        tried: ColumnElement[bool] = self.model.attempts >= bindparam(
            "attempts_max", type_=BigInteger
        )
        return self.unfinished & tried


@dataclass(frozen=True, slots=True)
class Parked:
    """One row that nobody tries any more."""

    kind: str
    name: str
    key: UUID
    what: str
    tenant_id: UUID | None
    tenant_name: str
    attempts: int
    error: str


KINDS = {
    "provisioning": Kind(
        ProvisioningRun,
        lazy("Making a database"),
        "provisioning",
        ProvisioningRun.finished_at.is_(None),
    ),
    "metering": Kind(MeteringDay, lazy("Reading usage"), "metering", MeteringDay.done_at.is_(None)),
    "limits": Kind(TenantDatabase, lazy("Writing limits"), "limits", TenantDatabase.attempts > 0),
    "destruction": Kind(
        DestructionRun, lazy("Erasing data"), "destruction", DestructionRun.finished_at.is_(None)
    ),
    "exports": Kind(TenantExport, lazy("Making an export"), "exports", TenantExport.state == "due"),
    "documents": Kind(Document, lazy("Making a paper"), "documents", Document.state == "due"),
    "bundles": Kind(
        DocumentBundle,
        lazy("Making a ZIP"),
        "bundles",
        DocumentBundle.state == "due",
        has_tenant=False,
    ),
    "tax_papers": Kind(
        TaxInvoice,
        lazy("Issuing a tax invoice"),
        "tax_papers",
        tax_invoice_is_open & TaxInvoice.state.in_(("due", "issued", "sent")),
    ),
    "cash_receipts": Kind(
        CashReceipt,
        lazy("Issuing a cash receipt"),
        "cash_receipts",
        CashReceipt.state.in_(("due", "issued")),
    ),
    "gateway_events": Kind(
        GatewayEvent,
        lazy("Reading a gateway's message"),
        "gateway_events",
        GatewayEvent.applied_at.is_(None),
        has_tenant=False,
    ),
    "payment_methods": Kind(
        PaymentMethod,
        lazy("Having a gateway forget a card"),
        "payment_methods",
        payment_methods.to_forget(),
    ),
    "reconciliation": Kind(
        ReconciliationDay,
        lazy("Reading a gateway's books"),
        "reconciliation",
        ReconciliationDay.done_at.is_(None),
        has_tenant=False,
    ),
}


def listed(*, control_session: Session, words: Iterable[str], limit: int) -> list[Parked]:
    """This function will list parked work of some kinds, at most `limit` of each."""
    found: list[Parked] = []
    for word in words:
        kind = KINDS[word]
        query = _rows(kind).where(kind.worn_out).limit(limit)
        rows = control_session.execute(query, {"attempts_max": settings().work_attempts_max})
        found += [_parked(word, kind, *row) for row in rows]
    return found


def _rows(kind: Kind) -> Select[Any]:
    if not kind.has_tenant:
        return select(kind.model)
    tenant = Tenant.id == kind.model.tenant_id
    return select(kind.model, Tenant.id, Tenant.name).join(Tenant, tenant)


def _parked(
    word: str, kind: Kind, row: Any, tenant_id: UUID | None = None, tenant_name: str = ""
) -> Parked:
    what = next(
        (
            " ".join(filter(None, (getattr(row, "gateway", ""), str(getattr(row, name)))))
            for name in ("day", "file_name", "step", "kind", "management_key", "key")
            if getattr(row, name, None)
        ),
        "",
    )
    return Parked(
        kind=word,
        name=str(kind.name),
        key=getattr(row, kind.key.key),
        what=what,
        tenant_id=tenant_id,
        tenant_name=tenant_name,
        attempts=row.attempts,
        error=(row.last_error or "")[:300],
    )


def try_again(
    *, control_session: Session, word: str, key: UUID, actor: Actor, now: datetime
) -> None:
    """This function will have parked work tried at once: somebody saw to what was wrong.

    Raises: NothingParked.
    """
    kind = KINDS.get(word)
    row = (
        control_session.scalar(
            select(kind.model).where(kind.key == key, kind.worn_out),
            {"attempts_max": settings().work_attempts_max},
        )
        if kind
        else None
    )
    if kind is None or row is None:
        raise NothingParked("This work does not wait for anybody any more.")
    leases.release(control_session=control_session, model=kind.model, keys=[key])
    append(
        control_session=control_session,
        actor=actor,
        action="work.tried_again",
        subject_kind=word,
        subject_id=key,
        tenant_id=row.tenant_id if kind.has_tenant else None,
        now=now,
    )
    notify(control_session, kind.step)
