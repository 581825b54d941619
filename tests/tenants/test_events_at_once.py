"""Events pushed beside each other and beside their tenant's end: taken once, or not at all."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.base.config import settings
from app.base.db import control_session as commit_session
from app.base.db import usage_session as usage_transaction
from app.base.remembered import Remembered
from tenants import events
from tests.factories import make_tenant
from tests.patience import eventually
from tests.tenants.pushed import end, event, nothing_left, push, set_state, stored, words


class TestTwoCallsAtOnce:
    def test_take_each_event_once(self, scenario: Any, now: datetime) -> None:
        with commit_session() as session:
            owner = make_tenant(session, state="active")
        batch = [event(owner, now, id=str(n)) for n in range(300)]
        gate, outcomes = threading.Barrier(2), {}

        def call(order: int) -> None:
            gate.wait(30)
            outcomes[order] = push(batch[::order], now)

        threads = [threading.Thread(target=call, args=(order,)) for order in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        both = zip(outcomes[1], reversed(outcomes[-1]), strict=True)
        assert {tuple(sorted(pair)) for pair in both} == {("accepted", "duplicate")}
        with usage_transaction() as session:
            assert stored(session) == len(batch)


class TestATenantThatIsRemembered:
    def test_is_not_asked_for_again_until_the_moment_is_over(
        self, scenario: Any, now: datetime, monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("TENANTRY_API_MEMORY_SECONDS", "60")
        settings.cache_clear()
        monkeypatch.setattr(events, "_live", Remembered())
        with commit_session() as session:
            owner = make_tenant(session, state="active")
        assert push([event(owner, now)], now) == ["accepted"]
        set_state(owner.id, "destroying")
        assert push([event(owner, now, id="e2")], now) == ["accepted"]
        end(owner.id, now)
        assert push([event(owner, now, id="e3")], now) == ["unknown_tenant"]
        monkeypatch.undo()
        settings.cache_clear()
        assert push([event(owner, now, id="e4")], now) == ["unknown_tenant"]


class TestADestructionBesideACall:
    def test_waits_for_the_call_and_leaves_nothing_of_it(
        self, scenario: Any, now: datetime
    ) -> None:
        with commit_session() as session:
            owner = make_tenant(session, state="active")
        done = threading.Event()

        def destroy() -> None:
            set_state(owner.id, "destroying")
            end(owner.id, now)
            with usage_transaction() as session:
                events.erase(usage_session=session, tenant_id=owner.id)
            done.set()

        thread = threading.Thread(target=destroy)
        with commit_session() as control, usage_transaction() as usage:
            taken = events.accept(
                usage_session=usage, control_session=control, events=[event(owner, now)], now=now
            )
            assert words(taken) == ["accepted"]
            thread.start()
            eventually(lambda: waiting_for_writers() == 1, "the erasure waits for the call")
            assert not done.is_set()
        thread.join(30)
        assert done.is_set()
        with usage_transaction() as session:
            assert nothing_left(session, owner.id)
        assert push([event(owner, now)], now) == ["unknown_tenant"]

    def test_is_known_to_a_call_that_still_believes_the_tenant_to_be_live(
        self, scenario: Any, now: datetime
    ) -> None:
        with commit_session() as session:
            owner = make_tenant(session, state="destroying")
        end(owner.id, now)
        set_state(owner.id, "active")  # as a cache, or a control database restored alone, says
        neighbour = owner
        with commit_session() as session:
            neighbour = make_tenant(session, state="active")
        batch = [event(owner, now), event(neighbour, now), event(owner, now, id="e2")]
        assert push(batch, now) == ["unknown_tenant", "accepted", "unknown_tenant"]
        with usage_transaction() as session:
            assert nothing_left(session, owner.id)
            assert not nothing_left(session, neighbour.id)


def waiting_for_writers() -> int:
    with usage_transaction() as session:
        return session.scalar(
            text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        )
