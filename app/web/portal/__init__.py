"""The portal: where a tenant's administrator pays, reads papers and looks after the account."""

from __future__ import annotations

from app.web.portal import (
    access,
    account,
    card_link,
    cash_receipts,
    changes,
    credits,
    overview,
    papers,
    payment,
    plan,
    price_consent,
    registration,
    virtual_account,
)
from app.web.portal.door import portal

__all__ = [
    "access",
    "account",
    "card_link",
    "cash_receipts",
    "changes",
    "credits",
    "overview",
    "papers",
    "payment",
    "plan",
    "portal",
    "price_consent",
    "registration",
    "virtual_account",
]
