"""Differences between gateways' books and ours on the page: shown with a cause, settled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from app.base.db import control_session
from invoices import reconciliation
from invoices.models import DifferenceSettlement, ReconciliationDay, ReconciliationDifference
from jobs.rules import Daily
from jobs.timetable import TIMETABLE
from tests.factories import NOW
from tests.invoices.test_reconciliation import line, of, paid, take
from tests.web.forms import send, sign_in_staff

PAGE = "/console/reconciliation"


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    set_clock(NOW)


def a_difference(**said: Any) -> str:
    with control_session() as session:
        take(session, line("payment", 50_000, gateway_payment_id="pay_x", **said))
        found = session.scalars(select(ReconciliationDifference.id)).one()
    return str(found)


def endings() -> list[tuple[str, str]]:
    with control_session() as session:
        found = session.execute(
            select(DifferenceSettlement.resolution, DifferenceSettlement.reason)
        )
        return [tuple(row) for row in found]


class TestTheWorkList:
    def test_shows_what_differs_with_its_cause(self, client: Any) -> None:
        a_difference()
        sign_in_staff(client, role="sales")
        page = client.get(PAGE).text
        assert "장부에 없음" in page
        assert "다른 곳의 결제" in page
        assert "50,000" in page
        assert "/settle" not in page

    def test_settles_with_a_reason_once(self, client: Any) -> None:
        found = a_difference()
        sign_in_staff(client, role="finance")
        form = {"how": "accept", "reason": "the other shop's"}
        assert send(client, PAGE, form, to=f"{PAGE}/{found}/settle").status_code == 303
        assert endings() == [("accepted", "the other shop's")]
        assert "차이가 없어요" in client.get(PAGE).text
        assert send(client, PAGE, form, to=f"{PAGE}/{found}/settle").status_code == 409

    def test_wants_a_reason(self, client: Any) -> None:
        found = a_difference()
        sign_in_staff(client, role="finance")
        answer = send(client, PAGE, {"how": "accept", "reason": " "}, to=f"{PAGE}/{found}/settle")
        assert answer.status_code == 422
        assert endings() == []

    @pytest.mark.parametrize(
        "how", ["", "payment:1", "nonsense:01a1ff43-e6ec-72ca-8175-59a3a122dccf"]
    )
    def test_knows_no_other_ends(self, client: Any, how: str) -> None:
        found = a_difference()
        sign_in_staff(client, role="finance")
        form = {"how": how, "reason": "made up"}
        assert send(client, PAGE, form, to=f"{PAGE}/{found}/settle").status_code == 404
        assert endings() == []

    def test_offers_the_payment_that_a_line_may_be(self, client: Any) -> None:
        with control_session() as session:
            payment = paid(session)
            take(session, of(payment, gateway_payment_id="renamed"))
            found, paid_by = session.scalars(select(ReconciliationDifference.id)).one(), payment.id
        sign_in_staff(client, role="finance")
        assert f"payment:{paid_by}" in client.get(PAGE).text
        form = {"how": f"payment:{paid_by}", "reason": "renamed"}
        assert send(client, PAGE, form, to=f"{PAGE}/{found}/settle").status_code == 303
        assert endings() == [("linked", "renamed")]

    def test_is_settled_by_finance_alone(self, client: Any) -> None:
        found = a_difference()
        sign_in_staff(client, role="sales")
        form = {"how": "accept", "reason": "why not"}
        assert send(client, PAGE, form, to=f"{PAGE}/{found}/settle").status_code == 403


class TestAskingForADay:
    def test_writes_it_down_for_each_account(self, client: Any) -> None:
        sign_in_staff(client, role="finance")
        assert send(client, PAGE, {"day": "2026-03-09"}, to=f"{PAGE}/ask").status_code == 303
        with control_session() as session:
            days = session.scalars(select(ReconciliationDay)).all()
            assert [(each.gateway, str(each.day)) for each in days] == [("sandbox", "2026-03-09")]
            assert reconciliation.accounts(control_session=session) == ["sandbox"]

    def test_is_done_each_morning_for_the_day_before(self) -> None:
        (entry,) = (each for each in TIMETABLE if each.task == "settlements")
        assert (entry.rule, entry.replay) == (Daily("06:00"), True)
        entry.run(NOW, NOW)
        with control_session() as session:
            assert str(session.scalars(select(ReconciliationDay)).one().day) == "2026-03-09"

    @pytest.mark.parametrize("day", ["", "yesterday", "2026-03-11", "0001-01-01"])
    def test_of_no_day_is_refused(self, client: Any, day: str) -> None:
        sign_in_staff(client, role="finance")
        assert send(client, PAGE, {"day": day}, to=f"{PAGE}/ask").status_code == 422
