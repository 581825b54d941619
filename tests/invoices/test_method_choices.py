"""Which card is charged first, and the one that stands in where that one is declined."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.messages import Message
from invoices import (
    dunning_holds,
    gateway_accounts,
    method_choices,
    payment,
    payment_methods,
    reversals,
)
from invoices.gateways.port import Absent, DeclineClass, Declined, Unknown
from invoices.method_choices import MethodOutOfUse, NothingToStandInFor
from invoices.models import Invoice, Payment, PaymentAttempt, PaymentMethod
from invoices.payment_methods import NoSuchMethod
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_invoice, make_staff, make_tenant
from tests.invoices.collecting import (
    attempts_of,
    charges,
    clear_up,
    collect,
    gateway_at,
    register_card,
)
from tests.sandbox.running import RunningSandbox

DAY = timedelta(days=1)
LADDER = (2, 5, 7, 7)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def allow(session: Session, method: PaymentMethod) -> None:
    method_choices.allow_fallback(
        control_session=session,
        tenant_id=method.tenant_id,
        method_id=method.id,
        actor=SYSTEM,
        now=NOW,
    )


def choose(session: Session, method: PaymentMethod) -> None:
    method_choices.make_default(
        control_session=session,
        tenant_id=method.tenant_id,
        method_id=method.id,
        actor=SYSTEM,
        now=NOW,
    )


def two_cards(
    session: Session, first: str, second: str, *, allowed: bool = True
) -> tuple[Invoice, PaymentMethod, PaymentMethod]:
    """An open invoice, the card that is charged for it and the one that may stand in."""
    tenant = make_tenant(session, state="active", converted_at=NOW)
    other = register_card(session, tenant, second)
    default = register_card(session, tenant, first)
    session.refresh(other)
    if allowed:
        allow(session, other)
    return make_invoice(session, tenant=tenant), default, other


def charged(session: Session, invoice: Invoice) -> list[tuple[UUID, str | None]]:
    return [(each.method_id, each.decline_class) for each in attempts_of(session, invoice)]


def mails(session: Session) -> list[str]:
    kind = select(Message.text).where(Message.kind == "payment_declined")
    return list(session.scalars(kind.order_by(Message.created_at, Message.id)))


class TestTheOtherCard:
    @pytest.mark.parametrize("first", ["insufficient", "expired", "stolen"])
    def test_is_charged_at_once_where_the_first_is_declined(
        self, control_session: Session, sandbox: RunningSandbox, first: str
    ) -> None:
        invoice, default, other = two_cards(control_session, first, "pays")
        collect(control_session, invoice)
        assert invoice.collect_at == NOW
        collect(control_session, invoice)
        assert invoice.state == "paid"
        tried, paid = attempts_of(control_session, invoice)
        assert (tried.method_id, paid.method_id) == (default.id, other.id)
        assert (tried.state, paid.state) == ("declined", "succeeded")
        # An attempt of its own: another key, another order, and one charge that moved money.
        assert tried.idempotency_key != paid.idempotency_key
        assert tried.order_id != paid.order_id
        assert len(charges(sandbox, invoice)) == 1
        (mail,) = mails(control_session)
        assert other.masked in mail

    def test_whose_payment_was_disputed_has_not_the_next_turn(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, _ = two_cards(control_session, "insufficient", "pays")
        collect(control_session, invoice)
        collect(control_session, invoice)
        paid = control_session.scalars(select(Payment)).one()
        reversals.lost_dispute(
            control_session=control_session,
            payment=paid,
            amount_minor=paid.amount_minor,
            reason="the bank decided",
            staff_id=make_staff(control_session).id,
            now=NOW,
        )
        turn = method_choices.turn(control_session=control_session, invoice=invoice)
        assert turn is not None
        assert turn.id == default.id

    def test_is_never_charged_unless_the_customer_allowed_it(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, _ = two_cards(control_session, "expired", "pays", allowed=False)
        collect(control_session, invoice)
        assert invoice.collect_at is None
        assert charged(control_session, invoice) == [(default.id, "new_method_needed")]

    def test_is_left_alone_where_a_person_must_look(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, _ = two_cards(control_session, "suspected", "pays")
        collect(control_session, invoice)
        assert invoice.collect_at is None
        assert charged(control_session, invoice) == [(default.id, "person_must_look")]
        assert mails(control_session) == []

    def test_is_left_alone_where_it_was_our_fault(self, control_session: Session) -> None:
        invoice, _ = self.declined(control_session, DeclineClass.OUR_FAULT)
        assert invoice.collect_at is None
        assert (
            payment.begin(
                control_session=control_session, invoice_id=invoice.id, now=NOW, real_now=NOW
            )
            is None
        )

    def declined(
        self, session: Session, decline_class: DeclineClass
    ) -> tuple[Invoice, PaymentMethod]:
        """The default card was refused for that reason; another may stand in."""
        tenant = make_tenant(session, state="active", converted_at=NOW)
        make_card(session, tenant=tenant)
        other = self.kept(session, tenant)
        invoice = make_invoice(session, tenant=tenant)
        order = payment.begin(control_session=session, invoice_id=invoice.id, now=NOW, real_now=NOW)
        assert order is not None
        payment.record(
            control_session=session,
            attempt_id=order.attempt_id,
            result=Declined(decline_class, "code", "words"),
            now=NOW,
        )
        return invoice, other

    def kept(self, session: Session, tenant: Tenant) -> PaymentMethod:
        other = PaymentMethod(
            tenant_id=tenant.id,
            gateway="sandbox",
            customer_key="key",
            token_sealed="sealed",
            masked="**** 4242",
            brand="sandbox",
            is_default=False,
            is_fallback=True,
            registered_at=NOW,
        )
        session.add(other)
        session.flush()
        return other

    @pytest.mark.parametrize("first", ["pays_then_drops", "pays_then_fails"])
    def test_is_never_charged_while_an_outcome_is_unknown(
        self, control_session: Session, sandbox: RunningSandbox, first: str
    ) -> None:
        invoice, default, _ = two_cards(control_session, first, "pays")
        attempt = collect(control_session, invoice)
        assert attempt is not None
        assert attempt.state == "unknown"
        invoice.collect_at = NOW
        assert collect(control_session, invoice) is None
        clear_up(control_session, attempt)
        assert invoice.state == "paid"
        assert [method_id for method_id, _ in charged(control_session, invoice)] == [default.id]
        assert len(charges(sandbox, invoice)) == 1

    def test_has_its_turn_once_an_unknown_outcome_proves_to_be_a_decline(
        self, control_session: Session
    ) -> None:
        tenant = make_tenant(control_session, state="active", converted_at=NOW)
        make_card(control_session, tenant=tenant)
        other = self.kept(control_session, tenant)
        invoice = make_invoice(control_session, tenant=tenant)
        begin = {"control_session": control_session, "invoice_id": invoice.id}
        order = payment.begin(**begin, now=NOW, real_now=NOW)
        assert order is not None
        record = {"control_session": control_session, "attempt_id": order.attempt_id, "now": NOW}
        payment.record(result=Unknown("timed out"), **record)
        assert invoice.collect_at is None
        payment.record(result=Declined(DeclineClass.RETRY_LATER, "code", "words"), **record)
        assert invoice.collect_at == NOW
        following = payment.begin(**begin, now=NOW, real_now=NOW)
        assert following is not None
        attempt = control_session.get_one(PaymentAttempt, following.attempt_id)
        assert (attempt.method_id, attempt.attempt_number) == (other.id, 2)

    def test_keeps_its_turn_where_its_charge_never_began(self, control_session: Session) -> None:
        invoice, other = self.declined(control_session, DeclineClass.RETRY_LATER)
        begin = {"control_session": control_session, "invoice_id": invoice.id}
        order = payment.begin(**begin, now=NOW, real_now=NOW)
        assert order is not None
        payment.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=Absent(),
            now=NOW,
        )
        again = payment.begin(**begin, now=NOW, real_now=NOW)
        assert again is not None
        attempt = control_session.get_one(PaymentAttempt, again.attempt_id)
        assert (attempt.method_id, attempt.attempt_number) == (other.id, 3)


class TestBothCards:
    def test_climb_one_ladder_together(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, other = two_cards(control_session, "insufficient", "insufficient")
        moment = NOW
        for days in LADDER:
            collect(control_session, invoice, moment)
            assert invoice.collect_at == moment
            collect(control_session, invoice, moment)
            assert invoice.collect_at == moment + days * DAY
            moment += days * DAY
        collect(control_session, invoice, moment)
        collect(control_session, invoice, moment)
        assert invoice.collect_at is None
        tried = [method_id for method_id, _ in charged(control_session, invoice)]
        assert tried == [default.id, other.id] * 5

    def test_need_replacing_and_are_tried_no_more(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, _, _ = two_cards(control_session, "expired", "stolen")
        collect(control_session, invoice)
        collect(control_session, invoice)
        assert invoice.collect_at is None
        assert len(attempts_of(control_session, invoice)) == 2
        assert "다른 카드를 등록" in mails(control_session)[-1]

    def test_are_told_apart_by_the_one_that_may_still_have_money(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, _, other = two_cards(control_session, "expired", "declines_once")
        collect(control_session, invoice)
        collect(control_session, invoice)
        assert invoice.collect_at == NOW + LADDER[0] * DAY
        collect(control_session, invoice, NOW + LADDER[0] * DAY)
        assert invoice.state == "paid"
        assert charged(control_session, invoice)[-1] == (other.id, None)

    def test_leave_the_first_its_ladder_where_the_other_needs_replacing(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, _ = two_cards(control_session, "declines_once", "expired")
        collect(control_session, invoice)
        collect(control_session, invoice)
        assert invoice.collect_at == NOW + LADDER[0] * DAY
        collect(control_session, invoice, NOW + LADDER[0] * DAY)
        assert invoice.state == "paid"
        assert charged(control_session, invoice)[-1] == (default.id, None)

    def test_rest_while_finance_lets_the_debt_rest(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, _, other = two_cards(control_session, "insufficient", "pays")
        held = dunning_holds.hold(
            control_session=control_session,
            tenant_id=invoice.tenant_id,
            until=(NOW + 9 * DAY).date(),
            why="they asked",
            staff_id=make_staff(control_session, role="finance").id,
            now=NOW,
        )
        collect(control_session, invoice)
        assert invoice.collect_at == held.ends_at
        collect(control_session, invoice, held.ends_at)
        assert charged(control_session, invoice)[-1] == (other.id, None)


class TestChoosing:
    def test_another_card_charges_what_is_open_to_it(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, other = two_cards(control_session, "expired", "pays", allowed=False)
        collect(control_session, invoice)
        choose(control_session, other)
        control_session.refresh(invoice)
        assert invoice.collect_at == NOW
        collect(control_session, invoice)
        assert charged(control_session, invoice)[-1] == (other.id, None)
        control_session.refresh(default)
        assert (default.is_default, default.is_fallback) == (False, False)

    def test_the_card_that_is_charged_already_changes_nothing(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, default, _ = two_cards(control_session, "expired", "pays", allowed=False)
        collect(control_session, invoice)
        choose(control_session, default)
        control_session.refresh(invoice)
        assert invoice.collect_at is None

    def test_while_the_other_is_being_charged_gives_the_new_one_its_turn(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, _, other = two_cards(control_session, "insufficient", "pays", allowed=False)
        order = payment.begin(
            control_session=control_session, invoice_id=invoice.id, now=NOW, real_now=NOW
        )
        assert order is not None
        choose(control_session, other)
        control_session.expire_all()
        payment.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=Declined(DeclineClass.RETRY_LATER, "code", "words"),
            now=NOW,
        )
        assert invoice.collect_at == NOW
        collect(control_session, invoice)
        assert charged(control_session, invoice)[-1] == (other.id, None)

    def test_the_one_that_stands_in_makes_it_the_first_and_nothing_stand_in(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        _, default, other = two_cards(control_session, "pays", "pays")
        choose(control_session, other)
        for card in (default, other):
            control_session.refresh(card)
        assert (default.is_default, default.is_fallback) == (False, False)
        assert (other.is_default, other.is_fallback) == (True, False)

    def test_is_written_down_with_who_did_it(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        _, _, other = two_cards(control_session, "pays", "pays")
        method_choices.end_fallback(
            control_session=control_session,
            tenant_id=other.tenant_id,
            method_id=other.id,
            actor=SYSTEM,
            now=NOW,
        )
        choose(control_session, other)
        said = control_session.scalars(
            select(AuditEvent.action)
            .where(AuditEvent.subject_id == str(other.id))
            .order_by(AuditEvent.id)
        ).all()
        assert said == [
            "payment_method.registered",
            "payment_method.fallback_allowed",
            "payment_method.fallback_ended",
            "payment_method.made_default",
        ]

    def test_a_card_of_somebody_else_or_a_removed_one_is_refused(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        _, _, other = two_cards(control_session, "pays", "pays")
        theirs = make_card(control_session, tenant=make_tenant(control_session))
        payment_methods.revoke(
            control_session=control_session,
            tenant_id=other.tenant_id,
            method_id=other.id,
            actor=SYSTEM,
            now=NOW,
        )
        for act in (
            method_choices.make_default,
            method_choices.allow_fallback,
            method_choices.end_fallback,
        ):
            for method_id in (theirs.id, other.id):
                with pytest.raises(NoSuchMethod):
                    act(
                        control_session=control_session,
                        tenant_id=other.tenant_id,
                        method_id=method_id,
                        actor=SYSTEM,
                        now=NOW,
                    )

    def test_a_card_at_a_disabled_account_is_refused(self, control_session: Session) -> None:
        tenant = make_tenant(control_session, state="active")
        card = make_card(control_session, tenant=tenant)
        card.is_default, card.gateway = False, "cards"
        gateway_accounts.add(
            control_session=control_session,
            account=gateway_accounts.NewAccount(
                code="cards",
                gateway="toss",
                title_ko="카드",
                title_en="Card",
                credentials={"client_key": "test_ck_1", "secret_key": "test_sk_1"},
            ),
            actor=SYSTEM,
            now=NOW,
        )
        gateway_accounts.disable(
            control_session=control_session, code="cards", reason="closed", actor=SYSTEM, now=NOW
        )
        for act in (choose, allow):
            with pytest.raises(MethodOutOfUse):
                act(control_session, card)


class TestAllowingACardToStandIn:
    def test_charges_it_for_what_was_declined_already(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice, _, other = two_cards(control_session, "expired", "pays", allowed=False)
        collect(control_session, invoice)
        allow(control_session, other)
        control_session.refresh(invoice)
        assert invoice.collect_at == NOW
        collect(control_session, invoice)
        assert invoice.state == "paid"
        assert charged(control_session, invoice)[-1] == (other.id, None)

    def test_is_refused_for_the_first_card_and_holds_for_one(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        _, default, other = two_cards(control_session, "pays", "pays")
        with pytest.raises(NothingToStandInFor):
            allow(control_session, default)
        tenant = control_session.get_one(Tenant, other.tenant_id)
        register_card(control_session, tenant)
        allow(control_session, default)
        control_session.refresh(other)
        assert (default.is_fallback, other.is_fallback) == (True, False)

    def test_makes_it_the_first_where_the_first_is_removed(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        _, default, other = two_cards(control_session, "pays", "pays")
        register_card(control_session, control_session.get_one(Tenant, other.tenant_id))
        now_first = payment_methods.default_method(
            control_session=control_session, tenant_id=other.tenant_id
        )
        assert now_first is not None
        assert now_first.id not in (default.id, other.id)
        payment_methods.revoke(
            control_session=control_session,
            tenant_id=other.tenant_id,
            method_id=now_first.id,
            actor=SYSTEM,
            now=NOW,
        )
        control_session.refresh(other)
        assert (other.is_default, other.is_fallback) == (True, False)
