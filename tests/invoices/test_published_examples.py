"""Prices that other billing engines publish, worked through by ours.

Each example is a number printed at its source, for the price described there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlparse

import pytest

from invoices import pricing
from invoices.pricing import Pricing, Tier

Charge = tuple[Pricing, str]  # a price and the quantity it met


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a source says that charges come to together, in major units."""

    source: str
    name: str
    charges: tuple[Charge, ...]
    amount: str
    transactions: int = 0


def flat(amount: str) -> Charge:
    return Pricing(model="flat", unit_amount=Decimal(amount)), "1"


def unit(amount: str, **more: str) -> Pricing:
    return priced("per_unit", unit_amount=amount, **more)


def package(amount: str, size: str, **more: str) -> Pricing:
    return priced("package", unit_amount=amount, package_size=size, **more)


def priced(model: str, **numbers: str) -> Pricing:
    return Pricing(model=model, **{name: Decimal(text) for name, text in numbers.items()})


def tiered(model: str, *tiers: str, **bounds: str) -> Pricing:
    """Tiers are written `up_to: unit_amount + flat_amount`; without an up_to it is the rest."""
    built = []
    for tier in tiers:
        up_to, _, amounts = tier.rpartition(":")
        each, _, once = amounts.partition("+")
        built.append(
            Tier(
                up_to=Decimal(up_to) if up_to else None,
                unit_amount=Decimal(each.strip()),
                flat_amount=Decimal(once.strip() or 0),
            )
        )
    return Pricing(
        model=model, tiers=tuple(built), **{name: Decimal(text) for name, text in bounds.items()}
    )


def table(
    source: str, name: str, price: Pricing, amounts: Mapping[str, str], *base: Charge
) -> Iterator[Example]:
    for quantity, amount in amounts.items():
        yield Example(
            source=source,
            name=f"{name}, {quantity}",
            charges=((price, quantity), *base),
            amount=amount,
        )


STRIPE_TIERED = "https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing"
STRIPE_TIERS = "https://stripe.com/docs/billing/subscriptions/tiers"
FONTS = ("5: 7", "10: 6.5", "6")
FALLING = ("5: 5", "10: 4", "15: 3", "20: 2", "1")
FALLING_FLAT = ("5: 5 + 10", "10: 4 + 20", "15: 3 + 30", "20: 2 + 40", "1 + 50")


def stripe() -> Iterator[Example]:
    yield from table(
        STRIPE_TIERED,
        "volume of fonts",
        tiered("volume", *FONTS),
        {"1": "7", "5": "35", "6": "39", "20": "120", "25": "150"},
    )
    yield from table(
        STRIPE_TIERED,
        "graduated fonts",
        tiered("graduated", *FONTS),
        {"1": "7", "5": "35", "6": "41.5", "20": "127.5", "25": "157.5"},
    )
    yield from table(
        STRIPE_TIERED, "volume, flat rate", tiered("volume", *FALLING_FLAT), {"12": "66"}
    )
    yield from table(
        STRIPE_TIERED, "graduated, flat rate", tiered("graduated", *FALLING_FLAT), {"12": "111"}
    )
    # Stripe bills the first tier's flat rate for no use at all; here that is a minimum.
    yield from table(
        STRIPE_TIERED,
        "graduated, flat rate without use",
        tiered("graduated", *FALLING_FLAT, minimum_amount="10"),
        {"0": "10"},
    )
    yield from table(
        STRIPE_TIERS,
        "per unit",
        unit("5"),
        {"1": "5", "5": "25", "6": "30", "20": "100", "25": "125"},
    )
    yield from table(
        STRIPE_TIERS,
        "volume",
        tiered("volume", *FALLING),
        {"1": "5", "5": "25", "6": "24", "20": "40", "25": "25"},
    )
    yield from table(STRIPE_TIERS, "graduated", tiered("graduated", *FALLING), {"6": "29"})


LAGO = "https://getlago.com/docs/guide/"
LAGO_MODELS = LAGO + "plans/charges/charge-models/"


