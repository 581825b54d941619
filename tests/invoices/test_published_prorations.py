"""Parts of periods that other billing engines publish the price of, worked through by ours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction

import pytest

from app.base.money import Rounding
from invoices import proration
from invoices.periods import Period

KILL_BILL_EXAMPLES = "https://docs.killbill.io/latest/catalog-examples.html"
LAGO = "https://getlago.com/docs/guide/"
CHARGEBEE_OLD = "https://www.chargebee.com/docs/proration-old.html"
CHARGEBEE_TOPIC = "https://support.chargebee.com/support/discussions/topics/40893"
LAGO_UPGRADES = LAGO + "subscriptions/upgrades-downgrades"
ZUORA_PARTIAL = (
    "https://knowledgecenter.zuora.com/BC_Subscription_Management/Subscriptions/G_Proration/"
    "Calculating_Total_Amount_with_Partial_Period_Proration"
)
# Source, price of the whole period, the period, the part of it, what the part costs.
PARTS = [
    (KILL_BILL_EXAMPLES, "24.95", "2021-08-25/2021-09-25", "2021-09-16/2021-09-25", "7.24"),
    (KILL_BILL_EXAMPLES, "24.95", "2021-09-17/2021-10-17", "2021-09-25/2021-10-17", "18.30"),
    (KILL_BILL_EXAMPLES, "24.95", "2021-08-25/2021-09-25", "2021-09-17/2021-09-25", "6.44"),
    (KILL_BILL_EXAMPLES, "24.95", "2021-09-25/2021-10-25", "2021-09-30/2021-10-25", "20.79"),
    (KILL_BILL_EXAMPLES, "17.95", "2021-09-20/2021-10-20", "2021-09-30/2021-10-20", "11.97"),
    (KILL_BILL_EXAMPLES, "15", "2021-09-29/2021-10-29", "2021-09-29/2021-10-29", "15"),
    (LAGO_UPGRADES, "100", "2026-01-01/2026-02-01", "2026-01-01/2026-01-15", "45.16"),
    (ZUORA_PARTIAL, "100", "2017-12-15/2018-01-15", "2018-01-01/2018-01-15", "45.16"),
    (CHARGEBEE_OLD, "60", "2012-04-01/2012-05-01", "2012-04-01/2012-04-21", "40"),
    (CHARGEBEE_OLD, "60", "2012-04-01/2012-05-01", "2012-04-21/2012-05-01", "20"),
    (CHARGEBEE_OLD, "30", "2012-04-01/2012-05-01", "2012-04-21/2012-05-01", "10"),
    (CHARGEBEE_TOPIC, "30", "2013-04-01/2013-05-01", "2013-04-05/2013-05-01", "26"),
    (CHARGEBEE_TOPIC, "15", "2013-04-01/2013-05-01", "2013-04-05/2013-05-01", "13"),
]


def dates(span: str) -> tuple[date, date]:
    first, until = span.split("/")
    return date.fromisoformat(first), date.fromisoformat(until)


def share_of(period: str, part: str, policy: str = "day") -> tuple[Fraction, Fraction]:
    start, end = (datetime.combine(day, time(), UTC) for day in dates(part))
    return proration.share(
        policy=policy, period=Period(*dates(period)), timezone="UTC", start=start, end=end
    )


def part_of(full: str, share: tuple[Fraction, Fraction]) -> Decimal:
    minor = proration.part_minor(
        full_minor_exact=Decimal(full) * 100, share=share, rounding=Rounding.HALF_UP
    )
    return Decimal(minor) / 100


@pytest.mark.parametrize(("source", "full", "period", "part", "amount"), PARTS)
def test_a_published_part_of_a_period_is_met_to_the_cent(
    source: str, full: str, period: str, part: str, amount: str
) -> None:
    assert part_of(full, share_of(period, part)) == Decimal(amount), source


ZUORA_RATIOS = (
    "https://docs.zuora.com/en/zuora-billing/manage-accounts-subscriptions-and-non-subscriptions/"
    "manage-subscription-transactions/common-subscription-information/proration/"
    "when-prorating-a-month-assume-30-days-in-a-month-or-use-actual-days"
)


@pytest.mark.parametrize(
    ("month", "part", "ratio"),
    [
        ("2021-01-01/2021-02-01", "2021-01-27/2021-02-01", Fraction(5, 31)),
        ("2021-02-01/2021-03-01", "2021-02-27/2021-03-01", Fraction(2, 28)),
        ("2020-02-01/2020-03-01", "2020-02-01/2020-03-01", Fraction(29, 29)),
        ("2021-04-01/2021-05-01", "2021-04-21/2021-04-30", Fraction(9, 30)),
    ],
)
def test_a_published_ratio_of_actual_days_is_met_exactly(
    month: str, part: str, ratio: Fraction
) -> None:
    start, end = share_of(month, part)
    assert end - start == ratio, ZUORA_RATIOS


# Source, where in the period the change lies, old price and its credit, new price and its charge.
AUTUMN = "https://docs.useautumn.com/documentation/modelling-pricing/proration"
STRIPE = "https://docs.stripe.com/billing/subscriptions/prorations"
CHARGEBEE_LOGIC = "https://support.chargebee.com/support/solutions/articles/15293"
RECURLY = "https://support.recurly.com/hc/en-us/articles/360029630811"
CHANGES = [
    (STRIPE, Fraction(1, 2), ("10", "5"), ("20", "10")),
    (AUTUMN, Fraction(1, 2), ("20", "10"), ("50", "25")),
    (CHARGEBEE_LOGIC, Fraction(15, 30), ("30", "15"), ("100", "50")),
    (CHARGEBEE_OLD, Fraction(10, 30), ("90", "60"), ("60", "40")),
    (KILL_BILL_EXAMPLES, Fraction(0), ("500", "500"), ("1000", "1000")),
    (KILL_BILL_EXAMPLES, Fraction(0), ("500", "500"), ("2000", "2000")),
    (RECURLY, Fraction(15, 30), ("0", "0"), ("10", "5")),
    (LAGO + "plans/charges/prorated-vs-full", Fraction(8, 30), ("0", "0"), ("10", "7.33")),
]


@pytest.mark.parametrize(("source", "at", "old", "new"), CHANGES)
def test_a_published_change_credits_and_charges_what_its_source_says(
    source: str, at: Fraction, old: tuple[str, str], new: tuple[str, str]
) -> None:
    rest = (at, proration.END)
    assert part_of(old[0], rest) == Decimal(old[1]), source
    assert part_of(new[0], rest) == Decimal(new[1]), source


def test_a_charge_without_proration_is_billed_whole_for_22_days() -> None:
    """getlago.com/docs/guide/plans/charges/prorated-vs-full, "fully-billed"."""
    share = share_of("2026-07-01/2026-08-01", "2026-07-10/2026-08-01", policy="none")
    assert part_of("10", share) == 10
