"""Bank transfers: what finance reads on the statement settles an invoice as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.errors import Invalid, NotFound
from app.base.money import Money
from invoices import payment, transfers
from invoices.models import Invoice, Payment
from tests.factories import NOW, make_invoice, make_staff
from tests.invoices.collecting import charges, clear_up, collect, gateway_at, owing
from tests.sandbox.running import RunningSandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def transfer(session: Session, invoice: Invoice, **changed: Any) -> Payment:
    values: dict[str, Any] = {
        "amount": Money(invoice.total_minor, invoice.currency),
        "payer": "  대한설계\t주식회사 ",
        "paid_on": NOW.date(),
        "staff_id": make_staff(session, role="finance").id,
        "now": NOW,
    }
    return transfers.record_transfer(
        control_session=session, invoice_id=invoice.id, **(values | changed)
    )


class TestATransfer:
    def test_pays_the_invoice_and_keeps_who_when_and_by_whom(
        self, control_session: Session
    ) -> None:
        invoice = make_invoice(control_session)
        two_days_on = NOW + timedelta(days=2)
        paid = transfer(control_session, invoice, paid_on=date(2026, 3, 11), now=two_days_on)
        assert invoice.state == "paid"
        assert (paid.payer, paid.received_on) == ("대한설계 주식회사", date(2026, 3, 11))
        assert paid.recorded_by is not None

    @pytest.mark.parametrize("amount_minor", [-1, 0, 20_900_001])
    def test_of_no_possible_amount_changes_nothing(
        self, control_session: Session, amount_minor: int
    ) -> None:
        invoice = make_invoice(control_session)
        with pytest.raises(transfers.NotThatAmount) as refused:
            transfer(control_session, invoice, amount=Money(amount_minor, "KRW"))
        assert refused.value.field == "amount"
        assert invoice.state == "issued"

    def test_in_another_currency_changes_nothing(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        with pytest.raises(transfers.NotThatAmount):
            transfer(control_session, invoice, amount=Money(invoice.total_minor, "USD"))

    @pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 3, 11)])
    def test_before_the_issue_or_after_today_is_refused(
        self, control_session: Session, day: date
    ) -> None:
        with pytest.raises(Invalid) as refused:
            transfer(control_session, make_invoice(control_session), paid_on=day)
        assert refused.value.field == "paid_on"

    def test_around_midnight_is_of_the_sellers_day(self, control_session: Session) -> None:
        late_evening_in_utc = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
        invoice = make_invoice(control_session)
        transfer(control_session, invoice, paid_on=date(2026, 3, 11), now=late_evening_in_utc)
        assert invoice.state == "paid"

    @pytest.mark.parametrize("payer", ["", "   ", "가" * 101])
    def test_without_a_usable_payer_is_refused(self, control_session: Session, payer: str) -> None:
        with pytest.raises(Invalid) as refused:
            transfer(control_session, make_invoice(control_session), payer=payer)
        assert refused.value.field == "payer"

    def test_entered_twice_counts_once(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        transfer(control_session, invoice)
        with pytest.raises(transfers.NotOpen):
            transfer(control_session, invoice)
        assert control_session.scalar(select(func.count()).select_from(Payment)) == 1

    def test_for_no_invoice_is_not_found(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        with pytest.raises(NotFound):
            transfers.record_transfer(
                control_session=control_session,
                invoice_id=invoice.tenant_id,
                amount=Money(1, "KRW"),
                payer="대한설계",
                paid_on=NOW.date(),
                staff_id=make_staff(control_session).id,
                now=NOW,
            )


class TestATransferBesideACharge:
    def test_waits_until_the_outcome_of_the_charge_is_known(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "pays_then_drops")
        attempt = collect(control_session, invoice)
        assert attempt is not None
        with pytest.raises(payment.ChargeUnderWay):
            transfer(control_session, invoice)
        clear_up(control_session, attempt)
        with pytest.raises(transfers.NotOpen):
            transfer(control_session, invoice)
        assert len(charges(sandbox, invoice)) == 1

    def test_that_came_first_leaves_nothing_to_charge(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        transfer(control_session, invoice)
        order = payment.begin(
            control_session=control_session,
            invoice_id=invoice.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        assert order is None
        assert charges(sandbox, invoice) == []
