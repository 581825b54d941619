"""A file against the price list in force: what it changes, whom it touches, and publishing it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.errors import Invalid
from invoices import catalogue, catalogue_changes, catalogue_file
from invoices.catalogue_changes import Difference, VersionInUse
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.catalogue_file import CatalogueFile
from invoices.models import Plan, PlanVersion
from tests.factories import make_catalogue, make_subscription
from tests.invoices.plans import EVERYTHING, TEAM, dearer

STARTER = DEFAULT_PLANS[0]


@pytest.fixture
def price_list(control_session: Session, now: datetime) -> CatalogueFile:
    """The default plans, published, as a file."""
    make_catalogue(control_session, now=now)
    return catalogue_changes.stored(control_session=control_session)


def apply(session: Session, wanted: CatalogueFile, now: datetime) -> Difference:
    return catalogue_changes.apply(control_session=session, wanted=wanted, actor=SYSTEM, now=now)


def kinds(found: Difference) -> list[tuple[str, str, str]]:
    return [(step.kind, step.plan_code, step.currency) for step in found.steps]


def with_team(wanted: CatalogueFile, amount: int) -> CatalogueFile:
    plans = [dearer(each, amount) if each == TEAM else each for each in wanted.plans]
    return replace(wanted, plans=tuple(plans))


class TestTheStoredPriceList:
    def test_is_the_default_one_after_a_round_through_the_database_and_a_file(
        self, control_session: Session, price_list: CatalogueFile
    ) -> None:
        assert sorted(price_list.plans, key=str) == sorted(DEFAULT_PLANS, key=str)
        control_session.expire_all()
        written = catalogue_file.write(
            catalogue_changes.stored(control_session=control_session),
            remarks=catalogue_changes.remarks(control_session=control_session),
        )
        assert "# version 1, published 2026-03-10" in written
        meters = catalogue.meters(control_session=control_session)
        read = catalogue_file.read(written, meters=meters)
        assert read == price_list
        found = catalogue_changes.difference(control_session=control_session, wanted=read)
        assert found == Difference((), ())

    def test_keeps_every_kind_of_charge(self, control_session: Session, now: datetime) -> None:
        apply(control_session, CatalogueFile((EVERYTHING,)), now)
        control_session.expire_all()
        assert catalogue_changes.stored(control_session=control_session).plans == (EVERYTHING,)


class TestDifference:
    def test_names_new_versions_new_plans_and_what_is_not_spoken_of(
        self, control_session: Session, price_list: CatalogueFile
    ) -> None:
        found = catalogue_changes.difference(
            control_session=control_session,
            wanted=CatalogueFile((dearer(TEAM), EVERYTHING), retired=("studio",)),
        )
        assert kinds(found) == [
            ("new_version", "team", "KRW"),
            ("new_plan", "everything", "KRW"),
            ("retire", "studio", ""),
        ]
        assert [step.version for step in found.steps] == [2, 1, 0]
        assert [str(each) for each in found.steps[0].changes] == [
            "~ charges.base.price.unit_amount: 190000 → 210000"
        ]
        assert found.unmentioned == ("starter",)

    def test_counts_who_stays_on_each_older_version(
        self, control_session: Session, price_list: CatalogueFile, now: datetime
    ) -> None:
        make_subscription(control_session)
        make_subscription(control_session)
        apply(control_session, with_team(price_list, 210_000), now)
        make_subscription(control_session)
        make_subscription(control_session, state="cancelled")
        found = catalogue_changes.difference(
            control_session=control_session, wanted=with_team(price_list, 230_000)
        )
        (step,) = found.steps
        assert step.in_use == (VersionInUse(1, 2), VersionInUse(2, 1))
        assert step.subscribers == 3

    def test_refuses_to_retire_what_was_never_sold(self, control_session: Session) -> None:
        with pytest.raises(Invalid, match="no plan gold"):
            catalogue_changes.difference(
                control_session=control_session, wanted=CatalogueFile((), ("gold",))
            )


class TestApplying:
    def test_publishes_once_and_leaves_the_old_version_and_its_subscribers(
        self, control_session: Session, price_list: CatalogueFile, now: datetime
    ) -> None:
        subscription = make_subscription(control_session)
        wanted = with_team(price_list, 210_000)
        assert kinds(apply(control_session, wanted, now)) == [("new_version", "team", "KRW")]
        assert apply(control_session, wanted, now) == Difference((), ())
        versions = control_session.scalars(
            select(PlanVersion)
            .where(PlanVersion.plan_code == "team", PlanVersion.currency == "KRW")
            .order_by(PlanVersion.version)
        ).all()
        assert [version.prices[0].unit_amount for version in versions] == [190_000, 210_000]
        assert subscription.plan_version_id == versions[0].id

    def test_retires_restores_and_reorders_with_who_and_when(
        self, control_session: Session, price_list: CatalogueFile, now: datetime
    ) -> None:
        without = CatalogueFile((), retired=("team",))
        assert kinds(apply(control_session, without, now)) == [("retire", "team", "")]
        assert apply(control_session, without, now).steps == ()
        assert catalogue_changes.stored(control_session=control_session).retired == ("team",)
        moved = replace(TEAM, position=0)
        found = apply(control_session, CatalogueFile((moved,)), now)
        assert kinds(found) == [("restore", "team", ""), ("position", "team", "")]
        offered = catalogue.offers(control_session=control_session, currency="KRW")
        assert [each.plan_code for each in offered] == ["team", "starter", "studio"]
        actions = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject_id == "team").order_by(AuditEvent.id)
        ).all()
        assert actions == ["plan.retired", "plan.restored", "plan.repositioned"]

    def test_is_all_or_nothing(
        self, control_session: Session, price_list: CatalogueFile, now: datetime
    ) -> None:
        unsound = replace(EVERYTHING, charges=EVERYTHING.charges[1:2])
        with pytest.raises(Invalid), control_session.begin_nested():
            apply(control_session, CatalogueFile((dearer(TEAM), unsound)), now)
        count = select(func.count()).select_from(PlanVersion)
        assert control_session.scalar(count) == len(DEFAULT_PLANS)
        assert control_session.get(Plan, "everything") is None
