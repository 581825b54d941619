"""Prices in words, Korean and English: on the price list, in terms, mails and the console. Pure.

The one place that knows how a charge is said. Each phrase can stand alone in a list, so that a
page, a consent and a letter all say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.base.money import written
from invoices.charges import Charge
from invoices.fingerprints import plain_decimal
from invoices.periods import QUARTERLY, Interval
from invoices.plan_terms import PlanTerms
from invoices.pricing import TIERED, Tier
from invoices.quantity_words import counted, figure, singular

LANGUAGES = ("ko", "en")
# Whose quantity is paid for by time, in which words.
_MEASURED = {
    "peak": ("기간 중 최고치 기준", "by the highest within the period"),
    "average": ("기간 평균 기준", "by the average of the period"),
    "last": ("기간 마지막 날 기준", "by the last day of the period"),
    "sum": ("기간 합계 기준", "by the sum of the period"),
    None: ("사용한 만큼", "by what was used"),
}
_VAT: dict[str, tuple[str, str] | None] = {
    "taxable": None,
    "included": ("부가세 포함", "VAT included"),
    "zero_rated": ("영세율", "zero-rated"),
    "exempt": ("면세", "VAT exempt"),
}
_TIMINGS = {"advance": ("선불", "in advance"), "arrears": ("후불", "afterwards")}
_ONCE = {
    "setup": ("시작할 때 한 번", "once, at the start"),
    "one_off": ("추가할 때 한 번", "once, when added"),
}
_TIER_RULES = {
    "graduated": ("구간마다 그 구간의 가격", "each part at the price of its tier"),
    "volume": ("도달한 구간의 가격을 전체에 적용", "all of it at the price of the tier reached"),
    "stairstep": ("도달한 구간의 정액", "one amount for the tier reached"),
}


@dataclass(frozen=True, slots=True)
class TierWords:
    """One row of a small table: how far it reaches, and what it costs."""

    reach: str
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeWords:
    """A charge in words: `price` is a phrase of its own, `line` has the name before it.

    `tiers` are empty for a charge without tiers; `asked` says when and by what it is asked for.
    """

    code: str
    name: str
    price: str
    unit: str
    includes: bool
    asked: str
    tiers: tuple[TierWords, ...]
    optional: bool
    kind: str

    @property
    def line(self) -> str:
        """The name and the price."""
        return f"{self.name}: {self.price}"


@dataclass(frozen=True, slots=True)
class Headline:
    """What stands large on a plan's card, and in short in a sentence.

    `figure` is money or, where nothing is fixed, words; `per` goes beside it and `sentence` is
    both: ₩190,000 a month. `charges` are the codes it is the sum of.
    """

    figure: str
    per: str
    sentence: str
    charges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanWords:
    """A plan in words: its headline, the charges beside it, what can be added, what is allowed."""

    name: str
    headline: Headline
    points: tuple[ChargeWords, ...]
    extras: tuple[ChargeWords, ...]


def plan(terms: PlanTerms, language: str) -> PlanWords:
    """This function will say a plan's terms in `ko` or `en`."""
    head = headline(terms.charges, terms.currency, language)
    named = next((each for each in terms.charges if each.code in head.charges), None)
    said = [
        charge(each, terms.currency, language, beside=named.interval if named else None)
        for each in terms.charges
        if each.code not in head.charges
    ]
    return PlanWords(
        name=_pick(language, terms.name_ko, terms.name_en),
        headline=head,
        points=tuple(each for each in said if not _is_extra(each)),
        extras=tuple(each for each in said if _is_extra(each)),
    )


def charge(
    one: Charge, currency: str, language: str, *, beside: Interval | None = None
) -> ChargeWords:
    """This function will say one charge in `ko` or `en`.

    `beside` is an interval that was said just before, and need not be said again.
    """
    return ChargeWords(
        code=one.code,
        name=_pick(language, one.name_ko, one.name_en),
        price=_price(one, currency, language, one.interval == beside) + _vat(one, language),
        unit=_pick(language, one.unit_ko, one.unit_en).strip(),
        includes=bool(one.pricing.included and one.unit_ko.strip()),
        asked=_asked(one, language),
        tiers=tuple(_tiers(one, currency, language)),
        optional=one.optional,
        kind=one.kind,
    )


def _vat(one: Charge, language: str) -> str:
    """What a price says of VAT where it is not simply put on top."""
    said = _VAT["included" if one.vat_included else one.vat]
    return f" ({said[LANGUAGES.index(language)]})" if said else ""


