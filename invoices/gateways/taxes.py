"""What of a sum bears no tax, for gateways that split sums by themselves unless they are told."""

from __future__ import annotations

from app.base.money import Money

# A tenth on top of what is taxed; what is further from that than roundings are is untaxed.
_TAXED_IN_ALL_OF_TAX = 11
_ROUNDINGS_MINOR_MAX = 100


def untaxed_minor(amount: Money, tax_minor: int) -> int:
    """This function will return the untaxed part of a sum in won; nothing where all is taxed."""
    if amount.currency != "KRW":
        return 0
    untaxed = amount.amount_minor - _TAXED_IN_ALL_OF_TAX * tax_minor
    return untaxed if untaxed > _ROUNDINGS_MINOR_MAX or not tax_minor else 0
