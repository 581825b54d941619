"""What stands below a line of an invoice that is no priced quantity: a coupon's terms, a credit's
end. Pure, in the two languages of papers and pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from app.base.money import Money
from invoices.quantity_words import figure

# An amount of money, taken off or put on: no quantity was priced, and there is none to print.
PLAIN_KINDS = frozenset({"discount", "prepaid", "carried"})

_WORDS = {
    ("percentage", "ko"): "{coupon} · {base}의 {percent}%",
    ("percentage", "en"): "{coupon} · {percent}% of {base}",
    ("amount", "ko"): "{coupon}",
    ("amount", "en"): "{coupon}",
    ("free_units", "ko"): "{coupon} · 무료 수량 {taken}",
    ("free_units", "en"): "{coupon} · {taken} units free",
    ("months_free", "ko"): "{coupon} · {months}개월 무료, {first} – {last}",
    ("months_free", "en"): "{coupon} · {months} months free, {first} – {last}",
    ("discount_returned", "ko"): "{invoice}의 할인 중 미사용 기간분",
    ("discount_returned", "en"): "part of the discount on {invoice}",
    ("discount_corrected", "ko"): "{invoice}에 적용된 {coupons}",
    ("discount_corrected", "en"): "{coupons}, as on {invoice}",
    ("prepaid", "ko"): "{expires_on} 만료",
    ("prepaid", "en"): "expires on {expires_on}",
}


def plain_detail(*, evidence: Mapping[str, Any], currency: str, language: str) -> str:
    """This function will say in a few words where a discount or a credit comes from."""
    rule = evidence.get("rule", "")
    words = _WORDS.get((rule, "ko" if language == "ko" else "en"), "")
    if rule == "prepaid" and "expires_on" not in evidence:
        return ""
    return words.format_map(_facts(evidence, currency)) if words else ""


def _facts(evidence: Mapping[str, Any], currency: str) -> dict[str, Any]:
    facts = dict(evidence)
    if "base_minor" in evidence:
        facts["base"] = str(Money(evidence["base_minor"], currency))
    if evidence["rule"] == "free_units":
        shares = [share["units"] for share in evidence["lines"]]
        facts["taken"] = " + ".join(figure(Decimal(units)) for units in shares)
    if evidence["rule"] == "discount_corrected":
        facts["coupons"] = ", ".join(each["coupon"] for each in evidence["coupons"])
    if evidence["rule"] == "months_free":
        facts["first"] = evidence["from"]
        facts["last"] = date.fromisoformat(evidence["until"]) - timedelta(days=1)
    return facts
