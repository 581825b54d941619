"""Bills that are not made yet, as pages show them: the forecast in rows of money."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Flask

from app.base.money import exponent
from app.web.format import money, number
from app.web.i18n import gettext, language
from app.web.papers import days
from invoices.bill_lines import BillLine
from invoices.forecast import ComingBill

# Lines that are sums of money and nothing that was bought.
_SUMS = ("discount", "prepaid", "carried", "adjustment")


def init_bills(app: Flask) -> None:
    """This function will give the parts of a forecast what they ask Python for."""
    app.jinja_env.globals.update(
        bill_lines=lines,
        bill_totals=totals,
        bill_carried=carried_minor,
        bill_comparison=comparison,
        bill_open=open_names,
        bill_summary=summary,
    )


def lines(bill: ComingBill, currency: str) -> list[dict[str, Any]]:
    """This function will return a bill's lines as the money table prints them."""
    return [
        {
            "text": _named(line.names),
            "note": _note(line, currency),
            "amount_minor": line.amount_minor,
        }
        for line in bill.lines
    ]


def _note(line: BillLine, currency: str) -> str:
    if line.kind in _SUMS:
        return ""
    unit_minor = line.unit_amount.scaleb(exponent(currency))
    if abs(line.quantity) == 1 or unit_minor != unit_minor.to_integral_value():
        return days(line.period)
    each = f"{number(abs(line.quantity))} × {money(int(unit_minor), currency)}"
    return f"{days(line.period)} · {each}"


def totals(bill: ComingBill) -> list[tuple[Any, ...]]:
    """This function will return the sums below a bill's lines."""
    return [
        (gettext("Supply value"), bill.subtotal_minor),
        (gettext("VAT"), bill.tax_minor),
        (gettext("Total"), bill.total_minor, "strong"),
    ]


def carried_minor(bill: ComingBill) -> int:
    """This function will return what a bill gives back beyond what it asks, before tax."""
    return sum(line.amount_minor for line in bill.lines if line.kind == "carried")


def open_names(bill: ComingBill) -> list[str]:
    """This function will name the charges of a bill that usage decides, each once."""
    return list(dict.fromkeys(_named(each.names) for each in bill.by_usage))


def comparison(before: ComingBill | None, after: ComingBill | None) -> list[dict[str, Any]]:
    """This function will set the next bill as it was beside the one with the change."""

    def row(text: str, name: str, *, strong: bool = False) -> dict[str, Any]:
        was, will = (getattr(bill, name) if bill else 0 for bill in (before, after))
        return {
            "text": text,
            "before": was,
            "after": will,
            "difference": will - was,
            "strong": strong,
        }

    days_on = (bill.bill_on if bill else None for bill in (before, after))
    return [
        {"text": gettext("Day"), "on": True} | dict(zip(("before", "after"), days_on, strict=True)),
        row(gettext("Supply value"), "subtotal_minor"),
        row(gettext("VAT"), "tax_minor"),
        row(gettext("Total"), "total_minor", strong=True),
    ]


def summary(bill: ComingBill) -> str:
    """This function will name what is on a bill in one line."""
    return ", ".join(dict.fromkeys(_named(line.names) for line in bill.lines))


def facts(bill: ComingBill | None) -> list[Any]:
    """This function will return what a bill says, for a fingerprint: nothing of how it is shown."""
    if bill is None:
        return []
    return [
        bill.bill_on,
        bill.subtotal_minor,
        bill.tax_minor,
        [
            [line.kind, line.charge, line.quantity, line.amount_minor, *_bounds(line)]
            for line in bill.lines
        ],
        [[*each.names, each.period.start, each.period.end] for each in bill.by_usage],
    ]


def _bounds(line: BillLine) -> tuple[date, date]:
    return line.period.start, line.period.end


def _named(names: tuple[str, str]) -> str:
    return names[0] if language() == "ko" else names[1]
