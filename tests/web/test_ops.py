"""What operators ask: alive, ready, figures; and the id that every answer bears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.base.config import settings
from app.web import valkey as web_valkey
from tests.conftest import administrator


class TestHealth:
    def test_answers_without_asking_anybody(self, client: Any) -> None:
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json) == (200, {"status": "ok"})


class TestReadiness:
    def test_is_ready_when_everything_answers(self, client: Any) -> None:
        answer = client.get("/readyz")
        assert answer.status_code == 200, answer.json
        assert set(answer.json["checks"].values()) == {True}

    def test_is_not_ready_on_an_old_schema(self, client: Any, scenario: Any) -> None:
        with administrator(scenario.database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0000'")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json["checks"]["schema"]) == (503, False)

    def test_is_not_ready_without_valkey(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import redis

        away = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
        monkeypatch.setattr(web_valkey, "client", lambda: away)
        web_valkey.breaker.cache_clear()
        answer = client.get("/readyz")
        web_valkey.breaker.cache_clear()
        assert (answer.status_code, answer.json["checks"]["valkey"]) == (503, False)

    def test_sends_people_elsewhere_while_draining(self, client: Any) -> None:
        mark: Path = settings().var_dir / "draining"
        mark.touch()
        answer = client.get("/readyz")
        mark.unlink()
        assert (answer.status_code, answer.json["checks"]["not_draining"]) == (503, False)


class TestFigures:
    def test_count_requests_and_rows(self, client: Any) -> None:
        client.get("/healthz")
        figures = client.get("/metrics").get_data(as_text=True)
        assert 'tenantry_request_seconds_count{endpoint="ops.healthz"' in figures
        assert 'tenantry_parked_rows{table="message"} 0.0' in figures

    def test_are_not_there_for_the_open_internet(self, client: Any) -> None:
        answer = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "8.8.8.8"})
        assert answer.status_code == 404

    def test_are_not_there_for_whom_an_unknown_proxy_speaks(self, client: Any) -> None:
        forwarded = client.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"})
        by_socket = client.get("/metrics", environ_overrides={"REMOTE_ADDR": ""})
        assert (forwarded.status_code, by_socket.status_code) == (404, 404)


class TestRequestIds:
    def test_are_given_back(self, client: Any) -> None:
        assert client.get("/healthz").headers["X-Request-ID"]
        given = client.get("/healthz", headers={"X-Request-ID": "from-the-proxy-1"})
        assert given.headers["X-Request-ID"] == "from-the-proxy-1"

    def test_of_a_stranger_s_making_are_not_believed(self, client: Any) -> None:
        for forged in ("short", "x" * 200, "a b c d e f g h", 'x","level":"error'):
            answer = client.get("/healthz", headers={"X-Request-ID": forged})
            assert answer.headers["X-Request-ID"] != forged
