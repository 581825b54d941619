"""Declaring meters: what is refused and where, and that a version never changes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from tenants import meter_definitions, meters
from tenants.meter_definitions import MeterUnsound
from tenants.meter_models import Meter

CALLS = {
    "code": "api_calls",
    "aggregation": "sum",
    "event_type": "api.call",
    "unit": "call",
    "names": {"ko": "API 호출", "en": "API calls"},
}
SQL = {
    "code": "big_files",
    "source": "sql",
    "unit": "file",
    "names": CALLS["names"],
    "sql": "SELECT count(*) FROM drawing"
    " WHERE uploaded_at >= :day_start AND uploaded_at < :day_end",
}


def size(operator: str, value: Any) -> dict[str, Any]:
    return {"property": "size", "operator": operator, "value": value}


class TestRead:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"code": "API"}, "code"),
            ({"code": "9"}, "code"),
            ({"code": None}, "code"),
            ({"kind": "x"}, "kind"),
            ({"source": "guess"}, "source"),
            ({"aggregation": "average"}, "aggregation"),
            ({"aggregation": None}, "aggregation"),
            ({"aggregation": "count", "value": "size"}, "value"),
            ({"aggregation": "unique"}, "value"),
            ({"aggregation": "unique", "value": "quantity"}, "value"),
            ({"value": "x" * 101}, "value"),
            ({"event_type": ""}, "event_type"),
            ({"unit": " "}, "unit"),
            ({"names": {"ko": "호출"}}, "names"),
            ({"names": {"ko": "호출", "en": ""}}, "names.en"),
            ({"group_by": "region"}, "group_by"),
            ({"group_by": ["a", "a"]}, "group_by"),
            ({"group_by": ["a", 7]}, "group_by[1]"),
            ({"filters": [size("like", "a")]}, "filters[0].operator"),
            ({"filters": [size("eq", 1), size("gt", "many")]}, "filters[1].value"),
            ({"filters": [size("in", [])]}, "filters[0].value"),
            ({"filters": [size("in", [1, []])]}, "filters[0].value[1]"),
            ({"filters": [size("gt", "NaN")]}, "filters[0].value"),
            ({"filters": [{"property": "size"}]}, "filters[0]"),
            ({"filters": [size("eq", float("inf"))]}, "filters[0].value"),
            ({"sql": "SELECT 1"}, "sql"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, change: dict[str, Any], field: str) -> None:
        with pytest.raises(MeterUnsound) as refused:
            meter_definitions.read(CALLS | change)
        assert refused.value.field == field
        assert refused.value.message.endswith(".")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"sql": ""}, "sql"),
            ({"sql": "SELECT 1"}, "sql"),
            ({"sql": "SELECT 1 WHERE now() < :day_end"}, "sql"),
            ({"aggregation": "sum"}, "aggregation"),
        ],
    )
    def test_wants_a_query_that_is_bound_to_its_day(self, change: Any, field: str) -> None:
        assert meter_definitions.read(SQL).sql.startswith("SELECT")
        with pytest.raises(MeterUnsound) as refused:
            meter_definitions.read(SQL | change)
        assert refused.value.field == field

    def test_tells_two_spellings_of_one_meter_apart_from_two_meters(self) -> None:
        def canonical(**change: Any) -> str:
            return meter_definitions.read(CALLS | change).canonical

        many, few = (
            [size("gte", 1.50), size("in", ["b", "a", 2])],
            [
                size("in", [2, "a", "b", "a"]),
                size("gte", Decimal("1.5")),
            ],
        )
        assert canonical(filters=many) == canonical(filters=few)
        assert canonical(value="quantity") == canonical()
        assert canonical(filters=[size("eq", 1)]) != canonical(filters=[size("eq", "1")])
        assert canonical(filters=[size("eq", True)]) != canonical(filters=[size("eq", 1)])
        assert canonical(group_by=["a", "b"]) != canonical(group_by=["b", "a"])

    def test_reads_its_own_canonical_form(self) -> None:
        given = meter_definitions.read(
            CALLS | {"filters": [size("in", [1, "1", True]), size("lt", 7)], "group_by": ["a"]}
        )
        assert meter_definitions.read(meter_definitions.facts(given)) == given


class TestDeclare:
    def declare(self, session: Session, now: datetime, *declared: Any) -> list[tuple[int, bool]]:
        done = meters.declare(
            control_session=session,
            definitions=meters.read_all({"meters": list(declared)}),
            actor=SYSTEM,
            now=now,
        )
        return [(each.definition.version, each.changed) for each in done]

    def test_keeps_what_is_equal_and_counts_up_what_is_not(
        self, control_session: Session, now: datetime
    ) -> None:
        assert self.declare(control_session, now, CALLS, SQL) == [(1, True), (1, True)]
        assert self.declare(control_session, now, CALLS, SQL) == [(1, False), (1, False)]
        other = CALLS | {"aggregation": "max"}
        assert self.declare(control_session, now, other) == [(2, True)]
        assert self.declare(control_session, now, CALLS) == [(3, True)]
        newest = meters.definitions(control_session=control_session, codes=["api_calls", "seats"])
        assert newest["api_calls"].version == 3
        assert newest["seats"].source == "readings"
        second = meters.definition(control_session=control_session, code="api_calls", version=2)
        assert (second.version, second.aggregation) == (2, "max")
        assert [each.code for each in meters.counted(control_session=control_session)] == [
            "api_calls"
        ]
        audited = control_session.scalar(
            select(func.count()).select_from(AuditEvent).filter_by(action="meter.declared")
        )
        assert audited == 4

    def test_refuses_codes_of_the_product_and_files_that_say_a_thing_twice(
        self, control_session: Session, now: datetime
    ) -> None:
        with pytest.raises(MeterUnsound, match="by the product itself"):
            self.declare(control_session, now, CALLS | {"code": "seats"})
        with pytest.raises(meters.NoMeters, match="twice"):
            meters.read_all({"meters": [CALLS, CALLS]})
        with pytest.raises(meters.NoMeters):
            meters.read_all([CALLS])
        with pytest.raises(MeterUnsound) as refused:
            meters.read_all({"meters": [SQL, CALLS | {"unit": ""}]})
        assert refused.value.field == "meters[1] (api_calls).unit"

    def test_misses_what_nobody_declared(self, control_session: Session) -> None:
        with pytest.raises(meters.NoSuchMeter):
            meters.definitions(control_session=control_session, codes=["unheard_of"])
        with pytest.raises(meters.NoSuchMeter):
            meters.definition(control_session=control_session, code="seats", version=9)

    @pytest.mark.parametrize("change", ["UPDATE meter SET sha256 = ''", "DELETE FROM meter"])
    def test_no_version_is_ever_changed(
        self, control_session: Session, now: datetime, change: str
    ) -> None:
        self.declare(control_session, now, CALLS)
        with pytest.raises(DBAPIError, match=r"never changed|permission denied"):
            control_session.execute(text(change))
        control_session.rollback()
        assert control_session.scalars(select(Meter)).all() == []
