from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.audit import SYSTEM, AuditEvent, append
from app.base.db import control_session
from app.base.messages import Message
from tenants.models import Tenant
from tests.factories import NOW, make_admin, make_tenant
from tests.naughty import NAUGHTY
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.parts import admin_of, committed, customer, sign_in
from tests.web.portal.stage import long_life

LIST = "/console/tenants"
ADMINS_ONLY = ("hold", "erase", "keep")
ACTS = ("extend", "suspend", "unblock", *ADMINS_ONLY)


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' tenants begin."""
    set_clock(NOW)


def again(tenant: Tenant) -> Tenant:
    """This function will read a tenant anew."""
    with control_session() as session:
        return session.get_one(Tenant, tenant.id)


def act(client: Any, tenant: Tenant, name: str, **fields: str) -> Any:
    page = f"{LIST}/{tenant.id}"
    return send(client, page, {"why": "asked by the customer", **fields}, to=f"{page}/{name}")


class TestHistory:
    def test_goes_on_in_the_audit_trail_of_that_company_alone(self, client: Any) -> None:
        mine, other = committed(make_tenant), committed(make_tenant)
        with control_session() as session:
            for tenant, count in ((mine, 20), (other, 1)):
                for number in range(count):
                    append(
                        control_session=session,
                        actor=SYSTEM,
                        action=f"{tenant.slug}.{number}",
                        subject_kind="tenant",
                        subject_id=tenant.id,
                        tenant_id=tenant.id,
                        details={},
                        now=NOW + timedelta(minutes=number),
                    )
        sign_in_staff(client, "viewer")
        trail = f"/console/audit?tenant={mine.id}"
        assert trail in client.get(f"{LIST}/{mine.id}").text
        assert "/console/audit?tenant" not in client.get(f"{LIST}/{other.id}").text
        page = client.get(trail).text
        assert all(f"{mine.slug}.{number}" in page for number in range(20))
        assert f"{other.slug}.0" not in page


class TestList:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_counts_by_state_and_finds_by_name_and_number(self, client: Any, language: str) -> None:
        trial = committed(make_tenant, name="가나다 주식회사")
        other = committed(make_tenant, state="suspended", name="마바사 주식회사")
        sign_in_staff(client, "viewer")
        page = client.get(LIST, query_string={"lang": language})
        assert page.status_code == 200
        assert trial.name in page.text
        assert other.name in page.text
        assert other.name not in client.get(LIST, query_string={"state": "trialing"}).text
        assert other.name not in client.get(LIST, query_string={"q": "가나다"}).text
        number = trial.billing_profile["registration_number"]
        found = client.get(LIST, query_string={"q": f"{number[:3]}-{number[3:5]}-{number[5:]}"})
        assert trial.name in found.text

    def test_takes_naughty_strings_in_the_search(self, client: Any) -> None:
        committed(make_tenant)
        sign_in_staff(client, "viewer")
        for text in NAUGHTY:
            assert client.get(LIST, query_string={"q": text}).status_code == 200, text


class TestDetails:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_shows_a_long_life(self, client: Any, language: str) -> None:
        tenant = long_life()
        sign_in_staff(client, "viewer")
        page = client.get(f"{LIST}/{tenant.id}", query_string={"lang": language})
        assert page.status_code == 200
        assert "INV-2026-000002" in page.text
        assert admin_of(tenant).email in page.text

    def test_an_unknown_one_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "viewer")
        assert client.get(f"{LIST}/{UUID(int=7)}").status_code == 404

    def test_shows_a_name_of_html_as_text(self, client: Any) -> None:
        tenant = committed(make_tenant, name="<script>alert(1)</script>")
        sign_in_staff(client, "viewer")
        for page in (LIST, f"{LIST}/{tenant.id}"):
            assert "<script>alert" not in client.get(page).text


