"""The price list and its estimate: right for any plan that the catalogue can hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from app.web.site import estimates, prices
from invoices import catalogue, price_words
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import Charge
from invoices.periods import QUARTERLY, YEARLY, Interval
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tests.factories import make_catalogue
from tests.invoices.plans import EVERYTHING, TEAM


def flat(code: str, amount: int, **fields: object) -> Charge:
    return Charge(
        code=code,
        name_ko=code,
        name_en=code,
        pricing=Pricing(model="flat", unit_amount=Decimal(amount)),
        **fields,  # type: ignore[arg-type]
    )


def estimate(terms: PlanTerms, **given: int) -> estimates.Estimate:
    """The estimate of a plan that nobody published, for 12 people and 150 GB where not said."""
    words = price_words.plan(terms, "en")
    offer = prices.Offer(terms=terms, words=words, version=None)  # type: ignore[arg-type]
    (found,) = estimates.estimates([offer], {"seats": 12, "storage": 150} | given)
    return found


class TestEstimate:
    def test_is_what_a_month_of_30_days_with_the_same_use_is_billed(self) -> None:
        found = estimate(TEAM)
        assert found.fixed == Money(190_000, "KRW")
        assert found.used == {"seats": Money(30_000, "KRW"), "storage": Money(10_000, "KRW")}
        assert found.total == Money(230_000, "KRW")
        assert found.fits
        assert not estimate(TEAM, seats=51).fits

    @pytest.mark.parametrize(
        ("interval", "amount", "monthly"),
        [
            (YEARLY, 1_200_000, 100_000),
            (QUARTERLY, 100_000, 33_333),
            (Interval(1, "week"), 7_000, 30_417),  # 365 days of 1,000 in twelve parts
        ],
    )
    def test_counts_other_intervals_with_their_part_of_a_month(
        self, interval: Interval, amount: int, monthly: int
    ) -> None:
        terms = replace(TEAM, charges=(flat("base", amount, interval=interval),))
        assert estimate(terms).total == Money(monthly, "KRW")

    def test_tops_up_to_a_commitment_and_names_set_up_fees_apart(self) -> None:
        least = flat("least", 500_000, kind="commitment", timing="arrears")
        setup = flat("setup", 300_000, kind="setup")
        extra = flat("extra", 99_000, optional=True)
        found = estimate(replace(TEAM, charges=(*TEAM.charges, least, setup, extra)))
        assert (found.top_up, found.once) == (Money(270_000, "KRW"), Money(300_000, "KRW"))
        assert found.total == Money(500_000, "KRW")

    def test_prices_what_is_used_up_by_the_month(self) -> None:
        calls = Charge(
            code="calls",
            name_ko="호출",
            name_en="Calls",
            timing="arrears",
            meter="api_calls",
            interval=QUARTERLY,
            pricing=Pricing(model="percentage", rate_percent=Decimal(10), fixed_amount=Decimal(5)),
        )
        found = estimate(
            replace(TEAM, charges=(TEAM.charges[0], calls)),
            api_calls=1000,
            **{"api_calls.count": 4},
        )
        assert found.used == {"api_calls": Money(120, "KRW")}

    def test_can_price_every_kind_of_charge(self) -> None:
        given = {"seats": 200, "storage": 2000, "files_added": 2500, "storage.count": 2}
        found = estimate(EVERYTHING, **given)
        assert found.fixed == Money(100_000, "KRW")
        # 100 of the 195 that count at 9,000, then 95 at 7,000.5 and the second tier's flat part.
        assert found.used["seats"] == Money(900_000 + 665_047 + 10_000, "KRW")


class TestPages:
    @pytest.fixture
    def published(self, scenario: object, now: datetime) -> None:
        """The default price list and a plan with one of everything."""
        with control_session() as session:
            make_catalogue(session, now=now)
            catalogue.publish(control_session=session, terms=EVERYTHING, actor=SYSTEM, now=now)

    @pytest.mark.usefixtures("published")
    @pytest.mark.parametrize("language", ["ko", "en"])
    @pytest.mark.parametrize("page", ["/", "/pricing"])
    def test_show_every_charge_in_words(
        self, client: FlaskClient, page: str, language: str
    ) -> None:
        text = client.get(f"{page}?currency=KRW&lang={language}").text
        words = price_words.plan(EVERYTHING, language)
        assert words.headline.figure in text
        for each in (*words.points, *words.extras):
            assert each.price in text
            for tier in each.tiers:
                assert tier.reach in text
                assert tier.price in text

    @pytest.mark.usefixtures("published")
    def test_say_in_short_what_a_plan_costs_on_the_form(self, client: FlaskClient) -> None:
        assert "모든 것, 연 ₩1,200,000" in client.get("/trial?lang=ko").text
        assert "Team, $149.00 a month" in client.get("/trial?lang=en").text

    @pytest.mark.usefixtures("published")
    def test_ask_for_every_number_that_the_estimate_needs(self, client: FlaskClient) -> None:
        text = client.get("/pricing?currency=KRW&lang=en&files_added=99999").text
        assert 'name="files_added"' in text
        assert 'value="99999"' in text
        assert 'name="storage.count"' in text
        assert "Up to the minimum" in text

    def test_without_any_plan_say_so(self, client: FlaskClient) -> None:
        assert "No price list yet" in client.get("/pricing?lang=en").text


class TestWords:
    @pytest.mark.parametrize("terms", DEFAULT_PLANS, ids=lambda terms: terms.plan_code)
    def test_of_the_default_plans_are_short(self, terms: PlanTerms) -> None:
        for language in ("ko", "en"):
            words = price_words.plan(terms, language)
            assert words.headline.charges == ("base",)
            assert len(price_words.points(words.points)) == 2
            assert all(len(text) < 70 for text, _ in price_words.points(words.points))

    def test_are_the_same_after_the_database(self, control_session: Session, now: datetime) -> None:
        version = catalogue.publish(
            control_session=control_session, terms=EVERYTHING, actor=SYSTEM, now=now
        )
        control_session.expire_all()
        stored = catalogue.terms_of(version, position=EVERYTHING.position)
        for language in ("ko", "en"):
            assert price_words.plan(stored, language) == price_words.plan(EVERYTHING, language)
