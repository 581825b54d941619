"""The tables of papers: files to render, bundles of them, and what the law has us keep."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

DOCUMENT = machine("document", {"due": ("ready",), "ready": ()}, wakes={"due": "documents"})
BUNDLE = machine(
    # One may go before it is made: it might hold papers of a customer who is being erased.
    "document_bundle",
    {"due": ("ready", "expired"), "ready": ("expired",), "expired": ()},
)


class Document(Keyed, Leased, Base):
    """A paper to render once: its data is frozen here, its bytes are kept by digest."""

    __tablename__ = "document"
    __table_args__ = (
        DOCUMENT.check(),
        UniqueConstraint("kind", "subject_id", "language"),
        Index(None, "tenant_id"),
        Index("ix_document_due", "created_at", postgresql_where="state = 'due'"),
    )

    state: Mapped[str] = mapped_column(default="due")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]  # invoice | tax_invoice_… | receipt | credit_note | statement | cash_receipt
    subject_id: Mapped[UUID]
    language: Mapped[str]
    file_name: Mapped[str]
    data: Mapped[dict[str, Any]]
    data_sha256: Mapped[str]
    created_at: Mapped[datetime]
    template_version: Mapped[str | None]
    rendered_at: Mapped[datetime | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]


class DocumentBundle(Keyed, Leased, Base):
    """Many papers as one ZIP, made by a job while finance goes on working."""

    __tablename__ = "document_bundle"
    __table_args__ = (BUNDLE.check(),)

    state: Mapped[str] = mapped_column(default="due")
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime]
    filters: Mapped[dict[str, Any]]
    done_count: Mapped[int] = mapped_column(default=0)
    total_count: Mapped[int | None]
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]


class StatutoryPaper(Keyed, Base):
    """What the law makes us keep of a destroyed tenant, in a schema of its own."""

    __tablename__ = "paper"
    __table_args__ = (
        UniqueConstraint("kind", "source_id"),
        Index(None, "tenant_id"),
        {"schema": "statutory"},
    )

    tenant_id: Mapped[UUID]
    kind: Mapped[str]  # invoice | tax_invoice | document
    source_id: Mapped[UUID]
    number_text: Mapped[str]
    issued_on: Mapped[date]
    keep_until: Mapped[date]
    data: Mapped[dict[str, Any]]
    data_sha256: Mapped[str]
    file_sha256: Mapped[str | None]
    set_apart_at: Mapped[datetime] = mapped_column(server_default=func.now())
