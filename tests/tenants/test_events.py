"""Pushed usage in the room: each event once for its tenant's life, whatever is sent beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.base.config import settings
from tenants import events
from tenants.event_bodies import plain
from tenants.events import WrongCount
from tenants.models import Tenant
from tenants.usage_models import Event, EventKey
from tests.factories import make_tenant
from tests.naughty import NAUGHTY
from tests.tenants.pushed import event, stored, words


@pytest.fixture
def tenant(control_session: Session) -> Tenant:
    return make_tenant(control_session, state="active")


Accept = Callable[[list[Any], datetime], list[str]]


@pytest.fixture
def accept(control_session: Session, usage_session: Session) -> Accept:
    """Pushes a batch, and says in a word what became of each event."""

    def push(batch: list[Any], now: datetime) -> list[str]:
        return words(
            events.accept(
                usage_session=usage_session, control_session=control_session, events=batch, now=now
            )
        )

    return push


class TestAccept:
    def test_stores_what_it_was_given(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        given = event(
            tenant,
            now,
            time="2026-03-10T11:59:58.25+09:00",
            quantity=Decimal("1.50"),
            properties={"path": "/도면", "size": Decimal("12.250"), "cached": False, "by": None},
        )
        assert accept([given], now) == ["accepted"]
        row = usage_session.scalars(select(Event)).one()
        assert (row.tenant_id, row.id, row.type) == (tenant.id, "e1", "api.call")
        assert row.at == datetime.fromisoformat("2026-03-10T02:59:58.25+00:00")
        assert row.quantity == Decimal("1.5")
        assert row.properties == {"path": "/도면", "size": 12.25, "cached": False, "by": None}
        assert row.received_at == now

    def test_knows_a_tenant_by_its_short_name_too_and_counts_one_by_default(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        batch = [event(tenant, now), event(tenant, now, tenant=tenant.slug)]
        assert accept(batch, now) == ["accepted", "duplicate"]
        assert usage_session.scalars(select(Event.quantity)).all() == [1]

    def test_takes_an_event_once_over_months_and_partitions(
        self,
        accept: Accept,
        control_session: Session,
        usage_session: Session,
        tenant: Tenant,
        now: datetime,
    ) -> None:
        others = [make_tenant(control_session, state="active") for _ in range(20)]
        times = [now, now - timedelta(days=20)]
        batch = [
            event(one, now, id=f"{n}", time=time.isoformat())
            for one in [tenant, *others]
            for n, time in enumerate(times)
        ]
        assert set(accept(batch, now)) == {"accepted"}
        assert set(accept(batch, now)) == {"duplicate"}
        assert stored(usage_session) == len(batch)
        places = "SELECT count(DISTINCT tableoid) FROM "
        assert usage_session.scalar(text(places + "event")) == 2
        assert usage_session.scalar(text(places + "event_key")) > 5

    def test_knows_an_event_long_after_its_month_is_gone(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        accept([event(tenant, now)], now)
        later = now + timedelta(days=31 * (settings().event_retention_months + 2))
        assert events.erase_old(usage_session=usage_session, now=later) >= 1
        assert stored(usage_session) == 0
        again = event(tenant, later)
        assert accept([again], later) == ["conflict"]

    @pytest.mark.parametrize(
        "change",
        [
            {"quantity": 2},
            {"type": "other"},
            {"time": "2026-03-10T02:00:00Z"},
            {"properties": {"a": "b"}},
        ],
    )
    def test_refuses_another_body_under_a_known_id(
        self,
        accept: Accept,
        usage_session: Session,
        tenant: Tenant,
        now: datetime,
        change: dict[str, Any],
    ) -> None:
        accept([event(tenant, now)], now)
        changed = event(tenant, now, **change)
        assert accept([changed], now) == ["conflict"]
        assert usage_session.scalars(select(Event.quantity)).all() == [1]

    def test_takes_what_means_the_same_for_the_same(
        self, accept: Accept, tenant: Tenant, now: datetime
    ) -> None:
        one = event(
            tenant, now, quantity=Decimal("1.50"), properties={"a": Decimal("2.0"), "b": "x"}
        )
        same = event(
            tenant,
            now,
            quantity="1.5",
            time="2026-03-10T12:00:00+09:00",
            properties={"b": "x", "a": 2},
        )
        assert accept([one, same], now) == ["accepted", "duplicate"]

    def test_settles_an_id_that_comes_several_times_in_one_call(
        self, accept: Accept, tenant: Tenant, now: datetime
    ) -> None:
        first, other = event(tenant, now), event(tenant, now, quantity=7)
        assert accept([first, other, first], now) == [*("accepted", "conflict", "duplicate")]
        # What is stored decides, not what came first in this call.
        assert accept([other, first], now) == ["conflict", "duplicate"]

    def test_keeps_tenants_apart(
        self, accept: Accept, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        neighbour = make_tenant(control_session, state="trialing")
        batch = [event(tenant, now), event(neighbour, now, quantity=2)]
        assert accept(batch, now) == ["accepted", "accepted"]

    def test_a_refused_event_costs_its_batch_nothing(
        self, accept: Accept, tenant: Tenant, now: datetime
    ) -> None:
        batch = [event(tenant, now, id="a"), "no event", event(tenant, now, id="b")]
        assert accept(batch, now) == ["accepted", "not_an_object", "accepted"]

    @pytest.mark.parametrize("state", ["approved", "destroying", "destroyed"])
    def test_takes_nothing_for_a_tenant_that_is_not_live(
        self,
        accept: Accept,
        control_session: Session,
        usage_session: Session,
        now: datetime,
        state: str,
    ) -> None:
        gone = make_tenant(control_session, state=state)
        assert accept([event(gone, now)], now) == ["unknown_tenant"]
        assert usage_session.scalar(select(func.count()).select_from(EventKey)) == 0

    def test_still_takes_what_a_suspended_tenant_used(
        self, accept: Accept, control_session: Session, now: datetime
    ) -> None:
        suspended = make_tenant(control_session, state="suspended")
        assert accept([event(suspended, now)], now) == ["accepted"]

    def test_wants_as_many_events_as_a_call_may_bring(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        most = settings().event_batch_max
        batch = [event(tenant, now, id=str(n)) for n in range(most + 1)]
        for wrong in ([], batch):
            with pytest.raises(WrongCount):
                events.check_count(wrong)
        events.check_count(batch[:-1])
        assert accept(batch[:-1], now) == ["accepted"] * most
        assert stored(usage_session) == most


class TestAnEvent:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"id": ...}, "missing"),
            ({"id": ""}, "bad_id"),
            ({"id": 7}, "bad_id"),
            ({"id": "a\nb"}, "bad_id"),
            ({"id": "\ud800"}, "bad_id"),
            ({"id": "x" * 257}, "bad_id"),
            ({"tenant": "nobody"}, "unknown_tenant"),
            ({"tenant": "00000000-0000-7000-8000-000000000000"}, "unknown_tenant"),
            ({"tenant": "-" * 36}, "unknown_tenant"),
            ({"type": "x" * 101}, "bad_type"),
            ({"surplus": 1}, "unknown_field"),
            ({"time": ...}, "missing"),
            ({"time": "2026-03-10T03:00:00"}, "bad_time"),
            ({"time": "2026-03-10"}, "bad_time"),
            ({"time": "2026-02-30T03:00:00Z"}, "bad_time"),
            ({"time": "2026-03-10x03:00:00Z"}, "bad_time"),
            ({"time": "0001-01-01T00:00:00+14:00"}, "bad_time"),
            ({"time": 1773111600}, "bad_time"),
            ({"time": "٢٠٢٦-03-10T03:00:00Z"}, "bad_time"),
            ({"quantity": Decimal("-1")}, "bad_quantity"),
            ({"quantity": Decimal("NaN")}, "bad_quantity"),
            ({"quantity": Decimal("Infinity")}, "bad_quantity"),
            ({"quantity": Decimal("1e999999999")}, "bad_quantity"),
            ({"quantity": Decimal("1e-999999999")}, "bad_quantity"),
            ({"quantity": Decimal("0.0000000000001")}, "bad_quantity"),
            ({"quantity": Decimal("1" + "0" * 26)}, "bad_quantity"),
            ({"quantity": 1.5}, "bad_quantity"),
            ({"quantity": True}, "bad_quantity"),
            ({"quantity": None}, "bad_quantity"),
            ({"quantity": "1e3"}, "bad_quantity"),
            ({"properties": []}, "bad_properties"),
            ({"properties": {"a": {"b": "c"}}}, "bad_properties"),
            ({"properties": {"a": "\x00"}}, "bad_properties"),
            ({"properties": {"a": Decimal("1e999999999")}}, "bad_properties"),
            ({"properties": {"": "a"}}, "bad_properties"),
            ({"properties": {str(n): "" for n in range(33)}}, "too_many_properties"),
            ({"properties": {"a": "가" * 1_400}}, "properties_too_large"),
        ],
    )
    def test_that_is_not_sound_is_refused_by_name(
        self,
        accept: Accept,
        tenant: Tenant,
        now: datetime,
        change: dict[str, Any],
        reason: str,
    ) -> None:
        assert accept([event(tenant, now, **change)], now) == [reason]

    def test_may_be_as_large_as_its_limits(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        largest = Decimal("9" * 26 + "." + "9" * 12)
        batch = [
            event(tenant, now, id="가" * 256, quantity=largest, type="x" * 100),
            event(tenant, now, id="b", properties={str(n): "" for n in range(32)}),
            event(tenant, now, id="c", properties={"a": "x" * (4_096 - 8)}),
        ]
        assert accept(batch, now) == ["accepted"] * 3
        assert usage_session.scalar(select(func.max(Event.quantity))) == largest

    def test_is_taken_within_its_window_of_time_and_not_beyond(
        self, accept: Accept, tenant: Tenant, now: datetime
    ) -> None:
        oldest = now - timedelta(days=settings().event_backdating_days)
        newest = now + timedelta(seconds=settings().event_clock_skew_seconds)
        moment = timedelta(microseconds=1)
        times = {
            oldest: "accepted",
            oldest - moment: "too_old",
            newest: "accepted",
            newest + moment: "in_the_future",
        }
        batch = [event(tenant, now, id=str(at), time=at.isoformat()) for at in times]
        assert accept(batch, now) == list(times.values())

    def test_has_the_window_that_is_set(
        self, accept: Accept, tenant: Tenant, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENANTRY_EVENT_BACKDATING_DAYS", "2")
        monkeypatch.setenv("TENANTRY_EVENT_CLOCK_SKEW_SECONDS", "7200")
        settings.cache_clear()
        times = {"too_old": timedelta(days=-3), "accepted": timedelta(hours=1)}
        batch = [event(tenant, now, id=id, time=f"{now + by:%FT%TZ}") for id, by in times.items()]
        try:
            assert accept(batch, now) == list(times)
        finally:
            monkeypatch.undo()
            settings.cache_clear()

    def test_carries_any_text_that_can_be_stored(
        self, accept: Accept, usage_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        batch = [
            event(tenant, now, id=f"n{place}", properties={"text": text_})
            for place, text_ in enumerate(NAUGHTY)
        ][: settings().event_batch_max]
        outcomes = accept(batch, now)
        for sent, outcome in zip(batch, outcomes, strict=True):
            naughty = sent["properties"]["text"]
            if len(json.dumps(sent["properties"]).encode()) < 4_096:
                assert outcome == ("bad_properties" if "\x00" in naughty else "accepted"), sent
        kept = dict(usage_session.execute(select(Event.id, Event.properties)).all())
        assert all(kept[sent["id"]] == sent["properties"] for sent in batch if sent["id"] in kept)
        assert len(kept) == outcomes.count("accepted") > 80

    @pytest.mark.parametrize(
        ("number", "written"),
        [("1.50", "1.5"), ("100", "100"), ("1E+2", "100"), ("-0", "0"), ("0.000", "0")],
    )
    def test_number_is_written_in_one_way(self, number: str, written: str) -> None:
        assert plain(Decimal(number)) == written
