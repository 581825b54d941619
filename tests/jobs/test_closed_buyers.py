"""Tax invoices and the register of businesses: none goes to a closed buyer by itself."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import tax_issuing
from invoices.models import TaxInvoice
from jobs import tax_papers
from tests.factories import NOW
from tests.fakes.odcloud.running import running
from tests.invoices.test_vat_deadlines import drawn_up

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def due(set_clock: Callable[..., None]) -> TaxInvoice:
    set_clock(NOW)
    with control_session() as session:
        return drawn_up(session)


def state(row_id: UUID) -> tuple[str, str | None]:
    with control_session() as session:
        row = session.get_one(TaxInvoice, row_id)
        return row.state, row.error_code


def number_of(row: TaxInvoice) -> str:
    return str(row.data["buyer"]["registration_number"])


def test_a_closed_one_waits_for_finance_who_may_insist(due: TaxInvoice) -> None:
    with running() as register:
        register.say(number_of(due), "03", end_dt="20260101")
        tax_papers.work()
        assert state(due.id) == ("failed", "buyer_closed")
        with control_session() as session:
            tax_issuing.try_again(control_session=session, row_id=due.id, actor=SYSTEM, now=NOW)
        tax_papers.work()
    assert state(due.id) == ("issued", None)


@pytest.mark.parametrize("status", ["01", "02"])
def test_one_in_business_or_suspended_has_its_own(due: TaxInvoice, status: str) -> None:
    with running() as register:
        register.say(number_of(due), status)
        tax_papers.work()
        assert [path for path, _ in register.asked] == ["/status"]
    assert state(due.id) == ("issued", None)


def test_an_outage_holds_nothing_up(due: TaxInvoice) -> None:
    with running(timeout_seconds=0.3) as register:
        register.fault("drop", times=9)
        tax_papers.work()
    assert state(due.id) == ("issued", None)


def test_without_a_key_nobody_is_asked(due: TaxInvoice) -> None:
    tax_papers.work()
    assert state(due.id) == ("issued", None)
