"""Events that are amended or voided: counted rightly at once, and nothing of it forgotten."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor, AuditEvent
from app.base.config import settings
from app.base.db import control_session as commit_control
from app.base.db import usage_session as commit_usage
from app.base.errors import TenantryError
from tenants import corrections, events, rollup_checks, rollups, usage
from tenants.corrections import Corrected, CorrectionUnfit, EventVoided, NoSuchEvent
from tenants.models import Tenant
from tenants.usage import Window
from tenants.usage_models import Event, EventCorrection
from tests.factories import make_tenant
from tests.tenants.counting import Used, all_kinds, count, generate

FINANCE = Actor("staff", "0199a0c0-0000-7000-8000-00000000000f")
WHY = "counted twice by the gate"


@pytest.fixture
def tenant(control_session: Session) -> Tenant:
    return make_tenant(control_session, state="active")


class Hand:
    """Pushes and corrects events of one tenant, as doors do."""

    def __init__(self, control: Session, usage_: Session, tenant_id: UUID, now: datetime) -> None:
        self.control, self.usage, self.tenant_id, self.now = control, usage_, tenant_id, now

    def push(self, **fields: Any) -> str:
        event = {"id": "e1", "tenant": str(self.tenant_id), "type": "api.call"} | fields
        (outcome,) = events.accept(
            usage_session=self.usage,
            control_session=self.control,
            events=[{"time": self.now.isoformat(), **event}],
            now=self.now,
        )
        return outcome.outcome

    def _named(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            "usage_session": self.usage,
            "control_session": self.control,
            "tenant_id": self.tenant_id,
            "event_id": "e1",
            "at": self.now.isoformat(),
            "reason": WHY,
            "actor": FINANCE,
            "now": self.now,
        } | fields

    def amend(self, changes: dict[str, Any], **fields: Any) -> Corrected:
        return corrections.amend(changes=changes, **self._named(fields))

    def void(self, **fields: Any) -> Corrected:
        return corrections.void(**self._named(fields))

    def stored(self) -> list[tuple[Any, ...]]:
        self.usage.expire_all()
        rows = self.usage.execute(
            select(Event.type, Event.at, Event.quantity, Event.properties)
            .where(Event.tenant_id == self.tenant_id)
            .order_by(Event.at, Event.id)
        )
        return [tuple(row) for row in rows]

    def marked(self) -> set[datetime]:
        return set(
            self.usage.scalars(
                text("SELECT hour FROM usage_mark WHERE tenant_id = :t"), {"t": self.tenant_id}
            )
        )

    def trail(self) -> list[AuditEvent]:
        self.control.flush()
        return list(
            self.control.scalars(
                select(AuditEvent)
                .where(AuditEvent.subject_kind == "event", AuditEvent.tenant_id == self.tenant_id)
                .order_by(AuditEvent.id)
            )
        )


@pytest.fixture
def hand(control_session: Session, usage_session: Session, tenant: Tenant, now: datetime) -> Hand:
    return Hand(control_session, usage_session, tenant.id, now)


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class TestAmending:
    def test_changes_what_was_named_and_keeps_what_it_said(self, hand: Hand, now: datetime) -> None:
        hand.push(quantity=Decimal("2.50"), properties={"region": "seoul", "size": 1})
        made = hand.amend({"quantity": Decimal("0.25"), "properties": {"region": "busan"}})
        assert hand.stored() == [("api.call", now, Decimal("0.25"), {"region": "busan"})]
        kept = made.correction
        assert (kept.kind, kept.number, kept.at, kept.corrected_at) == ("amend", 1, now, now)
        assert kept.before == {
            "type": "api.call",
            "time": "2026-03-10T03:00:00.000000Z",
            "quantity": "2.5",
            "properties": {"region": "seoul", "size": 1},
        }
        assert kept.after == kept.before | {
            "quantity": "0.25",
            "properties": {"region": "busan"},
        }
        assert (kept.reason, kept.actor) == (WHY, f"staff:{FINANCE.id}")

    def test_marks_both_hours_when_the_time_moves_over_months(
        self, hand: Hand, now: datetime
    ) -> None:
        hand.push()
        hand.usage.execute(text("DELETE FROM usage_mark"))
        moved = now - timedelta(days=20)
        hand.amend({"time": moved.isoformat()})
        assert [row[1] for row in hand.stored()] == [moved]
        assert hand.marked() == {hour_of(now), hour_of(moved)}

    def test_makes_the_month_that_an_event_moves_to(self, hand: Hand, now: datetime) -> None:
        later = now.replace(year=2032)
        hand.now = later
        hand.push()
        month = "to_regclass('event_p203202')"
        assert hand.usage.scalar(text(f"SELECT {month}")) is None
        hand.amend({"time": (later - timedelta(days=30)).isoformat()}, at=later.isoformat())
        assert hand.usage.scalar(text(f"SELECT {month}")) is not None

    def test_sent_again_changes_nothing_and_answers_as_before(
        self, hand: Hand, now: datetime
    ) -> None:
        hand.push()
        moved = {"time": (now - timedelta(hours=3)).isoformat(), "quantity": 7}
        first = hand.amend(moved)
        hand.usage.execute(text("DELETE FROM usage_mark"))
        again = hand.amend(moved, now=now + timedelta(minutes=1))
        assert (first.repeated, again.repeated) == (False, True)
        assert again.correction.number == first.correction.number
        assert hand.marked() == set()
        assert len(hand.trail()) == 1
        # Under the time that it has now, too.
        assert hand.amend({"quantity": 7}, at=moved["time"]).repeated

    def test_counts_corrections_of_one_event(self, hand: Hand) -> None:
        hand.push()
        assert [hand.amend({"quantity": n}).correction.number for n in (5, 6, 5)] == [1, 2, 3]
        told = corrections.of_event(
            usage_session=hand.usage, tenant_id=hand.tenant_id, event_id="e1"
        )
        assert [(c.before["quantity"], c.after and c.after["quantity"]) for c in told] == [
            ("1", "5"),
            ("5", "6"),
            ("6", "5"),
        ]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({}, None),
            ({"quantity": -1}, "quantity"),
            ({"quantity": 1.5}, "quantity"),
            ({"quantity": Decimal("1e-13")}, "quantity"),
            ({"type": ""}, "type"),
            ({"properties": {"a": []}}, "properties.a"),
            ({"id": "other"}, "id"),
            ({"time": "2026-03-10"}, "time"),
            ({"time": "2026-01-01T00:00:00Z"}, "time"),
            ({"time": "2026-03-11T00:00:00Z"}, "time"),
            ({"quantity": 1}, None),
        ],
    )
    def test_keeps_to_the_rules_for_new_events(
        self, hand: Hand, changes: dict[str, Any], field: str | None
    ) -> None:
        hand.push()
        before = hand.stored()
        with pytest.raises(CorrectionUnfit) as refused:
            hand.amend(changes)
        assert refused.value.field == field
        assert hand.stored() == before

    def test_of_an_old_event_may_leave_its_time(self, hand: Hand, now: datetime) -> None:
        hand.push()
        hand.now = now + timedelta(days=settings().event_backdating_days + 30)
        hand.amend({"quantity": 3}, at=now.isoformat())
        assert [row[2] for row in hand.stored()] == [3]


class TestVoiding:
    def test_takes_the_event_away_and_its_id_stays_used(self, hand: Hand, now: datetime) -> None:
        hand.push(quantity=4)
        hand.push(id="e2")
        hand.usage.execute(text("DELETE FROM usage_mark"))
        made = hand.void()
        assert (made.correction.kind, made.correction.after) == ("void", None)
        assert made.correction.before["quantity"] == "4"
        assert [row[2] for row in hand.stored()] == [1]
        assert hand.marked() == {hour_of(now)}
        assert hand.push(quantity=4) == "duplicate"
        assert hand.push(quantity=5) == "conflict"
        assert len(hand.stored()) == 1

    def test_sent_again_answers_as_before(self, hand: Hand) -> None:
        hand.push()
        assert [hand.void().repeated for _ in range(2)] == [False, True]
        assert len(hand.trail()) == 1

    def test_is_for_good(self, hand: Hand, now: datetime) -> None:
        hand.push()
        hand.void()
        with pytest.raises(EventVoided):
            hand.amend({"quantity": 2})
        with pytest.raises(EventVoided):
            hand.void(at=(now - timedelta(hours=1)).isoformat())

    def test_takes_an_amended_event_where_it_lies_now(self, hand: Hand, now: datetime) -> None:
        hand.push()
        moved = (now - timedelta(days=12)).isoformat()
        hand.amend({"time": moved})
        with pytest.raises(NoSuchEvent) as refused:
            hand.void()
        assert refused.value.field == "time"
        assert hand.void(at=moved).correction.number == 2
        assert hand.stored() == []


class TestACorrection:
    @pytest.mark.parametrize(
        ("fields", "kind", "field"),
        [
            ({"event_id": "e2"}, NoSuchEvent, "id"),
            ({"event_id": "e\x00"}, NoSuchEvent, "id"),
            ({"event_id": "x" * 300}, NoSuchEvent, "id"),
            ({"at": "2026-03-10T03:00:00.000001Z"}, NoSuchEvent, "time"),
            ({"at": "1999-03-10T03:00:00Z"}, NoSuchEvent, "time"),
            ({"at": "yesterday"}, CorrectionUnfit, "time"),
            ({"at": None}, CorrectionUnfit, "time"),
            ({"reason": " \x00 "}, CorrectionUnfit, "reason"),
            ({"reason": "x" * 501}, CorrectionUnfit, "reason"),
        ],
    )
    def test_names_what_is_wrong(
        self, hand: Hand, fields: dict[str, Any], kind: type[TenantryError], field: str
    ) -> None:
        hand.push()
        for act in (hand.void, lambda **named: hand.amend({"quantity": 9}, **named)):
            with pytest.raises(kind) as refused:
                act(**fields)
            assert refused.value.field == field
        assert len(hand.stored()) == 1
        assert hand.trail() == []

    def test_touches_no_event_of_a_neighbour(
        self, hand: Hand, control_session: Session, now: datetime
    ) -> None:
        neighbour = make_tenant(control_session, state="active")
        other = Hand(hand.control, hand.usage, neighbour.id, now)
        for each in (hand, other):
            each.push()
        hand.void()
        assert (len(hand.stored()), len(other.stored())) == (0, 1)
        assert other.trail() == []

    def test_finds_its_event_among_types_at_the_same_moment(self, hand: Hand) -> None:
        for number, kind in enumerate(["z", "api.call", "a", "도면"]):
            hand.push(id=f"e{number}", type=kind)
        hand.void(event_id="e3")
        assert {row[0] for row in hand.stored()} == {"z", "api.call", "a"}

    def test_stands_in_the_audit_trail_even_if_control_failed_the_first_time(
        self, hand: Hand
    ) -> None:
        hand.push()
        hand.control.flush()
        savepoint = hand.control.begin_nested()
        hand.amend({"quantity": 2})
        savepoint.rollback()
        assert hand.trail() == []
        assert hand.amend({"quantity": 2}).repeated
        (noted,) = hand.trail()
        assert (noted.action, noted.subject_id, noted.why) == ("event.amended", "e1", WHY)
        assert (noted.actor_kind, noted.actor_id) == ("staff", FINANCE.id)

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO event_correction (tenant_id) VALUES (uuidv7())",
            "UPDATE event_correction SET reason = ''",
            "DELETE FROM event_correction",
            "TRUNCATE event_correction",
        ],
    )
    def test_can_be_neither_forged_nor_undone(self, hand: Hand, statement: str) -> None:
        with pytest.raises(DBAPIError, match="permission denied"):
            hand.usage.execute(text(statement))

    def test_goes_when_its_event_would_be_past_its_retention(
        self, hand: Hand, now: datetime
    ) -> None:
        hand.push()
        hand.void()
        hand.now = now + timedelta(days=31)
        hand.push(id="later")
        hand.void(event_id="later", at=hand.now.isoformat())
        kept = select(func.count()).select_from(EventCorrection)
        later = datetime(2026 + settings().event_retention_months // 12, 4, 1, tzinfo=UTC)
        events.erase_old(usage_session=hand.usage, now=later - timedelta(days=1))
        assert hand.usage.scalar(kept) == 2
        events.erase_old(usage_session=hand.usage, now=later)
        assert hand.usage.scalar(kept) == 1


class TestTotals:
    """Every kind of meter, counted slowly and obviously after any corrections."""

    @pytest.mark.parametrize("seed", [11, 12, 13])
    def test_are_right_before_and_after_rolling(
        self, hand: Hand, tenant: Tenant, now: datetime, seed: int
    ) -> None:
        dice = random.Random(seed)
        start, end = now - timedelta(days=6), now
        used = generate(dice, tenants=[hand.tenant_id], start=start, end=end, n=250)
        for each in used:
            assert hand.push(**_sent(each)) == "accepted"
        meters = all_kinds()
        cover(hand.usage, meters, now)
        left = _corrected(hand, dice, used, start)
        window = (start - timedelta(hours=1), end + timedelta(hours=1))

        def check() -> None:
            windows = [Window(hand.tenant_id, each.code, *window) for each in meters]
            found = usage.totals(
                usage_session=hand.usage, meters={m.code: m for m in meters}, windows=windows
            )
            for meter, total in zip(meters, found, strict=True):
                wanted = count(meter, left, hand.tenant_id, start=window[0], end=window[1])
                assert (total.quantity, total.transactions) == wanted, (seed, meter.code)

        check()
        while shard_rolled(hand.usage, meters):
            pass
        check()
        assert not rollups.anything_marked(usage_session=hand.usage)
        differing = rollup_checks.differences(usage_session=hand.usage, definitions=meters)
        assert list(differing) == []


def _sent(used: Used) -> dict[str, Any]:
    return {
        "id": used.id,
        "type": used.type,
        "time": used.at.isoformat(),
        "quantity": used.quantity,
        "properties": used.properties,
    }


def _corrected(hand: Hand, dice: random.Random, used: list[Used], start: datetime) -> list[Used]:
    left = []
    for each in used:
        roll = dice.random()
        if roll < 0.15:
            hand.void(event_id=each.id, at=each.at.isoformat())
            continue
        if roll < 0.45:
            moment = start + timedelta(seconds=dice.randrange(5 * 86_400))
            changed = {
                "time": moment.isoformat(),
                "quantity": Decimal(dice.randrange(1, 999)) / 100,
                "type": dice.choice(["api.call", "capacity"]),
            }
            some = {key: changed[key] for key in dice.sample(list(changed), dice.randrange(1, 4))}
            if "type" not in some:
                some |= {"properties": {**each.properties, "note": "amended"}}
            try:
                hand.amend(some, event_id=each.id, at=each.at.isoformat())
            except CorrectionUnfit:
                assert some == {"type": each.type}
            left.append(_as_amended(each, some))
            continue
        left.append(each)
    return left


def _as_amended(used: Used, changes: dict[str, Any]) -> Used:
    return Used(
        used.tenant_id,
        used.id,
        changes.get("type", used.type),
        datetime.fromisoformat(changes["time"]) if "time" in changes else used.at,
        changes.get("quantity", used.quantity),
        changes.get("properties", used.properties),
    )


def cover(session: Session, meters: Any, now: datetime) -> None:
    while rollups.cover(usage_session=session, definitions=meters, now=now):
        pass
    while shard_rolled(session, meters):
        pass


def shard_rolled(session: Session, meters: Any) -> bool:
    shard = rollups.take_shard(usage_session=session)
    return shard is not None and bool(
        rollups.roll(usage_session=session, definitions=meters, shard=shard)
    )


class TestSeveralAtOnce:
    def test_void_one_event_once(self, scenario: Any, now: datetime) -> None:
        owner = pushed(now)
        gate, found = threading.Barrier(4), []

        def act() -> None:
            gate.wait(30)
            found.append(committed("void", owner, now).repeated)

        threads = [threading.Thread(target=act) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == [False, True, True, True]
        with commit_usage() as session:
            assert session.scalar(select(func.count()).select_from(EventCorrection)) == 1

    def test_amend_one_after_the_other_though_the_event_moves_between_months(
        self, scenario: Any, now: datetime
    ) -> None:
        owner = pushed(now)
        gate, outcomes = threading.Barrier(3), []

        def act(days: int) -> None:
            gate.wait(30)
            moved = (now - timedelta(days=days)).isoformat()
            try:
                committed("amend", owner, now, changes={"time": moved})
                outcomes.append("moved")
            except NoSuchEvent:
                outcomes.append("elsewhere")

        threads = [threading.Thread(target=act, args=(days,)) for days in (12, 13, 14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(outcomes) == ["elsewhere", "elsewhere", "moved"]
        with commit_usage() as session:
            assert session.scalar(select(func.count()).select_from(Event)) == 1


class TestADestroyedTenant:
    def test_leaves_no_correction_and_gets_none(self, scenario: Any, now: datetime) -> None:
        owner = pushed(now)
        committed("amend", owner, now, changes={"quantity": 5})
        with commit_usage() as session:
            assert events.left(usage_session=session, tenant_id=owner)["event_correction"] == 1
        with commit_control() as control, commit_usage() as session:
            control.get_one(Tenant, owner).state = "destroying"
            control.flush()
            events.end(usage_session=session, control_session=control, tenant_id=owner, now=now)
        with pytest.raises(NoSuchEvent):
            committed("void", owner, now)
        with commit_usage() as session:
            while events.erase(usage_session=session, tenant_id=owner):
                pass
        with commit_usage() as session:
            assert not any(events.left(usage_session=session, tenant_id=owner).values())


def pushed(now: datetime) -> UUID:
    with commit_control() as control:
        owner = make_tenant(control, state="active").id
    with commit_control() as control, commit_usage() as session:
        assert Hand(control, session, owner, now).push() == "accepted"
    return owner


def committed(act: str, tenant_id: UUID, now: datetime, **fields: Any) -> Corrected:
    with commit_control() as control, commit_usage() as session:
        return getattr(Hand(control, session, tenant_id, now), act)(**fields)


def test_the_system_may_correct_too(hand: Hand) -> None:
    hand.push()
    assert hand.void(actor=SYSTEM).correction.actor == "system:"
