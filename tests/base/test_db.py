"""Pooled connections: whether they still stand is found out before somebody uses them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from app.base import db
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
