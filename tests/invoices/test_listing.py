"""Finance's lists: by filter, with totals, as an export, and what is stuck."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.errors import Invalid
from app.base.money import Money
from invoices import credit_notes, invoicing, listing, stuck, tallies, transfers, write_offs
from invoices.listing import InvoiceFilters, InvoicePage
from invoices.models import Invoice, Subscription
from tests.factories import make_invoice, make_staff, make_subscription, make_tenant

JANUARY = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
MARCH = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)


@pytest.fixture
def invoices(control_session: Session) -> dict[str, Invoice]:
    """Four invoices: paid in January, void in January, unpaid in March, unpaid in dollars."""
    made = {}
    for name, now, currency in (
        ("paid", JANUARY, "KRW"),
        ("void", JANUARY, "KRW"),
        ("unpaid", MARCH, "KRW"),
        ("dollars", MARCH, "USD"),
    ):
        tenant = make_tenant(
            control_session, state="active", name=f"Company 100% {name}", currency=currency
        )
        made[name] = make_invoice(control_session, tenant=tenant, now=now)
    control_session.execute(
        update(Invoice)
        .where(Invoice.id == made["paid"].id)
        .values(state="paid", paid_at=JANUARY, paid_minor=Invoice.total_minor, collect_at=None)
    )
    invoicing.void(
        control_session=control_session,
        invoice_id=made["void"].id,
        reason="a test",
        actor=SYSTEM,
        now=JANUARY,
    )
    return made


def find(session: Session, now: datetime = MARCH, **filters: object) -> InvoicePage:
    return listing.find(
        control_session=session,
        filters=InvoiceFilters(**filters),  # type: ignore[arg-type]
        now=now,
    )


def names(page: InvoicePage) -> set[str]:
    return {row.tenant_name.removeprefix("Company 100% ") for row in page.rows}


class TestAFilter:
    @pytest.mark.usefixtures("invoices")
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, {"paid", "void", "unpaid", "dollars"}),
            ({"state": "paid"}, {"paid"}),
            ({"state": "issued"}, {"unpaid", "dollars"}),
            ({"state": "void"}, {"void"}),
            ({"currency": "USD"}, {"dollars"}),
            (
                {"period_start": date(2026, 1, 1), "period_end": date(2026, 2, 1)},
                {"paid", "void"},
            ),
            (
                {"period_start": date(2026, 2, 14), "period_end": date(2026, 2, 15)},
                {"paid", "void"},
            ),
            ({"period_start": date(2026, 2, 15), "period_end": date(2026, 3, 10)}, set()),
            ({"period_start": date(2026, 4, 1)}, {"unpaid", "dollars"}),
            ({"issued_from": date(2026, 2, 1)}, {"unpaid", "dollars"}),
            ({"issued_until": date(2026, 3, 10)}, {"paid", "void"}),
            ({"text": "company 100%"}, {"paid", "void", "unpaid", "dollars"}),
            ({"text": "UNPAID"}, {"unpaid"}),
            ({"text": "100_"}, set()),
            ({"text": "inv-2026-"}, {"paid", "void", "unpaid", "dollars"}),
            ({"text": "'; DROP TABLE invoice; --"}, set()),
            ({"text": "nul\x00byte"}, set()),
            ({"state": "issued", "text": "dollars", "currency": "KRW"}, set()),
        ],
    )
    def test_picks_what_it_says(
        self, control_session: Session, filters: dict[str, object], expected: set[str]
    ) -> None:
        page = find(control_session, **filters)
        assert names(page) == expected
        assert page.count == len(expected)

    @pytest.mark.usefixtures("invoices")
    def test_calls_overdue_what_is_unpaid_past_its_day(self, control_session: Session) -> None:
        on_the_day = MARCH + timedelta(days=settings().payment_term_days)
        assert find(control_session, on_the_day, state="overdue").rows == []
        late = find(control_session, on_the_day + timedelta(days=1), state="overdue")
        assert names(late) == {"unpaid", "dollars"}
        assert {row.state for row in late.rows} == {"overdue"}

    def test_refuses_a_state_that_does_not_exist(self, control_session: Session) -> None:
        with pytest.raises(Invalid, match="Choose one of") as refused:
            find(control_session, state="lost")
        assert refused.value.field == "state"

    def test_finds_an_invoice_by_its_number_and_a_customer_by_theirs(
        self, control_session: Session, invoices: dict[str, Invoice]
    ) -> None:
        wanted = invoices["unpaid"]
        for text in (wanted.number_text, str(wanted.number), f" {str(wanted.number_text).lower()}"):
            assert names(find(control_session, text=text)) == {"unpaid"}
        number = wanted.buyer["registration_number"]
        for text in (number, f"{number[:3]}-{number[3:5]}-{number[5:]}"):
            assert "unpaid" in names(find(control_session, text=text))
        assert names(find(control_session, text="9" * 30)) == set()


class TestTheList:
    def test_picks_one_tenants_invoices(
        self, control_session: Session, invoices: dict[str, Invoice]
    ) -> None:
        page = find(control_session, tenant_id=invoices["paid"].tenant_id)
        assert [row.id for row in page.rows] == [invoices["paid"].id]

    @pytest.mark.usefixtures("invoices")
    def test_adds_up_each_currency_and_leaves_out_what_is_void(
        self, control_session: Session
    ) -> None:
        won, dollars = find(control_session).totals
        assert (won.currency, won.count) == ("KRW", 3)
        assert won.subtotal == Money(380_000, "KRW")
        assert won.tax == Money(38_000, "KRW")
        assert won.total == Money(418_000, "KRW")
        assert won.open == Money(209_000, "KRW")
        assert dollars.total == Money(16_390, "USD")

    @pytest.mark.parametrize("state", [None, "issued", "overdue"])
    def test_says_what_is_open_however_it_became_less(
        self, control_session: Session, invoices: dict[str, Invoice], state: str | None
    ) -> None:
        unpaid, finance = invoices["unpaid"], make_staff(control_session, role="finance").id
        transfers.record_transfer(
            control_session=control_session,
            invoice_id=unpaid.id,
            amount=Money(100_000, "KRW"),
            payer="대한설계",
            paid_on=MARCH.date(),
            staff_id=finance,
            now=MARCH,
        )
        credit_notes.issue(
            control_session=control_session,
            invoice_id=unpaid.id,
            amount=Money(9_000, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=finance,
            now=MARCH,
        )
        write_offs.write_off(
            control_session=control_session,
            invoice_id=invoices["dollars"].id,
            reason="insolvent",
            staff_id=finance,
            now=MARCH,
        )
        late = MARCH + timedelta(days=60)
        filters = InvoiceFilters(state=state)
        found = listing.find(control_session=control_session, filters=filters, now=late)
        assert {row.open for row in found.rows if row.id == unpaid.id} == {Money(100_000, "KRW")}
        expected = {"KRW": Money(100_000, "KRW")} | ({} if state else {"USD": Money(0, "USD")})
        assert {each.currency: each.open for each in found.totals} == expected
        by_state = tallies.tally(control_session=control_session, filters=filters, now=late)
        assert {each.currency: each.open for each in by_state[state or ""]} == expected

    @pytest.mark.usefixtures("invoices")
    def test_comes_in_pages_that_never_run_out(self, control_session: Session) -> None:
        def page(number: int) -> InvoicePage:
            return listing.find(
                control_session=control_session,
                filters=InvoiceFilters(),
                now=MARCH,
                page=number,
                page_size=3,
            )

        first, second, beyond = page(1), page(2), page(99)
        assert (len(first.rows), len(second.rows), second.pages) == (3, 1, 2)
        assert beyond == second
        assert page(-5) == first
        assert not {row.id for row in first.rows} & {row.id for row in second.rows}
        issued = [row.issued_at for row in (*first.rows, *second.rows)]
        assert issued == sorted(issued, reverse=True)

    def test_of_nothing_is_one_empty_page(self, control_session: Session) -> None:
        page = find(control_session)
        assert (page.rows, page.totals, page.count, page.pages) == ([], [], 0, 1)

    @pytest.mark.usefixtures("invoices")
    def test_is_exported_whole_in_the_same_order(self, control_session: Session) -> None:
        exported = list(
            listing.export_rows(
                control_session=control_session, filters=InvoiceFilters(), now=MARCH
            )
        )
        assert exported == find(control_session).rows
        found = listing.ids(control_session=control_session, filters=InvoiceFilters(), now=MARCH)
        assert found == [row.id for row in exported]


class TestWhatIsStuck:
    def test_names_who_waits_for_readings_and_whose_billing_failed(
        self, control_session: Session
    ) -> None:
        healthy, waiting, failing, given_up = (
            make_subscription(control_session, starts_on=date(2026, month, 10))
            for month in (3, 2, 3, 3)
        )
        invoicing.bill(
            control_session=control_session,
            subscription_ids=[healthy.id, waiting.id],
            now=MARCH,
        )
        invoicing.park(
            control_session=control_session, subscription_id=failing.id, error="it broke"
        )
        control_session.execute(
            update(Subscription)
            .where(Subscription.id == given_up.id)
            .values(attempts=settings().work_attempts_max, last_error="it broke for good")
        )
        control_session.expire_all()
        found = {
            each.subscription_id: each for each in stuck.listed(control_session=control_session)
        }
        assert found.keys() == {waiting.id, failing.id, given_up.id}
        assert "2026-02-10" in (found[waiting.id].blocked_reason or "")
        assert found[waiting.id].bill_on == date(2026, 3, 10)
        assert (found[failing.id].last_error, found[failing.id].needs_person) == ("it broke", False)
        assert found[given_up.id].needs_person
        invoicing.retry(
            control_session=control_session, subscription_id=given_up.id, actor=SYSTEM, now=MARCH
        )
        control_session.expire_all()
        left = {each.subscription_id for each in stuck.listed(control_session=control_session)}
        assert left == {waiting.id, failing.id}
