"""What a tenant may use: its plan's grants, overrides in their place, and quotas that fill."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from app.base.audit import SYSTEM, Actor, AuditEvent
from app.base.db import control_session, usage_session
from app.base.errors import Invalid, NotFound
from app.base.messages import Message
from jobs import rollups as rolling
from jobs.quotas import STEP
from tenants import entitlements, lifecycle, meters, quotas
from tenants.entitlement_models import EntitlementOverride, QuotaAlert, TenantQuota
from tenants.grants import Override, Quota
from tenants.models import Tenant
from tests.factories import make_admin, make_tenant
from tests.tenants.counting import NAMES
from tests.web.api.calling import event, make_key, push

THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
BY = Actor.job("tests")
CALLS = {"code": "api_calls", "aggregation": "sum", "event_type": "api.call", "unit": "call",
         "names": NAMES}  # fmt: skip
GRANTED: dict[str, Any] = {
    "limits": {"seats": 10, "storage_bytes": 1_000},
    "features": {"sso": False, "support": "weekdays"},
    "quotas": {"api_calls": {"soft": "100", "hard": "200", "alerts": [80, 100]}},
}


@pytest.fixture
def tenant_id(client: Any, set_clock: Callable[[datetime], None]) -> UUID:
    """A live tenant on a plan with features and a quota."""
    set_clock(THEN)
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=meters.read_all({"meters": [CALLS]}),
            actor=SYSTEM,
            now=THEN,
        )
        tenant = make_tenant(session, state="active", slug="hanbit", now=THEN)
        change(session, tenant.id)
        return tenant.id


def change(session: Any, tenant_id: UUID, **granted: Any) -> None:
    lifecycle.change_plan(
        control_session=session,
        tenant_id=tenant_id,
        plan_code="team",
        actor=BY,
        now=THEN,
        **(GRANTED | granted),
    )


def override(
    tenant_id: UUID, kind: str, code: str, value: Any, *, until: datetime | None = None, **more: Any
) -> UUID:
    with control_session() as session:
        return entitlements.override(
            control_session=session,
            tenant_id=tenant_id,
            wanted=Override(kind, code, value),
            expires_at=until,
            **({"reason": "asked for", "actor": BY, "now": THEN} | more),
        ).id


def limits_of(tenant_id: UUID) -> dict[str, Any]:
    with control_session() as session:
        return session.get_one(Tenant, tenant_id).limits


def quota_of(tenant_id: UUID) -> TenantQuota:
    with control_session() as session:
        return session.get_one(TenantQuota, (tenant_id, "api_calls"))


def use(client: Any, id: str, quantity: int, at: datetime = THEN) -> None:
    key = make_key()
    batch = [event(at, id=id, quantity=quantity)]
    assert push(client, batch, key=key).json["accepted"] == 1


def alerts() -> list[tuple[str, int, Decimal]]:
    with control_session() as session:
        rows = session.execute(
            select(QuotaAlert.bound, QuotaAlert.percent, QuotaAlert.used).order_by(
                QuotaAlert.starts_at, QuotaAlert.bound.desc(), QuotaAlert.percent
            )
        )
        return [tuple(row) for row in rows]


def mails() -> int:
    with control_session() as session:
        query = select(func.count()).where(Message.dedupe_key.startswith("quota:"))
        return session.scalar(query) or 0


def work() -> None:
    while STEP.work():
        pass


class TestOverrides:
    def test_stand_in_the_place_of_the_plan_s_and_outlive_a_change_of_plan(
        self, tenant_id: UUID
    ) -> None:
        override(tenant_id, "limit", "seats", 25)
        assert limits_of(tenant_id) == {"seats": 25, "storage_bytes": 1_000}
        with control_session() as session:
            change(session, tenant_id, limits={"seats": 3, "storage_bytes": 9})
        assert limits_of(tenant_id) == {"seats": 25, "storage_bytes": 9}

    def test_give_way_to_the_plan_when_they_end(self, tenant_id: UUID) -> None:
        first = override(tenant_id, "limit", "seats", None)
        assert limits_of(tenant_id)["seats"] is None
        second = override(tenant_id, "limit", "seats", 12)
        with control_session() as session:
            old = session.get_one(EntitlementOverride, first)
            assert (old.ended_at, old.ended_by) == (THEN, "job:tests")
            entitlements.end_override(
                control_session=session, tenant_id=tenant_id, override_id=second,
                reason="over", actor=BY, now=THEN,
            )  # fmt: skip
        assert limits_of(tenant_id)["seats"] == 10
        with pytest.raises(NotFound), control_session() as session:
            entitlements.end_override(
                control_session=session, tenant_id=tenant_id, override_id=second,
                reason="over", actor=BY, now=THEN,
            )  # fmt: skip

    def test_end_by_themselves_when_their_time_is_over(
        self, tenant_id: UUID, set_clock: Callable[[datetime], None]
    ) -> None:
        override(tenant_id, "limit", "seats", 99, until=THEN + timedelta(hours=1))
        work()
        assert limits_of(tenant_id)["seats"] == 99
        set_clock(THEN + timedelta(hours=1))
        with control_session() as session:
            assert STEP.due(session, THEN + timedelta(hours=1))
        work()
        assert limits_of(tenant_id)["seats"] == 10

    def test_of_a_tenant_from_before_keep_what_it_had_as_its_plan_s(self, tenant_id: UUID) -> None:
        with control_session() as session:
            session.get_one(Tenant, tenant_id).plan_grants = {}
        row = override(tenant_id, "limit", "seats", 25)
        with control_session() as session:
            entitlements.end_override(
                control_session=session, tenant_id=tenant_id, override_id=row,
                reason="over", actor=BY, now=THEN,
            )  # fmt: skip
        assert limits_of(tenant_id)["seats"] == 10

    def test_are_in_the_trail_with_their_reason_and_can_t_be_rewritten(
        self, tenant_id: UUID
    ) -> None:
        row = override(tenant_id, "feature", "sso", True, reason="a pilot")
        with control_session() as session:
            line = session.scalars(
                select(AuditEvent).where(AuditEvent.action == "tenant.entitlement_overridden")
            ).one()
        assert line.why == "a pilot"
        assert line.details["value"] is True
        with pytest.raises(DBAPIError, match="cannot be changed"), control_session() as session:
            session.execute(
                text("UPDATE entitlement_override SET reason = 'x' WHERE id = :id"), {"id": row}
            )

    @pytest.mark.parametrize(
        ("kind", "code", "value", "more", "field"),
        [
            ("limit", "films", 3, {}, "code"),
            ("limit", "seats", -1, {}, "value"),
            ("limit", "seats", True, {}, "value"),
            ("feature", "SSO", True, {}, "features.SSO"),
            ("feature", "sso", "", {}, "features.sso"),
            ("feature", "sso", 3, {}, "kind"),
            ("gift", "sso", True, {}, "kind"),
            ("quota", "unheard_of", Quota(soft=Decimal(1)), {}, "quotas.unheard_of"),
            ("quota", "seats", Quota(soft=Decimal(1)), {}, "quotas.seats"),
            ("quota", "api_calls", Quota(), {}, "quotas.api_calls"),
            ("quota", "api_calls", Quota(soft=Decimal(2), hard=Decimal(1)), {},
             "quotas.api_calls.soft"),
            ("quota", "api_calls", Quota(soft=Decimal("NaN")), {}, "quotas.api_calls.soft"),
            ("quota", "api_calls", Quota(soft=Decimal(1), alerts=(100, 80)), {},
             "quotas.api_calls.alerts"),
            ("quota", "api_calls", Quota(soft=Decimal(1), alerts=(0,)), {},
             "quotas.api_calls.alerts"),
            ("feature", "sso", True, {"reason": "  "}, "why"),
            ("feature", "sso", True, {"until": THEN}, "expires"),
        ],
    )  # fmt: skip
    def test_that_say_nothing_sound_are_refused_by_field(
        self, tenant_id: UUID, *, kind: str, code: str, value: Any, more: Any, field: str
    ) -> None:
        with pytest.raises(Invalid) as told:
            override(tenant_id, kind, code, value, **more)
        assert told.value.field == field


class TestQuotas:
    def test_tell_each_threshold_once_to_each_administrator(
        self, client: Any, tenant_id: UUID, set_clock: Callable[[datetime], None]
    ) -> None:
        with control_session() as session:
            make_admin(session, tenant=session.get_one(Tenant, tenant_id))
        use(client, "a", 79)
        work()
        assert (quota_of(tenant_id).used, alerts(), mails()) == (79, [], 0)
        use(client, "b", 1)
        set_clock(THEN + timedelta(minutes=2))
        work()
        assert (alerts(), mails()) == ([("soft", 80, 80)], 2)
        use(client, "c", 80)
        set_clock(THEN + timedelta(minutes=4))
        work()
        assert [row[:2] for row in alerts()] == [("soft", 80), ("soft", 100), ("hard", 80)]
        assert mails() == 6

    def test_count_the_same_with_and_without_rollups(
        self, client: Any, tenant_id: UUID, set_clock: Callable[[datetime], None]
    ) -> None:
        use(client, "a", 7, THEN - timedelta(days=3))
        use(client, "b", 5)
        use(client, "october", 1_000, datetime(2026, 10, 31, 14, 59, tzinfo=UTC))
        work()
        assert quota_of(tenant_id).used == 12
        while rolling.STEP.work():
            pass
        set_clock(THEN + timedelta(minutes=2))
        work()
        assert quota_of(tenant_id).used == 12

    def test_that_were_told_of_and_lost_the_note_are_not_told_of_again(
        self, client: Any, tenant_id: UUID
    ) -> None:
        """A worker killed before its commit leaves nothing; one killed later leaves the alert."""
        use(client, "a", 150)

        class Killed(BaseException):
            pass

        def counted_and_killed() -> None:
            with control_session() as control, usage_session() as usage:
                quotas.count(control_session=control, usage_session=usage, now=THEN, limit=9)
                assert control.scalar(select(func.count()).select_from(QuotaAlert)) == 2
                raise Killed

        with pytest.raises(Killed):
            counted_and_killed()
        assert (alerts(), mails(), quota_of(tenant_id).counted_at) == ([], 0, None)
        work()
        assert [row[:2] for row in alerts()] == [("soft", 80), ("soft", 100)]
        with control_session() as session:
            session.get_one(TenantQuota, (tenant_id, "api_calls")).counted_at = None
        work()
        assert (len(alerts()), mails()) == (2, 2)

    def test_begin_anew_with_the_month_of_the_tenant_s_zone(
        self, client: Any, tenant_id: UUID, set_clock: Callable[[datetime], None]
    ) -> None:
        last = datetime(2026, 11, 30, 14, 50, tzinfo=UTC)  # ten minutes before December in Seoul
        set_clock(last)
        work()
        use(client, "late", 90, last + timedelta(minutes=5))
        set_clock(last + timedelta(minutes=20))
        work()
        assert alerts() == [("soft", 80, 90)]
        row = quota_of(tenant_id)
        assert (row.used, row.starts_at) == (0, datetime(2026, 11, 30, 15, 0, tzinfo=UTC))
        use(client, "first", 85, last + timedelta(minutes=15))
        set_clock(last + timedelta(minutes=30))
        work()
        assert alerts() == [("soft", 80, 90), ("soft", 80, 85)]

    def test_of_an_override_count_in_the_place_of_the_plan_s(
        self, client: Any, tenant_id: UUID
    ) -> None:
        use(client, "a", 150)
        override(tenant_id, "quota", "api_calls", Quota(hard=Decimal(1_000), alerts=(15,)))
        work()
        assert alerts() == [("hard", 15, 150)]
        override(tenant_id, "quota", "api_calls", None)
        with control_session() as session:
            assert session.get(TenantQuota, (tenant_id, "api_calls")) is None

    def test_of_a_tenant_without_use_say_nothing(self, tenant_id: UUID) -> None:
        override(tenant_id, "quota", "api_calls", Quota(hard=Decimal(0)))
        work()
        assert (alerts(), quota_of(tenant_id).used) == ([], 0)
        with control_session() as session:
            assert not STEP.due(session, THEN)

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_are_told_in_the_tenant_s_language(
        self, client: Any, tenant_id: UUID, language: str
    ) -> None:
        with control_session() as session:
            session.get_one(Tenant, tenant_id).language = language
        use(client, "a", 250)
        work()
        with control_session() as session:
            texts = session.scalars(select(Message.text).order_by(Message.id)).all()
        assert len(texts) == 4
        assert all("250" in said and "{{" not in said for said in texts)
        refused = "may be refused until" if language == "en" else "모두 써서"
        assert sum(refused in said for said in texts) >= 1
