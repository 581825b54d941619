"""The tables of the invoices' room, by noun: catalogue, billing, payments, ledger, papers."""

from __future__ import annotations

# Foreign keys name the floor's tables and the tenants', so whoever loads these needs those.
import app.base.models  # noqa: F401 - its tables are registered
import tenants.models  # noqa: F401 - likewise
from invoices.models.billing import (
    CURRENT,
    INVOICE,
    SUBSCRIPTION,
    BilledSpan,
    CreditGrant,
    CreditUse,
    Invoice,
    InvoiceLine,
    NumberSeries,
    Subscription,
    SubscriptionItem,
)
from invoices.models.catalogue import (
    Plan,
    PlanVersion,
    Price,
)
from invoices.models.coupons import (
    CouponOffer,
    CouponRedemption,
    CouponUse,
)
from invoices.models.gateways import GatewayAccount
from invoices.models.ledger import (
    LedgerEntry,
    LedgerLine,
)
from invoices.models.papers import (
    DOCUMENT,
    Document,
    DocumentBundle,
    StatutoryPaper,
    TaxInvoice,
    VatEvidence,
)
from invoices.models.payments import (
    ATTEMPT,
    CardRegistration,
    GatewayEvent,
    Payment,
    PaymentAttempt,
    PaymentMethod,
)
from invoices.models.runs import (
    RunRelease,
    UsageTotal,
)

__all__ = [
    "ATTEMPT",
    "CURRENT",
    "DOCUMENT",
    "INVOICE",
    "SUBSCRIPTION",
    "BilledSpan",
    "CardRegistration",
    "CouponOffer",
    "CouponRedemption",
    "CouponUse",
    "CreditGrant",
    "CreditUse",
    "Document",
    "DocumentBundle",
    "GatewayAccount",
    "GatewayEvent",
    "Invoice",
    "InvoiceLine",
    "LedgerEntry",
    "LedgerLine",
    "NumberSeries",
    "Payment",
    "PaymentAttempt",
    "PaymentMethod",
    "Plan",
    "PlanVersion",
    "Price",
    "RunRelease",
    "StatutoryPaper",
    "Subscription",
    "SubscriptionItem",
    "TaxInvoice",
    "UsageTotal",
    "VatEvidence",
]
