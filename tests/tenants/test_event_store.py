"""Where events lie: months made ahead, the tenant in every key, and nothing left of who is gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.db import UsageBase
from app.base.db import control_session as commit_session
from app.base.db import usage_session as usage_transaction
from app.base.invariants import Invariant, Offence, offences
from tenants import events
from tenants.checks import INVARIANTS
from tenants.models import Tenant
from tests.factories import make_tenant
from tests.tenants.pushed import end, event, nothing_left, push, set_state, stored, words


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


# Small tables that every server may have a copy of.
OF_NO_TENANT = {"usage_cover"}


_INDEXES = """
    SELECT c.relname AS name, t.relname AS of, i.indisunique AS is_unique,
        ARRAY(SELECT attname FROM pg_attribute
              WHERE attrelid = i.indrelid AND attnum = ANY(i.indkey)) AS columns
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    WHERE i.indrelid IN (
        SELECT (pg_partition_tree(each)).relid FROM unnest(CAST(:tables AS regclass[])) AS each
        UNION SELECT unnest(CAST(:tables AS regclass[])))
"""


class TestTheStore:
    def test_makes_the_coming_months_before_they_are_needed(
        self, usage_session: Session, now: datetime
    ) -> None:
        far = datetime(2031, 11, 30, 23, tzinfo=now.tzinfo)
        assert events.make_months_ahead(usage_session=usage_session, now=far) == 3
        assert events.make_months_ahead(usage_session=usage_session, now=far) == 0
        names = usage_session.scalars(
            text("SELECT relname FROM pg_class WHERE relname ~ '^event_p203' ORDER BY 1")
        ).all()
        assert [n for n in names if len(n) == 13] == [
            f"event_p{m}" for m in (203111, 203112, 203201)
        ]

    def test_has_the_tenant_in_every_key_and_points_nowhere(self, usage_session: Session) -> None:
        """Whatever says «only one» can then be kept by the one server that has the tenant."""
        rows = usage_session.execute(text(_INDEXES), {"tables": list(UsageBase.metadata.tables)})
        keys = [row for row in rows if row.is_unique]
        assert {row.of for row in keys} >= {"event_key", "event_key_p00", "erased_tenant"}
        without = {row.of for row in keys if "tenant_id" not in row.columns}
        assert without <= OF_NO_TENANT
        foreign = text(
            "SELECT conname FROM pg_constraint WHERE contype = 'f'"
            " AND (conrelid = ANY(CAST(:tables AS regclass[]))"
            "   OR confrelid = ANY(CAST(:tables AS regclass[])))"
        )
        tables = {"tables": list(UsageBase.metadata.tables)}
        assert usage_session.scalars(foreign, tables).all() == []
        of_tenants = UsageBase.metadata.tables.keys() - OF_NO_TENANT
        assert all("tenant_id" in UsageBase.metadata.tables[name].columns for name in of_tenants)

    @pytest.mark.parametrize(
        "statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"]
    )
    @pytest.mark.parametrize("table", ["event", "event_key", "erased_tenant"])
    def test_lets_nobody_change_or_delete_an_event(
        self, usage_session: Session, table: str, statement: str
    ) -> None:
        with pytest.raises(DBAPIError, match="permission denied"):
            usage_session.execute(text(statement.format(table)))

    def test_ends_and_erases_nothing_of_a_tenant_that_stays(
        self, usage_session: Session, control_session: Session, tenant: Tenant, now: datetime
    ) -> None:
        with pytest.raises(events.StillServed):
            events.end(
                usage_session=usage_session,
                control_session=control_session,
                tenant_id=tenant.id,
                now=now,
            )
        with pytest.raises(DBAPIError, match="is not written down"):
            events.erase(usage_session=usage_session, tenant_id=tenant.id)

    def test_forgets_everything_of_a_destroyed_tenant_and_nothing_of_its_neighbour(
        self, scenario: Any, now: datetime, monkeypatch: Any
    ) -> None:
        with commit_session() as session:
            tenant, neighbour = (make_tenant(session, state="active") for _ in range(2))
        batch = [
            event(one, now, id=f"{n}", time=(now - timedelta(days=n * 9)).isoformat())
            for one in (tenant, neighbour)
            for n in range(4)
        ]
        assert set(push(batch, now)) == {"accepted"}
        set_state(tenant.id, "destroying")
        end(tenant.id, now)
        monkeypatch.setattr(events, "ERASED_AT_ONCE", 3)
        rounds = []
        while not rounds or rounds[-1]:
            with usage_transaction() as session:
                rounds.append(events.erase(usage_session=session, tenant_id=tenant.id))
        assert max(rounds) == 3
        assert sum(rounds) >= 8
        with usage_transaction() as session:
            assert nothing_left(session, tenant.id)
            assert events.tenants_with_events(usage_session=session) == {neighbour.id}
            assert stored(session, tenant_id=neighbour.id) == 4

    def test_is_looked_through_for_tenants_that_are_gone(
        self, scenario: Any, now: datetime
    ) -> None:
        with commit_session() as session:
            tenant, neighbour = (make_tenant(session, state="active") for _ in range(2))
        push([event(one, now) for one in (tenant, neighbour)], now)
        rule = next(each for each in INVARIANTS if each.look_at_usage)
        assert broken(rule, now) == []
        set_state(tenant.id, "destroyed")
        assert [(one.kind, one.id) for one in broken(rule, now)] == [("tenant", str(tenant.id))]


def broken(rule: Invariant, now: datetime) -> list[Offence]:
    with commit_session() as session:
        return offences(control_session=session, invariant=rule, now=now)