def lago() -> Iterator[Example]:
    yield from table(
        LAGO_MODELS + "volume",
        "API calls",
        tiered("volume", "10000: 0.001+10", "50000: 0.0008+10", "100000: 0.0006+10", "0.0004+10"),
        {"65000": "49"},
    )
    yield from table(
        LAGO_MODELS + "package",
        "first 100 free",
        package("5", "100", included="100"),
        {"201": "10"},
    )
    # Three transactions of 500, 550 and 4,000 cost 205, 306 and 80 one after the other.
    yield from table(
        LAGO_MODELS + "graduated-percentage",
        "rates of a turnover",
        tiered("graduated", "1000: 0.01 + 200", "10000: 0.02 + 300", "0.03 + 400"),
        {"500": "205", "1050": "511", "5050": "591"},
    )
    yield Example(
        source=LAGO_MODELS + "percentage",
        name="the fourth transaction, 400 of 450 free",
        charges=(
            (priced("percentage", rate_percent="1.2", fixed_amount="0.10", included="400"), "450"),
        ),
        transactions=1,
        amount="0.70",
    )
    yield from table(
        LAGO + "plans/charges/spending-minimum",
        "tracked users",
        unit("0.010", minimum_amount="100"),
        {"5000": "100"},
    )
    yield from table(
        LAGO + "lago-cloud/contract-billing",
        "a monthly minimum",
        unit("1", minimum_amount="1000"),
        {"800": "1000", "1300": "1300"},
    )


OPENMETER = (
    "https://github.com/openmeterio/openmeter/blob/{commit}/openmeter/billing/service/lineservice/"
    "{test}_test.go"
)
STEEP = ("5: 0 + 100", "10: 0 + 50", "15: 10", "5")
GENTLE = ("5: 0 + 100", "10: 0 + 50", "15: 5", "1")
VOLUME = ("5: 0 + 100", "10: 0 + 150", "15: 10", "5")


def openmeter() -> Iterator[Example]:
    yield from table(
        "https://openmeter.io/docs/billing/product-catalog/pricing-models",
        "AI tokens",
        unit("0.01"),
        {"10000": "100"},
    )
    source = OPENMETER.format(commit="182a332b70d8", test="pricegraduatedtiered")
    totals = {"3": "100", "5": "100", "5.001": "150", "7": "150", "12": "170", "22": "235"}
    yield from table(source, "graduated totals", tiered("graduated", *STEEP), totals)
    # OpenMeter bills the first tier's flat fee for no use at all; here that is a minimum.
    zero = tiered("graduated", *STEEP, minimum_amount="100")
    yield from table(source, "graduated without use", zero, {"0": "100"})
    most = tiered("graduated", *GENTLE, maximum_amount="170")
    yield from table(source, "graduated, 170 at most", most, {"12": "160", "22": "170"})
    least = tiered("graduated", *GENTLE, minimum_amount="1000")
    yield from table(source, "graduated, 1000 at least", least, {"2": "1000"})

    source = OPENMETER.format(commit="24f440332269", test="pricevolumetiered")
    totals = {"3": "100", "5": "100", "14": "140", "15": "150", "16": "80", "100": "500"}
    yield from table(source, "volume", tiered("volume", *VOLUME), totals)
    least = tiered("volume", *VOLUME, minimum_amount="150")
    yield from table(source, "volume, 150 at least", least, {"0": "150", "5": "150"})
    least = tiered("volume", *VOLUME, minimum_amount="100")
    yield from table(source, "volume, 100 at least", least, {"5": "100", "100": "500"})
    most = tiered("volume", *VOLUME, maximum_amount="125")
    yield from table(source, "volume, 125 at most", most, {"7": "125"})

    source = OPENMETER.format(commit="4897a9753961", test="pricepackage")
    counts = {"0": "0", "1": "1", "9": "1", "10": "1", "11": "2"}
    yield from table(source, "packages of ten", package("1", "10"), counts)
    yield from table(source, "packages", package("15", "10"), {"0": "0", "5": "15", "10": "15"})
    most = package("15", "10", maximum_amount="100")
    yield from table(source, "packages, 100 at most", most, {"10": "15", "60": "90", "110": "100"})
    least = package("15", "10", minimum_amount="100")
    yield from table(source, "packages, 100 at least", least, {"0": "100"})

    source = OPENMETER.format(commit="13bb94495048", test="priceunit")
    most = unit("10", maximum_amount="100")
    yield from table(source, "units, 100 at most", most, {"7": "70", "10": "100", "12": "100"})
    yield from table(source, "units, 100 at least", unit("10", minimum_amount="100"), {"0": "100"})


