"""Every blueprint, in the order a visitor meets them."""

from __future__ import annotations

from flask import Blueprint

from app.web.api import api, api_reference
from app.web.console import (  # noqa: F401 - they add pages
    conversion,
    entitlements,
    invoice_exports,
    money_back,
    moving,
    new_plans,
    tax_said,
    tenant_acts,
)
from app.web.console.accounts import console_accounts
from app.web.console.api_keys import console_api_keys
from app.web.console.attention import console_attention
from app.web.console.billing import console_billing
from app.web.console.businesses import console_businesses
from app.web.console.catalogue import console_catalogue
from app.web.console.closing import console_closing
from app.web.console.collecting import console_collecting
from app.web.console.corrections import console_corrections
from app.web.console.coupons import console_coupons
from app.web.console.credits import console_credits
from app.web.console.gateways import console_gateways
from app.web.console.invoices import console_invoices
from app.web.console.ledger import console_ledger
from app.web.console.quotations import console_quotations
from app.web.console.reconciliation import console_reconciliation
from app.web.console.review import review
from app.web.console.subscription import console_subscription
from app.web.console.tax_deadlines import console_tax_deadlines
from app.web.console.tax_papers import console_tax_papers
from app.web.console.tenants import console_tenants
from app.web.console.trails import console_trails
from app.web.console.transfers import console_transfers
from app.web.console.vat import console_vat
from app.web.hooks import hooks
from app.web.ops import ops
from app.web.portal import portal
from app.web.site import site
from app.web.workspace import workspace

BLUEPRINTS: list[Blueprint] = [
    ops,
    site,
    hooks,
    api,
    api_reference,
    console_accounts,
    console_api_keys,
    console_trails,
    review,
    console_tenants,
    console_subscription,
    console_credits,
    console_corrections,
    console_coupons,
    console_invoices,
    console_tax_papers,
    console_tax_deadlines,
    console_vat,
    console_businesses,
    console_billing,
    console_collecting,
    console_transfers,
    console_ledger,
    console_closing,
    console_quotations,
    console_gateways,
    console_reconciliation,
    console_attention,
    console_catalogue,
    portal,
    workspace,
]