def lines(one: Charge, currency: str, language: str) -> list[str]:
    """This function will say a charge in full, as terms and letters do: its price, then tiers."""
    words = charge(one, currency, language)
    asked = f" ({words.asked})" if words.asked else ""
    added = _pick(language, "선택: ", "Optional: ") if words.optional else ""
    return [
        f"{added}{words.line}{asked}",
        *(f"{words.name}, {tier.reach}: {tier.price}" for tier in words.tiers),
    ]


def points(words: Sequence[ChargeWords]) -> list[tuple[str, tuple[TierWords, ...]]]:
    """This function will return charges as short lines for a card, with tiers where there are any.

    What includes some units tells by them what it is about; two of one unit need their names.
    """
    units = Counter(each.unit for each in words)
    return [
        (each.price if each.includes and units[each.unit] == 1 else each.line, each.tiers)
        for each in words
    ]


def headline(charges: Sequence[Charge], currency: str, language: str) -> Headline:
    """This function will find what a plan costs at first sight.

    That is the sum of what recurs in the same interval whatever is used; without such, the price
    of one bought unit, the minimum agreed upon, or the first price by use.
    """
    certain = [each for each in charges if each.kind == "recurring" and not each.optional]
    fixed = [each for each in certain if each.meter is None and each.pricing.model == "flat"]
    if fixed:
        alike = [
            each
            for each in fixed
            if each.interval == fixed[0].interval and _vat(each, "en") == _vat(fixed[0], "en")
        ]
        total = sum((each.pricing.unit_amount for each in alike), Decimal(0))
        return _headline(alike, total, "", currency, language)
    committed = next((each for each in charges if each.kind == "commitment"), None)
    simple = [each for each in certain if each.pricing.model == "per_unit"]
    first = min(simple, key=lambda each: each.meter is not None, default=None)
    if first and not first.pricing.included and (first.meter is None or committed is None):
        amount = first.pricing.unit_amount
        return _headline([first], amount, _per(first, language), currency, language)
    if committed:
        least = _headline([committed], committed.pricing.unit_amount, "", currency, language)
        sentence = _pick(language, f"최소 {least.sentence}", f"at least {least.sentence}")
        return Headline(least.figure, least.per, sentence, least.charges)
    return _by_use(language)


def _by_use(language: str) -> Headline:
    words = _pick(language, "쓴 만큼", "By use")
    return Headline(words, "", words, ())


def _headline(
    charges: Sequence[Charge], units: Decimal, each: str, currency: str, language: str
) -> Headline:
    interval = charges[0].interval if charges[0].by_time else None
    figure = written(units, currency)
    codes = tuple(one.code for one in charges)
    if language == "ko":
        often = f"/ {_every_ko(interval).replace('연', '년')}" if interval else ""
        sentence = " ".join(filter(None, (each, _every_ko(interval), figure)))
    else:
        often = _every_en(interval) if interval else ""
        sentence = " ".join(filter(None, (figure, often, each)))
    vat = _vat(charges[0], language)
    return Headline(
        figure, (" ".join(filter(None, (often, each))) + vat).strip(), sentence + vat, codes
    )


def every(interval: Interval, language: str) -> str:
    """This function will say how often: 월, 분기, 2주마다; a month, a quarter, every 2 weeks."""
    return _every_ko(interval) if language == "ko" else _every_en(interval)


_ONE_KO = {"week": "주", "month": "월", "year": "연"}
_MANY_KO = {"week": "주", "month": "개월", "year": "년"}


