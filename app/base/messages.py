"""Mail and chat messages as rows with a state: written in the transaction that causes them.

A mail is one Jinja file per language in the room that sends it (`<room>/mails/<name>.<lang>.txt`):
the first line is the subject, then paragraphs; a line `-> label | url` is the one action. Text and
HTML are made from the same source, so they never differ. What a value says is only ever text: none
can begin a paragraph or become an action, or strangers would send our mail with their link.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import Index, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.base.config import settings
from app.base.db import Base, Keyed, notify
from app.base.leases import Leased
from app.base.states import machine

MESSAGE = machine(
    "message",
    {"due": ("sent", "failed"), "sent": (), "failed": ("due",)},
    wakes={"due": "messages"},
)

_BLANK_LINES = re.compile(r"\n\s*\n")
# Mail programs read a style where it stands, and little else.
_QUOTED = "display:block;padding-left:12px;border-left:3px solid #dfe2e8;color:#4a5260"
_LISTED = "display:block;padding-left:16px;text-indent:-12px"


class Message(Keyed, Leased, Base):
    """One mail or chat message; `regarding_id` is the application or tenant it speaks of."""

    __tablename__ = "message"
    __table_args__ = (
        MESSAGE.check(),
        Index("ix_message_due", "retry_at", postgresql_where="state = 'due'"),
        Index("ix_message_failed", "created_at", postgresql_where="state = 'failed'"),
        Index(None, "regarding_id"),
        Index(None, "created_at"),
    )

    state: Mapped[str] = mapped_column(default="due")
    channel: Mapped[str]  # mail | slack
    kind: Mapped[str]
    # Names the event behind the message: the same event never writes twice.
    dedupe_key: Mapped[str | None] = mapped_column(unique=True)
    recipient: Mapped[str]
    language: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    html: Mapped[str]
    advertising: Mapped[bool] = mapped_column(default=False)
    regarding_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


def render(*, room: str, name: str, language: str, context: dict[str, Any]) -> tuple[str, str, str]:
    """This function will return the subject, text and HTML of a mail in one language."""
    source = _mails(room).get_template(f"{name}.{language}.txt").render(**context, s=settings())
    subject, _, body = source.strip().partition("\n")
    blocks = [block.strip() for block in body.strip().split("\n\n") if block.strip()]
    text = "\n\n".join(_text_block(block) for block in blocks)
    html = (
        _mails("app.base")
        .get_template("layout.html")
        .render(subject=subject, blocks=[_html_block(block) for block in blocks], language=language)
    )
    # A line break in a name must never become a header of its own.
    return " ".join(subject.split()), text, html


@lru_cache(maxsize=8)
def _mails(room: str) -> Environment:
    return Environment(
        loader=PackageLoader(room, "mails"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html"], default=False),
        keep_trailing_newline=False,
        finalize=_only_text,
    )


def _only_text(value: Any) -> Any:
    """What the mail's own layout would read as its marks is taken out of a value."""
    if type(value) is not str:
        return value
    return _BLANK_LINES.sub("\n", value.replace("->", "→"))


def _text_block(block: str) -> str:
    if block.startswith("-> "):
        label, _, url = block[3:].partition(" | ")
        return f"{label}\n{url}"
    return block


def _html_block(block: str) -> dict[str, str]:
    if block.startswith("-> "):
        label, _, url = block[3:].partition(" | ")
        return {"kind": "action", "label": label, "url": url}
    return {"kind": "text", "html": "".join(map(_html_line, escape(block).split("\n")))}


def _html_line(line: str) -> str:
    """Quoted and listed lines look so; every other is a line."""
    if line.startswith("&gt; "):
        return f'<span style="{_QUOTED}">{line[5:]}</span>'
    if line.startswith("- "):
        return f'<span style="{_LISTED}">• {line[2:]}</span>'
    return f'<span style="display:block">{line}</span>'


def queue_mail(
    *,
    control_session: Session,
    room: str,
    name: str,
    to: str,
    language: str,
    context: dict[str, Any],
    now: datetime,
    regarding_id: UUID | None = None,
    dedupe_key: str | None = None,
) -> None:
    """This function will write a mail in the caller's transaction; a job sends it after commit.

    `context` fills `<room>/mails/<name>.<language>.txt`. With a `dedupe_key` (the event behind
    the mail) a second call writes nothing.
    """
    subject, text, html = render(room=room, name=name, language=language, context=context)
    _queue(
        control_session=control_session,
        values={
            "channel": "mail",
            "kind": name,
            "recipient": to,
            "language": language,
            "subject": subject,
            "text": text,
            "html": html,
            "regarding_id": regarding_id,
            "dedupe_key": dedupe_key,
            "created_at": now,
        },
    )


def queue_chat(
    *,
    control_session: Session,
    text: str,
    now: datetime,
    regarding_id: UUID | None = None,
    dedupe_key: str | None = None,
) -> None:
    """This function will write a chat message when a Slack webhook is configured."""
    if not settings().slack_webhook_url.get_secret_value():
        return
    _queue(
        control_session=control_session,
        values={
            "channel": "slack",
            "kind": "chat",
            "recipient": "slack",
            "language": "ko",
            "subject": "",
            "text": text,
            "html": "",
            "regarding_id": regarding_id,
            "dedupe_key": dedupe_key,
            "created_at": now,
        },
    )


def _queue(*, control_session: Session, values: dict[str, Any]) -> None:
    control_session.execute(
        insert(Message).values(**values).on_conflict_do_nothing(index_elements=["dedupe_key"])
    )
    notify(control_session, "messages")


def erase_regarding(*, control_session: Session, ids: list[UUID]) -> None:
    """This function will delete every message about these applications or tenants."""
    control_session.execute(delete(Message).where(Message.regarding_id.in_(ids)))
