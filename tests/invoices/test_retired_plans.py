"""A plan that is retired: nobody new has it, and whoever has it keeps it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.ids import uuid7
from invoices import catalogue, changes, quotations, subscriptions
from invoices.catalogue import PlanRetired
from invoices.models import Plan
from invoices.quotations import Wish
from invoices.subscriptions import ConversionConsent
from tests.factories import NOW, make_tenant
from tests.invoices.test_changes import ADMIN, LARGE, START, Story, lines, seoul


def retire(session: Session, plan_code: str) -> None:
    session.execute(update(Plan).where(Plan.code == plan_code).values(retired_at=seoul(START)))


@pytest.fixture
def story(control_session: Session) -> Story:
    return Story(control_session)


class TestARetiredPlan:
    @pytest.mark.parametrize("when", ["now", "period_end"])
    def test_is_nobody_s_to_change_to(self, story: Story, when: str) -> None:
        retire(story.session, "large")
        with pytest.raises(PlanRetired, match="large is offered to nobody new"):
            story.do(changes.change_plan, date(2026, 3, 2), plan_code="large", when=when)

    def test_is_nobody_s_to_begin_with(self, story: Story) -> None:
        version = catalogue.current(
            control_session=story.session, plan_code="large", currency="KRW"
        )
        retire(story.session, "large")
        tenant = make_tenant(story.session)
        terms = subscriptions.conversion_terms(
            version=version, language="en", method="transfer", starts_on=NOW.date()
        )
        with pytest.raises(PlanRetired):
            subscriptions.convert(
                control_session=story.session,
                tenant_id=tenant.id,
                plan_code="large",
                currency="KRW",
                consent=ConversionConsent(
                    accepted=True, text_sha256=terms.sha256, language="en", method="transfer"
                ),
                actor=ADMIN,
                now=NOW,
            )

    def test_is_quoted_to_nobody(self, story: Story) -> None:
        retire(story.session, "large")
        with pytest.raises(PlanRetired):
            quotations.make(
                control_session=story.session,
                wish=Wish(plan_code="large", currency="KRW", seats=3, months=12, valid_days=30),
                tenant=story.tenant,
                actor=Actor.staff(uuid7()),
                now=NOW,
            )

    def test_stays_with_whoever_has_it(self, story: Story) -> None:
        retire(story.session, "small")
        story.do(
            changes.change_quantity,
            START,
            charge="licences",
            quantity=Decimal(4),
            when="now",
        )
        story.do(changes.add_charge, START, charge="support", quantity=Decimal(1))
        (march,) = story.run(START)
        assert ("charge", "support", 6_200) in lines(march)
        story.do(changes.pause, date(2026, 3, 20), why="a quiet month")
        story.run(date(2026, 3, 20))
        story.do(changes.resume, date(2026, 4, 1), hour=0)
        (april,) = story.run(date(2026, 4, 1))
        assert ("charge", "licences", 12_400) in lines(april)

    def test_is_still_what_a_change_lying_ahead_comes_to(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 5), plan_code="large", when="period_end")
        retire(story.session, "large")
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april)[0] == ("charge", "base", 93_000)

    def test_is_found_with_its_newest_terms_all_the_same(self, story: Story) -> None:
        retire(story.session, "large")
        found = catalogue.newest(control_session=story.session, plan_code="large", currency="KRW")
        assert found.id == story.versions["large"].id
        with pytest.raises(catalogue.PlanNotOffered):
            catalogue.newest(control_session=story.session, plan_code=LARGE.plan_code, currency="X")
