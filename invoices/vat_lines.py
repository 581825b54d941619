"""Stored lines as VAT sees them: what they were priced at, and how an invoice is treated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from sqlalchemy import BigInteger, ColumnElement, cast, func

from invoices import parties, vat
from invoices.documents.papers import TaxTreatment
from invoices.models import InvoiceLine


class Line(Protocol):
    """What is needed of a line, stored or about to be."""

    @property
    def amount_minor(self) -> int:
        """Its supply value."""
        ...

    @property
    def evidence(self) -> Mapping[str, Any]:
        """What it came from."""
        ...


def priced_minor() -> ColumnElement[int]:
    """This function will return what a line came to as its price is written, VAT in it or not."""
    taken_out = cast(InvoiceLine.evidence[("vat", "included", "1")].astext, BigInteger)
    return InvoiceLine.amount_minor + func.coalesce(taken_out, 0)


def supplies(*, lines: Iterable[Line], buyer: Mapping[str, Any]) -> list[vat.Supply]:
    """This function will read lines, in their order, as the supplies that they are."""
    terms = parties.vat_terms(dict(buyer))
    return [
        vat.stated(amount_minor=line.amount_minor, evidence=line.evidence, terms=terms)
        for line in lines
    ]


def treatments(*, lines: Iterable[Line], buyer: Mapping[str, Any]) -> frozenset[str]:
    """This function will return the treatments on an invoice; the buyer's own over nothing."""
    found = vat.of_bill(lines=supplies(lines=lines, buyer=buyer))
    return found or frozenset({str(buyer["vat_treatment"]["treatment"])})


def printed(*, lines: Iterable[Line], buyer: Mapping[str, Any]) -> TaxTreatment:
    """This function will return the treatment that a paper states; taxable where it has several."""
    found = treatments(lines=lines, buyer=buyer)
    return TaxTreatment(next(iter(found))) if len(found) == 1 else TaxTreatment.TAXABLE


def taxes(*, lines: Iterable[Line], buyer: Mapping[str, Any]) -> vat.Taxes:
    """This function will work the tax on lines out again."""
    return vat.taxes(lines=supplies(lines=lines, buyer=buyer), terms=parties.vat_terms(dict(buyer)))
