"""Totals of windows against counting event by event, however far the rolling has come."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.orm import Session

from app.base import ids
from tenants import rollup_checks, rollups, usage
from tenants.usage import Window
from tests.tenants.counting import all_kinds, count, generate, store

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
    windows = []
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
        chosen = dice.choice(all_kinds())
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

        def check() -> list[str]:
            found = usage.totals(usage_session=usage_session, meters=by_code, windows=windows)
            for total, window in zip(found, windows, strict=True):
                wanted = count(
                    by_code[window.meter], events[:so_far], window.tenant_id,
                    start=window.start, end=window.end, group=dict(window.group),
                )  # fmt: skip
                assert (total.quantity, total.transactions) == wanted, (seed, window)
            return [total.sha256 for total in found]

        so_far = 600
        store(usage_session, events[:so_far])
        raw = check()
        cover_all(usage_session, meters, now)
        assert check() == raw
        roll_all(usage_session, meters)
        assert not rollups.anything_marked(usage_session=usage_session)
        assert check() == raw
        # Late and early ones, into hours that were rolled up already.
        so_far = 900
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
