"""Totals of windows against counting event by event, however far the rolling has come."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base import ids
from tenants import rollup_checks, rollups, usage
from tenants.usage import Window
from tests.tenants.counting import all_kinds, count, generate, meter, store

# Whole, half and quarter hours from UTC, and a week in which clocks change in two of them.
ZONES = (
    *("Asia/Seoul", "UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"),
    *("America/St_Johns", "Australia/Lord_Howe"),
)
START = datetime(2026, 3, 5, tzinfo=UTC)
END = datetime(2026, 3, 12, tzinfo=UTC)


def roll_all(session: Session, meters: list) -> None:
    while (shard := rollups.take_shard(usage_session=session)) is not None:
        while rollups.roll(usage_session=session, definitions=meters, shard=shard):
            pass


def cover_all(session: Session, meters: list, now: datetime) -> None:
    rollups.lock_all(usage_session=session)
    while rollups.cover(usage_session=session, definitions=meters, now=now):
        pass


def windows_at_random(dice: random.Random, tenants: list[UUID], n: int) -> list[Window]:
    windows, kinds = [], all_kinds()
    for _ in range(n):
        zone = ZoneInfo(dice.choice(ZONES))
        first = START.date() + timedelta(days=dice.randrange(0, 7))
        start = datetime.combine(first, datetime.min.time(), tzinfo=zone)
        end = datetime.combine(first + timedelta(days=dice.choice([1, 2, 4])), datetime.min.time(),
                               tzinfo=zone)  # fmt: skip
        if dice.random() < 0.4:
            start += timedelta(seconds=dice.randrange(86_400))
            end = start + timedelta(
                seconds=dice.choice([1, 1800, 3600, dice.randrange(1, 300_000)])
            )
        chosen = dice.choice(kinds)
        group = {}
        if chosen.group_by and dice.random() < 0.5:
            group = {"region": dice.choice(["seoul", "한국", "nowhere"])}
        windows.append(Window(dice.choice(tenants), chosen.code, start, end, group))
    return windows


class TestTotals:
    @pytest.mark.parametrize("seed", range(3))
    def test_come_out_as_when_counted_one_by_one(
        self, usage_session: Session, now: datetime, seed: int
    ) -> None:
        dice = random.Random(seed)
        tenants = [ids.uuid7() for _ in range(3)]
        meters = all_kinds()
        by_code = {each.code: each for each in meters}
        events = generate(dice, tenants=tenants, start=START, end=END, n=900)
        windows = windows_at_random(dice, tenants, 250)

        def counted(so_far: int) -> list[tuple[Decimal, int]]:
            return [
                count(
                    by_code[window.meter], events[:so_far], window.tenant_id,
                    start=window.start, end=window.end, group=dict(window.group),
                )
                for window in windows
            ]  # fmt: skip

        def check() -> list[str]:
            found = usage.totals(usage_session=usage_session, meters=by_code, windows=windows)
            for total, window, one_by_one in zip(found, windows, wanted, strict=True):
                assert (total.quantity, total.transactions) == one_by_one, (seed, window)
            return [total.sha256 for total in found]

        wanted = counted(600)
        store(usage_session, events[:600])
        raw = check()
        cover_all(usage_session, meters, now)
        assert check() == raw
        roll_all(usage_session, meters)
        assert not rollups.anything_marked(usage_session=usage_session)
        assert check() == raw
        # Late and early ones, into hours that were rolled up already.
        wanted = counted(900)
        store(usage_session, events[600:])
        late = check()
        assert late != raw
        roll_all(usage_session, meters)
        assert check() == late
        assert (
            list(rollup_checks.differences(usage_session=usage_session, definitions=meters)) == []
        )
        rollups.start_anew(usage_session=usage_session)
        assert check() == late
        cover_all(usage_session, meters, now)
        assert check() == late


class TestALevel:
    """What was held over a window, when the level was set long before it, or often."""

    WINDOW = (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))

    def history(self, session: Session, tenant_id: UUID, since: datetime) -> None:
        """A level that changes every hour in two regions, from then on, as it is rolled up."""
        session.execute(
            text(
                "INSERT INTO usage_rollup (tenant_id, meter, version, hour, group_key, events,"
                " latest, latest_at, latest_id, first_at, integral, digest)"
                " SELECT :tenant, 'held', 1, h, CAST(jsonb_build_array(g) AS text), 1, 1, h, 'x',"
                " h, 3600, 0 FROM generate_series(CAST(:since AS timestamptz), :until,"
                " '1 hour') AS h, unnest(ARRAY['busan', 'seoul']) AS g"
            ),
            {"tenant": tenant_id, "since": since, "until": self.WINDOW[1] - timedelta(hours=1)},
        )
        session.execute(text("ANALYZE usage_rollup"))

    def rows_read(self, session: Session) -> int:
        return int(
            session.scalar(
                text(
                    "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
                    " FROM pg_stat_xact_user_tables WHERE relname = 'usage_rollup'"
                )
            )
        )

    def test_costs_its_window_and_not_its_history(self, usage_session: Session) -> None:
        held = meter("held", aggregation="weighted_sum", group_by=["region"])
        usage_session.execute(
            text("INSERT INTO usage_cover (meter, version, since) VALUES ('held', 1, '-infinity')")
        )
        cost = []
        for since in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)):
            tenant_id = ids.uuid7()
            self.history(usage_session, tenant_id, since)
            before = self.rows_read(usage_session)
            (total,) = usage.totals(
                usage_session=usage_session,
                meters={"held": held},
                windows=[Window(tenant_id, "held", *self.WINDOW)],
            )
            cost.append(self.rows_read(usage_session) - before)
            # One in each region, all the time.
            assert (total.quantity, total.transactions) == (2, 2 * 28 * 24)
        assert cost[1] <= cost[0] * 1.1, cost
        assert cost[1] <= 2 * 28 * 24 * 1.1, cost
