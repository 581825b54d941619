"""The mail catcher in its own process: mail in over SMTP, out over its pages."""

from __future__ import annotations

import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.mailbox.shelf import Shelf

CHECKOUT = Path(__file__).resolve().parents[2]


class RunningMailbox:
    def __init__(self, directory: Path, *more: str) -> None:
        command = [sys.executable, "-m", "app.mailbox", "--smtp-port", "0", "--http-port", "0"]
        self.process = subprocess.Popen(
            [*command, "--directory", str(directory), *more],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "smtp://" in line, f"the mail catcher did not start: {line!r}"
        *_, smtp, self.url = line.split()
        self.smtp_port = urlsplit(smtp).port or 0

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def send(self, message: EmailMessage, *, to: list[str] | None = None) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=20) as client:
            client.send_message(message, to_addrs=to)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=20, trust_env=False, **more)

    def messages(self, **query: str) -> list[dict[str, Any]]:
        return list(self.get("/api/messages", params=query).json()["messages"])


def written(to: str, subject: str = "체험 신청을 확인해 주세요", **more: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Tenantry <no-reply@tenantry.example>"
    message["To"] = to
    message["Subject"] = subject
    text = more.get(
        "text", "아래 주소를 열어 주세요:\nhttp://127.0.0.1:8000/trial/confirm?t=a-b_c.\n"
    )
    message.set_content(text)
    if "html" in more:
        message.add_alternative(more["html"], subtype="html")
    return message


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMailbox]:
    process = RunningMailbox(tmp_path_factory.mktemp("mail"))
    yield process
    assert process.end() == 0


class TestAMail:
    def test_is_found_by_its_recipient_with_text_and_links(self, mailbox: RunningMailbox) -> None:
        html = '<p><a href="https://tenantry.example/a?b=1&amp;c=2">열기</a></p>'
        mailbox.send(written("found@drawing.example", html=html))
        [message] = mailbox.messages(to="Found@Drawing.example")
        assert message["subject"] == "체험 신청을 확인해 주세요"
        assert "아래 주소를 열어 주세요" in message["text"]
        assert message["links"] == [
            "http://127.0.0.1:8000/trial/confirm?t=a-b_c",
            "https://tenantry.example/a?b=1&c=2",
        ]
        assert mailbox.get(f"/api/messages/{message['id']}").json() == message
        assert mailbox.messages(to="drawing.example") == []

    def test_comes_newest_first_and_after_a_known_one(self, mailbox: RunningMailbox) -> None:
        for number in range(3):
            mailbox.send(written("order@drawing.example", subject=f"No. {number}"))
        newest, _, oldest = mailbox.messages(to="order@drawing.example")
        assert (newest["subject"], oldest["subject"]) == ("No. 2", "No. 0")
        later = mailbox.messages(to="order@drawing.example", after=oldest["id"])
        assert [message["subject"] for message in later] == ["No. 2", "No. 1"]
        assert [m["subject"] for m in mailbox.messages(subject="no. 1")] == ["No. 1"]

    def test_is_filed_under_blind_copies_too(self, mailbox: RunningMailbox) -> None:
        mailbox.send(written("open@drawing.example"), to=["blind@drawing.example"])
        assert len(mailbox.messages(to="blind@drawing.example")) == 1

    def test_may_have_an_address_and_subject_in_bare_hangul(self, mailbox: RunningMailbox) -> None:
        mailbox.send(written("담당자@도면.example", subject="제목 ㈜도면 漢字"))
        [message] = mailbox.messages(to="담당자@도면.example")
        assert message["subject"] == "제목 ㈜도면 漢字"

    def test_keeps_its_attachments_as_files_to_save(self, mailbox: RunningMailbox) -> None:
        message = written("files@drawing.example")
        content = b"%PDF-1.7 <script>alert(1)</script>"
        message.add_attachment(content, maintype="text", subtype="html", filename="청구서.html")
        mailbox.send(message)
        [caught] = mailbox.messages(to="files@drawing.example")
        assert caught["attachments"][0]["name"] == "청구서.html"
        file = mailbox.get(f"/messages/{caught['id']}/attachments/0")
        assert file.content == content
        assert file.headers["content-disposition"].startswith("attachment")
        assert file.headers["content-type"] == "application/octet-stream"
        assert mailbox.get(f"/messages/{caught['id']}/attachments/1").status_code == 404

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\r\n",
            b"Subject: =?broken?Q?=\r\n\r\nbody",
            b"Content-Type: text/plain; charset=no-such\r\n\r\n\xb0\xa1",
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno part",
            b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n***",
            b"Subject: \xff\xfe\r\n\r\n\xff",
            b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx",
        ],
    )
    def test_however_odd_is_stored_and_shown(self, mailbox: RunningMailbox, raw: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=20) as client:
            client.sendmail("odd@drawing.example", ["odd@drawing.example"], raw)
        newest = mailbox.messages(to="odd@drawing.example")[0]
        assert mailbox.get(f"/messages/{newest['id']}").status_code == 200
        assert mailbox.get(f"/messages/{newest['id']}/source").content.strip() == raw.strip()
        assert mailbox.get("/").status_code == 200

    def test_over_the_limit_is_refused_and_not_stored(self, mailbox: RunningMailbox) -> None:
        # The size is declared, so the refusal comes before the bytes.
        with smtplib.SMTP("127.0.0.1", mailbox.smtp_port, timeout=20) as client:
            client.ehlo()
            code, _ = client.mail("big@drawing.example", [f"SIZE={26 * 1024 * 1024}"])
        assert code == 552


