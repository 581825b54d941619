"""The catalogue as a file: `catalogue.yaml` to plans' terms and back, exactly. Pure.

A plan that the file lists is on offer on these terms; one that it lists as retired is not; one
that it does not speak of is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.base.errors import Invalid
from app.base.money import Rounding
from invoices import catalogue_grants, charges, plan_terms
from invoices.catalogue_nodes import Entry, Fault, Notes, parse
from invoices.catalogue_yaml import Number, OneLine, digits, dump
from invoices.charges import Charge, Meter
from invoices.periods import MONTHLY, QUARTERLY, Interval, IntervalUnsound
from invoices.plan_terms import GIGABYTE, PlanTerms
from invoices.pricing import Pricing, Tier
from invoices.vat import TAXABLE

_PLAN = ("plan", "currency", "position", "names", "limits", "features", "feature_names", "quotas")
_CHARGE = (
    "charge",
    "names",
    "unit",
    "kind",
    "timing",
    "every",
    "meter",
    "aggregation",
    "group",
    "proration",
    "rounding",
    "optional",
    "vat",
    "vat_included",
    "price",
)
_AMOUNTS = (
    "unit_amount",
    "included",
    "package_size",
    "rate_percent",
    "fixed_amount",
    "minimum_amount",
    "maximum_amount",
)
_PRICED_EACH = ("flat", "per_unit", "package")
_TIER = ("up_to", "unit_amount", "flat_amount")
_EVERY = re.compile(r"(?:([1-9][0-9]{0,2}) )?(week|month|quarter|year)s?")
# Where the file says what a charge's check finds fault with; a pricing's fields stand in `price`.
_FIELDS = {name: name for name in (*_CHARGE, "price")} | {"name": "names", "interval": "every"}
_ZERO = Decimal(0)


class CatalogueUnsound(Invalid):
    """A file of plans has faults; `faults` are all of them, in the order of its lines."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)), field=self.faults[0].path or None)


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """What a file says: plans on offer, one entry for each currency, and codes no longer sold."""

    plans: tuple[PlanTerms, ...]
    retired: tuple[str, ...] = ()


def read(text: str, *, meters: Mapping[str, Meter] | None = None) -> CatalogueFile:
    """This function will read a file of plans; `meters` are those there are, by code.

    Without `meters` any meter is let through.

    Raises: CatalogueUnsound with every fault, its line, column and field.
    """
    notes = Notes()
    plans: list[PlanTerms] = []
    retired: list[str] = []
    root = parse(text, notes)
    if root is not None:
        root.only(("plans", "retired"))
        for entry in root.entries("plans", "plan", "currency"):
            terms = _plan(entry, meters)
            if terms is not None:
                _check_beside(entry, terms, plans)
                plans.append(terms)
        retired = root.texts("retired")
        for number, code in enumerate(retired, 1):
            if any(each.plan_code == code for each in plans):
                notes.fault(
                    f"retired.{number}",
                    "%(plan)s is both on offer and retired: leave it out of one list.",
                    plan=code,
                )
    if notes.faults:
        raise CatalogueUnsound(notes.faults)
    return CatalogueFile(tuple(plans), tuple(dict.fromkeys(retired)))


def _plan(entry: Entry, meters: Mapping[str, Meter] | None) -> PlanTerms | None:
    before = len(entry.notes.faults)
    entry.only((*_PLAN, "charges"))
    code, currency, position = (
        entry.text("plan"),
        entry.text("currency"),
        entry.whole("position"),
    )
    ko, en = _both(entry, "names")
    seats, gigabytes = _limits(entry)
    features, quotas = catalogue_grants.features(entry), catalogue_grants.quotas(entry, meters)
    found = [_charge(each, meters) for each in entry.entries("charges", "charge")]
    if len(entry.notes.faults) > before:
        return None
    terms = PlanTerms(
        plan_code=code or "",
        position=position or 0,
        currency=currency or "",
        name_ko=ko,
        name_en=en,
        seats_max=seats or 0,
        storage_bytes_max=int((gigabytes or _ZERO) * GIGABYTE),
        charges=tuple(each for each in found if each is not None),
        features=features,
        feature_names=catalogue_grants.feature_names(entry),
        quotas=quotas,
    )
    try:
        plan_terms.check(terms)
    except Invalid as error:
        entry.fault(str(error.field), error.message)
        return None
    return terms