KILL_BILL = "https://docs.killbill.io/latest/"
KILL_BILL_EXAMPLES = KILL_BILL + "catalog-examples.html"
WATER = ("1000: 1.5", "2")
MINUTES = ("100: 1", "0.5")  # in blocks of ten
MEGABYTES = ("1024: 0.5", "0.1")


def kill_bill() -> Iterator[Example]:
    source, month = KILL_BILL_EXAMPLES, flat("30")
    graduated = tiered("graduated", *WATER)
    yield from table(source, "water, all tiers", graduated, {"400": "630", "1200": "1930"}, month)
    volume = tiered("volume", *WATER)
    yield from table(source, "water, top tier", volume, {"400": "630", "1200": "2430"}, month)
    stairs = tiered("stairstep", "1000: 0 + 750", "0 + 500")
    yield from table(source, "water, capacity", stairs, {"400": "780", "1200": "530"}, month)
    blocks = tiered("graduated", *MINUTES)
    yield from table(source, "blocks of minutes", blocks, {"40": "70", "120": "140"}, month)
    yield from table(source, "single minutes", blocks, {"400": "280"}, month)

    source = KILL_BILL + "consumable_in_arrear.html"
    yield from table(source, "videos", tiered("graduated", "5: 2", "1"), {"13": "18"})

    source = KILL_BILL + "userguide_subscription.html"
    for model, minutes, megabytes, total in (
        ("graduated", "125", "614.4", "739.4"),
        ("volume", "75", "204.8", "279.8"),
    ):
        talk, data = tiered(model, *MINUTES), tiered(model, *MEGABYTES)
        yield from table(source, f"blocks of minutes, {model}", talk, {"150": minutes})
        yield from table(source, f"megabytes, {model}", data, {"2048": megabytes})
        yield from table(source, f"both, {model}", talk, {"150": total}, (data, "2048"))


def orb() -> Iterator[Example]:
    yield from table(
        "https://docs.withorb.com/invoicing/invoice-calculation-examples",
        "tiered API calls",
        tiered("graduated", "10000: 0.001", "100000: 0.0008", "0.0005"),
        {"150000": "107.00"},
    )
    yield from table(
        "https://docs.withorb.com/product-catalog/price-configuration",
        "bulk",
        tiered("volume", "10: 0.50", "0.40"),
        {"10": "5.00", "101": "40.40"},
    )


ZUORA = "https://docs.zuora.com/en/zuora-billing/bill-your-customer/"
ZUORA_DETAIL = (
    ZUORA
    + "billing-document-templates-configuration/configure-html-templates-for-billing-documents/"
    "customize-html-templates/configure-ratingdetails-in-html-template/ratingdetail-schema/"
)
ORACLE = "https://docs.oracle.com/en/industries/financial-services/"
ORACLE_SLABS = (
    ORACLE + "banking-liquidity-management/14.8.2.0.0/oblug/examples-tier-based-amount.html"
)
ORACLE_USAGE = (
    ORACLE
    + "financial-lending-leasing/15.0.0.0.0/leoug/tiered-and-non-tiered-usage-calculation.html"
)
ZUPLO = "https://zuplo.com/docs/articles/monetization/pricing-models"
FLEXPRICE = "https://docs.flexprice.io/docs/product-catalogue/plans/billing-models/"


