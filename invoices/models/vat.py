"""The table of how VAT applies to customers: who decided it, when, why and by which paper."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class VatDecision(Keyed, Base):
    """One decision on one customer; the newest counts, and none is ever changed."""

    __tablename__ = "vat_decision"
    __table_args__ = (
        CheckConstraint(
            "treatment IN ('taxable', 'zero_rated', 'exempt', 'foreign')", name="treatment"
        ),
        CheckConstraint("btrim(reason) <> ''", name="reason"),
        # Nobody is zero-rated without a paper that proves it.
        CheckConstraint("treatment <> 'zero_rated' OR file_sha256 IS NOT NULL", name="proved"),
        CheckConstraint(
            "(file_sha256 IS NULL) = (file_name IS NULL)"
            " AND (file_sha256 IS NULL) = (media_type IS NULL)"
            " AND (file_sha256 IS NULL) = (size_bytes IS NULL)",
            name="file",
        ),
        Index(None, "tenant_id", "decided_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    treatment: Mapped[str]
    reason: Mapped[str]
    file_sha256: Mapped[str | None]
    file_name: Mapped[str | None]
    media_type: Mapped[str | None]
    size_bytes: Mapped[int | None]
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
