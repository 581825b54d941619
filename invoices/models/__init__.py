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
from invoices.models.closing import MonthClose, Quotation
from invoices.models.consents import PRICE_CONSENT, PriceConsent
from invoices.models.coupons import (
    CouponOffer,
    CouponRedemption,
    CouponUse,
)
from invoices.models.credits import CreditGrant, CreditUse
from invoices.models.dunning import DunningHold, DunningRule, DunningWaiver
from invoices.models.gateways import GatewayAccount
from invoices.models.ledger import (
    CreditEnd,
    Deferral,
    LedgerEntry,
    LedgerLine,
    Recognition,
)
from invoices.models.papers import (
    BUNDLE,
    DOCUMENT,
    Document,
    DocumentBundle,
    StatutoryPaper,
)
from invoices.models.payments import (
    ATTEMPT,
    CardRegistration,
    GatewayEvent,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    PaymentReversal,
)
from invoices.models.reconciliation import (
    DifferenceSettlement,
    ReconciliationDay,
    ReconciliationDifference,
    SettlementLine,
)
from invoices.models.refunds import (
    REFUND,
    CorrectionRequest,
    CreditNote,
    Refund,
    WriteOff,
)
from invoices.models.runs import (
    RunRelease,
    UsageTotal,
)
from invoices.models.tax import (
    CASH_RECEIPT,
    TAX_INVOICE,
    TAX_INVOICE_IS_OPEN,
    CashReceipt,
    PaperByHand,
    TaxInvoice,
    VatEvidence,
    tax_invoice_is_open,
)
from invoices.models.transfers import (
    BANK_TRANSFER,
    VIRTUAL_ACCOUNT,
    BankStatement,
    BankTransfer,
    StatementLayout,
    VirtualAccount,
)
from invoices.models.vat import VatDecision

__all__ = [
    "ATTEMPT",
    "BANK_TRANSFER",
    "BUNDLE",
    "CASH_RECEIPT",
    "CURRENT",
    "DOCUMENT",
    "INVOICE",
    "PRICE_CONSENT",
    "REFUND",
    "SUBSCRIPTION",
    "TAX_INVOICE",
    "TAX_INVOICE_IS_OPEN",
    "VIRTUAL_ACCOUNT",
    "BankStatement",
    "BankTransfer",
    "BilledSpan",
    "CardRegistration",
    "CashReceipt",
    "CorrectionRequest",
    "CouponOffer",
    "CouponRedemption",
    "CouponUse",
    "CreditEnd",
    "CreditGrant",
    "CreditNote",
    "CreditUse",
    "Deferral",
    "DifferenceSettlement",
    "Document",
    "DocumentBundle",
    "DunningHold",
    "DunningRule",
    "DunningWaiver",
    "GatewayAccount",
    "GatewayEvent",
    "Invoice",
    "InvoiceLine",
    "LedgerEntry",
    "LedgerLine",
    "MonthClose",
    "NumberSeries",
    "PaperByHand",
    "Payment",
    "PaymentAttempt",
    "PaymentMethod",
    "PaymentReversal",
    "Plan",
    "PlanVersion",
    "Price",
    "PriceConsent",
    "Quotation",
    "Recognition",
    "ReconciliationDay",
    "ReconciliationDifference",
    "Refund",
    "RunRelease",
    "SettlementLine",
    "StatementLayout",
    "StatutoryPaper",
    "Subscription",
    "SubscriptionItem",
    "TaxInvoice",
    "UsageTotal",
    "VatDecision",
    "VatEvidence",
    "VirtualAccount",
    "WriteOff",
    "tax_invoice_is_open",
]
