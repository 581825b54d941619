"""The table of merchant accounts: at which gateways we are a customer, and with what keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class GatewayAccount(Keyed, Base):
    """One account at one gateway. Payments name it by its code, so code and gateway never change.

    A disabled account takes no new method and no new charge; what was paid there is still looked
    up, refunded and reconciled there.
    """

    __tablename__ = "gateway_account"
    __table_args__ = (
        CheckConstraint("code ~ '^[a-z][a-z0-9-]{1,39}$'", name="code"),
        # These two are opened from the settings and need no row.
        CheckConstraint("code NOT IN ('sandbox', 'manual')", name="built_in"),
        CheckConstraint("NOT (is_default AND is_fallback)", name="one_place"),
        CheckConstraint("disabled_at IS NULL OR NOT (is_default OR is_fallback)", name="disabled"),
        Index(
            "uq_gateway_account_default", "is_default", unique=True, postgresql_where="is_default"
        ),
        Index(
            "uq_gateway_account_fallback",
            "is_fallback",
            unique=True,
            postgresql_where="is_fallback",
        ),
    )

    code: Mapped[str] = mapped_column(unique=True)
    gateway: Mapped[str]
    title_ko: Mapped[str]
    title_en: Mapped[str]
    credentials_sealed: Mapped[str]
    currencies: Mapped[list[Any]]  # none named: whatever the gateway takes
    is_default: Mapped[bool] = mapped_column(default=False)
    is_fallback: Mapped[bool] = mapped_column(default=False)
    # Customers may choose it beside the default.
    is_offered: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    credentials_set_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
