"""Bank transfer: the customer sends the money, and finance records that it came."""

from __future__ import annotations

from app.base.money import Money
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability, TransferInstructions


class ManualGateway(BareGateway):
    """Nothing can be charged here: there is an account, and a person who reads its statement."""

    name = "manual"
    capabilities = frozenset({Capability.TRANSFER_INSTRUCTIONS})

    def __init__(self, *, account: str) -> None:
        self._account = account

    def transfer_instructions(self, *, order_id: str, amount: Money) -> TransferInstructions:
        """This function will tell the payer where to send the money and what to write on it."""
        return TransferInstructions(account=self._account, amount=amount, memo=order_id)
