"""Changes of a subscription: what they cost, when they come, and that nothing is charged twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor, AuditEvent
from app.base.errors import Invalid
from app.base.invariants import offences
from invoices import amending, catalogue, changes, invoicing
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import Charge
from invoices.checks import INVARIANTS
from invoices.models import CreditGrant, Invoice, PlanVersion, Subscription, SubscriptionItem
from invoices.periods import YEARLY
from invoices.plan_changes import DoesNotFit
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tenants.models import Tenant
from tests.factories import make_readings, make_subscription, make_tenant

ADMIN = Actor("admin", "somebody")
START = date(2026, 3, 1)


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def fee(code: str, amount: int, **fields: Any) -> Charge:
    pricing = fields.pop("pricing", Pricing(model="flat", unit_amount=Decimal(amount)))
    return Charge(code=code, name_ko=code, name_en=code, pricing=pricing, **fields)


def each(amount: int) -> Pricing:
    return Pricing(model="per_unit", unit_amount=Decimal(amount))


def plan(code: str, *charges: Charge, seats_max: int = 50) -> PlanTerms:
    return PlanTerms(
        plan_code=code,
        position=9,
        currency="KRW",
        name_ko=code,
        name_en=code,
        seats_max=seats_max,
        storage_bytes_max=1,
        charges=charges,
    )


SMALL = plan(
    "small",
    fee("base", 31_000),
    fee("licences", 0, pricing=each(3_100)),
    fee("support", 6_200, optional=True),
    fee("training", 50_000, kind="one_off", optional=True),
    fee("setup", 10_000, kind="setup"),
)
LARGE = plan("large", fee("base", 93_000), fee("licences", 0, pricing=each(6_200)))
TINY = plan("tiny", fee("base", 1_000), seats_max=3)


class Story:
    """A subscription on SMALL, and what happens to it day by day."""

    def __init__(self, session: Session, terms: PlanTerms = SMALL) -> None:
        self.session = session
        self.versions = {
            each.plan_code: catalogue.publish(
                control_session=session, terms=each, actor=SYSTEM, now=seoul(START)
            )
            for each in (*DEFAULT_PLANS[:1], SMALL, LARGE, TINY, terms)
        }
        self.subscription = make_subscription(
            session,
            tenant=make_tenant(session, state="active"),
            plan_code=terms.plan_code,
            starts_on=START,
            now=seoul(START),
        )

    def run(self, day: date, hour: int = 23) -> list[Invoice]:
        """Bill what is due, and return what was issued so."""
        before = {invoice.id for invoice in self.invoices()}
        invoicing.bill(
            control_session=self.session,
            subscription_ids=[self.subscription.id],
            now=seoul(day, hour),
        )
        self.session.expire_all()
        assert self.wrong() == []
        return [invoice for invoice in self.invoices() if invoice.id not in before]

    def wrong(self) -> list[str]:
        return [
            str(offence)
            for rule in INVARIANTS
            if rule.sql
            for offence in offences(
                control_session=self.session, invariant=rule, now=seoul(date(2026, 12, 31))
            )
        ]

    def invoices(self) -> list[Invoice]:
        return list(
            self.session.scalars(
                select(Invoice)
                .where(Invoice.subscription_id == self.subscription.id, Invoice.state != "void")
                .order_by(Invoice.supplied_on, Invoice.number)
            )
        )

    def do(self, verb: Any, day: date, hour: int = 12, **how: Any) -> Subscription:
        return verb(  # type: ignore[no-any-return]
            control_session=self.session,
            tenant_id=self.subscription.tenant_id,
            actor=ADMIN,
            now=seoul(day, hour),
            **how,
        )

    @property
    def tenant(self) -> Tenant:
        return self.session.get_one(Tenant, self.subscription.tenant_id)


def lines(invoice: Invoice) -> list[tuple[str, str, int]]:
    return [(line.kind, line.charge, line.amount_minor) for line in invoice.lines]


@pytest.fixture
def story(control_session: Session) -> Story:
    return Story(control_session)


class TestAnUpgrade:
    def test_now_credits_the_rest_of_the_old_plan_and_charges_the_rest_of_the_new(
        self, story: Story
    ) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="large", when="now")
        (invoice,) = story.run(date(2026, 3, 11))
        # 21 of 31 days are left.
        assert lines(invoice) == [
            ("credit", "base", -21_000),
            ("credit", "licences", -2_100),
            ("charge", "base", 63_000),
            ("charge", "licences", 4_200),
        ]
        assert invoice.subtotal_minor == (93_000 + 6_200 - 31_000 - 3_100) * 21 // 31
        assert story.tenant.plan_code == "large"
        assert story.subscription.plan_version_id == story.versions["large"].id
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april) == [("charge", "base", 93_000), ("charge", "licences", 6_200)]

    def test_at_the_end_of_the_period_costs_nothing_before(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="large", when="period_end")
        assert story.run(date(2026, 3, 31)) == []
        assert story.tenant.plan_code != "large"
        (april,) = story.run(date(2026, 4, 1), hour=1)
        assert [amount for _, _, amount in lines(april)] == [93_000, 6_200]
        assert story.tenant.plan_code == "large"

    def test_comes_in_time_though_nothing_is_billed_that_day(self, story: Story) -> None:
        after = plan("after", fee("base", 31_000, timing="arrears"))
        catalogue.publish(
            control_session=story.session, terms=after, actor=SYSTEM, now=seoul(START)
        )
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="after", when="period_end")
        story.run(date(2026, 3, 11))
        assert story.run(date(2026, 4, 1), hour=1) == []
        assert story.tenant.plan_code == "after"

    def test_keeps_what_was_bought(self, story: Story) -> None:
        story.run(START)
        story.do(
            changes.change_quantity,
            date(2026, 3, 1),
            charge="licences",
            quantity=Decimal(5),
            when="now",
        )
        story.do(changes.change_plan, date(2026, 3, 1), plan_code="large", when="period_end")
        story.run(date(2026, 3, 1))
        (april,) = story.run(date(2026, 4, 1))
        assert ("charge", "licences", 5 * 6_200) in lines(april)

    def test_twice_in_a_day_leaves_no_trace_in_money(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="large", when="now")
        story.run(date(2026, 3, 11), hour=13)
        story.do(changes.change_plan, date(2026, 3, 11), 15, plan_code="small", when="now")
        story.run(date(2026, 3, 11), hour=16)
        assert sum(i.subtotal_minor for i in story.invoices()[1:]) + used(story) == 0

    def test_replaces_a_change_that_lay_ahead(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 5), plan_code="large", when="period_end")
        story.do(changes.change_plan, date(2026, 3, 6), plan_code="tiny", when="period_end")
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april) == [("charge", "base", 1_000)]

    def test_to_the_same_plan_is_refused(self, story: Story) -> None:
        with pytest.raises(amending.NothingChanges):
            story.do(changes.change_plan, START, plan_code="small", when="now")

    def test_to_a_plan_that_is_too_small_is_refused(self, story: Story) -> None:
        make_readings(
            story.session,
            tenant_id=story.subscription.tenant_id,
            start=START,
            end=date(2026, 3, 2),
            seats=9,
        )
        with pytest.raises(DoesNotFit, match="3 people and 9 are active"):
            story.do(changes.change_plan, date(2026, 3, 2), plan_code="tiny", when="now")

    @pytest.mark.parametrize("when", ["soon", ""])
    def test_at_no_known_time_is_refused(self, story: Story, when: str) -> None:
        with pytest.raises(Invalid) as refused:
            story.do(changes.change_plan, START, plan_code="large", when=when)
        assert refused.value.field == "when"


def used(story: Story) -> int:
    """What was carried over and not used yet, in minor units, as a debt of ours."""
    return -sum(
        grant.amount_minor - grant.used_minor
        for grant in story.session.scalars(select(CreditGrant))
    )


class TestADowngrade:
    def test_carries_over_what_it_gives_back_and_uses_it_up(self, control_session: Session) -> None:
        story = Story(control_session, LARGE)
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="tiny", when="now")
        (invoice,) = story.run(date(2026, 3, 11))
        back = (93_000 + 6_200) * 21 // 31
        assert (invoice.total_minor, invoice.state) == (0, "paid")
        assert lines(invoice)[-1] == ("carried", "balance", back - 678)
        (grant,) = control_session.scalars(select(CreditGrant))
        assert (grant.amount_minor, grant.used_minor) == (back - 678, 0)
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april) == [("charge", "base", 1_000), ("prepaid", "balance", -1_000)]
        control_session.refresh(grant)
        assert grant.used_minor == 1_000

    def test_gives_credit_back_when_its_invoice_is_voided(self, control_session: Session) -> None:
        story = Story(control_session, LARGE)
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="tiny", when="now")
        story.run(date(2026, 3, 11))
        story.do(changes.change_plan, date(2026, 3, 21), plan_code="large", when="now")
        (paid_by_credit,) = story.run(date(2026, 3, 21))
        (grant,) = control_session.scalars(select(CreditGrant))
        assert grant.used_minor > 0
        if paid_by_credit.state == "issued":
            invoicing.void(
                control_session=control_session,
                invoice_id=paid_by_credit.id,
                reason="a mistake",
                actor=ADMIN,
                now=seoul(date(2026, 3, 22)),
            )
            control_session.refresh(grant)
            assert grant.used_minor == 0
        assert story.wrong() == []


class TestQuantities:
    def test_bought_now_are_charged_for_the_rest_of_the_period(self, story: Story) -> None:
        story.run(START)
        story.do(
            changes.change_quantity,
            date(2026, 3, 22),
            charge="licences",
            quantity=Decimal(3),
            when="now",
        )
        (invoice,) = story.run(date(2026, 3, 22))
        # 10 of 31 days: one unit back, three charged.
        assert lines(invoice) == [("credit", "licences", -1_000), ("charge", "licences", 3_000)]

    @pytest.mark.parametrize(
        ("charge", "quantity", "field"),
        [
            ("licences", Decimal(-1), "quantity"),
            ("licences", Decimal("1.5"), "quantity"),
            ("licences", Decimal(1), "quantity"),
            ("base", Decimal(2), "charge"),
            ("moon", Decimal(2), "charge"),
        ],
    )
    def test_that_make_no_sense_are_refused_at_their_field(
        self, story: Story, charge: str, quantity: Decimal, field: str
    ) -> None:
        with pytest.raises((Invalid, amending.NothingChanges)) as refused:
            story.do(changes.change_quantity, START, charge=charge, quantity=quantity, when="now")
        assert refused.value.field == field


class TestAddOns:
    def test_begin_and_end_in_the_middle(self, story: Story) -> None:
        story.run(START)
        story.do(changes.add_charge, date(2026, 3, 11), charge="support", quantity=Decimal(1))
        (added,) = story.run(date(2026, 3, 11))
        assert lines(added) == [("charge", "support", 4_200)]
        story.do(changes.remove_charge, date(2026, 3, 21), charge="support", when="now")
        (removed,) = story.run(date(2026, 3, 21))
        assert lines(removed)[0] == ("credit", "support", -2_200)
        assert removed.subtotal_minor == 0

    def test_asked_for_once_are_charged_once(self, story: Story) -> None:
        story.run(START)
        for day in (5, 9):
            story.do(changes.add_charge, date(2026, 3, day), charge="training", quantity=Decimal(1))
            (invoice,) = story.run(date(2026, 3, day))
            assert lines(invoice) == [("charge", "training", 50_000)]
        (april,) = story.run(date(2026, 4, 1))
        assert "training" not in {charge for _, charge, _ in lines(april)}

    def test_that_are_part_of_the_plan_cannot_be_added_or_removed(self, story: Story) -> None:
        with pytest.raises(amending.NotBought):
            story.do(changes.add_charge, START, charge="base", quantity=Decimal(1))
        with pytest.raises(amending.NotBought):
            story.do(changes.remove_charge, START, charge="base", when="now")


class TestTheSetUpFee:
    def test_is_asked_for_once_in_a_subscription(self, story: Story) -> None:
        (first,) = story.run(START)
        assert ("charge", "setup", 10_000) in lines(first)
        story.do(changes.change_plan, date(2026, 3, 5), plan_code="large", when="now")
        story.do(changes.change_plan, date(2026, 3, 6), plan_code="small", when="now")
        story.run(date(2026, 5, 1))
        every = [line for invoice in story.invoices() for line in lines(invoice)]
        assert [line for line in every if line[1] == "setup"] == [("charge", "setup", 10_000)]


class TestAPause:
    def test_gives_back_the_rest_and_charges_again_from_its_end(self, story: Story) -> None:
        story.run(START)
        story.do(changes.pause, date(2026, 3, 11), why="a quiet month")
        assert (story.tenant.state, story.tenant.suspend_reason) == ("suspended", "paused")
        (invoice,) = story.run(date(2026, 3, 11))
        assert lines(invoice)[:2] == [("credit", "base", -21_000), ("credit", "licences", -2_100)]
        assert story.run(date(2026, 5, 31)) == []
        assert story.subscription.state == "paused"
        story.do(changes.resume, date(2026, 6, 16))
        assert story.tenant.state == "active"
        (again,) = story.run(date(2026, 6, 16))
        # Half of June.
        assert lines(again)[:2] == [("charge", "base", 15_500), ("charge", "licences", 1_550)]
        assert again.subtotal_minor == 0  # the balance of 23,100 covers it
        (july,) = story.run(date(2026, 7, 1))
        assert july.subtotal_minor == 31_000 + 3_100 - (23_100 - 15_500 - 1_550)

    def test_begins_again_although_a_change_was_withdrawn_by_it(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_plan, date(2026, 3, 5), plan_code="large", when="period_end")
        story.do(changes.pause, date(2026, 3, 11), why="a quiet month")
        story.run(date(2026, 3, 11))
        story.do(changes.resume, date(2026, 3, 21))
        (again,) = story.run(date(2026, 3, 21))
        assert lines(again)[0] == ("charge", "base", 31_000 - 31_000 * 20 // 31)

    def test_that_became_the_end_is_not_resumed(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 3, 11), why="a quiet month")
        story.do(changes.cancel, date(2026, 3, 12), when="now")
        with pytest.raises(changes.AlreadyEnding):
            story.do(changes.resume, date(2026, 3, 13))

    def test_of_a_subscription_that_ends_is_refused(self, story: Story) -> None:
        story.do(changes.cancel, date(2026, 3, 5), when="period_end")
        with pytest.raises(changes.AlreadyEnding):
            story.do(changes.pause, date(2026, 3, 6), why="later")


class TestTheEnd:
    def test_now_gives_back_what_was_paid_ahead(self, story: Story) -> None:
        story.run(START)
        story.do(changes.cancel, date(2026, 3, 11), when="now")
        (last,) = story.run(date(2026, 3, 11))
        assert lines(last)[:2] == [("credit", "base", -21_000), ("credit", "licences", -2_100)]
        assert story.subscription.state == "cancelled"
        assert story.tenant.suspend_reason == "cancelled"

    def test_now_without_credit_gives_nothing_back(self, story: Story) -> None:
        story.run(START)
        story.do(changes.cancel, date(2026, 3, 11), when="now", credit=False)
        assert story.run(date(2026, 3, 11)) == []
        assert story.subscription.state == "cancelled"

    def test_with_the_period_comes_no_sooner_though_all_of_it_is_paid(self, story: Story) -> None:
        story.run(START)
        story.do(changes.cancel, date(2026, 3, 11), when="period_end")
        assert story.run(date(2026, 3, 11)) == []
        assert (story.subscription.state, story.tenant.state) == ("active", "active")
        assert story.run(date(2026, 4, 1)) == []
        assert story.subscription.state == "cancelled"
        assert story.tenant.suspend_reason == "cancelled"

    def test_can_be_taken_back_until_it_comes(self, story: Story) -> None:
        story.run(START)
        story.do(changes.cancel, date(2026, 3, 11), when="period_end")
        story.do(changes.take_back, date(2026, 3, 20))
        (april,) = story.run(date(2026, 4, 1))
        assert april.subtotal_minor == 34_100
        with pytest.raises(changes.NothingAhead):
            story.do(changes.take_back, date(2026, 4, 2))

    def test_taken_back_leaves_nothing_of_how_it_was_to_come(self, story: Story) -> None:
        story.run(START)
        story.do(changes.cancel, date(2026, 3, 11), when="period_end", credit=False)
        story.do(changes.take_back, date(2026, 3, 20))
        fewer = {"charge": "licences", "quantity": Decimal(3), "when": "now"}
        story.do(changes.change_quantity, date(2026, 3, 22), **fewer)
        (invoice,) = story.run(date(2026, 3, 22))
        assert lines(invoice) == [("credit", "licences", -1_000), ("charge", "licences", 3_000)]


class TestTheBillingDay:
    def test_cuts_the_period_short_and_loses_nothing(self, story: Story) -> None:
        story.run(START)
        story.do(changes.change_billing_day, date(2026, 3, 11), billing_day=25)
        (invoice,) = story.run(date(2026, 3, 11))
        # 21 of 31 days back; 11 to 25 March are 14 of the 28 days from 25 February on.
        assert lines(invoice)[:4] == [
            ("credit", "base", -21_000),
            ("credit", "licences", -2_100),
            ("charge", "base", 15_500),
            ("charge", "licences", 1_550),
        ]
        (next_one,) = story.run(date(2026, 3, 25))
        assert next_one.lines[0].period.lower == date(2026, 3, 25)
        assert next_one.lines[0].period.upper == date(2026, 4, 25)

    def test_of_no_day_is_refused(self, story: Story) -> None:
        with pytest.raises(Invalid) as refused:
            story.do(changes.change_billing_day, START, billing_day=32)
        assert refused.value.field == "billing_day"


class TestChargesOfDifferentPeriods:
    def test_are_billed_each_in_its_own_time(self, control_session: Session) -> None:
        yearly = plan(
            "mixed",
            fee("base", 31_000),
            fee("licence", 365_000, interval=YEARLY),
            fee("least", 50_000, kind="commitment", timing="arrears"),
        )
        story = Story(control_session, yearly)
        (first,) = story.run(START)
        assert lines(first) == [("charge", "base", 31_000), ("charge", "licence", 365_000)]
        (april,) = story.run(date(2026, 4, 1))
        # What was billed for March came to 31,000 of the 50,000 agreed upon.
        assert lines(april) == [("charge", "base", 31_000), ("commitment", "least", 19_000)]
        story.do(changes.cancel, date(2026, 4, 11), when="period_end")
        (last,) = story.run(date(2026, 5, 1))
        assert ("credit", "licence", -365_000 * 304 // 365) in lines(last)


class TestEveryChange:
    def test_is_written_down_with_who_and_why(self, story: Story) -> None:
        story.do(changes.change_plan, START, plan_code="large", when="now", why="we grew")
        (event,) = story.session.scalars(
            select(AuditEvent).where(AuditEvent.action == "subscription.plan_changed")
        )
        assert (event.actor_id, event.why) == ("somebody", "we grew")
        assert event.details["plan"] == "large"

    def test_leaves_no_charge_in_force_twice(self, story: Story) -> None:
        story.run(START)
        for day, code in ((3, "large"), (5, "tiny"), (5, "small"), (9, "large")):
            story.do(changes.change_plan, date(2026, 3, day), plan_code=code, when="now")
        story.run(date(2026, 4, 1))
        bases = story.session.scalars(
            select(SubscriptionItem)
            .where(SubscriptionItem.charge == "base")
            .order_by(SubscriptionItem.starts_at, SubscriptionItem.ends_at)
        ).all()
        assert [item.ends_at for item in bases[:-1]] == [item.starts_at for item in bases[1:]]
        assert bases[-1].ends_at is None

    def test_needs_a_subscription_in_force(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 3, 5), why="a quiet month")
        with pytest.raises(changes.NotInForce):
            story.do(changes.change_plan, date(2026, 3, 6), plan_code="large", when="now")


def test_an_older_version_can_be_asked_for(control_session: Session) -> None:
    story = Story(control_session)
    old = story.versions["large"]
    dearer = plan("large", fee("base", 99_000))
    catalogue.publish(control_session=control_session, terms=dearer, actor=SYSTEM, now=seoul(START))
    story.do(changes.change_plan, START, plan_code="large", when="now", version=old)
    assert story.subscription.plan_version_id == old.id
    assert control_session.get_one(PlanVersion, old.id).version == 1
