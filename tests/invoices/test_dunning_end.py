"""The end of a debt: the final warning, the suspension, holds, waivers and rules of one's own."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.config import settings
from app.base.errors import Invalid
from app.base.messages import Message
from invoices import dunning, dunning_holds, dunning_rules, dunning_warnings, payment_methods
from invoices.dunning_rules import Exceptions
from invoices.models import Invoice, PaymentAttempt, Subscription
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_catalogue, make_invoice, make_staff, make_tenant
from tests.invoices.test_settlement import receive

DAY = timedelta(days=1)
LATE = NOW + (settings().payment_term_days + 1) * DAY
GRACE = settings().past_due_grace_days
WARNING = settings().suspension_warning_days


def owing(session: Session, **tenant: object) -> Invoice:
    """An issued invoice of a tenant without a card."""
    return make_invoice(session, tenant=make_tenant(session, state="active", **tenant))


def mark(session: Session, now: datetime) -> int:
    return dunning.mark_overdue(control_session=session, now=now, limit=9)


def warn(session: Session, now: datetime) -> int:
    return dunning_warnings.warn(control_session=session, now=now, limit=9)


def suspend(session: Session, invoice: Invoice, now: datetime) -> bool:
    return dunning_warnings.suspend(control_session=session, tenant_id=invoice.tenant_id, now=now)


def tenant_of(session: Session, invoice: Invoice) -> Tenant:
    return session.get_one(Tenant, invoice.tenant_id, populate_existing=True)


def warnings(session: Session) -> list[Message]:
    return list(session.scalars(select(Message).where(Message.kind == "final_warning")))


def decline(session: Session, invoice: Invoice, decline_class: str, now: datetime) -> None:
    """The newest attempt of an invoice was refused for a reason of that class."""
    card = make_card(session, tenant=tenant_of(session, invoice))
    attempt = PaymentAttempt(
        state="declined",
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        attempt_number=1,
        method_id=card.id,
        gateway="sandbox",
        idempotency_key=f"{invoice.id}-1",
        order_id=f"{invoice.id.hex}-1",
        amount_minor=invoice.total_minor,
        currency=invoice.currency,
        key_expires_at=now,
        begun_at=now,
        decline_class=decline_class,
    )
    session.add(attempt)
    session.flush()
    dunning.after_decline(
        control_session=session, invoice=invoice, attempt=attempt, actor=dunning.DUNNING, now=now
    )


class TestTheFinalWarning:
    def test_comes_before_the_end_of_the_grace_and_names_the_moment(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        at = LATE + (GRACE - WARNING) * DAY
        assert warn(control_session, at - timedelta(seconds=1)) == 0
        assert warn(control_session, at) == 1
        assert warn(control_session, at) == 0
        (mail,) = warnings(control_session)
        assert invoice.number_text is not None
        for words in ("2026-04-01 12:00", invoice.number_text, "₩209,000", "/portal/card/"):
            assert words in mail.text
        end = LATE + GRACE * DAY
        assert not suspend(control_session, invoice, end - timedelta(seconds=1))
        assert suspend(control_session, invoice, end)
        tenant = tenant_of(control_session, invoice)
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "unpaid")

    def test_is_never_left_out_however_long_nobody_looked(self, control_session: Session) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        after_an_outage = LATE + 60 * DAY
        assert not suspend(control_session, invoice, after_an_outage)
        warn(control_session, after_an_outage)
        assert not suspend(control_session, invoice, after_an_outage)
        assert suspend(control_session, invoice, after_an_outage + WARNING * DAY)

    def test_is_in_the_tenants_language(self, control_session: Session) -> None:
        owing(control_session, language="en")
        mark(control_session, LATE)
        warn(control_session, LATE + GRACE * DAY)
        (mail,) = warnings(control_session)
        assert "Your workspace closes" in mail.subject or "closes on" in mail.subject

    def test_is_not_given_for_a_debt_that_went_since_it_was_looked_for(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        decline(control_session, invoice, "our_fault", LATE)
        tenant = tenant_of(control_session, invoice)
        assert not dunning_warnings.warn_one(
            control_session=control_session, tenant=tenant, now=LATE + GRACE * DAY
        )
        assert tenant.suspend_after is None
        assert warnings(control_session) == []

    def test_means_nothing_once_the_charge_failed_by_our_fault(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        warn(control_session, LATE + GRACE * DAY)
        decline(control_session, invoice, "our_fault", LATE + GRACE * DAY)
        assert tenant_of(control_session, invoice).suspend_after is None
        assert not suspend(control_session, invoice, LATE + 90 * DAY)
        assert warn(control_session, LATE + 90 * DAY) == 0


class TestADebtorWhomStaffShutOut:
    def test_is_no_debtor_any_more_once_it_paid_and_staff_lets_it_in(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session, converted_at=NOW)
        mark(control_session, LATE)
        by = {
            "control_session": control_session,
            "tenant_id": invoice.tenant_id,
            "actor": Actor.staff(make_staff(control_session).id),
            "now": LATE,
        }
        lifecycle.suspend(reason="staff", **by)
        receive(control_session, invoice, invoice.open_minor)
        assert tenant_of(control_session, invoice).state == "suspended"
        assert lifecycle.unblock(**by)
        assert tenant_of(control_session, invoice).state == "active"


class TestAHold:
    def hold(self, session: Session, invoice: Invoice, now: datetime, days: int = 10) -> None:
        dunning_holds.hold(
            control_session=session,
            tenant_id=invoice.tenant_id,
            until=(now + days * DAY).date(),
            why="  They pay\nby the end of the month ",
            staff_id=make_staff(session, role="finance").id,
            now=now,
        )

    def test_lets_debts_rest_and_says_who_and_why(self, control_session: Session) -> None:
        invoice = owing(control_session)
        self.hold(control_session, invoice, LATE)
        assert mark(control_session, LATE) == 0
        over = LATE + 11 * DAY
        assert mark(control_session, over) == 1
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "dunning.held")
        ).one()
        assert (event.actor_kind, event.why) == ("staff", "They pay by the end of the month")

    def test_takes_a_warning_back_and_has_it_given_again(self, control_session: Session) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        ripe = LATE + GRACE * DAY
        warn(control_session, ripe)
        self.hold(control_session, invoice, ripe)
        assert not suspend(control_session, invoice, ripe + WARNING * DAY)
        assert warn(control_session, ripe + WARNING * DAY) == 0
        over = ripe + 11 * DAY
        assert warn(control_session, over) == 1
        assert suspend(control_session, invoice, over + WARNING * DAY)

    def test_puts_the_next_try_off_and_lifting_it_brings_it_back(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        decline(control_session, invoice, "retry_later", NOW)
        assert invoice.collect_at == NOW + 2 * DAY
        self.hold(control_session, invoice, NOW)
        control_session.refresh(invoice)
        assert invoice.collect_at is not None
        assert invoice.collect_at > NOW + 10 * DAY - timedelta(hours=12)
        dunning_holds.lift(
            control_session=control_session,
            tenant_id=invoice.tenant_id,
            why="paid in part",
            staff_id=make_staff(control_session).id,
            now=NOW + DAY,
        )
        control_session.refresh(invoice)
        assert invoice.collect_at == NOW + DAY
        with pytest.raises(dunning_holds.NotHeld):
            dunning_holds.lift(
                control_session=control_session,
                tenant_id=invoice.tenant_id,
                why="again",
                staff_id=make_staff(control_session).id,
                now=NOW + DAY,
            )

    @pytest.mark.parametrize("days", [-1, dunning_holds.HOLD_DAYS_MAX + 1])
    def test_into_the_past_or_without_an_end_is_refused(
        self, control_session: Session, days: int
    ) -> None:
        with pytest.raises(Invalid) as refused:
            self.hold(control_session, owing(control_session), NOW, days)
        assert refused.value.field == "until"


class TestForgiving:
    def forgive(self, session: Session, invoice: Invoice, why: str = "our mistake") -> None:
        dunning_holds.forgive(
            control_session=session,
            invoice_id=invoice.id,
            why=why,
            staff_id=make_staff(session, role="finance").id,
            now=LATE,
        )

    def test_opens_the_tenant_and_leaves_the_amount_owed(self, control_session: Session) -> None:
        invoice = owing(control_session)
        mark(control_session, LATE)
        self.forgive(control_session, invoice)
        assert tenant_of(control_session, invoice).state == "active"
        control_session.refresh(invoice)
        assert (invoice.state, invoice.collect_at) == ("issued", None)
        assert mark(control_session, LATE + 90 * DAY) == 0
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "dunning.forgiven")
        ).one()
        assert (event.subject_id, event.why) == (str(invoice.id), "our mistake")

    def test_leaves_the_invoice_alone_when_another_card_comes(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        self.forgive(control_session, invoice)
        payment_methods.collect_now(
            control_session=control_session, tenant_id=invoice.tenant_id, now=LATE
        )
        control_session.refresh(invoice)
        assert invoice.collect_at is None

    def test_needs_a_reason_and_an_open_invoice(self, control_session: Session) -> None:
        invoice = owing(control_session)
        with pytest.raises(dunning_rules.ReasonMissing):
            self.forgive(control_session, invoice, why="  ")
        self.forgive(control_session, invoice)
        with pytest.raises(dunning_holds.NotOwed):
            self.forgive(control_session, invoice)

    def test_leaves_other_debts_as_they_are(self, control_session: Session) -> None:
        first = owing(control_session)
        control_session.execute(
            update(Subscription)
            .where(Subscription.id == first.subscription_id)
            .values(state="cancelled", ends_on=Subscription.starts_on)
        )
        make_invoice(control_session, tenant=tenant_of(control_session, first))
        mark(control_session, LATE)
        self.forgive(control_session, first)
        assert tenant_of(control_session, first).state == "past_due"


class TestRules:
    def set_rule(self, session: Session, **values: object) -> None:
        exceptions = {
            name: values.pop(name, "") for name in ("retry_days", "grace_days", "warning_days")
        }
        dunning_rules.set_rule(
            control_session=session,
            exceptions=Exceptions(**exceptions),  # type: ignore[arg-type]
            actor=Actor.staff(make_staff(session).id),
            why="agreed in the contract",
            now=NOW,
            **values,  # type: ignore[arg-type]
        )

    def rules(self, session: Session, invoice: Invoice) -> tuple[object, ...]:
        found = dunning_rules.rules_of(control_session=session, tenant=tenant_of(session, invoice))
        return (found.ladder_days, found.grace_days, found.warning_days)

    def test_of_a_tenant_go_before_the_plans_and_those_before_the_settings(
        self, control_session: Session
    ) -> None:
        invoice = owing(control_session)
        assert self.rules(control_session, invoice) == ((2, 5, 7, 7), GRACE, WARNING)
        self.set_rule(control_session, plan_code="team", retry_days="1, 3", grace_days="30")
        assert self.rules(control_session, invoice) == ((1, 3), 30, WARNING)
        self.set_rule(control_session, tenant_id=invoice.tenant_id, grace_days="0")
        assert self.rules(control_session, invoice) == ((1, 3), 0, WARNING)
        self.set_rule(control_session, tenant_id=invoice.tenant_id)
        assert self.rules(control_session, invoice) == ((1, 3), 30, WARNING)

    def test_decide_when_a_declined_card_is_tried_again(self, control_session: Session) -> None:
        invoice = owing(control_session)
        self.set_rule(control_session, tenant_id=invoice.tenant_id, retry_days="9")
        decline(control_session, invoice, "retry_later", NOW)
        assert invoice.collect_at == NOW + 9 * DAY

    def test_decide_when_the_doors_are_shut(self, control_session: Session) -> None:
        invoice = owing(control_session)
        self.set_rule(
            control_session, tenant_id=invoice.tenant_id, grace_days="30", warning_days="10"
        )
        mark(control_session, LATE)
        assert warn(control_session, LATE + 19 * DAY) == 0
        assert warn(control_session, LATE + 20 * DAY) == 1
        assert tenant_of(control_session, invoice).suspend_after == LATE + 30 * DAY

    def test_keep_what_was_before_in_the_trail(self, control_session: Session) -> None:
        make_catalogue(control_session)
        self.set_rule(control_session, plan_code="team", grace_days="30")
        self.set_rule(control_session, plan_code="team")
        last = control_session.scalars(
            select(AuditEvent)
            .where(AuditEvent.action == "dunning.rule_set")
            .order_by(AuditEvent.id)
        ).all()[-1]
        assert last.details["before"]["grace_days"] == 30
        assert last.details["after"] == {}

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("retry_days", "2,,5"),
            ("retry_days", "0"),
            ("retry_days", "1,2,3,4,5,6,7,8,9,10,11,12,13"),
            ("retry_days", "a"),
            ("grace_days", "-1"),
            ("grace_days", "366"),
            ("warning_days", "0"),
        ],
    )
    def test_that_make_no_sense_are_refused_at_their_field(
        self, control_session: Session, field: str, text: str
    ) -> None:
        make_catalogue(control_session)
        with pytest.raises(Invalid) as refused:
            self.set_rule(control_session, plan_code="team", **{field: text})
        assert refused.value.field == field