def _limits(entry: Entry) -> tuple[int | None, Decimal | None]:
    limits = entry.entry("limits")
    if limits is None:
        return None, None
    limits.only(("seats", "storage_gb"))
    gigabytes = limits.number("storage_gb")
    if gigabytes is not None and gigabytes * GIGABYTE % 1:
        limits.fault("storage_gb", "Use at most 9 decimals: a byte is not divided.")
        gigabytes = None
    return limits.whole("seats"), gigabytes


def _both(entry: Entry, name: str, *, required: bool = True) -> tuple[str, str]:
    words = entry.entry(name, required=required)
    if words is None:
        return "", ""
    words.only(("ko", "en"))
    return words.text("ko") or "", words.text("en") or ""


def _check_beside(entry: Entry, terms: PlanTerms, before: Collection[PlanTerms]) -> None:
    """This function will hold a plan against those above it in the file."""
    for other in before:
        if other.plan_code != terms.plan_code:
            continue
        if other.currency == terms.currency:
            entry.fault(
                "plan",
                "%(plan)s in %(currency)s is written twice: keep one.",
                plan=terms.plan_code,
                currency=terms.currency,
            )
        if other.position != terms.position:
            entry.fault(
                "position",
                "%(plan)s stands at %(position)s in another currency: a plan has one position.",
                plan=terms.plan_code,
                position=other.position,
            )
        return


def _charge(entry: Entry, meters: Mapping[str, Meter] | None) -> Charge | None:
    before = len(entry.notes.faults)
    entry.only(_CHARGE)
    price = _pricing(entry)
    names, unit = _both(entry, "names"), _both(entry, "unit", required=False)
    rounding = entry.text("rounding", required=False) or Rounding.DOWN.value
    if rounding not in set(Rounding):
        entry.fault("rounding", "Choose one of %(known)s.", known=", ".join(Rounding))
    said = {
        name: written
        for name in ("kind", "timing", "meter", "aggregation", "proration", "vat")
        if (written := entry.text(name, required=False)) is not None
    }
    code, interval, group = entry.text("charge"), _interval(entry), _group(entry)
    optional, vat_included = entry.truth("optional"), entry.truth("vat_included")
    if len(entry.notes.faults) > before or price is None:
        return None
    charge = Charge(
        code=code or "",
        name_ko=names[0],
        name_en=names[1],
        unit_ko=unit[0],
        unit_en=unit[1],
        interval=interval,
        group=group,
        rounding=Rounding(rounding),
        optional=optional or False,
        vat_included=vat_included or False,
        pricing=price,
        **said,
    )
    try:
        charges.check(charge)
        if meters is not None:
            charges.check_meter(charge, meters)
    except Invalid as error:
        entry.fault(_field(str(error.field)), error.message)
    return charge


def _field(name: str) -> str:
    """This function will turn a check's field into the file's; people count tiers from 1."""
    if name.partition(".")[0] in _FIELDS:
        return _FIELDS.get(name, name)
    parts = (str(int(part) + 1) if part.isdecimal() else part for part in name.split("."))
    return f"price.{'.'.join(parts)}"


def _interval(entry: Entry) -> Interval:
    written = entry.text("every", required=False)
    if written is None:
        return MONTHLY
    found = _EVERY.fullmatch(written)
    try:
        if found is None:
            raise IntervalUnsound("Write week, month, quarter, year, or how many: 2 weeks.")
        count, unit = int(found[1] or 1), found[2]
        return Interval(count * 3, "month") if unit == "quarter" else Interval(count, unit)
    except IntervalUnsound as error:
        entry.fault("every", error.message)
        return MONTHLY


def _group(entry: Entry) -> dict[str, str]:
    group = entry.entry("group", required=False)
    if group is None:
        return {}
    return {name: group.text(name) or "" for name in group.names()}


def _pricing(entry: Entry) -> Pricing | None:
    price = entry.entry("price")
    if price is None:
        return None
    price.only(("model", "tiers", *_AMOUNTS))
    model = price.text("model") or ""
    # Without an amount a charge would be free by an oversight: free is written as 0.
    needed = ("unit_amount",) if model in _PRICED_EACH else ()
    amounts = {
        name: number
        for name in _AMOUNTS
        if (number := price.number(name, required=name in needed)) is not None
    }
    tiers = tuple(_tier(each) for each in price.entries("tiers", required=False))
    return Pricing(model=model, tiers=tiers, **amounts)


