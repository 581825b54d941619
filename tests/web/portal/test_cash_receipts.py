"""A cash receipt in the portal: asked for by who pays by transfer, taken back, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import pytest
from sqlalchemy import select

from app.base.db import control_session
from invoices.models import CashReceipt
from tests.factories import NOW, make_invoice
from tests.fakes.popbill.running import running
from tests.web.forms import send
from tests.web.portal.parts import committed, customer, sign_in


@pytest.fixture(autouse=True)
def issuer(set_clock: Callable[..., None]) -> Iterator[None]:
    """Somebody issues cash receipts, and it is the day of the factories' invoices."""
    with running():
        set_clock(NOW)
        yield


def rows() -> list[CashReceipt]:
    with control_session() as session:
        return list(session.scalars(select(CashReceipt).order_by(CashReceipt.created_at)))


def test_is_asked_for_and_taken_back(client: Any) -> None:
    tenant = customer(state="active", converted_at=NOW)
    invoice = committed(make_invoice, tenant=tenant)
    sign_in(client, tenant)
    page = f"/portal/invoices/{invoice.id}"
    typed = {"use": "income_deduction", "identity": "010-1234-5678"}
    assert send(client, page, typed, to=f"{page}/cash-receipt").status_code == 303
    shown = client.get(page).text
    assert "010****5678" in shown
    assert "1234" not in shown
    assert [row.state for row in rows()] == ["wanted"]
    assert send(client, page, {"identity": ""}, to=f"{page}/cash-receipt").status_code == 303
    assert [row.state for row in rows()] == ["withdrawn"]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"use": "nonsense", "identity": "010-1234-5678"}, "use"),
        ({"use": "expense_proof", "identity": "1208147522"}, "identity"),
        ({"use": "income_deduction", "identity": "<script>"}, "identity"),
    ],
)
def test_to_no_number_is_refused_at_its_field_and_what_was_typed_is_kept(
    client: Any, typed: dict[str, str], field: str
) -> None:
    tenant = customer(state="active", converted_at=NOW)
    invoice = committed(make_invoice, tenant=tenant)
    sign_in(client, tenant)
    page = f"/portal/invoices/{invoice.id}"
    refused = send(client, page, typed, to=f"{page}/cash-receipt")
    assert refused.status_code == 422
    assert f'id="{field}-error"' in refused.text
    assert f'value="{escape(typed["identity"])}"' in refused.text
    assert rows() == []
