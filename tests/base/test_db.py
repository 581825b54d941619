"""Pooled connections: whether they still stand is found out before somebody uses them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from app.base import db, sessions
from app.base.accounts import Staff
from tests.databases import administrator

pytestmark = pytest.mark.usefixtures("_control_database")
AN_HOUR = 3_600.0


def backend() -> int:
    with db.control_statements() as statements:
        return int(statements.scalar(text("SELECT pg_backend_pid()")) or 0)


class TestAPooledConnection:
    @pytest.mark.parametrize("trusted_seconds", [0.0, AN_HOUR])
    def test_is_made_anew_where_the_server_has_ended_it(
        self, trusted_seconds: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db, "TRUSTED_SECONDS", trusted_seconds)
        before = backend()
        with administrator() as connection:
            ended = connection.execute("SELECT pg_terminate_backend(%s, 60000)", [before])
            assert ended.fetchone() == (True,)
        assert backend() != before

    def test_is_asked_for_a_sign_of_life_only_after_a_rest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(db.control_engine().dialect, "do_ping", asked.append)
        monkeypatch.setattr(db, "TRUSTED_SECONDS", AN_HOUR)
        assert backend() == backend()
        assert asked == []
        monkeypatch.setattr(db, "TRUSTED_SECONDS", 0.0)
        backend()
        assert len(asked) == 1


class TestAPreparedStatement:
    """It is prepared at its sixth use."""

    ASKED = text("SELECT count(*) FROM staff WHERE email = :email")
    PREPARED = text(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM staff%'"
    )

    def ask(self, session: Session) -> None:
        session.execute(self.ASKED, {"email": "nobody@example.com"})

    def prepared(self) -> int:
        with db.control_session() as session:
            return int(session.scalar(self.PREPARED) or 0)

    def test_outlives_the_rollback_that_a_page_ends_with(self) -> None:
        db.close_connections()  # so that all of it happens on one connection
        for _ in range(6):
            with Session(db.control_engine()) as session:
                self.ask(session)
        assert self.prepared() == 1

    def test_is_forgotten_with_a_transaction_that_failed(self) -> None:
        db.close_connections()
        for _ in range(6):
            with Session(db.control_engine()) as session:
                self.ask(session)
        with Session(db.control_engine()) as session, pytest.raises(DataError):
            session.execute(text("SELECT 1 / 0"))
        assert self.prepared() == 0

    def test_stands_in_no_way_of_what_a_rollback_undoes(self) -> None:
        with Session(db.control_engine()) as session:
            before = sessions.cache_epoch(control_session=session)
            sessions.distrust_cache(control_session=session)
            assert sessions.cache_epoch(control_session=session) == before + 1
            session.rollback()
            assert sessions.cache_epoch(control_session=session) == before

    def test_has_its_own_constants_spelled_out(self, control_session: Session) -> None:
        chosen = Staff.role.in_(("admin", "sales")), Staff.name == bindparam("name")
        asked = db.planned_once(select(Staff.id).where(*chosen))
        for _ in range(6):
            assert control_session.scalars(asked, {"name": "Nobody"}).all() == []
        (sql,) = control_session.scalars(
            text("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%staff.role%'")
        )
        assert "IN ('admin', 'sales')" in sql
        assert "staff.name = $1" in sql

    def test_hides_no_lost_connection_at_a_rollback(self) -> None:
        with Session(db.control_engine()) as session:
            lost = session.scalar(text("SELECT pg_backend_pid()"))
            with administrator() as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 60000)", [lost])
            with pytest.raises(OperationalError):
                session.rollback()
            session.invalidate()
        assert backend() != lost

    def test_is_not_asked_for_over_a_connection_known_to_be_lost(self) -> None:
        with Session(db.control_engine()) as session:
            lost = session.scalar(text("SELECT pg_backend_pid()"))
            with administrator() as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 60000)", [lost])
            with pytest.raises(OperationalError):
                session.execute(text("SELECT 1"))
            session.rollback()
            assert session.scalar(text("SELECT pg_backend_pid()")) != lost
