"""Card slips whose money stayed as credit: they prove what it pays for next, and nothing is proved
twice.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from invoices import (
    evidence,
    invoicing,
    papers_by_hand,
    periods,
    refund_queue,
    settlement,
    vat_slips,
)
from invoices.gateways.port import DeclineClass, Declined
from invoices.models import Invoice, Payment, TaxInvoice, VatEvidence
from tests.factories import NOW, make_invoice, make_readings
from tests.invoices.test_papers_by_hand import by_card
from tests.invoices.test_refunds import refunds_of, send, take_back
from tests.invoices.test_settlement import TOTAL, receive

KEPT = 50_000
# Past the deadline of the factories' supplies: what is unpaid gets its claim.
CLAIMED = NOW + timedelta(days=130)


def first(session: Session) -> Invoice:
    """A supply that a card paid and whose evidence is its slip."""
    invoice = make_invoice(session)
    by_card(session, invoice, TOTAL)
    assert chosen(session, invoice) == "card_slip"
    return invoice


def next_of(session: Session, invoice: Invoice) -> Invoice:
    """The customer's next month, over as much."""
    count = session.scalars(
        select(func.count()).select_from(Invoice).where(Invoice.tenant_id == invoice.tenant_id)
    ).one()
    day = periods.months_after(NOW.date(), count - 1)
    until = periods.months_after(NOW.date(), count)
    make_readings(session, tenant_id=invoice.tenant_id, start=day, end=until, seats=1)
    outcome = invoicing.bill(
        control_session=session,
        subscription_ids=[invoice.subscription_id],
        now=NOW + (until - NOW.date()),
    )
    return session.get_one(Invoice, outcome.issued[0])


def chosen(session: Session, invoice: Invoice) -> str | None:
    made = evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
    return made.kind if made else None


def use_credit(session: Session, invoice: Invoice) -> Payment | None:
    return settlement.use_credit(control_session=session, invoice=invoice, now=NOW)


class TestMoneyOfACardKeptAsCredit:
    def test_leaves_only_the_rest_of_the_next_supply_to_be_proved(
        self, control_session: Session
    ) -> None:
        before = first(control_session)
        take_back(control_session, before, KEPT, keep=True)
        after = next_of(control_session, before)
        assert use_credit(control_session, after)
        receive(control_session, after, TOTAL - KEPT)
        assert chosen(control_session, after) == "by_hand"
        (part,) = papers_by_hand.parts(control_session=control_session, invoice=after)
        assert part.total_minor == TOTAL - KEPT
        assert all_proof(control_session, before, after) == 2 * TOTAL - KEPT

    def test_and_a_card_leave_nothing_of_it_to_be_proved(self, control_session: Session) -> None:
        before = first(control_session)
        take_back(control_session, before, KEPT, keep=True)
        after = next_of(control_session, before)
        use_credit(control_session, after)
        slip = by_card(control_session, after, TOTAL - KEPT, "pay_2")
        assert chosen(control_session, after) == "card_slip"
        assert evidence_of(control_session, after).payment_id == slip.id
        assert all_proof(control_session, before, after) == 2 * TOTAL - KEPT

    def test_that_pays_all_of_the_next_supply_proves_it(self, control_session: Session) -> None:
        before = first(control_session)
        take_back(control_session, before, TOTAL, keep=True)
        after = next_of(control_session, before)
        paid = use_credit(control_session, after)
        assert paid
        assert chosen(control_session, after) == "card_slip"
        assert evidence_of(control_session, after).payment_id == paid.id

    def test_is_kept_again_and_still_proved(self, control_session: Session) -> None:
        before = first(control_session)
        take_back(control_session, before, TOTAL, keep=True)
        between = next_of(control_session, before)
        use_credit(control_session, between)
        chosen(control_session, between)
        take_back(control_session, between, KEPT, keep=True)
        after = next_of(control_session, before)
        use_credit(control_session, after)
        assert vat_slips.from_credit(control_session=control_session, invoice_id=after.id) == KEPT

    def test_unpaid_at_its_deadline_is_no_claim_over_the_whole(
        self, control_session: Session
    ) -> None:
        before = first(control_session)
        take_back(control_session, before, KEPT, keep=True)
        after = next_of(control_session, before)
        use_credit(control_session, after)
        made = evidence.choose(control_session=control_session, invoice_id=after.id, now=CLAIMED)
        assert made is not None
        assert made.kind == "by_hand"

    def test_settles_no_supply_that_has_its_tax_invoice(self, control_session: Session) -> None:
        before = first(control_session)
        claimed = next_of(control_session, before)
        made = evidence.choose(control_session=control_session, invoice_id=claimed.id, now=CLAIMED)
        assert made is not None
        assert made.kind == "tax_invoice"
        take_back(control_session, before, KEPT, keep=True)
        assert settlement.use_credits(control_session=control_session, now=NOW, limit=9) == 0
        assert use_credit(control_session, claimed) is None
        after = next_of(control_session, before)
        assert settlement.use_credits(control_session=control_session, now=NOW, limit=9) == 1
        assert after.open_minor == TOTAL - KEPT


