"""An issuer that can do nothing yet: adapters derive from it and fill in what theirs can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.base.config import settings
from invoices.tax_papers import port
from invoices.tax_papers.port import Ability, Direction

_NEEDS = {Direction.REVERSE: Ability.REVERSE, Direction.CONSIGNED: Ability.CONSIGNED}
_NAMES = {Direction.REVERSE: "역발행", Direction.CONSIGNED: "위수탁"}


class BareIssuer:
    """Refuses everything."""

    name = "bare"
    abilities: frozenset[Ability] = frozenset()

    def issue(self, *, sheet: port.Sheet) -> port.IssueResult:
        """This function will refuse."""
        raise self._lacks("issuing")

    def issue_many(
        self, *, sheets: Sequence[port.Sheet], batch_key: str
    ) -> Mapping[str, port.IssueResult]:
        """This function will issue one after the other."""
        return {sheet.management_key: self.issue(sheet=sheet) for sheet in sheets}

    def lookup(self, *, management_key: str) -> port.LookupResult:
        """This function will refuse."""
        raise self._lacks("looking up")

    def send(self, *, management_key: str) -> port.SendResult:
        """This function will refuse."""
        raise self._lacks("transmitting")

    def cancel(self, *, management_key: str, reason: str) -> port.CancelResult:
        """This function will refuse."""
        raise self._lacks("cancelling")

    def issue_cash_receipt(self, *, sheet: port.CashReceiptSheet) -> port.CashReceiptResult:
        """This function will refuse."""
        raise self._lacks("cash receipts")

    def cash_receipt(self, *, key: str) -> port.CashReceiptLookup:
        """This function will refuse."""
        raise self._lacks("cash receipts")

    def _wrong_way(self, sheet: port.Sheet) -> port.Refused | None:
        """Why this issuer does not take papers drawn up by others; None where it takes this one.

        It is a matter of contracts, so a setting allows it; and of the issuer, which may lack it.
        """
        needed = _NEEDS.get(sheet.direction)
        if needed is None:
            return None
        words = f"{_NAMES[sheet.direction]} ({sheet.direction})"
        if sheet.direction.value not in settings().tax_directions.split(","):
            return port.Refused(
                "direction_not_configured",
                f"{words} is not set up: only papers that the seller draws up (정발행) are issued."
                f" TENANTRY_TAX_DIRECTIONS would have to name {sheet.direction}.",
            )
        if needed not in self.abilities:
            return port.Refused(
                "direction_not_offered",
                f"TENANTRY_TAX_DIRECTIONS allows {words}, but the issuer {self.name} does not"
                " offer it: TENANTRY_TAX_ISSUER would have to name one that does.",
            )
        return None

    def _lacks(self, what: str) -> port.IssuerLacks:
        return port.IssuerLacks(f"The issuer {self.name} does not offer {what}.")
