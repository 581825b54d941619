from datetime import datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import SYSTEM, AuditEvent
from app.base.messages import MESSAGE, Message
from app.base.states import IllegalMove


def message(control_session: Session, now: datetime) -> Message:
    row = Message(
        channel="mail",
        kind="test",
        recipient="a@example.com",
        language="en",
        subject="s",
        text="t",
        html="h",
        created_at=now,
        state="due",
    )
    states.begin(control_session=control_session, machine=MESSAGE, row=row, actor=SYSTEM, now=now)
    return row


class TestMove:
    def test_writes_who_when_and_why(self, control_session: Session, now: datetime) -> None:
        row = message(control_session, now)
        states.move(
            control_session=control_session,
            machine=MESSAGE,
            row=row,
            to="sent",
            actor=SYSTEM,
            why="delivered",
            now=now,
        )
        trail = control_session.scalars(
            select(AuditEvent)
            .where(AuditEvent.subject_id == str(row.id))
            .order_by(AuditEvent.from_state.nulls_first())
        ).all()
        assert [(e.from_state, e.to_state, e.why) for e in trail] == [
            (None, "due", None),
            ("due", "sent", "delivered"),
        ]

    def test_refuses_a_move_that_the_table_does_not_list(
        self, control_session: Session, now: datetime
    ) -> None:
        row = message(control_session, now)
        for to in ("sent", "failed"):
            if to == "failed":
                with pytest.raises(IllegalMove, match="is sent"):
                    states.move(
                        control_session=control_session,
                        machine=MESSAGE,
                        row=row,
                        to=to,
                        actor=SYSTEM,
                        now=now,
                    )
            else:
                states.move(
                    control_session=control_session,
                    machine=MESSAGE,
                    row=row,
                    to=to,
                    actor=SYSTEM,
                    now=now,
                )

    def test_the_database_knows_the_names_of_states_too(
        self, control_session: Session, now: datetime
    ) -> None:
        row = message(control_session, now)
        with pytest.raises(IntegrityError, match="ck_message_state"):
            control_session.execute(
                text("UPDATE message SET state = 'lost' WHERE id = :id"), {"id": row.id}
            )

    def test_many_move_in_one_statement_and_the_others_stay(
        self, control_session: Session, now: datetime
    ) -> None:
        rows = [message(control_session, now) for _ in range(3)]
        states.move(
            control_session=control_session,
            machine=MESSAGE,
            row=rows[0],
            to="sent",
            actor=SYSTEM,
            now=now,
        )
        moved = states.move_many(
            control_session=control_session,
            machine=MESSAGE,
            model=Message,
            ids=[row.id for row in rows],
            to="failed",
            actor=SYSTEM,
            now=now,
        )
        assert set(moved) == {rows[1].id, rows[2].id}
        written = control_session.scalars(
            select(AuditEvent.subject_id).where(AuditEvent.to_state == "failed")
        ).all()
        assert set(written) == {str(rows[1].id), str(rows[2].id)}

    def test_a_machine_that_leads_nowhere_known_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unknown states"):
            states.machine("thing", {"a": ("b",)})