class TestActs:
    def test_a_suspension_needs_a_reason_and_shuts_the_workspace(self, client: Any) -> None:
        tenant = committed(make_tenant)
        sign_in_staff(client, "finance")
        assert act(client, tenant, "suspend", why=" \t").status_code == 422
        assert again(tenant).state == "trialing"
        assert act(client, tenant, "suspend").status_code == 303
        assert again(tenant).state == "suspended"
        with control_session() as session:
            reasons = session.scalars(
                select(AuditEvent.why).where(AuditEvent.action == "tenant.suspension_explained")
            ).all()
        assert "asked by the customer" in reasons
        assert act(client, tenant, "unblock").status_code == 303
        assert again(tenant).state == "trialing"

    def test_staff_do_not_open_what_a_payment_opens(self, client: Any) -> None:
        tenant = committed(make_tenant, state="suspended", suspend_reason="unpaid")
        sign_in_staff(client, "finance")
        assert act(client, tenant, "unblock").status_code == 409
        assert again(tenant).state == "suspended"

    @pytest.mark.parametrize("days", ["0", "-1", "91", "1e3", "", "²", "9" * 30])
    def test_a_trial_is_not_extended_by_nonsense(self, client: Any, days: str) -> None:
        tenant = committed(make_tenant)
        sign_in_staff(client, "sales")
        answer = act(client, tenant, "extend", days=days)
        assert answer.status_code == 422
        assert again(tenant).trial_ends_at == tenant.trial_ends_at

    def test_a_trial_is_extended(self, client: Any) -> None:
        tenant = committed(make_tenant)
        sign_in_staff(client, "sales")
        assert act(client, tenant, "extend", days="7").status_code == 303
        assert again(tenant).trial_days == 21

    def test_a_legal_hold_is_set_and_lifted_by_an_admin(self, client: Any) -> None:
        tenant = committed(make_tenant)
        sign_in_staff(client, "admin")
        assert act(client, tenant, "hold", wish="set").status_code == 303
        assert again(tenant).legal_hold
        assert act(client, tenant, "hold", wish="lift").status_code == 303
        assert not again(tenant).legal_hold

    def test_an_erasure_that_no_rule_would_bring_is_begun_and_taken_back_by_an_admin(
        self, client: Any
    ) -> None:
        tenant = committed(make_tenant, state="suspended", suspend_reason="staff")
        sign_in_staff(client, "admin")
        assert act(client, tenant, "erase", why=" ").status_code == 422
        assert act(client, tenant, "erase").status_code == 303
        destroy_after = again(tenant).destroy_after
        assert destroy_after is not None
        assert destroy_after.date() == NOW.date() + timedelta(days=90)
        with control_session() as session:
            mail = session.scalars(select(Message).where(Message.kind == "suspended")).one()
        assert "2026-06-08" in mail.text
        assert act(client, tenant, "keep").status_code == 303
        assert again(tenant).destroy_after is None
        assert act(client, tenant, "keep").status_code == 409

    def test_the_policy_s_own_retention_is_not_taken_back(self, client: Any) -> None:
        ended = committed(make_tenant, state="suspended", destroy_after=NOW + timedelta(days=9))
        active = committed(make_tenant, state="active", converted_at=NOW)
        sign_in_staff(client, "admin")
        assert act(client, ended, "keep").status_code == 409
        assert act(client, active, "erase").status_code == 409
        assert again(ended).destroy_after is not None

    def test_an_administrator_shut_out_is_out_at_once(self, client: Any, app: Any) -> None:
        tenant = customer()
        theirs = sign_in(app.test_client(), tenant)
        assert theirs.get("/portal/").status_code == 200
        sign_in_staff(client, "admin")
        to = f"admins/{admin_of(tenant).id}/access"
        refused = act(client, tenant, to, wish="disable")
        assert refused.status_code == 409
        assert "마지막 관리자" in refused.text
        committed(make_admin, tenant=tenant)
        assert act(client, tenant, to, wish="disable").status_code == 303
        assert theirs.get("/portal/").status_code == 302

    def test_an_administrator_of_another_tenant_is_not_found(self, client: Any) -> None:
        mine, other = customer(), customer()
        sign_in_staff(client, "admin")
        to = f"admins/{admin_of(other).id}/access"
        assert act(client, mine, to, wish="disable").status_code == 404


class TestRoles:
    @pytest.mark.parametrize(
        ("role", "acts"), [("viewer", ACTS), ("sales", ADMINS_ONLY), ("finance", ADMINS_ONLY)]
    )
    def test_those_who_may_not_act_are_told(
        self, client: Any, role: str, acts: tuple[str, ...]
    ) -> None:
        tenant = committed(make_tenant)
        sign_in_staff(client, role)
        token = csrf_token(client, f"{LIST}/{tenant.id}")
        for name in acts:
            answer = client.post(
                f"{LIST}/{tenant.id}/{name}", data={"csrf_token": token, "why": "x"}
            )
            assert answer.status_code == 403, name
        assert again(tenant).state == "trialing"
