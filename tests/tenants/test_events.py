"""Pushed usage in the room: each event once for its tenant's life, whatever is sent beside it."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.db import control_session as commit_session
from tenants import events, personal_data
from tenants.event_bodies import plain
from tenants.events import Outcome, WrongCount
from tenants.models import Tenant
from tenants.usage_models import Event, EventKey
from tests.conftest import ROOT
from tests.factories import make_tenant
from tests.patience import eventually

NAUGHTY = json.loads((ROOT / "tests" / "data" / "naughty_strings.json").read_text("utf-8"))


@pytest.fixture
def tenant(control_session: Session) -> Tenant:
    return make_tenant(control_session, state="active")


def event(of: Tenant, now: datetime, /, **fields: Any) -> dict[str, Any]:
    values = {"id": "e1", "tenant": str(of.id), "type": "api.call", "time": now.isoformat()}
    return {key: value for key, value in (values | fields).items() if value is not ...}


def accept(session: Session, batch: list[Any], now: datetime) -> list[str]:
    return words(events.accept(control_session=session, events=batch, now=now))


def words(outcomes: list[Outcome]) -> list[str]:
    return [o.refusal.reason if o.outcome == "refused" else o.outcome for o in outcomes]  # type: ignore[union-attr]


def stored(session: Session, **columns: Any) -> int:
    return session.scalar(select(func.count()).select_from(Event).filter_by(**columns)) or 0


class TestAccept:
    def test_stores_what_it_was_given(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        given = event(
            tenant,
            now,
            time="2026-03-10T11:59:58.25+09:00",
            quantity=Decimal("1.50"),
            properties={"path": "/도면", "size": Decimal("12.250"), "cached": False, "by": None},
        )
        assert accept(control_session, [given], now) == ["accepted"]
        row = control_session.scalars(select(Event)).one()
        assert (row.tenant_id, row.id, row.type) == (tenant.id, "e1", "api.call")
        assert row.at == datetime.fromisoformat("2026-03-10T02:59:58.25+00:00")
        assert row.quantity == Decimal("1.5")
        assert row.properties == {"path": "/도면", "size": 12.25, "cached": False, "by": None}
        assert row.received_at == now

    def test_knows_a_tenant_by_its_short_name_too_and_counts_one_by_default(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        batch = [event(tenant, now), event(tenant, now, tenant=tenant.slug)]
        assert accept(control_session, batch, now) == ["accepted", "duplicate"]
        assert control_session.scalars(select(Event.quantity)).all() == [1]

    def test_takes_an_event_once_over_months_and_partitions(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        others = [make_tenant(control_session, state="active") for _ in range(20)]
        times = [now, now - timedelta(days=20)]
        batch = [
            event(one, now, id=f"{n}", time=time.isoformat())
            for one in [tenant, *others]
            for n, time in enumerate(times)
        ]
        assert set(accept(control_session, batch, now)) == {"accepted"}
        assert set(accept(control_session, batch, now)) == {"duplicate"}
        assert stored(control_session) == len(batch)
        places = "SELECT count(DISTINCT tableoid) FROM "
        assert control_session.scalar(text(places + "event")) == 2
        assert control_session.scalar(text(places + "event_key")) > 5

    def test_knows_an_event_long_after_its_month_is_gone(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        accept(control_session, [event(tenant, now)], now)
        later = now + timedelta(days=31 * (settings().event_retention_months + 2))
        assert events.erase_old(control_session=control_session, now=later) >= 1
        assert stored(control_session) == 0
        again = event(tenant, later)
        assert accept(control_session, [again], later) == ["conflict"]

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
        self, control_session: Session, tenant: Tenant, now: datetime, change: dict[str, Any]
    ) -> None:
        accept(control_session, [event(tenant, now)], now)
        changed = event(tenant, now, **change)
        assert accept(control_session, [changed], now) == ["conflict"]
        assert control_session.scalars(select(Event.quantity)).all() == [1]

    def test_takes_what_means_the_same_for_the_same(
        self, control_session: Session, tenant: Tenant, now: datetime
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
        assert accept(control_session, [one, same], now) == ["accepted", "duplicate"]

    def test_settles_an_id_that_comes_several_times_in_one_call(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        first, other = event(tenant, now), event(tenant, now, quantity=7)
        assert accept(control_session, [first, other, first], now) == [
            *("accepted", "conflict", "duplicate")
        ]
        # What is stored decides, not what came first in this call.
        assert accept(control_session, [other, first], now) == ["conflict", "duplicate"]

    def test_keeps_tenants_apart(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        neighbour = make_tenant(control_session, state="trialing")
        batch = [event(tenant, now), event(neighbour, now, quantity=2)]
        assert accept(control_session, batch, now) == ["accepted", "accepted"]

    def test_a_refused_event_costs_its_batch_nothing(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        batch = [event(tenant, now, id="a"), "no event", event(tenant, now, id="b")]
        assert accept(control_session, batch, now) == ["accepted", "not_an_object", "accepted"]

    @pytest.mark.parametrize("state", ["approved", "destroying", "destroyed"])
    def test_takes_nothing_for_a_tenant_that_is_not_live(
        self, control_session: Session, now: datetime, state: str
    ) -> None:
        gone = make_tenant(control_session, state=state)
        assert accept(control_session, [event(gone, now)], now) == ["unknown_tenant"]
        assert control_session.scalar(select(func.count()).select_from(EventKey)) == 0

    def test_still_takes_what_a_suspended_tenant_used(
        self, control_session: Session, now: datetime
    ) -> None:
        suspended = make_tenant(control_session, state="suspended")
        assert accept(control_session, [event(suspended, now)], now) == ["accepted"]

    def test_wants_as_many_events_as_a_call_may_bring(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        most = settings().event_batch_max
        batch = [event(tenant, now, id=str(n)) for n in range(most + 1)]
        for wrong in ([], batch):
            with pytest.raises(WrongCount):
                accept(control_session, wrong, now)
        assert accept(control_session, batch[:-1], now) == ["accepted"] * most
        assert stored(control_session) == most


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
        control_session: Session,
        tenant: Tenant,
        now: datetime,
        change: dict[str, Any],
        reason: str,
    ) -> None:
        assert accept(control_session, [event(tenant, now, **change)], now) == [reason]

    def test_may_be_as_large_as_its_limits(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        largest = Decimal("9" * 26 + "." + "9" * 12)
        batch = [
            event(tenant, now, id="가" * 256, quantity=largest, type="x" * 100),
            event(tenant, now, id="b", properties={str(n): "" for n in range(32)}),
            event(tenant, now, id="c", properties={"a": "x" * (4_096 - 8)}),
        ]
        assert accept(control_session, batch, now) == ["accepted"] * 3
        assert control_session.scalar(select(func.max(Event.quantity))) == largest

    def test_is_taken_within_its_window_of_time_and_not_beyond(
        self, control_session: Session, tenant: Tenant, now: datetime
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
        assert accept(control_session, batch, now) == list(times.values())

    def test_carries_any_text_that_can_be_stored(
        self, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        batch = [
            event(tenant, now, id=f"n{place}", properties={"text": text_})
            for place, text_ in enumerate(NAUGHTY)
        ][: settings().event_batch_max]
        outcomes = accept(control_session, batch, now)
        for sent, outcome in zip(batch, outcomes, strict=True):
            naughty = sent["properties"]["text"]
            if len(json.dumps(sent["properties"]).encode()) < 4_096:
                assert outcome == ("bad_properties" if "\x00" in naughty else "accepted"), sent
        kept = dict(control_session.execute(select(Event.id, Event.properties)).all())
        assert all(kept[sent["id"]] == sent["properties"] for sent in batch if sent["id"] in kept)
        assert len(kept) == outcomes.count("accepted") > 80

    @pytest.mark.parametrize(
        ("number", "written"),
        [("1.50", "1.5"), ("100", "100"), ("1E+2", "100"), ("-0", "0"), ("0.000", "0")],
    )
    def test_number_is_written_in_one_way(self, number: str, written: str) -> None:
        assert plain(Decimal(number)) == written


class TestTwoCallsAtOnce:
    def test_take_each_event_once(self, scenario: Any, now: datetime) -> None:
        with commit_session() as session:
            owner = make_tenant(session, state="active")
        batch = [event(owner, now, id=str(n)) for n in range(300)]
        gate, outcomes = threading.Barrier(2), {}

        def push(order: int) -> None:
            gate.wait(30)
            with commit_session() as session:
                outcomes[order] = accept(session, batch[::order], now)

        threads = [threading.Thread(target=push, args=(order,)) for order in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        both = zip(outcomes[1], reversed(outcomes[-1]), strict=True)
        assert {tuple(sorted(pair)) for pair in both} == {("accepted", "duplicate")}
        with commit_session() as session:
            assert stored(session) == len(batch)


class TestADestructionBesideACall:
    def test_waits_for_the_call_and_leaves_nothing_of_it(
        self, scenario: Any, now: datetime
    ) -> None:
        with commit_session() as session:
            owner = make_tenant(session, state="active")
        done = threading.Event()

        def destroy() -> None:
            with commit_session() as session:
                session.get_one(Tenant, owner.id).state = "destroying"
            with commit_session() as session:
                events.erase(control_session=session, tenant_id=owner.id)
            done.set()

        thread = threading.Thread(target=destroy)
        with commit_session() as session:
            assert accept(session, [event(owner, now)], now) == ["accepted"]
            thread.start()
            eventually(lambda: waiting_for_writers() == 1, "the erasure waits for the call")
            assert not done.is_set()
        thread.join(30)
        assert done.is_set()
        with commit_session() as session:
            assert (stored(session), session.scalar(select(func.count(EventKey.id_hash)))) == (0, 0)
            assert accept(session, [event(owner, now)], now) == ["unknown_tenant"]


def waiting_for_writers() -> int:
    with commit_session() as session:
        return session.scalar(
            text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        )


class TestTheStore:
    def test_makes_the_coming_months_before_they_are_needed(
        self, control_session: Session, now: datetime
    ) -> None:
        far = datetime(2031, 11, 30, 23, tzinfo=now.tzinfo)
        assert events.make_months_ahead(control_session=control_session, now=far) == 3
        assert events.make_months_ahead(control_session=control_session, now=far) == 0
        names = control_session.scalars(
            text("SELECT relname FROM pg_class WHERE relname ~ '^event_p203' ORDER BY 1")
        ).all()
        assert [n for n in names if len(n) == 13] == [
            f"event_p{m}" for m in (203111, 203112, 203201)
        ]

    @pytest.mark.parametrize(
        "statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"]
    )
    @pytest.mark.parametrize("table", ["event", "event_key"])
    def test_lets_nobody_change_or_delete_an_event(
        self, control_session: Session, table: str, statement: str
    ) -> None:
        with pytest.raises(DBAPIError, match="permission denied"):
            control_session.execute(text(statement.format(table)))

    def test_erases_nothing_of_a_tenant_that_stays(
        self, control_session: Session, tenant: Tenant
    ) -> None:
        with pytest.raises(DBAPIError, match="not being destroyed"):
            events.erase(control_session=control_session, tenant_id=tenant.id)

    def test_forgets_everything_of_a_destroyed_tenant_and_nothing_of_its_neighbour(
        self, control_session: Session, tenant: Tenant, now: datetime, monkeypatch: Any
    ) -> None:
        neighbour = make_tenant(control_session, state="active")
        batch = [
            event(one, now, id=f"{n}", time=(now - timedelta(days=n * 9)).isoformat())
            for one in (tenant, neighbour)
            for n in range(4)
        ]
        accept(control_session, batch, now)
        control_session.execute(
            update(Tenant).where(Tenant.id == tenant.id).values(state="destroying")
        )
        monkeypatch.setattr(events, "ERASED_AT_ONCE", 3)
        left = personal_data.erase(
            control_session=control_session,
            tenant_id=tenant.id,
            actor=personal_data.Actor.job("destruction"),
            now=now,
        )
        assert (left["event"], left["event_key"]) == (0, 0)
        assert stored(control_session, tenant_id=neighbour.id) == 4
