"""The portal: where a tenant's administrator pays, reads papers and looks after the account."""

from __future__ import annotations

from app.web.portal import (
    access,
    account,
    cash_receipts,
    changes,
    credits,
    overview,
    papers,
    payment,
    plan,
    registration,
)
from app.web.portal.door import portal

__all__ = [
    "access",
    "account",
    "cash_receipts",
    "changes",
    "credits",
    "overview",
    "papers",
    "payment",
    "plan",
    "portal",
    "registration",
]
