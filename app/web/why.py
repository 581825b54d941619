"""Why this number: each line of an invoice taken apart into what it was made from, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from app.base.money import exponent
from app.web.format import money, number
from app.web.i18n import gettext, language
from invoices.invoice_papers import days_of
from invoices.models import Invoice, InvoiceLine

# Where a day's events are shown: takes the line's position and, for readings, the day.
EventsUrl = Callable[[int, date | None], str]


@dataclass(frozen=True, slots=True)
class Why:
    """One line taken apart: `steps` are quantity × unit = amount, `days` the readings behind."""

    name: str
    amount_minor: int
    facts: list[tuple[str, str]]
    steps: list[dict[str, str]]
    days: list[tuple[str, str, str]]
    events_url: str
    sha256: str


def explain(invoice: Invoice, events_url: EventsUrl) -> list[Why]:
    """This function will take every line of an invoice apart."""
    return [_why(line, invoice.currency, events_url) for line in invoice.lines]


def _why(line: InvoiceLine, currency: str, events_url: EventsUrl) -> Why:
    evidence = line.evidence
    # A correction is of usage that was pushed: what was read day by day stays as it is.
    counts = "meter" in evidence or evidence.get("rule") == "adjustment"
    pushed = counts and "readings" not in evidence
    return Why(
        name=line.name_ko if language() == "ko" else line.name_en,
        amount_minor=line.amount_minor,
        facts=[fact for fact in _facts(line, currency) if fact[1]],
        steps=[_step(step, currency) for step in evidence.get("steps", [])],
        days=list(_days(line, events_url)),
        events_url=events_url(line.position, None) if pushed else "",
        sha256=line.readings_sha256 or "",
    )


def _facts(line: InvoiceLine, currency: str) -> Iterator[tuple[str, str]]:
    evidence = line.evidence
    if "plan" in evidence:
        yield gettext("Plan version"), f"{evidence['plan']} v{evidence['plan_version']}"
        yield gettext("How it is priced"), rule_words(evidence.get("rule", ""))
    if "measured" in evidence:
        yield _measured_words(evidence), number(Decimal(evidence["measured"]))
    if "events" in evidence:
        yield gettext("Events counted"), number(evidence["events"])
    if "included" in evidence:
        yield gettext("Included"), number(Decimal(evidence["included"]))
    if "bought" in evidence:
        yield gettext("Bought"), number(Decimal(evidence["bought"]))
    if "plan" in evidence:
        yield gettext("Billed quantity"), number(line.quantity.normalize())
    if "share" in evidence:
        yield gettext("Part of the period"), _share_words(evidence)
    yield from _settled(evidence, currency)
    yield from _vat(line, currency)
    if "exact_minor" in evidence:
        whole = gettext("Whole period, before rounding") if "share" in evidence else ""
        exact = Decimal(evidence["exact_minor"]).scaleb(-exponent(currency))
        yield whole or gettext("Before rounding"), amount_words(exact, currency)
        yield gettext("Rounding"), _rounding_words(evidence.get("rounding", ""))


def _settled(evidence: dict[str, Any], currency: str) -> Iterator[tuple[str, str]]:
    """What lines say that are no charge themselves: coupons, credit, a minimum agreed upon."""
    if "committed_minor" in evidence:
        yield gettext("Minimum agreed upon"), money(evidence["committed_minor"], currency)
        yield gettext("Reached by other charges"), money(evidence["reached_minor"], currency)
    if evidence.get("rule") == "adjustment":
        was, is_ = evidence["was"], evidence["is"]
        yield gettext("Corrects invoice"), str(evidence["invoice"])
        yield gettext("Billed on it"), _total_words(was, currency)
        yield gettext("It comes to now"), _total_words(is_, currency)
    if evidence.get("rule") == "topped_up_anew":
        yield gettext("Corrects invoice"), str(evidence["invoice"])
        yield gettext("Billed on it"), money(evidence["was_minor"], currency)
        yield gettext("It comes to now"), money(evidence["is_minor"], currency)
    if "coupon" in evidence:
        yield gettext("Coupon"), str(evidence["coupon"])
        yield gettext("Taken off this sum"), money(evidence.get("base_minor"), currency)
    if "percent" in evidence:
        yield gettext("Discount"), f"{number(Decimal(evidence['percent']))} %"
    if evidence.get("rule") == "discount_returned":
        yield gettext("Charged on"), f"{evidence['invoice']}"
        yield gettext("Discount then"), money(evidence["discount_minor"], currency)
    if evidence.get("rule") == "discount_corrected":
        yield gettext("Corrects invoice"), str(evidence["invoice"])
        yield gettext("Coupon"), ", ".join(each["coupon"] for each in evidence["coupons"])
        yield gettext("Discount then"), money(evidence["was_minor"], currency)
        yield gettext("Discount now"), money(evidence["is_minor"], currency)
    if "expires_on" in evidence:
        yield gettext("Credit good until"), str(evidence["expires_on"])


def _vat(line: InvoiceLine, currency: str) -> Iterator[tuple[str, str]]:
    """What a line says where VAT is not simply put on top of it."""
    told = line.evidence.get("vat")
    if told is None:
        return
    words = {
        "taxable": gettext("Taxable"),
        "zero_rated": gettext("Zero-rated"),
        "exempt": gettext("Exempt"),
    }
    parts = [
        f"{words[name]} {money(amount, currency)}" for name, amount in told["supplies"].items()
    ]
    yield gettext("VAT treatment"), " · ".join(parts)
    if "included" in told:
        tax_minor = told["included"][1]
        yield gettext("Price with VAT"), money(line.amount_minor + tax_minor, currency)
        yield gettext("VAT in the price"), money(tax_minor, currency)


def _total_words(told: dict[str, Any], currency: str) -> str:
    return f"{number(Decimal(told['measured']))} · {money(told['amount_minor'], currency)}"


def rule_words(rule: str) -> str:
    """This function will say in words how a price is made."""
    return {
        "flat": gettext("Flat fee"),
        "per_unit": gettext("A price for each unit"),
        "graduated": gettext("Tier by tier"),
        "volume": gettext("The tier that the whole quantity falls into"),
        "package": gettext("By the package"),
        "stairstep": gettext("One price for each step"),
        "percentage": gettext("A percentage"),
        "adjustment": gettext("What changed since it was billed"),
        "topped_up_anew": gettext("What changed since it was billed"),
        "peak_over_included": gettext("Highest day of the period, less what is included"),
        "average_over_included": gettext("Average over the period, less what is included"),
    }.get(rule, rule)


def _measured_words(evidence: dict[str, Any]) -> str:
    return {
        "peak": gettext("Highest day"),
        "average": gettext("Average of the days"),
        "sum": gettext("Sum of the days"),
        "last": gettext("Last day"),
    }.get(evidence.get("aggregation", ""), gettext("Measured"))


def _share_words(evidence: dict[str, Any]) -> str:
    begins, ends = (Fraction(position) for position in evidence["share"])
    first, past = (date.fromisoformat(each) for each in evidence["of"])
    whole = (past - first).days
    part = (ends - begins) * whole
    if evidence.get("proration") == "day" and part.denominator == 1:
        return gettext("%(part)s of %(whole)s days", part=int(part), whole=whole)
    percent = round(Decimal(part.numerator * 100) / (part.denominator * whole), 4)
    return gettext("%(percent)s %% of the period, by the second", percent=number(percent))


def _rounding_words(rounding: str) -> str:
    return {
        "down": gettext("Fractions are dropped"),
        "up": gettext("Fractions count as one"),
        "half_up": gettext("To the nearest, a half upwards"),
        "half_even": gettext("To the nearest, a half to the even one"),
    }.get(rounding, rounding)


def amount_words(amount: Decimal, currency: str) -> str:
    """This function will write an exact amount, fractions of the smallest coin included."""
    minor = amount.scaleb(exponent(currency))
    if minor == minor.to_integral_value():
        return money(int(minor), currency)
    return f"{number(amount.normalize())} {currency}"


def _step(step: list[str], currency: str) -> dict[str, str]:
    rule, quantity, unit, amount = step
    by_percent = rule == "percentage"
    return {
        "rule": _step_words(rule),
        "quantity": number(Decimal(quantity)),
        "unit": f"{number(Decimal(unit) * 100)} %"
        if by_percent
        else amount_words(Decimal(unit), currency),
        "amount": amount_words(Decimal(amount), currency),
    }


def _step_words(rule: str) -> str:
    name, _, tier = rule.partition(":")
    words = {
        "included": gettext("Included"),
        "flat": gettext("Flat fee"),
        "per_unit": gettext("Each unit"),
        "tier": gettext("Tier %(number)s", number=tier),
        "tier_flat": gettext("Tier %(number)s, its fixed part", number=tier),
        "package": gettext("Packages"),
        "percentage": gettext("Percentage"),
        "transactions": gettext("Each transaction"),
        "minimum": gettext("Up to the least that is charged"),
        "maximum": gettext("Down to the most that is charged"),
    }
    return words.get(name, rule)


def _days(line: InvoiceLine, events_url: EventsUrl) -> Iterator[tuple[str, str, str]]:
    first, _ = days_of(line.period)
    for place, quantity in enumerate(line.evidence.get("readings", [])):
        day = first + timedelta(days=place)
        yield f"{day:%m-%d}", number(Decimal(quantity)), events_url(line.position, day)
