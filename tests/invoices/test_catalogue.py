"""The catalogue: versions that nobody can change."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.errors import Invalid
from invoices import catalogue, charges
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import Charge
from invoices.models import Plan, PlanVersion, Price
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing

TEAM = next(
    terms for terms in DEFAULT_PLANS if (terms.plan_code, terms.currency) == ("team", "KRW")
)


def publish(session: Session, terms: PlanTerms, now: datetime) -> PlanVersion:
    return catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=now)


def dearer(terms: PlanTerms) -> PlanTerms:
    base, *rest = terms.charges
    pricing = replace(base.pricing, unit_amount=Decimal(210_000))
    return replace(terms, charges=(replace(base, pricing=pricing), *rest))


class TestPublishing:
    def test_makes_a_new_version_and_leaves_the_old_one(
        self, control_session: Session, now: datetime
    ) -> None:
        first = publish(control_session, TEAM, now)
        second = publish(control_session, dearer(TEAM), now)
        assert (first.version, second.version) == (1, 2)
        found = catalogue.current(control_session=control_session, plan_code="team", currency="KRW")
        assert found.id == second.id
        control_session.expire_all()
        assert first.prices[0].unit_amount == 190_000

    def test_the_same_terms_again_makes_none(self, control_session: Session, now: datetime) -> None:
        first = publish(control_session, TEAM, now)
        control_session.expire_all()  # amounts come back from the database with twelve decimals
        assert publish(control_session, TEAM, now).id == first.id

    @pytest.mark.parametrize("model", [PlanVersion, Price])
    def test_cannot_be_undone_or_edited(
        self, control_session: Session, now: datetime, model: type[PlanVersion] | type[Price]
    ) -> None:
        publish(control_session, TEAM, now)
        for statement in (update(model).values(id=model.id), delete(model)):
            with (
                pytest.raises(DBAPIError, match=r"never changed|permission denied"),
                control_session.begin_nested(),
            ):
                control_session.execute(statement)

    @pytest.mark.parametrize(
        ("place", "changes", "field"),
        [
            (0, {"pricing": Pricing(model="flat", unit_amount=Decimal(-1))}, "base.unit_amount"),
            (0, {"meter": "seats"}, "base.timing"),
            (0, {"code": "seats"}, None),
            (0, {"code": "Base fee"}, "Base fee.charge"),
            (0, {"name_en": " "}, "base.name"),
            (0, {"kind": "now and then"}, "base.kind"),
            (0, {"kind": "commitment"}, "base.kind"),
            (0, {"optional": True, "kind": "setup"}, "base.kind"),
            (0, {"pricing": Pricing(model="percentage", rate_percent=Decimal(2))}, "base.meter"),
            (1, {"timing": "advance"}, "seats.timing"),
            (1, {"meter": "moon phases"}, "seats.meter"),
            (1, {"meter": None}, "seats.meter"),
            (1, {"aggregation": "median"}, "seats.aggregation"),
            (1, {"proration": "hour"}, "seats.proration"),
            (1, {"kind": "one_off"}, "seats.kind"),
        ],
    )
    def test_refuses_terms_that_make_no_sense_at_the_field_that_is_wrong(
        self,
        control_session: Session,
        now: datetime,
        place: int,
        changes: dict[str, object],
        field: str | None,
    ) -> None:
        charges = list(TEAM.charges)
        charges[place] = replace(charges[place], **changes)  # type: ignore[arg-type]
        with pytest.raises(Invalid) as refused:
            publish(control_session, replace(TEAM, charges=tuple(charges)), now)
        assert refused.value.field == (f"charges.{field}" if field else "charges")


class TestOffers:
    def test_are_the_current_versions_in_order_by_currency(
        self, control_session: Session, now: datetime
    ) -> None:
        catalogue.publish_default(control_session=control_session, actor=SYSTEM, now=now)
        newest = publish(control_session, dearer(TEAM), now)
        in_won = catalogue.offers(control_session=control_session, currency="KRW")
        assert [each.plan_code for each in in_won] == ["starter", "team", "studio"]
        assert in_won[1].id == newest.id
        in_dollars = catalogue.offers(control_session=control_session, currency="USD")
        assert [each.version for each in in_dollars] == [1, 1, 1]
        assert catalogue.offers(control_session=control_session, currency="EUR") == []

    def test_leave_out_a_plan_that_is_retired(
        self, control_session: Session, now: datetime
    ) -> None:
        catalogue.publish_default(control_session=control_session, actor=SYSTEM, now=now)
        control_session.execute(update(Plan).where(Plan.code == "team").values(retired_at=now))
        offered = catalogue.offers(control_session=control_session, currency="KRW")
        assert [each.plan_code for each in offered] == ["starter", "studio"]

    def test_publishing_the_default_again_keeps_a_price_changed_since(
        self, control_session: Session, now: datetime
    ) -> None:
        catalogue.publish_default(control_session=control_session, actor=SYSTEM, now=now)
        changed = publish(control_session, dearer(TEAM), now)
        catalogue.publish_default(control_session=control_session, actor=SYSTEM, now=now)
        versions = control_session.scalars(
            select(PlanVersion.version).where(
                PlanVersion.plan_code == "team", PlanVersion.currency == "KRW"
            )
        ).all()
        assert sorted(versions) == [1, changed.version]

    def test_say_what_they_allow_in_whole_numbers(
        self, control_session: Session, now: datetime
    ) -> None:
        version = publish(control_session, TEAM, now)
        assert catalogue.limits_of(version) == {"seats": 50, "storage_bytes": 500_000_000_000}

    def test_name_a_plan_that_is_not_there(self, control_session: Session) -> None:
        with pytest.raises(catalogue.PlanNotOffered, match="gold"):
            catalogue.current(control_session=control_session, plan_code="gold", currency="KRW")


class TestALevelToldByEvents:
    @pytest.mark.parametrize("proration", ["day", "second"])
    def test_is_paid_for_by_whole_periods_only(self, proration: str) -> None:
        held = Charge(
            code="tanks",
            name_ko="탱크",
            name_en="Tanks",
            timing="arrears",
            meter="tanks_held",
            proration=proration,
            pricing=Pricing(model="per_unit", unit_amount=Decimal(1)),
        )
        known = {"tanks_held": charges.Meter(by_day=False, held=True)}
        with pytest.raises(charges.ChargeUnsound, match="two halves") as refused:
            charges.check_meter(held, known)
        assert refused.value.field == "proration"
        charges.check_meter(replace(held, proration="none"), known)