def _every_ko(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval == QUARTERLY:
        return "분기"
    if interval.count == 1:
        return _ONE_KO[interval.unit]
    return f"{interval.count}{_MANY_KO[interval.unit]}마다"


def _every_en(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval == QUARTERLY:
        return "a quarter"
    return (
        f"a {interval.unit}" if interval.count == 1 else f"every {interval.count} {interval.unit}s"
    )


def _price(one: Charge, currency: str, language: str, brief: bool) -> str:
    say = _price_ko if language == "ko" else _price_en
    core = say(one, currency, brief)
    for bound, ko, en in (
        (one.pricing.minimum_amount, "최소", "at least"),
        (one.pricing.maximum_amount, "최대", "at most"),
    ):
        if bound is not None:
            often = "" if one.once else every(one.interval, language)
            core += _pick(
                language,
                f", {ko} {often} {written(bound, currency)}".replace("  ", " "),
                f", {en} {written(bound, currency)} {often}".rstrip(),
            )
    return core


def _price_ko(one: Charge, currency: str, brief: bool) -> str:
    price = one.pricing
    often = "" if brief or one.once or not one.by_time else f"{_every_ko(one.interval)} "
    amount = f"{often}{written(price.unit_amount, currency)}"
    if one.kind == "commitment":
        return f"{_every_ko(one.interval)} 최소 {written(price.unit_amount, currency)}"
    core = {
        "flat": amount,
        "per_unit": f"{_per(one, 'ko')} {amount}",
        "package": f"{_counted(price.package_size, one, 'ko')} 묶음마다 {amount}",
        "percentage": f"금액의 {_percent(one)}",
    }.get(price.model)
    if core is None:
        core = f"{often}구간 요금 ({_TIER_RULES[price.model][0]})"
    if price.fixed_amount:
        core += f" + 거래 1건당 {written(price.fixed_amount, currency)}"
    if price.included:
        span = "" if one.by_time else f"{_every_ko(one.interval)} "
        core = f"{span}{_counted(price.included, one, 'ko')} 포함, 초과 {core}"
    return f"{core} ({_ONCE[one.kind][0]})" if one.once else core


def _price_en(one: Charge, currency: str, brief: bool) -> str:
    price = one.pricing
    often = "" if brief or one.once or not one.by_time else f" {_every_en(one.interval)}"
    amount = f"{written(price.unit_amount, currency)}{often}"
    if one.kind == "commitment":
        return f"at least {written(price.unit_amount, currency)} {_every_en(one.interval)}"
    core = {
        "flat": amount,
        "per_unit": f"{amount} {_per(one, 'en')}",
        "package": f"{amount} for every {_counted(price.package_size, one, 'en')} begun",
        "percentage": f"{_percent(one)} of the amount",
    }.get(price.model)
    if core is None:
        core = f"by tiers{often} ({_TIER_RULES[price.model][1]})"
    if price.fixed_amount:
        core += f" plus {written(price.fixed_amount, currency)} for each transaction"
    if price.included:
        span = "" if one.by_time else f" {_every_en(one.interval)}"
        core = f"{_counted(price.included, one, 'en')}{span} included, then {core}"
    return f"{core}, {_ONCE[one.kind][1]}" if one.once else core


def _percent(one: Charge) -> str:
    return f"{plain_decimal(one.pricing.rate_percent or Decimal(0))}%"


def _asked(one: Charge, language: str) -> str:
    """When it is asked for, by what it is measured, and whether a part of a period costs a part."""
    if one.once:
        return ""
    place = LANGUAGES.index(language)
    said = [_TIMINGS[one.timing][place]]
    if one.kind == "commitment":
        short = ("모자란 만큼만 청구", "only what is short of it is asked for")
        return f"{said[0]}, {short[place]}"
    if one.meter is not None:
        said.append(_MEASURED[one.aggregation][place])
    if one.proration == "none":
        said.append(("일할 계산 없음", "never for a part of a period")[place])
    return ", ".join(said)


def _tiers(one: Charge, currency: str, language: str) -> list[TierWords]:
    if one.pricing.model not in TIERED:
        return []
    found, below = [], None
    for tier in one.pricing.tiers:
        found.append(
            TierWords(
                _reach(below, tier.up_to, one, language), _tier(tier, one, currency, language)
            )
        )
        below = tier.up_to
    return found


def _reach(below: Decimal | None, up_to: Decimal | None, one: Charge, language: str) -> str:
    if up_to is None and below is None:
        return _pick(language, "전체", "all of it")
    if up_to is None:
        above = _counted(below, one, language)
        return _pick(language, f"{above} 초과", f"above {above}")
    top = _counted(up_to, one, language)
    if below is None:
        return _pick(language, f"{top}까지", f"up to {top}")
    if language == "ko":
        return f"{_counted(below, one, language)} 초과 {top}까지"
    return f"above {figure(below)} up to {top}"


def _tier(tier: Tier, one: Charge, currency: str, language: str) -> str:
    parts = []
    if tier.unit_amount or not tier.flat_amount:
        each = _per(one, language)
        amount = written(tier.unit_amount, currency)
        free = _pick(language, "무료", "free")
        said = _pick(language, f"{each} {amount}", f"{amount} {each}")
        parts.append(said if tier.unit_amount else free)
    if tier.flat_amount:
        amount = written(tier.flat_amount, currency)
        parts.append(_pick(language, f"정액 {amount}", f"{amount} flat") if parts else amount)
    return " + ".join(parts)


def _per(one: Charge, language: str) -> str:
    if language == "ko":
        unit = one.unit_ko.strip() or "단위"
        return f"1 {unit}당" if unit.isascii() else f"1{unit}당"
    return f"for each {singular(one.unit_en.strip() or 'unit')}"


def _counted(number: Decimal | None, one: Charge, language: str) -> str:
    return counted(number or Decimal(0), (one.unit_ko, one.unit_en), language)


def _is_extra(words: ChargeWords) -> bool:
    return words.optional or words.kind == "one_off"


def _pick(language: str, ko: str, en: str) -> str:
    return ko if language == "ko" else en
