"""Composing a bill: charges, the minimum agreed upon, coupons, and what prepays it. Pure.

The order is fixed: what is charged and given back at list prices; the top-up to a commitment, which
compares list prices too, so that no coupon is eaten up by it; what coupons take off. All of it is
in prices as they are written; then the VAT that some include is taken out, and from there on every
amount is without. Then the credits that the tenant has; tax on what is left. A bill never comes to
less than nothing; what would go below is carried over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from invoices import commitments, corrected_discounts, discounts, rating, vat
from invoices.bill_lines import BillLine, Corrects, named, names_of, plain
from invoices.charges import Offered
from invoices.commitments import Asked, ToppedUp, reached, tops_up
from invoices.corrected_discounts import Corrected, Discounted, LineKey
from invoices.discounts import Redeemed, Repriced
from invoices.rating import Facts, RatedLine
from invoices.schedule import DueBill, Span
from invoices.spending import Grant, Use, spend

_UNUSED = ("미사용 기간 환급: {name}", "Unused time: {name}")
_DISCOUNT = ("할인: {name}", "Discount: {name}")
_RETURNED = ("미사용 기간 할인 차감: {name}", "Discount on unused time: {name}")
_DISCOUNTED_ANEW = ("할인 정산: {name}", "Correction of discount: {name}")
_CARRIED = ("다음 청구로 이월", "Carried over to the next bill")
NO_VAT = vat.Terms()
_PREPAID = {
    "change": ("이월 잔액 사용", "Balance carried over"),
    "rollover": ("이월 크레딧 사용", "Credit rolled over"),
    "purchase": ("선불 크레딧 사용", "Prepaid credit used"),
    "promotion": ("프로모션 크레딧 사용", "Promotional credit used"),
    "adjustment": ("정산 크레딧 사용", "Adjustment credit used"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """What coupons took off a charge that was billed before, and where that stands."""

    charged_minor: int
    discount_minor: int
    invoice: str
    line: int


@dataclass(frozen=True, slots=True)
class Composed:
    """A bill's lines with their tax; `carried_minor` is what they gave back beyond their sum."""

    lines: tuple[BillLine, ...]
    carried_minor: int
    taxes: vat.Taxes

    @property
    def subtotal_minor(self) -> int:
        """What the lines come to, before tax."""
        return sum(line.amount_minor for line in self.lines)

    @property
    def tax_minor(self) -> int:
        """What the tax on the lines comes to."""
        return self.taxes.total_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a subscription's bills are composed from, beyond the spans that are due.

    `facts` finds what a span is rated from; `billed` are the spans of earlier bills with their
    amounts; `given` what coupons took off those that may be given back, by item and end; `grants`,
    `coupons` and `adjustments` are shortened as bills use them up. `topped` are the commitments
    that were billed, where late usage may change what they asked for; `discounted` are the bills of
    what is corrected, as coupons left them.
    """

    currency: str
    prices: Mapping[UUID, Offered]
    facts: Callable[[Span], Facts]
    terms: vat.Terms = NO_VAT
    billed: list[Asked] = field(default_factory=list)
    given: Mapping[tuple[UUID, datetime], Given] = field(default_factory=dict)
    coupons: list[Redeemed] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    adjustments: list[BillLine] = field(default_factory=list)
    topped: list[ToppedUp] = field(default_factory=list)
    discounted: dict[LineKey, Discounted] = field(default_factory=dict)


def compose(*, bill: DueBill, account: Account) -> Composed:
    """This function will price every span of a bill and settle it with what the tenant has.

    Raises: rating.ReadingsMissing.
    """
    lines = [_rated(span, account) for span in bill.spans if not tops_up(span)]
    changed = commitments.changes(account.adjustments)
    account.billed.extend([*_amounts(lines), *changed])
    lines += [_topped_up(span, account) for span in bill.spans if tops_up(span)]
    # What late usage changed in earlier bills is part of the first one that is made now.
    lines += account.adjustments
    account.adjustments.clear()
    lines += commitments.anew(changed=changed, topped=account.topped, currency=account.currency)
    lines += _returned(lines, account) + _discounted_anew(lines, account)
    lines += _discounted(lines, bill, account)
    supplies = vat.supplies(lines=_parts(lines, account), terms=account.terms)
    subtotal = sum(supply.amount_minor for supply in supplies)
    settling = []
    if subtotal < 0:
        settling.append(_carried(-subtotal, bill, account.currency))
    uses = spend(grants=account.grants, due_minor=subtotal, bill_on=bill.bill_on)
    settling += [_prepaid(use, bill, account.currency) for use in uses]
    supplies += vat.settled(lines=supplies, amounts_minor=[line.amount_minor for line in settling])
    return Composed(
        tuple(
            _supplied(line, supply, account.terms)
            for line, supply in zip([*lines, *settling], supplies, strict=True)
        ),
        max(0, -subtotal),
        vat.taxes(lines=supplies, terms=account.terms),
    )


def _parts(lines: Sequence[BillLine], account: Account) -> list[list[vat.Part]]:
    """Each line as VAT sees it: as its charge is, or as those are that it takes something off."""
    found: list[list[vat.Part]] = []
    for line in lines:
        if line.price_id is not None:
            charge = account.prices[line.price_id].charge
            found.append([vat.Part(line.amount_minor, charge.vat, charge.vat_included)])
        elif line.discount is not None:
            found.append(
                [
                    replace(part, amount_minor=-share["amount_minor"])
                    for share in line.evidence["lines"]
                    for part in found[share["line"] - 1]
                ]
            )
        else:  # a discount that goes with what is given back
            part = found[line.evidence["line"] - 1][0]
            found.append([replace(part, amount_minor=line.amount_minor)])
    return found


def _supplied(line: BillLine, supply: vat.Supply, terms: vat.Terms) -> BillLine:
    told = supply.evidence(terms)
    if not told:
        return line
    return replace(line, amount_minor=supply.amount_minor, evidence={**line.evidence, **told})


def counts_billed(bills: Iterable[DueBill]) -> bool:
    """This function will tell whether what was billed before is needed to compose bills."""
    return any(tops_up(span) for bill in bills for span in bill.spans)


def _rated(span: Span, account: Account) -> BillLine:
    item = span.item
    if span.kind == "credit":
        line = rating.credit(
            price_id=item.price_id,
            charge=item.charge,
            currency=account.currency,
            stretch=span.stretch,
            quantity=item.quantity,
        )
        return _line(line, span, named(_UNUSED, names_of(item.charge)), account)
    line = rating.rate(
        price_id=item.price_id,
        charge=item.charge,
        currency=account.currency,
        stretch=span.stretch,
        quantity=item.quantity,
        facts=account.facts(span),
    )
    return _line(line, span, names_of(item.charge), account)


def _topped_up(span: Span, account: Account) -> BillLine:
    line = rating.top_up(
        price_id=span.item.price_id,
        charge=span.item.charge,
        currency=account.currency,
        stretch=span.stretch,
        reached_minor=reached(span, account.billed),
    )
    return _line(line, span, (span.item.charge.name_ko, span.item.charge.name_en), account)


def _returned(lines: Sequence[BillLine], account: Account) -> list[BillLine]:
    """What is given back was paid less its discount: that part of the discount goes with it."""
    found = []
    for position, line in enumerate(lines, start=1):
        span = line.span
        given = account.given.get((span.item.item_id, span.end)) if span else None
        if span is None or given is None or line.kind != "credit":
            continue
        amount_minor = discounts.taken_back(
            charged_minor=given.charged_minor,
            discount_minor=given.discount_minor,
            credited_minor=-line.amount_minor,
        )
        if amount_minor:
            evidence = {
                "rule": "discount_returned",
                "line": position,
                "invoice": given.invoice,
                "invoice_line": given.line,
                "charged_minor": given.charged_minor,
                "discount_minor": given.discount_minor,
                "credited_minor": -line.amount_minor,
            }
            found.append(
                replace(
                    plain("discount", amount_minor, line.period, account.currency, evidence),
                    charge=line.charge,
                    names=named(_RETURNED, names_of(span.item.charge)),
                )
            )
    return found


def _discounted_anew(lines: Sequence[BillLine], account: Account) -> list[BillLine]:
    """What is corrected had coupons on its bill: they go with it, in the order of its lines."""
    found = [
        (account.discounted[line.corrects.key], line.corrects, position, line)
        for position, line in enumerate(lines, start=1)
        if line.corrects is not None and line.corrects.key in account.discounted
    ]
    found.sort(key=lambda each: (each[0].bill_on, each[0].made_at, each[0].places[each[1].key]))
    made = []
    for discounted, corrects, position, line in found:
        corrected = replace(
            _discountable(position, line, corrects.span, account),
            amount_minor=corrects.is_minor,
            without=_without_of(corrects, account),
        )
        evidence = corrected_discounts.correct(
            corrected=Corrected(key=corrects.key, was_minor=corrects.was_minor, line=corrected),
            discounted=discounted,
            currency=account.currency,
        )
        if evidence is not None:
            amount_minor = evidence["was_minor"] - evidence["is_minor"]
            off = plain("discount", amount_minor, line.period, account.currency, evidence)
            names = named(_DISCOUNTED_ANEW, names_of(corrects.span.item.charge))
            made.append(replace(off, charge=line.charge, names=names))
    return made


def _discounted(lines: Sequence[BillLine], bill: DueBill, account: Account) -> list[BillLine]:
    """This function will take the tenant's coupons off, and note on each that it is used."""
    if not account.coupons:
        return []
    found = []
    for taken in discounts.discount(
        redeemed=account.coupons,
        lines=[
            _discountable(position, line, line.span, account)
            for position, line in enumerate(lines, start=1)
            if line.span is not None and line.amount_minor > 0
        ],
        bill_on=bill.bill_on,
        currency=account.currency,
    ):
        coupon = taken.redeemed.coupon
        line = plain("discount", -taken.amount_minor, bill.period, account.currency, taken.evidence)
        names = named(_DISCOUNT, (coupon.name_ko, coupon.name_en))
        found.append(replace(line, charge="discount", names=names, discount=taken))
        first = min(taken.redeemed.used_from or taken.used_from, taken.used_from)
        place = account.coupons.index(taken.redeemed)
        account.coupons[place] = replace(taken.redeemed, used_from=first)
    return found