def _tier(entry: Entry) -> Tier:
    entry.only(_TIER)
    if "unit_amount" not in entry and "flat_amount" not in entry:
        entry.fault("unit_amount", "Write what the tier costs: unit_amount, flat_amount or both.")
    return Tier(
        up_to=entry.number("up_to", required=False),
        unit_amount=entry.number("unit_amount", required=False) or _ZERO,
        flat_amount=entry.number("flat_amount", required=False) or _ZERO,
    )


def write(catalogue: CatalogueFile, *, remarks: Mapping[tuple[str, str], str] | None = None) -> str:
    """This function will write plans as a file that `read` reads as the same terms.

    `remarks` stand as comments above their plan and currency.
    """
    parts = ["plans:" if catalogue.plans else "plans: []"]
    for terms in catalogue.plans:
        if remark := (remarks or {}).get((terms.plan_code, terms.currency)):
            parts.append(f"\n  # {remark}")
        parts.append(listed(entry_of(terms)))
    if catalogue.retired:
        parts.append("\n" + dump({"retired": list(catalogue.retired)}).rstrip("\n"))
    return "\n".join(parts) + "\n"


def listed(entry: Mapping[str, Any]) -> str:
    """This function will write one entry as it stands under `plans:`."""
    dumped = dump([entry]).rstrip("\n")
    return "\n".join(f"  {line}" if line else line for line in dumped.split("\n"))


def entry_of(terms: PlanTerms) -> dict[str, Any]:
    """This function will return terms in the shape of the file, without what goes unsaid there."""
    gigabytes = Decimal(terms.storage_bytes_max) / GIGABYTE
    return {
        "plan": terms.plan_code,
        "currency": terms.currency,
        "position": Number(str(terms.position)),
        "names": OneLine(ko=terms.name_ko, en=terms.name_en),
        "limits": OneLine(seats=Number(str(terms.seats_max)), storage_gb=digits(gigabytes)),
        **catalogue_grants.entries_of(terms, one_line=OneLine, number=digits),
        "charges": [_charge_entry(each) for each in terms.charges],
    }


def _charge_entry(charge: Charge) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "charge": charge.code,
        "names": OneLine(ko=charge.name_ko, en=charge.name_en),
    }
    if charge.unit_ko or charge.unit_en:
        entry["unit"] = OneLine(ko=charge.unit_ko, en=charge.unit_en)
    said = {
        "kind": charge.kind,
        "timing": charge.timing,
        "every": every(charge.interval),
        "meter": charge.meter,
        "aggregation": charge.aggregation,
        "group": dict(charge.group),
        "proration": charge.proration,
        "rounding": charge.rounding.value,
        "optional": Number("true") if charge.optional else None,
        "vat": charge.vat,
        "vat_included": Number("true") if charge.vat_included else None,
    }
    unsaid = {"kind": "recurring", "every": "month", "proration": "day", "rounding": "down"}
    unsaid["vat"] = TAXABLE
    entry |= {name: value for name, value in said.items() if value and unsaid.get(name) != value}
    return entry | {"price": _price_entry(charge.pricing)}


def _price_entry(price: Pricing) -> dict[str, Any]:
    unset = Pricing(model="")
    entry: dict[str, Any] = {"model": price.model}
    for name in _AMOUNTS:
        number = getattr(price, name)
        needed = name == "unit_amount" and price.model in _PRICED_EACH
        if needed or (number is not None and number != getattr(unset, name)):
            entry[name] = digits(number)
    if price.tiers:
        entry["tiers"] = [_tier_entry(tier) for tier in price.tiers]
    return entry


def _tier_entry(tier: Tier) -> dict[str, Any]:
    entry = {"up_to": digits(tier.up_to)} if tier.up_to is not None else {}
    if tier.unit_amount or not tier.flat_amount:
        entry["unit_amount"] = digits(tier.unit_amount)
    if tier.flat_amount:
        entry["flat_amount"] = digits(tier.flat_amount)
    return OneLine(entry)


def every(interval: Interval) -> str:
    """This function will write an interval as the file does: month, quarter, 2 weeks."""
    if interval == QUARTERLY:
        return "quarter"
    return interval.unit if interval.count == 1 else f"{interval.count} {interval.unit}s"