class TestThePages:
    def test_show_a_mail_without_running_it(self, mailbox: RunningMailbox) -> None:
        html = "<script>parent.document.title='x'</script><img src='http://tracker.example/1'>"
        mailbox.send(written("html@drawing.example", subject="<b>굵게</b>", html=html))
        [caught] = mailbox.messages(to="html@drawing.example")
        page = mailbox.get(f"/messages/{caught['id']}?lang=ko")
        assert "&lt;b&gt;굵게&lt;/b&gt;" in page.text
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        frame = mailbox.get(f"/messages/{caught['id']}/html")
        policy = frame.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox" in policy
        assert "allow-scripts" not in policy + page.text
        assert "allow-same-origin" not in policy + page.text

    @pytest.mark.parametrize(("language", "title"), [("ko", "편지함"), ("en", "Mailbox")])
    def test_speak_both_languages(self, mailbox: RunningMailbox, language: str, title: str) -> None:
        page = mailbox.get(f"/?lang={language}")
        assert f"<h1>{title}</h1>" in page.text
        assert f'<html lang="{language}">' in page.text

    def test_say_when_there_is_nothing(self, mailbox: RunningMailbox) -> None:
        assert "No mail to this address." in mailbox.get("/?lang=en&to=nobody@x.example").text

    @pytest.mark.parametrize("letter_id", ["0", "..%2F..%2Fetc%2Fpasswd", "%00", "0" * 5000])
    def test_open_nothing_but_mails(self, mailbox: RunningMailbox, letter_id: str) -> None:
        for path in ("/messages/", "/api/messages/"):
            assert mailbox.get(path + letter_id).status_code == 404

    def test_answer_to_no_foreign_name(self, mailbox: RunningMailbox) -> None:
        assert mailbox.get("/", headers={"Host": "rebound.example"}).status_code == 400


class TestTheShelf:
    def test_survives_kill_9(self, tmp_path: Path) -> None:
        first = RunningMailbox(tmp_path)
        first.send(written("kept@drawing.example"))
        before = first.messages()
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        (tmp_path / ".00000000000000000001-ab.part").write_bytes(b"half a mail")
        second = RunningMailbox(tmp_path)
        after = second.messages()
        second.end()
        assert [message["to"] for message in before] == [["kept@drawing.example"]]
        assert after == before
        assert len(list(tmp_path.iterdir())) == 1

    def test_keeps_the_newest_so_many(self, tmp_path: Path) -> None:
        shelf = Shelf(directory=tmp_path, letters_max=3)
        put = [shelf.put(sender="a@x", recipients=["b@x"], raw=b"x") for _ in range(5)]
        assert [entry.id for entry in shelf.entries()] == [put[4], put[3], put[2]]
        assert len(list(tmp_path.glob("*.eml"))) == 3
        assert Shelf(directory=tmp_path).letter(put[0]) is None

    def test_tells_the_sender_to_keep_what_it_cannot_store(self, tmp_path: Path) -> None:
        mailbox = RunningMailbox(tmp_path / "mail")
        for path in (tmp_path / "mail").iterdir():
            path.unlink()
        (tmp_path / "mail").rmdir()
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            mailbox.send(written("lost@drawing.example"))
        assert refusal.value.smtp_code == 452
        assert mailbox.messages() == []
        mailbox.end()