class TestMoneyBeyondAnInvoice:
    def test_of_a_card_is_proved_by_its_slip(self, control_session: Session) -> None:
        before = make_invoice(control_session)
        by_card(control_session, before, TOTAL + KEPT)
        assert chosen(control_session, before) == "card_slip"
        after = next_of(control_session, before)
        use_credit(control_session, after)
        receive(control_session, after, TOTAL - KEPT)
        assert chosen(control_session, after) == "by_hand"
        (part,) = papers_by_hand.parts(control_session=control_session, invoice=after)
        assert part.total_minor == TOTAL - KEPT

    def test_of_a_transfer_is_proved_with_what_it_pays(self, control_session: Session) -> None:
        before = make_invoice(control_session)
        receive(control_session, before, TOTAL + KEPT)
        assert chosen(control_session, before) == "tax_invoice"
        after = next_of(control_session, before)
        use_credit(control_session, after)
        receive(control_session, after, TOTAL - KEPT)
        assert chosen(control_session, after) == "tax_invoice"


class TestASupplyPaidInPartByCard:
    def test_frees_of_its_slip_only_what_is_beyond_the_rest(self, control_session: Session) -> None:
        before = make_invoice(control_session)
        by_card(control_session, before, 100_000)
        receive(control_session, before, TOTAL - 100_000)
        assert chosen(control_session, before) == "by_hand"
        take_back(control_session, before, 150_000, keep=True)
        after = next_of(control_session, before)
        use_credit(control_session, after)
        # 59,000 are left of it: so much of the slip proves itself, and 41,000 what comes next.
        assert vat_slips.from_credit(control_session=control_session, invoice_id=after.id) == 41_000
        assert too_much(control_session, before) == 0

    def test_proves_too_much_where_a_card_s_money_went_back_by_bank(
        self, control_session: Session
    ) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, TOTAL - 100_000)
        by_card(control_session, invoice, 100_000)
        assert chosen(control_session, invoice) == "by_hand"
        note = take_back(control_session, invoice, TOTAL)
        for refund in refunds_of(control_session, note):
            if refund.state == "due":
                send(control_session, refund, Declined(DeclineClass.OUR_FAULT, "GONE", "no card"))
            refund_queue.declare_sent(
                control_session=control_session,
                refund_id=refund.id,
                why="the bank's confirmation",
                actor=SYSTEM,
                now=NOW,
            )
        assert too_much(control_session, invoice) == 100_000
        assert papers_by_hand.parts(control_session=control_session, invoice=invoice) == []


def too_much(session: Session, invoice: Invoice) -> int:
    return vat_slips.proved_too_much(control_session=session, invoice_id=invoice.id)


def evidence_of(session: Session, invoice: Invoice) -> VatEvidence:
    return session.scalars(select(VatEvidence).where(VatEvidence.invoice_id == invoice.id)).one()


def all_proof(session: Session, *invoices: Invoice) -> int:
    """What card slips, tax invoices and papers by hand say of supplies, all together."""
    slips = sum(
        session.scalars(
            select(Payment.amount_minor).where(
                Payment.kind == "card", Payment.invoice_id.in_([each.id for each in invoices])
            )
        )
    )
    made = sum(session.scalars(select(TaxInvoice.total_minor)))
    by_hand = sum(
        part.total_minor
        for invoice in invoices
        if evidence_of(session, invoice).kind == "by_hand"
        for part in papers_by_hand.parts(control_session=session, invoice=invoice)
    )
    return slips + made + by_hand
