"""The common shape of a step: claim a chunk, settle each row on its own, park what fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from app.base import leases
from app.base.db import control_session
from app.base.errors import Conflict
from jobs import stopping
from jobs.models import Slot
from jobs.steps import anything_due, settle_each
from tests.patience import eventually

OPEN = Slot.done_at.is_(None)
pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def rows() -> list[UUID]:
    """Five due rows, oldest first."""
    slots = [
        Slot(task=f"row-{n}", due_at=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=n))
        for n in range(5)
    ]
    with control_session() as session:
        session.add_all(slots)
        session.flush()
        return [slot.id for slot in slots]


def finish(key: UUID) -> None:
    with control_session() as session:
        session.get_one(Slot, key).done_at = datetime(2026, 3, 2, tzinfo=UTC)


def settle(perform_one: object = finish, *, limit: int = 10, lease: timedelta | None = None) -> int:
    return settle_each(
        step="test",
        model=Slot,
        due=OPEN,
        perform_one=perform_one,  # type: ignore[arg-type]
        limit=limit,
        order_by=Slot.due_at,
        lease=lease,
    )


def fetch(key: UUID) -> Slot:
    with control_session() as session:
        return session.get_one(Slot, key)


def claimable(key: UUID) -> bool:
    with control_session() as session:
        return session.scalar(select(Slot.id).where(Slot.id == key, leases.free(Slot))) is not None


class TestClaiming:
    # Plans that PostgreSQL chooses by what it knows of a table: on any day it may be any of these.
    @pytest.mark.parametrize(
        "avoided",
        [
            (),
            ("hashjoin", "mergejoin", "hashagg", "material", "memoize"),
            ("hashjoin", "mergejoin", "hashagg", "sort", "indexscan", "bitmapscan", "material"),
        ],
    )
    def test_takes_no_more_than_asked_by_any_plan(
        self, rows: list[UUID], avoided: tuple[str, ...]
    ) -> None:
        with control_session() as session:
            for each in avoided:
                session.execute(text(f"SET LOCAL enable_{each} = off"))
            claimed = leases.claim(
                control_session=session, model=Slot, due=OPEN, limit=2, order_by=Slot.due_at
            )
        assert claimed == sorted(rows[:2])


class TestSettling:
    def test_settles_a_chunk_and_gives_the_rows_back(self, rows: list[UUID]) -> None:
        assert settle(limit=3) == 3
        assert [fetch(key).done_at is not None for key in rows] == [True] * 3 + [False] * 2
        assert all(fetch(key).lease_until is None for key in rows)

    @pytest.mark.parametrize("error", [ZeroDivisionError("boom"), Conflict("somebody was first")])
    def test_one_poisoned_row_stops_no_other(self, rows: list[UUID], error: Exception) -> None:
        def perform(key: UUID) -> None:
            if key == rows[1]:
                raise error
            finish(key)

        assert settle(perform) == 5
        poisoned = fetch(rows[1])
        assert poisoned.done_at is None
        assert poisoned.attempts == 1
        assert poisoned.lease_until is None
        assert type(error).__name__ in (poisoned.last_error or "")
        assert all(fetch(key).done_at is not None for key in rows if key != rows[1])

    def test_a_failed_row_keeps_nothing_of_the_person_whom_the_error_quotes(
        self, rows: list[UUID]
    ) -> None:
        def perform(_key: UUID) -> None:
            raise ValueError("Key (email)=(kim@hidden.example) exists, mail to lee@hidden.example")

        settle(perform, limit=1)
        said = str(fetch(rows[0]).last_error)
        assert "ValueError: Key (email)" in said
        assert "hidden.example" not in said

    def test_a_failed_row_waits_before_its_next_try(self, rows: list[UUID]) -> None:
        def perform(_key: UUID) -> None:
            raise ZeroDivisionError

        settle(perform)
        with control_session() as session:
            # The wait is of seconds; a busy machine must not see its end.
            session.execute(update(Slot).values(retry_at=Slot.retry_at + timedelta(hours=1)))
        assert settle() == 0
        with control_session() as session:
            assert not anything_due(session, Slot, OPEN)
            session.execute(update(Slot).values(retry_at=None))
        assert settle() == 5

    def test_a_row_that_always_fails_is_left_to_a_person(self, rows: list[UUID]) -> None:
        with control_session() as session:
            session.execute(update(Slot).where(Slot.id == rows[0]).values(attempts=12))
        assert settle() == 4
        with control_session() as session:
            assert session.scalars(select(Slot.id).where(OPEN)).all() == [rows[0]]

    def test_leaves_alone_what_another_worker_holds(self, rows: list[UUID]) -> None:
        with control_session() as session:
            session.execute(
                update(Slot)
                .where(Slot.id.in_(rows[:2]))
                .values(lease_until=datetime.now(UTC) + timedelta(minutes=1))
            )
        assert settle() == 3

    def test_does_not_touch_rows_whose_lease_ran_out_on_the_way(self, rows: list[UUID]) -> None:
        """After a slow row the rest may be another worker's; they are left to their holders."""
        performed: list[UUID] = []

        def slow(key: UUID) -> None:
            performed.append(key)
            eventually(lambda: claimable(rows[-1]), "the lease ran out")
            finish(key)

        settle(slow, lease=timedelta(seconds=1))
        assert performed == rows[:1]

    def test_a_stopping_worker_hands_back_what_it_has_not_begun(self, rows: list[UUID]) -> None:
        def perform(key: UUID) -> None:
            finish(key)
            stopping.ask()

        try:
            settle(perform)
        finally:
            stopping.forget()
        assert [fetch(key).done_at is not None for key in rows] == [True] + [False] * 4
        assert [fetch(key).attempts for key in rows[1:]] == [0] * 4
        assert settle() == 4
