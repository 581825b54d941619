"""Logs: one JSON object a line, ids on it, and nobody's address, number or secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.base import logs


@pytest.fixture
def written() -> Iterator[Any]:
    """Logs as a process of ours writes them; returns what was written so far, a dict a line."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(stream=stream)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.reset_defaults()
    logs.clear()


class TestLines:
    def test_carry_the_ids_of_request_tenant_and_job(self, written: Any) -> None:
        with logs.bound(request_id="r1", tenant_id="t1", job_id="j1"):
            structlog.get_logger("x").info("something", count=3)
        (line,) = written()
        ids = {key: line[key] for key in ("request_id", "tenant_id", "job_id")}
        assert ids == {"request_id": "r1", "tenant_id": "t1", "job_id": "j1"}
        assert line["event"] == "something"
        assert line["count"] == 3
        assert line["level"] == "info"

    def test_forget_the_ids_of_the_last_request(self, written: Any) -> None:
        logs.bind(request_id="old")
        logs.clear()
        structlog.get_logger("x").info("new")
        assert "request_id" not in written()[0]

    def test_cannot_be_forged_by_what_they_quote(self, written: Any) -> None:
        nasty = 'x"}\n{"event": "admin.signed_in", "level": "info"}\r\n\x1b[2K'
        structlog.get_logger("x").warning("refused", company=nasty)
        logging.getLogger("library").warning("refused %s", nasty)
        assert [line["event"].split()[0] for line in written()] == ["refused", "refused"]

    def test_hold_what_libraries_write_too(self, written: Any) -> None:
        logging.getLogger("library").warning("mail to %s failed", "kim@customer.example")
        assert "customer.example" not in json.dumps(written())


class TestRedaction:
    @pytest.mark.parametrize(
        "text",
        [
            "kim.minsu+trial@customer.example",
            "<김민수@고객.example>",
            "010-1234-5678",
            "+82 10 1234 5678",
            "+821012345678",
            "02)555-0100",
            "(02) 555-0100",
            "+1 (415) 555-0100",
        ],
    )
    def test_takes_people_out_of_any_text(self, written: Any, text: str) -> None:
        structlog.get_logger("x").info("note", said=f"call {text} today", deep={"a": [text]})
        line = json.dumps(written(), ensure_ascii=False)
        digits = "".join(filter(str.isdigit, text))[-4:]
        assert text not in line
        if digits:
            assert digits not in line
        assert logs.REDACTED in line

    @pytest.mark.parametrize(
        "key",
        ["email", "work_email", "phone", "password", "api_key", "contact_name", "payer", "token",
         "recipient", "X-CSRF-Token", "set_cookie", "Authorization", "representative"],
    )  # fmt: skip
    def test_never_writes_a_value_of_a_known_name(self, written: Any, key: str) -> None:
        structlog.get_logger("x").info(
            "note", **{key: "Hidden Value"}, inside={key: "Hidden Value"}
        )
        assert "Hidden Value" not in json.dumps(written())

    @pytest.mark.parametrize(
        "text",
        [
            "GET /portal/welcome/Zx3vQ0aT9bC7dE5fG1hI2jK4lM6nO8pQrStUvWxYz01 200",
            "postgresql://tenantry_app:0a1b2c3d@127.0.0.1:5432/tenantry",
        ],
    )
    def test_takes_secrets_out_of_links_and_addresses(self, written: Any, text: str) -> None:
        structlog.get_logger("x").info("note", said=text)
        line = json.dumps(written())
        assert "Zx3vQ0aT9" not in line
        assert "0a1b2c3d" not in line

    def test_takes_the_row_out_of_a_database_error(self, written: Any) -> None:
        try:
            raise ValueError(
                'duplicate key value violates unique constraint "x"\n'
                "DETAIL:  Key (contact)=(김민수) already exists.\n"
                "DETAIL:  Failing row contains (1, 김민수, 한빛정밀).\n"
                "[SQL: INSERT INTO x]\n[parameters: {'contact': '김민수'}]\n"
            )
        except ValueError:
            structlog.get_logger("x").exception("row.failed")
        line = json.dumps(written(), ensure_ascii=False)
        assert "김민수" not in line
        assert "한빛정밀" not in line
        assert "INSERT INTO x" in line

    @pytest.mark.parametrize(
        "text",
        [
            "018f5f0e-7c1a-7e52-9d0b-0a6c6b6d2f11",
            "INV-2026-000123",
            "2026-03-10T03:00:00+00:00",
            "1100000",
            "elapsed 0.0123456789 s",
        ],
    )
    def test_leaves_ids_dates_and_figures(self, written: Any, text: str) -> None:
        structlog.get_logger("x").info("note", said=text)
        assert written()[0]["said"] == text
