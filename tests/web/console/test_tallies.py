"""The sums over finance's list: counted once, and again as soon as anything has happened."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.base import audit
from app.base.audit import Actor
from app.base.db import control_session
from app.web.console import tallies
from invoices.listing import InvoiceFilters, Totals
from tests.factories import NOW, make_invoice, make_tenant
from tests.web.portal.parts import committed


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    """What another test's database held is not ours."""
    tallies._known.clear()
    yield
    tallies._known.clear()


@pytest.fixture
def tenant(scenario: Any) -> Any:
    """A paying customer."""
    return committed(make_tenant, state="active", converted_at=NOW)


def sums(app: Any) -> dict[str, list[Totals]]:
    """This function will ask as a page does: in a request of its own."""
    with app.test_request_context():
        return tallies.by_state(InvoiceFilters(), NOW)


def note(subject_kind: str, subject_id: object) -> None:
    """This function will write a line to the audit trail."""
    with control_session() as session:
        audit.append(
            control_session=session,
            actor=Actor.job("test"),
            action=f"{subject_kind}.looked_at",
            subject_kind=subject_kind,
            subject_id=subject_id,
            now=NOW,
        )


class TestByState:
    def test_counts_once_while_nothing_happens(self, app: Any, tenant: Any) -> None:
        committed(make_invoice, tenant=tenant)
        first = sums(app)
        assert [each.count for each in first["issued"]] == [1]
        assert sums(app) is first

    def test_does_not_count_again_for_what_adds_to_no_sum(self, app: Any, tenant: Any) -> None:
        first = sums(app)
        note("message", tenant.id)
        assert sums(app) is first

    def test_counts_a_new_invoice_at_once(self, app: Any, tenant: Any) -> None:
        assert sums(app)[""] == []
        committed(make_invoice, tenant=tenant)
        assert [each.count for each in sums(app)[""]] == [1]
        another = committed(make_tenant, state="active", converted_at=NOW)
        committed(make_invoice, tenant=another)
        assert [each.count for each in sums(app)[""]] == [2]

    def test_counts_again_after_an_act_on_an_invoice(self, app: Any, tenant: Any) -> None:
        invoice = committed(make_invoice, tenant=tenant)
        first = sums(app)
        note("invoice", invoice.id)
        assert sums(app) is not first

    def test_sees_the_next_act_in_a_rush_and_believes_it_for_less_long(
        self, app: Any, tenant: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tallies, "LINES_MAX", 3)
        for _ in range(4):
            note("invoice", tenant.id)
        held = sums(app)
        assert sums(app) is held
        note("invoice", tenant.id)
        later = sums(app)
        assert later is not held
        monkeypatch.setattr(tallies, "BELIEVED_IN_A_RUSH_SECONDS", 0.0)
        assert sums(app) is not later

    def test_believes_nothing_for_ever(
        self, app: Any, tenant: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = sums(app)
        assert sums(app) is held
        monkeypatch.setattr(tallies, "BELIEVED_SECONDS", 0.0)
        assert sums(app) is not held
