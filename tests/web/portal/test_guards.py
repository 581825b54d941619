"""Whose things they are: other tenants' ids, forged forms, and naughty company details."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.db import control_session
from invoices.models import (
    CardRegistration,
    Document,
    Invoice,
    PaymentMethod,
)
from tenants import exports
from tests.factories import NOW, make_tenant
from tests.naughty import naughty
from tests.web.forms import csrf_token, send
from tests.web.portal.parts import committed, customer, sign_in
from tests.web.portal.stage import long_life

CONVERT = "/portal/plan/convert"
PROFILE = {
    "name": "주식회사 한빛",
    "registration_number": "1248100998",
    "representative": "대표자",
    "address": "서울특별시 중구 세종대로 110",
    "email": "tax@hanbit.example",
}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def again(row: Any) -> Any:
    """This function will read a row anew."""
    with control_session() as session:
        return session.get_one(type(row), row.id)


class TestOtherTenants:
    """Another tenant's ids in every address that takes one: as if there were nothing there."""

    def test_are_not_found_anywhere(self, client: Any, app: Any) -> None:
        theirs = long_life()
        with control_session() as session:
            invoice = session.scalars(
                select(Invoice).where(Invoice.tenant_id == theirs.id).order_by(Invoice.number)
            ).first()
            assert invoice is not None
            ids = {
                "invoice_id": invoice.id,
                "document_id": session.scalars(
                    select(Document.id).where(Document.subject_id == invoice.id)
                ).first(),
                "method_id": session.scalars(select(PaymentMethod.id)).one(),
                "export_id": exports.list_(control_session=session, tenant_id=theirs.id)[0].id,
            }
            registration = CardRegistration(
                tenant_id=theirs.id, gateway="sandbox", customer_key="theirs", begun_at=NOW
            )
            session.add(registration)
            session.flush()
            ids["registration_id"] = registration.id
        sign_in(client, committed(make_tenant))
        token = csrf_token(client, "/portal/account")
        seen = set()
        for rule in app.url_map.iter_rules():
            wanted = rule.arguments & ids.keys()
            if not rule.rule.startswith("/portal") or not wanted:
                continue
            seen |= wanted
            for chosen in (ids, dict.fromkeys(ids, UUID(int=7))):
                with app.test_request_context():
                    values = chosen | {"position": 1}
                    path = app.url_map.bind("localhost").build(
                        rule.endpoint, {name: values[name] for name in rule.arguments}
                    )
                method = "POST" if "POST" in rule.methods else "GET"
                answer = client.open(path, method=method, data={"csrf_token": token})
                assert answer.status_code == 404, (method, path)
        assert seen == ids.keys()
        with control_session() as session:
            assert session.scalars(select(PaymentMethod)).one().revoked_at is None


class TestForgedForms:
    def test_change_nothing(self, client: Any, app: Any) -> None:
        tenant = long_life()
        sign_in(client, tenant)
        tried = 0
        for rule in app.url_map.iter_rules():
            if not rule.rule.startswith("/portal") or "POST" not in rule.methods:
                continue
            with app.test_request_context():
                values: dict[str, Any] = {name: UUID(int=7) for name in rule.arguments}
                values |= {"token": "x"} if "token" in rule.arguments else {}
                path = app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
            answer = client.post(path, data={"csrf_token": "forged"})
            assert answer.status_code == 400, path
            tried += 1
        assert tried >= 12
        assert client.get("/portal/").status_code == 200


class TestCompanyDetails:
    def save(self, client: Any, **fields: str) -> Any:
        return send(client, "/portal/account", PROFILE | fields)

    def test_are_kept_for_the_papers_to_come(self, client: Any) -> None:
        tenant = long_life()
        with control_session() as session:
            before = session.scalars(select(Invoice.buyer).where(Invoice.tenant_id == tenant.id))
            frozen = before.all()
        sign_in(client, tenant)
        assert self.save(client).status_code == 303
        assert again(tenant).billing_profile["name"] == "주식회사 한빛"
        with control_session() as session:
            after = session.scalars(select(Invoice.buyer).where(Invoice.tenant_id == tenant.id))
            assert after.all() == frozen

    def test_with_a_wrong_number_are_told_where_and_keep_what_was_typed(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        answer = self.save(client, registration_number="124-81-00999", address="새 주소 7")
        assert answer.status_code == 422
        assert 'href="#registration_number"' in answer.text
        assert "124-81-00999" in answer.text
        assert "새 주소 7" in answer.text
        assert again(tenant).billing_profile == tenant.billing_profile

    @pytest.mark.parametrize(
        "field",
        [
            "name",
            "registration_number",
            "branch_number",
            "representative",
            "address",
            "business_type",
            "business_item",
            "email",
            "contact",
            "phone",
        ],
    )
    def test_take_naughty_strings_without_falling(self, client: Any, field: str) -> None:
        tenant = customer()
        sign_in(client, tenant)
        token = csrf_token(client, "/portal/account")
        for text in naughty(field):
            fields = PROFILE | {field: text, "csrf_token": token}
            answer = client.post("/portal/account", data=fields)
            assert answer.status_code in (303, 422), text
        page = client.get("/portal/account")
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "\x00" not in str(again(tenant).billing_profile)
