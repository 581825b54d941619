"""The audit trail: what is written stays, for every role that serves requests or runs jobs."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, append


class TestTheTrail:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_event SET why = 'nobody'",
            "DELETE FROM audit_event",
            "TRUNCATE audit_event",
        ],
    )
    def test_is_changed_and_deleted_by_nobody(
        self, control_session: Session, now: datetime, statement: str
    ) -> None:
        append(
            control_session=control_session,
            actor=SYSTEM,
            action="tests.wrote",
            subject_kind="test",
            subject_id="1",
            now=now,
        )
        control_session.flush()
        with pytest.raises(DBAPIError, match="permission denied"):
            control_session.execute(text(statement))

    def test_is_open_to_no_role_of_ours_but_the_owner_of_the_tables(
        self, control_session: Session
    ) -> None:
        may_change = control_session.scalars(
            text(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenantry%'"
                " AND has_table_privilege(rolname, 'audit_event', 'UPDATE, DELETE, TRUNCATE')"
            )
        ).all()
        owner = control_session.scalar(
            text("SELECT tableowner FROM pg_tables WHERE tablename = 'audit_event'")
        )
        assert set(may_change) == {owner}
