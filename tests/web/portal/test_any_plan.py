"""The portal's plan and conversion pages with a plan that has one of every kind of charge."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import catalogue, price_words
from tests.factories import NOW
from tests.invoices.plans import EVERYTHING
from tests.web.portal.parts import customer, sign_in


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


@pytest.fixture
def signed_in(client: Any) -> Any:
    """An admin on trial, with everything on offer."""
    tenant = customer()
    with control_session() as session:
        catalogue.publish(control_session=session, terms=EVERYTHING, actor=SYSTEM, now=NOW)
    sign_in(client, tenant)
    return client


@pytest.mark.parametrize("language", ["ko", "en"])
class TestAnyPlan:
    def test_is_offered_with_all_its_charges(self, signed_in: Any, language: str) -> None:
        text = html.unescape(signed_in.get(f"/portal/plan?lang={language}").text)
        words = price_words.plan(EVERYTHING, language)
        assert words.headline.figure in text
        for each in (*words.points, *words.extras):
            assert each.price in text

    def test_is_subscribed_to_after_seeing_every_price_and_the_first_bill(
        self, signed_in: Any, language: str
    ) -> None:
        page = f"/portal/plan/convert?plan=everything&method=transfer&lang={language}"
        text = html.unescape(signed_in.get(page).text)
        for each in EVERYTHING.charges:
            for line in price_words.lines(each, "KRW", language):
                assert line in text  # the terms say it in full
            assert price_words.charge(each, "KRW", language).price in text
        # A year's base fee and the set-up fee, with 10 % on top.
        assert "₩1,650,000" in text
        assert price_words.plan(EVERYTHING, language).headline.sentence in text