def others() -> Iterator[Example]:
    yield from table(
        ZUORA_DETAIL + "example-tiered-pricing-mode",
        "overage",
        tiered("graduated", "100: 0", "2"),
        {"130": "60"},
    )
    yield from table(
        ZUORA_DETAIL + "example-flat-fee-pricing-model", "flat", flat("99.00")[0], {"160": "99"}
    )
    yield from table(
        ZUORA + "rating/on-demand-usage-rating/rating-by-billing-period",
        "tiers",
        tiered("graduated", "10: 2", "20: 3", "5"),
        {"15": "35"},
    )
    by_flat, by_unit = ("250: 0 + 10", "500: 0 + 20", "0 + 30"), ("250: 1", "500: 2", "3")
    yield from table(ORACLE_SLABS, "slabs", tiered("graduated", *by_flat), {"1000": "60"})
    yield from table(ORACLE_SLABS, "slabs by unit", tiered("graduated", *by_unit), {"1000": "2250"})
    yield from table(ORACLE_SLABS, "variable", tiered("stairstep", *by_flat), {"1000": "30"})
    yield from table(ORACLE_SLABS, "variable by unit", tiered("volume", *by_unit), {"1000": "3000"})
    for name, tiers, units, graduated, volume in (
        ("base", ("29: 1", "74: 2", "3"), "76", "125", "228"),
        ("cycle excess", ("49: 4", "5"), "51", "206", "255"),
        ("life excess", ("49: 6", "7"), "65", "406", "455"),
    ):
        yield from table(ORACLE_USAGE, name, tiered("graduated", *tiers), {units: graduated})
        yield from table(ORACLE_USAGE, f"{name}, flat", tiered("volume", *tiers), {units: volume})
    tiers = ("1000: 0.10", "10000: 0.05", "0.01")
    yield from table(ZUPLO, "per unit", unit("0.001"), {"100000": "100"})
    yield from table(ZUPLO, "graduated", tiered("graduated", *tiers), {"15000": "600"})
    yield from table(ZUPLO, "volume", tiered("volume", *tiers), {"15000": "150"})
    yield from table(
        "https://docs.useautumn.com/documentation/modelling-pricing/graduated-pricing",
        "requests",
        tiered("graduated", "1000: 0.01", "10000: 0.008", "0.005"),
        {"15000": "107"},
    )
    yield from table(FLEXPRICE + "tiered", "packages", package("1.00", "1000"), {"4500": "5"})
    stairs = tiered("stairstep", "1000: 0 + 50", "5000: 0 + 200", "0 + 350")
    yield from table(FLEXPRICE + "package", "messages", stairs, {"1500": "200", "4500": "200"})
    yield from table(
        "https://www.chargebee.com/docs/billing/2.0/product-catalog/package-pricing",
        "tokens",
        package("1.25", "1000000"),
        {"10": "1.25", "1000000": "1.25", "1500000": "2.50"},
    )
    yield from table(
        "https://lava.so/docs/monetize/meters",
        "tokens in tiers",
        tiered("graduated", "1000000: 0.000005", "10000000: 0.000003", "0.000001"),
        {"5000000": "17.00"},
    )
    yield from table(
        "https://lava.so/docs/monetize/meters", "tokens", unit("0.000002"), {"700": "0.0014"}
    )
    yield from table(
        "https://github.com/Azure/BillingCodeSamples/issues/15",
        "meter rates",
        tiered("graduated", "199: 1", "499: 0.9", "0.8"),
        {"250": "244.9"},
    )


EXAMPLES = [*stripe(), *lago(), *openmeter(), *kill_bill(), *orb(), *others()]


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda each: f"{urlparse(each.source).hostname}: {each.name}"
)
def test_a_published_price_is_met_to_the_last_digit(example: Example) -> None:
    total = Decimal(0)
    for price, quantity in example.charges:
        pricing.check(price)
        result = pricing.price(
            pricing=price, quantity=Decimal(quantity), transactions=example.transactions
        )
        total += result.amount
    assert total == Decimal(example.amount), example.source


@pytest.mark.parametrize(
    ("metered", "billed"), [("300", "0"), ("550", "50"), ("650", "150")], ids=str
)
def test_a_usage_discount_is_used_up_before_anything_is_billed(metered: str, billed: str) -> None:
    """500 units off and 300, 250 and 100 used: openmeter.io/docs/billing/invoicing/discounts."""
    result = pricing.price(pricing=unit("1", included="500"), quantity=Decimal(metered))
    assert result.billed_quantity == Decimal(billed)


def test_the_five_engines_publish_more_than_forty_of_these_examples() -> None:
    engines = ("stripe.com", "getlago.com", "openmeter", "killbill.io", "withorb.com")
    counts = {name: sum(name in each.source for each in EXAMPLES) for name in engines}
    assert all(counts.values()), counts
    assert sum(counts.values()) >= 40
