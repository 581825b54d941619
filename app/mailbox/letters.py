"""A stored mail as people and programs read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from html.parser import HTMLParser
from typing import Any

_LINK = re.compile(r"https?://[^\s<>\"'\])}]+")
_TRAILING = ".,;:!?"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a mail."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail. `recipients` are the envelope's, so blind copies are among them."""

    id: str
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    links: tuple[str, ...]
    attachments: tuple[Attachment, ...]

    def as_json(self) -> dict[str, Any]:
        """This function will return what a program wants to know of the mail."""
        return {
            "id": self.id,
            "received_at": self.received_at.isoformat(),
            "from": self.sender,
            "to": list(self.recipients),
            "subject": self.subject,
            "headers": dict(self.headers),
            "text": self.text,
            "html": self.html,
            "links": list(self.links),
            "attachments": [
                {"name": a.name, "media_type": a.media_type, "size_bytes": len(a.content)}
                for a in self.attachments
            ],
        }


def read(
    *,
    letter_id: str,
    received_at: datetime,
    sender: str,
    recipients: tuple[str, ...],
    raw: bytes,
) -> Letter:
    """This function will read a mail as it came over the wire, however odd it is."""
    message = message_from_bytes(raw, policy=policy.default)
    text = _body(message, "plain")
    html = _body(message, "html")
    headers = tuple((name, _header(value)) for name, value in message.raw_items())
    subjects = [value for name, value in headers if name.lower() == "subject"]
    return Letter(
        id=letter_id,
        received_at=received_at,
        sender=sender,
        recipients=recipients,
        subject=subjects[0] if subjects else "",
        headers=headers,
        text=text,
        html=html,
        links=tuple(dict.fromkeys([*_links_of_text(text), *_links_of_html(html)])),
        attachments=tuple(_attachments(message)),
    )


def _header(raw: str) -> str:
    # SMTPUTF8 sends headers as bare UTF-8, which the parser keeps as surrogates.
    decoded = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return str(policy.default.header_factory("subject", " ".join(decoded.split())))


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    return _text(part) if part is not None else ""


def _text(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except (LookupError, ValueError, KeyError):
        # A character set nobody knows, or a broken encoding: show what can be shown.
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _attachments(message: EmailMessage) -> Iterator[Attachment]:
    for part in message.iter_attachments():
        payload = part.get_payload(decode=True)
        yield Attachment(
            name=part.get_filename() or "attachment",
            media_type=part.get_content_type(),
            content=payload if isinstance(payload, bytes) else part.as_bytes(),
        )


def _links_of_text(text: str) -> list[str]:
    return [found.rstrip(_TRAILING) for found in _LINK.findall(text)]


def _links_of_html(html: str) -> list[str]:
    collector = _Links()
    collector.feed(html)
    return collector.found


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href") or ""
        if tag == "a" and address.startswith(("http://", "https://")):
            self.found.append(address)