def _discountable(position: int, line: BillLine, span: Span, account: Account) -> discounts.Line:
    item = span.item
    return discounts.Line(
        position=position,
        plan=account.prices[item.price_id].plan_code,
        charge=line.charge,
        amount_minor=line.amount_minor,
        starts_on=line.period.start,
        recurring=item.charge.kind == "recurring",
        held=item.charge.by_time,
        without=_without(span, account.facts, account) if line.kind == "charge" else None,
    )


def _without_of(corrects: Corrects, account: Account) -> Callable[[Decimal], Repriced] | None:
    if corrects.total is None:
        return None
    facts = Facts(total=corrects.total)
    return _without(corrects.span, lambda _span: facts, account)


def _without(
    span: Span, facts: Callable[[Span], Facts], account: Account
) -> Callable[[Decimal], Repriced]:
    """This function will return how a span is priced again with so many units fewer."""

    def without(free: Decimal) -> Repriced:
        rated = rating.rate(
            price_id=span.item.price_id,
            charge=span.item.charge,
            currency=account.currency,
            stretch=span.stretch,
            quantity=span.item.quantity,
            facts=facts(span),
            free=free,
        )
        evidence = rated.evidence
        return Repriced(rated.amount_minor, Decimal(evidence["free"]), evidence["steps"])

    return without


