"""Plans for tests: one with every kind of charge, and any plan at all, made by chance."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from app.base.money import Rounding
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import AGGREGATIONS, Charge
from invoices.periods import MONTHLY, QUARTERLY, YEARLY, Interval
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants.grants import Quota

TEAM = next(
    terms for terms in DEFAULT_PLANS if (terms.plan_code, terms.currency) == ("team", "KRW")
)


def dearer(terms: PlanTerms, amount: int = 210_000) -> PlanTerms:
    """The same plan with another base fee."""
    base, *rest = terms.charges
    pricing = replace(base.pricing, unit_amount=Decimal(amount))
    return replace(terms, charges=(replace(base, pricing=pricing), *rest))


def _charge(code: str, ko: str, en: str, pricing: Pricing, **fields: object) -> Charge:
    return Charge(code=code, name_ko=ko, name_en=en, pricing=pricing, **fields)  # type: ignore[arg-type]


def _price(model: str, amount: str = "0", **fields: object) -> Pricing:
    return Pricing(model=model, unit_amount=Decimal(amount), **fields)  # type: ignore[arg-type]


def _tiers(*rows: tuple[str | None, str, str]) -> tuple[Tier, ...]:
    return tuple(
        Tier(
            up_to=None if up_to is None else Decimal(up_to),
            unit_amount=Decimal(unit),
            flat_amount=Decimal(flat),
        )
        for up_to, unit, flat in rows
    )


_SEATS = {"unit_ko": "명", "unit_en": "seats", "timing": "arrears", "meter": "seats"}
_FILES = {"unit_ko": "개", "unit_en": "files", "timing": "arrears", "meter": "files_added"}
_STORED = {"unit_ko": "GB", "unit_en": "GB", "timing": "arrears", "meter": "storage_gb_days"}
# One of each: every model, kind and interval, priced to show commas, cents and tiny amounts.
EVERYTHING = PlanTerms(
    plan_code="everything",
    position=9,
    currency="KRW",
    name_ko="모든 것",
    name_en="Everything",
    seats_max=1000,
    storage_bytes_max=10_500_000_000_000,
    charges=(
        _charge(
            "base", "연간 기본료", "Yearly base fee", _price("flat", "1200000"), interval=YEARLY
        ),
        _charge("setup", "초기 설정", "Setting up", _price("flat", "300000"), kind="setup"),
        _charge("visit", "방문 교육", "Training visit", _price("flat", "150000"), kind="one_off"),
        _charge(
            "phone",
            "전화 지원",
            "Phone support",
            _price("per_unit", "50000"),
            unit_ko="회선",
            unit_en="lines",
            interval=QUARTERLY,
            optional=True,
        ),
        _charge(
            "seats",
            "사용자",
            "Seats",
            _price(
                "graduated",
                included=Decimal(5),
                tiers=_tiers(("100", "9000", "0"), ("500", "7000.5", "10000"), (None, "5000", "0")),
            ),
            aggregation="peak",
            **_SEATS,
        ),
        _charge(
            "storage",
            "저장공간",
            "Storage",
            _price("volume", tiers=_tiers(("1000", "0.0015", "0"), (None, "0.001", "0"))),
            aggregation="average",
            rounding=Rounding.HALF_EVEN,
            **_STORED,
        ),
        _charge(
            "files",
            "올린 파일",
            "Files added",
            _price("package", "700", package_size=Decimal(1000), maximum_amount=Decimal(90000)),
            aggregation="sum",
            proration="none",
            interval=Interval(2, "week"),
            **_FILES,
        ),
        _charge(
            "steps",
            "파일 구간",
            "File steps",
            _price("stairstep", tiers=_tiers(("10", "0", "0"), (None, "0", "25000"))),
            aggregation="last",
            **_FILES,
        ),
        _charge(
            "fee",
            "거래 수수료",
            "Transaction fee",
            _price(
                "percentage",
                rate_percent=Decimal("2.5"),
                fixed_amount=Decimal(100),
                minimum_amount=Decimal(1000),
            ),
            aggregation="sum",
            **_STORED,
        ),
        _charge(
            "least",
            "월 약정",
            "Monthly commitment",
            _price("flat", "500000"),
            kind="commitment",
            timing="arrears",
        ),
    ),
)

_WORDS = st.one_of(
    st.sampled_from(
        [
            "no",
            "~",
            "null",
            "1.50",
            "0o17",
            "- a",
            "a: b",
            "# c",
            "'q'",
            '"',
            "{x}",
            "팀 요금제",
            "&a",
        ]
    ),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]),
        min_size=1,
        max_size=30,
    ),
).filter(str.strip)
_AMOUNTS = st.decimals(min_value=0, max_value=10**12, places=4)
_SMALL = st.decimals(min_value=0, max_value=1, places=12)
_NUMBERS = st.one_of(_AMOUNTS, _SMALL, st.integers(0, 10**26 - 1).map(Decimal))
_INTERVALS = st.sampled_from(
    [MONTHLY, QUARTERLY, YEARLY, Interval(1, "week"), Interval(2, "week"), Interval(24, "month")]
)


@st.composite
def pricings(draw: st.DrawFn, models: tuple[str, ...]) -> Pricing:
    """Any sound pricing of these models."""
    model = draw(st.sampled_from(models))
    fields: dict[str, object] = {}
    if model in ("flat", "per_unit", "package"):
        fields["unit_amount"] = draw(_NUMBERS)
    if model == "package":
        fields["package_size"] = draw(st.integers(1, 10**6).map(Decimal))
    if model == "percentage":
        fields |= {"rate_percent": draw(_SMALL), "fixed_amount": draw(_AMOUNTS)}
    if model in ("graduated", "volume", "stairstep"):
        bounds = draw(st.sets(st.decimals(min_value="0.5", max_value=10**6, places=2), max_size=4))
        units = st.just(Decimal(0)) if model == "stairstep" else _NUMBERS
        fields["tiers"] = tuple(
            Tier(up_to=up_to, unit_amount=draw(units), flat_amount=draw(_NUMBERS))
            for up_to in [*sorted(bounds), None]
        )
    if model != "flat":
        fields["included"] = draw(_NUMBERS)
    if draw(st.booleans()):
        low, high = sorted([draw(_NUMBERS), draw(_NUMBERS)])
        fields |= {"minimum_amount": low, "maximum_amount": high}
    return Pricing(model=model, **fields)  # type: ignore[arg-type]


@st.composite
def _charges(draw: st.DrawFn, code: str) -> Charge:
    metered = draw(st.booleans())
    said: dict[str, object] = {"timing": draw(st.sampled_from(["advance", "arrears"]))}
    models: tuple[str, ...] = ("flat", "per_unit", "graduated", "volume", "package", "stairstep")
    if metered:
        models = (*models, "percentage")
        said = {
            "timing": "arrears",
            "meter": draw(st.sampled_from(["seats", "files_added"])),
            "aggregation": draw(st.sampled_from(AGGREGATIONS)),
            "group": draw(st.dictionaries(st.sampled_from(["a", "b"]), _WORDS, max_size=2)),
        }
    return Charge(
        code=code,
        name_ko=draw(_WORDS),
        name_en=draw(_WORDS),
        unit_ko=draw(st.one_of(st.just(""), _WORDS)),
        unit_en=draw(st.one_of(st.just(""), _WORDS)),
        interval=draw(_INTERVALS),
        proration=draw(st.sampled_from(["none", "day", "second"])),
        rounding=draw(st.sampled_from(list(Rounding))),
        optional=draw(st.booleans()),
        pricing=draw(pricings(models)),
        **said,  # type: ignore[arg-type]
    )


_FEATURES = st.sampled_from(
    [{}, {"sso": True}, {"sso": False, "support": "yes"}, {"support": "평일: 9–18, #1 'quoted'"}]
)
_QUOTAS = st.sampled_from(
    [
        {},
        {"api_calls": Quota(soft=Decimal("0.000000000001"))},
        {"api_calls": Quota(soft=Decimal(10**18), hard=Decimal(10**18), alerts=(1, 1_000))},
        {"renders": Quota(hard=Decimal(0), alerts=()), "api_calls": Quota(hard=Decimal("1.5"))},
    ]
)


@st.composite
def plans(draw: st.DrawFn) -> PlanTerms:
    """Any sound plan."""
    codes = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), unique=True, max_size=4)
    )
    charges = [draw(_charges(code)) for code in codes if code != "always"]
    always = replace(TEAM.charges[0], code="always")
    return PlanTerms(
        plan_code=draw(st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)),
        position=draw(st.integers(0, 100)),
        currency=draw(st.sampled_from(["KRW", "USD", "BHD"])),
        name_ko=draw(_WORDS),
        name_en=draw(_WORDS),
        seats_max=draw(st.integers(1, 10**9)),
        storage_bytes_max=draw(st.integers(1, 10**18)),
        charges=(*charges, always),
        features=draw(_FEATURES),
        quotas=draw(_QUOTAS),
    )
