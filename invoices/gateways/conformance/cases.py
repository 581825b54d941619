"""All the cases, in one class to inherit."""

from __future__ import annotations

from invoices.gateways.conformance.books import (
    CashReceiptCases,
    ListingCases,
    SettlementCases,
    TransferCases,
    VirtualAccountCases,
)
from invoices.gateways.conformance.charging import ChargeCases, UnansweredCases
from invoices.gateways.conformance.declared import DeclaredCases
from invoices.gateways.conformance.hearing import WebhookCases
from invoices.gateways.conformance.refunding import RefundCases
from invoices.gateways.conformance.registration import RegistrationCases


class GatewayCases:
    """A test class inherits this and offers a fixture `till`; its names then read as sentences."""

    TestDeclaration = DeclaredCases
    TestRegistration = RegistrationCases
    TestCharge = ChargeCases
    TestAChargeWithNoClearAnswer = UnansweredCases
    TestRefund = RefundCases
    TestWebhook = WebhookCases
    TestListing = ListingCases
    TestSettlement = SettlementCases
    TestVirtualAccount = VirtualAccountCases
    TestCashReceipt = CashReceiptCases
    TestTransfer = TransferCases
