"""Mails and chat lines on their way out: sent, put off, refused; against real servers."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.base import config
from app.base.audit import AuditEvent
from app.base.db import control_session
from app.base.messages import Message
from jobs import messages
from tests.jobs.catcher import Catcher, catching

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets settings for one test."""

    def set_(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"TENANTRY_{name.upper()}", value)
        config.settings.cache_clear()

    yield set_
    config.settings.cache_clear()


@pytest.fixture
def catcher(configure: Any) -> Iterator[Catcher]:
    with catching() as (caught, port):
        configure(smtp_host="127.0.0.1", smtp_port=str(port))
        yield caught


def write(**fields: Any) -> Message:
    values: dict[str, Any] = {
        "channel": "mail",
        "kind": "test",
        "recipient": "somebody@customer.example",
        "language": "ko",
        "subject": "체험이 시작되었습니다 ₩",
        "text": "본문\n둘째 줄",
        "html": "<p>본문</p>",
        "created_at": datetime(2026, 3, 10, 3, tzinfo=UTC),
    }
    with control_session() as session:
        row = Message(**(values | fields))
        session.add(row)
    return row


def reread(row: Message) -> Message:
    with control_session() as session:
        return session.get_one(Message, row.id)


class TestMail:
    def test_goes_out_with_text_and_html_and_an_id_that_never_changes(
        self, catcher: Catcher
    ) -> None:
        row = write()
        messages.STEP.work()
        (mail,) = catcher.mails
        assert mail["Subject"] == "체험이 시작되었습니다 ₩"
        assert mail["Message-ID"] == f"<{row.id}@tenantry.example>"
        assert mail["Reply-To"] == "support@tenantry.example"
        assert mail["List-Unsubscribe"] is None
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        assert text.get_content().split() == ["본문", "둘째", "줄"]
        assert "<p>본문</p>" in html.get_content()
        assert reread(row).state == "sent"
        assert reread(row).sent_at is not None

    def test_advertising_says_how_to_end_it(self, catcher: Catcher) -> None:
        write(advertising=True)
        messages.STEP.work()
        assert "unsubscribe" in catcher.mails[0]["List-Unsubscribe"]

    def test_one_refused_for_good_fails_and_the_next_goes_out(self, catcher: Catcher) -> None:
        catcher.answers["gone@customer.example"] = "550 no such mailbox"
        refused, good = write(recipient="gone@customer.example"), write()
        messages.STEP.work()
        assert reread(refused).state == "failed"
        assert reread(good).state == "sent"
        with control_session() as session:
            why = session.scalar(
                select(AuditEvent.why).where(AuditEvent.subject_id == str(refused.id))
            )
        assert why == "The mail server refused it for good (550)."

    def test_one_put_off_is_tried_again_after_a_pause(self, catcher: Catcher) -> None:
        catcher.answers["full@customer.example"] = "452 mailbox full"
        row = write(recipient="full@customer.example")
        messages.STEP.work()
        waiting = reread(row)
        assert (waiting.state, waiting.attempts) == ("due", 1)
        assert waiting.retry_at is not None
        assert "full@customer.example" not in (waiting.last_error or "")

    def test_waits_while_the_mail_server_is_away(self, configure: Any) -> None:
        configure(smtp_host="127.0.0.1", smtp_port="1")
        row = write()
        messages.STEP.work()
        assert reread(row).state == "due"
        assert "ConnectionRefusedError" in (reread(row).last_error or "")

    def test_a_line_break_in_a_subject_becomes_no_header(self, catcher: Catcher) -> None:
        row = write(subject="Hello\r\nBcc: other@customer.example")
        messages.STEP.work()
        assert reread(row).state == "failed"
        assert catcher.mails == []

    def test_an_erased_message_is_no_failure(self, catcher: Catcher) -> None:
        row = write()
        with control_session() as session:
            session.delete(session.get_one(Message, row.id))
        messages.deliver(row.id)
        assert catcher.mails == []


class _Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """This function will keep a line and answer as the test said."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.lines.append(body.decode())  # type: ignore[attr-defined]
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def chat(configure: Any) -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Chat) as server:
        server.lines, server.answer = [], 200  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configure(slack_webhook_url=f"http://127.0.0.1:{server.server_port}/hook")
        yield server
        server.shutdown()


class TestChat:
    def test_a_company_name_can_call_nobody(self, chat: Any) -> None:
        row = write(channel="slack", text="신청: <!channel> & Co")
        messages.STEP.work()
        assert "&lt;!channel&gt; &amp; Co" in chat.lines[0]
        assert reread(row).state == "sent"

    @pytest.mark.parametrize(("answer", "state"), [(404, "failed"), (429, "due"), (503, "due")])
    def test_a_refusal_is_final_and_a_pause_is_not(
        self, chat: Any, answer: int, state: str
    ) -> None:
        chat.answer = answer
        row = write(channel="slack")
        messages.STEP.work()
        assert reread(row).state == state
