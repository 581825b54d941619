"""What the standard asks of a tax invoice: lengths, and sums that add up.

Apart from the writing of it: who asks whether a paper would pass loads no XML library.

Source: 국세청 전자세금계산서 표준 1.0.
"""

from __future__ import annotations

from app.base.errors import Invalid
from invoices.documents.papers import TaxInvoicePaper, TaxTreatment

NAME_MAX, EMAIL_MAX, ITEM_MAX = 70, 40, 100


class NotStandard(Invalid):
    """The sheet breaks a rule of the standard: the tax service would refuse it."""


def faults(paper: TaxInvoicePaper) -> list[str]:
    """This function will say which rules of the standard a paper breaks, before it has a number.

    What may be shortened is shortened later; these may not.
    """
    found = []
    for who, party in (("seller", paper.seller), ("buyer", paper.buyer)):
        if not party.name:
            found.append(f"the {who} has no name")
        if len(party.name) > NAME_MAX:
            found.append(f"the {who}'s name is longer than {NAME_MAX} characters")
        if len(party.email) > EMAIL_MAX:
            found.append(f"the {who}'s e-mail address is longer than {EMAIL_MAX} characters")
    if not paper.buyer.email:
        found.append("the buyer has no e-mail address for tax invoices")
    if not 1 <= len(paper.lines) <= 99:
        found.append("a tax invoice has 1 to 99 lines")
    for line in paper.lines:
        for number in (line.quantity, line.unit_price_minor):
            if number is not None and number != round(number, 2):
                found.append(f"{number} has more than two decimals")
    if paper.tax_treatment is TaxTreatment.ZERO_RATED and paper.tax_minor:
        found.append("a zero-rated supply bears no tax")
    return found + _sums_off(paper)


def _sums_off(paper: TaxInvoicePaper) -> list[str]:
    means = paper.cash_minor + paper.cheque_minor + paper.note_minor + paper.credit_minor
    sums = (
        ("supply", paper.supply_minor, sum(line.supply_minor for line in paper.lines)),
        ("tax", paper.tax_minor, sum(line.tax_minor for line in paper.lines)),
        ("grand total", paper.total_minor, paper.supply_minor + paper.tax_minor),
        ("means of payment", paper.total_minor, means),
    )
    return [f"{what}: {said} is not {found}" for what, said, found in sums if said != found]
