"""Papers that somebody of us asks for: quotations for anybody, statements of items of invoices."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.base.db import control_session
from invoices.models import Document, Quotation
from tests.factories import NOW, make_application, make_catalogue, make_invoice, make_tenant
from tests.web.forms import send, sign_in_staff
from tests.web.portal.parts import committed

FIELDS = {
    "plan_code": "team",
    "currency": "KRW",
    "seats": "14",
    "months": "12",
    "valid_days": "30",
}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Any) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def made() -> list[Quotation]:
    with control_session() as session:
        return list(session.scalars(select(Quotation)))


class TestQuotations:
    @pytest.mark.parametrize("whose", ["tenant", "application"])
    def test_are_made_and_taken_along(self, client: Any, whose: str) -> None:
        committed(make_catalogue)
        row = (
            committed(make_tenant)
            if whose == "tenant"
            else committed(make_application, state="confirmed")
        )
        sign_in_staff(client, "sales")
        page = f"/console/quotations/{whose}/{row.id}"
        assert send(client, page, FIELDS).status_code == 303
        (quotation,) = made()
        shown = client.get(page).text
        assert quotation.number_text in shown
        for language in ("ko", "en"):
            pdf = client.get(f"/console/quotations/{quotation.id}/{language}.pdf")
            assert pdf.status_code == 200
            assert pdf.data.startswith(b"%PDF-")
        assert client.get(f"/console/quotations/{quotation.id}/fr.pdf").status_code == 404
        own = f"/console/tenants/{row.id}" if whose == "tenant" else f"/console/review/{row.id}"
        assert page in client.get(own).text

    @pytest.mark.parametrize(
        "wrong", [{"seats": "0"}, {"months": "x"}, {"valid_days": "999"}, {"plan_code": "no"}]
    )
    def test_of_nonsense_are_refused(self, client: Any, wrong: dict[str, str]) -> None:
        committed(make_catalogue)
        tenant = committed(make_tenant)
        sign_in_staff(client, "sales")
        answer = send(client, f"/console/quotations/tenant/{tenant.id}", FIELDS | wrong)
        assert answer.status_code in (404, 422)
        assert made() == []


class TestAStatementOfItems:
    def test_is_made_by_a_button_and_listed(self, client: Any) -> None:
        invoice = committed(make_invoice)
        sign_in_staff(client, "finance")
        page = f"/console/invoices/{invoice.id}"
        assert send(client, page, {}, to=f"{page}/statement").status_code == 303
        with control_session() as session:
            kinds = session.scalars(
                select(Document.kind).where(Document.subject_id == invoice.id)
            ).all()
        assert kinds.count("statement") == 2
        assert "/statement" not in client.get(page).text
