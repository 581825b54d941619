"""What if: real past usage under another price list, both sides by the run's own code."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor
from app.base.db import control_session
from app.cli.whatif import drawn, whatif_command
from invoices import catalogue, changes, invoicing, whatif
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import Charge
from invoices.models import Invoice, InvoiceLine
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tests.factories import make_readings, make_subscription, make_tenant

START, NOW = date(2026, 1, 15), datetime(2026, 5, 20, 3, 0, tzinfo=UTC)
# Whole months behind 20 May: 15 January to 15 May.
END = date(2026, 5, 15)


def subscriber(session: Session, *, seats: int | Sequence[int], name: str) -> Any:
    started = make_subscription(
        session, tenant=make_tenant(session, state="active", name=name), starts_on=START
    )
    make_readings(
        session,
        tenant_id=started.tenant_id,
        start=START,
        end=NOW.date(),
        seats=seats,
        gigabytes=130,
    )
    return started


def flat(amount: int) -> PlanTerms:
    return PlanTerms(
        plan_code="flat",
        position=9,
        currency="KRW",
        name_ko="정액",
        name_en="Flat",
        seats_max=50,
        storage_bytes_max=1,
        charges=(
            Charge(
                code="base",
                name_ko="정액",
                name_en="Flat",
                pricing=Pricing(model="flat", unit_amount=Decimal(amount)),
            ),
            Charge(
                code="setup",
                name_ko="설치",
                name_en="Set-up",
                kind="setup",
                pricing=Pricing(model="flat", unit_amount=Decimal(10**6)),
            ),
        ),
    )


def compare(session: Session, terms: PlanTerms, months: int = 6) -> list[Any]:
    return list(
        whatif.compare(
            control_session=session, usage_session=session, terms=terms, months=months, now=NOW
        )
    )


class TestTheComparison:
    def test_of_the_present_terms_changes_nothing_and_equals_what_was_billed(
        self, control_session: Session
    ) -> None:
        started = subscriber(control_session, seats=14, name="가온")
        team = next(t for t in DEFAULT_PLANS if (t.plan_code, t.currency) == ("team", "KRW"))
        (found,) = compare(control_session, team)
        assert found.before_minor == found.after_minor
        invoicing.bill(control_session=control_session, subscription_ids=[started.id], now=NOW)
        billed = control_session.scalar(
            select(func.sum(InvoiceLine.amount_minor))
            .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
            .where(func.upper(InvoiceLine.period) <= END)
        )
        assert found.before_minor == billed
        assert (found.start.date(), found.end.date()) == (date(2026, 1, 14), date(2026, 5, 14))

    def test_names_who_wins_and_who_loses(self, control_session: Session) -> None:
        subscriber(control_session, seats=5, name="작은곳")
        subscriber(control_session, seats=40, name="큰곳")
        found = {each.tenant_name: each for each in compare(control_session, flat(300_000))}
        # Team: 190,000 and 6,000 for 30 GB; seats above 10 cost 15,000 each.
        assert found["작은곳"].difference_minor == 4 * (300_000 - 196_000)
        assert found["큰곳"].difference_minor == 4 * (300_000 - 196_000 - 30 * 15_000)

    def test_takes_fewer_months_of_a_younger_subscriber_and_none_of_a_new_one(
        self, control_session: Session
    ) -> None:
        subscriber(control_session, seats=5, name="작은곳")
        make_subscription(
            control_session,
            tenant=make_tenant(control_session, state="active"),
            starts_on=date(2026, 5, 1),
        )
        (found,) = compare(control_session, flat(300_000), months=2)
        assert found.after_minor == 2 * 300_000

    def test_counts_a_pause_as_a_pause_under_either_list(self, control_session: Session) -> None:
        started = subscriber(control_session, seats=5, name="쉬는곳")
        who = {"actor": Actor("staff", "x"), "tenant_id": started.tenant_id}
        for verb, day in ((changes.pause, date(2026, 2, 15)), (changes.resume, date(2026, 4, 15))):
            verb(
                control_session=control_session,
                now=datetime(day.year, day.month, day.day, tzinfo=UTC),
                why="a quiet time",
                **who,
            )
        (found,) = compare(control_session, flat(300_000))
        assert found.after_minor == 2 * 300_000

    def test_leaves_out_whose_days_were_not_read_and_says_so(
        self, control_session: Session
    ) -> None:
        make_subscription(
            control_session,
            tenant=make_tenant(control_session, state="active", name="못읽은곳"),
            starts_on=START,
        )
        (found,) = compare(control_session, flat(300_000))
        assert "no reading of seats" in found.why

    def test_writes_nothing(self, control_session: Session) -> None:
        subscriber(control_session, seats=5, name="작은곳")
        compare(control_session, flat(300_000))
        assert control_session.scalar(select(func.count()).select_from(Invoice)) == 0


# What is sold by quantity, what is added and removed, and what nobody cuts.
SOLD = PlanTerms(
    plan_code="sold",
    position=9,
    currency="KRW",
    name_ko="판매",
    name_en="Sold",
    seats_max=500,
    storage_bytes_max=10**12,
    charges=tuple(
        Charge(
            code=code,
            name_ko=code,
            name_en=code,
            pricing=Pricing(model=model, unit_amount=Decimal(amount)),
            proration=proration,
            optional=code == "support",
            kind=kind,
            timing=timing,
        )
        for code, model, amount, proration, kind, timing in (
            ("base", "flat", "100001", "day", "recurring", "advance"),
            ("licences", "per_unit", "9999.5", "day", "recurring", "advance"),
            ("machines", "per_unit", "777", "none", "recurring", "arrears"),
            ("support", "flat", "31003", "second", "recurring", "advance"),
            ("least", "flat", "100000", "day", "commitment", "arrears"),
        )
    ),
)


def cheaper(terms: PlanTerms, code: str) -> PlanTerms:
    """The same plan, one charge of which costs nothing."""
    nothing = Pricing(model="per_unit", unit_amount=Decimal(0))
    charges = (replace(c, pricing=nothing) if c.code == code else c for c in terms.charges)
    return replace(terms, charges=tuple(charges))


class TestAPastOfChanges:
    """Five licences, fifty from 25 February on, twenty from 20 April on; support for a while."""

    @pytest.fixture
    def started(self, control_session: Session) -> Any:
        catalogue.publish(
            control_session=control_session,
            terms=SOLD,
            actor=SYSTEM,
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )
        made = make_subscription(
            control_session,
            tenant=make_tenant(control_session, state="active", name="바뀌는곳"),
            starts_on=START,
            plan_code="sold",
        )
        who = {"tenant_id": made.tenant_id, "actor": Actor("staff", "x"), "why": "a test"}

        def now(month: int, day: int) -> datetime:
            return datetime(2026, month, day, 3, tzinfo=UTC)

        def to(charge: str, quantity: int, at: datetime) -> None:
            changes.change_quantity(
                control_session=control_session,
                charge=charge,
                quantity=Decimal(quantity),
                when="now",
                now=at,
                **who,
            )

        to("licences", 5, now(1, 15))
        to("licences", 50, now(2, 25))
        to("machines", 9, now(3, 1))
        changes.add_charge(
            control_session=control_session, charge="support", quantity=Decimal(1), now=now(3, 3),
            **who,
        )  # fmt: skip
        changes.remove_charge(
            control_session=control_session, charge="support", when="now", now=now(4, 10), **who
        )
        to("licences", 20, now(4, 20))
        return made

    def billed(self, session: Session, charge: str = "") -> int:
        """What was billed for time that is compared, at list prices."""
        asked = (
            select(func.sum(InvoiceLine.amount_minor))
            .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
            .where(
                func.upper(InvoiceLine.period) <= END,
                InvoiceLine.kind.in_(("charge", "credit", "commitment")),
            )
        )
        if charge:
            asked = asked.where(InvoiceLine.charge == charge)
        return int(session.scalar(asked) or 0)

    def test_under_the_present_terms_is_what_was_billed(
        self, control_session: Session, started: Any
    ) -> None:
        invoicing.bill(control_session=control_session, subscription_ids=[started.id], now=NOW)
        (found,) = compare(control_session, SOLD)
        assert found.before_minor == self.billed(control_session)
        assert found.after_minor == found.before_minor

    @pytest.mark.parametrize("code", ["licences", "machines", "support"])
    def test_takes_each_charge_with_the_quantities_of_its_time(
        self, control_session: Session, started: Any, code: str
    ) -> None:
        invoicing.bill(control_session=control_session, subscription_ids=[started.id], now=NOW)
        (found,) = compare(control_session, cheaper(SOLD, code))
        asked = self.billed(control_session, code)
        assert asked > 0
        assert found.difference_minor == -asked

    def test_counts_a_pause_and_another_billing_day_as_they_were(
        self, control_session: Session, started: Any
    ) -> None:
        who = {"tenant_id": started.tenant_id, "actor": Actor("staff", "x"), "why": "a test"}
        who |= {"control_session": control_session}
        changes.change_billing_day(billing_day=3, now=datetime(2026, 4, 22, 3, tzinfo=UTC), **who)
        changes.pause(now=datetime(2026, 4, 28, 3, tzinfo=UTC), **who)
        changes.resume(now=datetime(2026, 5, 2, 3, tzinfo=UTC), **who)
        (found,) = compare(control_session, SOLD)
        assert found.after_minor == found.before_minor


class TestTheCommand:
    @pytest.fixture
    def asked(self, scenario: Any, set_clock: Any, tmp_path: Path) -> tuple[Any, Path]:
        with control_session() as session:
            subscriber(session, seats=5, name="=SUM(A1) 작은곳")
            subscriber(session, seats=40, name="큰곳")
            catalogue.publish(control_session=session, terms=flat(300_000), actor=SYSTEM, now=NOW)
        set_clock(NOW)
        answer = CliRunner().invoke(
            whatif_command,
            ["--plan", "flat", "--csv", f"{tmp_path}/w.csv", "--chart", f"{tmp_path}/w.svg"],
        )
        return answer, tmp_path

    def test_shows_each_and_the_total(self, asked: tuple[Any, Path]) -> None:
        answer, _ = asked
        assert answer.exit_code == 0, answer.output
        assert "2 subscribers: ₩3,368,000 → ₩2,400,000" in answer.output
        assert "1 would have paid less, 1 more" in answer.output

    def test_writes_a_table_that_runs_no_formula(self, asked: tuple[Any, Path]) -> None:
        with (asked[1] / "w.csv").open(encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["tenant"] for row in rows} == {"'=SUM(A1) 작은곳", "큰곳"}
        assert sum(int(row["difference"]) for row in rows) == 2_400_000 - 3_368_000

    def test_draws_a_chart_that_counts_everybody(self, asked: tuple[Any, Path]) -> None:
        drawing = ElementTree.parse(asked[1] / "w.svg")  # noqa: S314 - our own
        texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
        assert sum(int(text) for text in texts[::2] if text) == 2

    def test_of_nobody_is_drawn_as_well(self) -> None:
        ElementTree.fromstring(drawn([], "flat & <new>"))  # noqa: S314 - our own
