"""Quotations: a plan for so many people at today's prices, which hold until a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.errors import NotFound
from invoices import quotations
from invoices.models import Quotation
from invoices.quotations import QuotationUnsound, Wish
from tests.factories import NOW, make_application, make_catalogue, make_staff, make_tenant
from tests.invoices.documents.reading import text

WISH = Wish(plan_code="team", currency="KRW", seats=14, months=12, valid_days=30)


def make(session: Session, wish: Wish = WISH, **whom: Any) -> Quotation:
    make_catalogue(session)
    return quotations.make(
        control_session=session,
        wish=wish,
        actor=Actor.staff(make_staff(session).id),
        now=NOW,
        **(whom or {"tenant": make_tenant(session)}),
    )


def paper(session: Session, made: Quotation, language: str = "ko") -> Any:
    return quotations.paper(control_session=session, quotation_id=made.id, language=language)


class TestAQuotation:
    def test_prices_the_plan_by_seats_and_months_with_tax(self, control_session: Session) -> None:
        made = make(control_session)
        one = make(control_session, replace(WISH, months=1))
        shown = paper(control_session, made)
        assert shown.supply_minor == 12 * paper(control_session, one).supply_minor
        assert shown.tax_minor == shown.supply_minor // 10
        assert shown.total_minor == made.total_minor == shown.supply_minor + shown.tax_minor
        assert made.valid_until == date(2026, 3, 10) + timedelta(days=30)
        fewer = make(control_session, replace(WISH, seats=1))
        assert fewer.total_minor < made.total_minor

    def test_has_a_number_of_its_own_series(self, control_session: Session) -> None:
        assert [make(control_session).number_text for _ in range(2)] == [
            "QUO-2026-000001",
            "QUO-2026-000002",
        ]

    def test_says_that_charges_by_use_come_on_top(self, control_session: Session) -> None:
        made = make(control_session)
        assert "이용한 만큼" in paper(control_session, made).note
        assert "billed as used" in paper(control_session, made, "en").note

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_is_printed_for_an_applicant_with_the_same_bytes(
        self, control_session: Session, language: str
    ) -> None:
        asked = make_application(control_session, state="confirmed", company="大韓精密 ㈜")
        made = make(control_session, application=asked)
        shown = paper(control_session, made, language)
        first = quotations.printed(paper=shown, language=language)
        assert first.pdf == quotations.printed(paper=shown, language=language).pdf
        printed = text(first.pdf)
        for fact in (made.number_text, "㈜", "₩"):
            assert fact in printed
        assert ("견적서" if language == "ko" else "Quotation") in printed
        assert ("증빙이 아닙니다" if language == "ko" else "not evidence") in printed

    def test_keeps_no_name_of_an_applicant(self, control_session: Session) -> None:
        asked = make_application(control_session, state="confirmed", company="잊혀질 회사")
        made = make(control_session, application=asked)
        assert "잊혀질" not in str(made.data)
        asked.company = ""
        control_session.flush()
        assert paper(control_session, made).buyer.name == ""

    @pytest.mark.parametrize(
        ("field", "value"), [("seats", 0), ("months", 61), ("valid_days", 0), ("valid_days", 366)]
    )
    def test_is_refused_beyond_its_limits(
        self, control_session: Session, field: str, value: int
    ) -> None:
        with pytest.raises(QuotationUnsound) as refused:
            make(control_session, replace(WISH, **{field: value}))
        assert refused.value.field == field

    def test_is_never_changed(self, control_session: Session) -> None:
        made = make(control_session)
        with (
            pytest.raises(DBAPIError, match=r"never changed|permission denied"),
            control_session.begin_nested(),
        ):
            control_session.execute(
                update(Quotation).where(Quotation.id == made.id).values(total_minor=1)
            )

    def test_that_is_not_there_is_not_found(self, control_session: Session) -> None:
        made = make(control_session)
        with pytest.raises(NotFound):
            paper(control_session, made, "fr")