def _line(line: RatedLine, span: Span, names: tuple[str, str], account: Account) -> BillLine:
    price = account.prices[line.price_id]
    charge = span.item.charge
    return BillLine(
        kind=line.kind,
        charge=line.charge,
        names=names,
        period=line.period,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount_minor=line.amount_minor,
        evidence={
            "plan": price.plan_code,
            "plan_version": price.plan_version,
            "units": [charge.unit_ko, charge.unit_en],
            **line.evidence,
        },
        price_id=line.price_id,
        readings_sha256=line.readings_sha256,
        span=span,
    )


def _amounts(lines: Sequence[BillLine]) -> list[Asked]:
    return [
        Asked(line.span.item.item_id, line.span.start, line.span.end, line.amount_minor)
        for line in lines
        if line.span is not None
    ]


def _carried(amount_minor: int, bill: DueBill, currency: str) -> BillLine:
    line = plain("carried", amount_minor, bill.period, currency, {"rule": "carried"})
    return replace(line, names=_CARRIED)


def _prepaid(use: Use, bill: DueBill, currency: str) -> BillLine:
    evidence: dict[str, Any] = {"rule": "prepaid", "grant": str(use.grant.grant_id)}
    if use.grant.expires_on is not None:
        evidence["expires_on"] = use.grant.expires_on.isoformat()
    line = plain("prepaid", -use.amount_minor, bill.period, currency, evidence)
    return replace(line, names=_PREPAID[use.grant.source], use=use)
