"""Logs: one JSON object a line, with the ids of the request, tenant and job, without people.

Everything that any library writes through `logging` goes the same way, so that nothing slips past
the redaction. A value can't forge a line: JSON escapes every line break and control character.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

from app.base.config import settings

REDACTED = "[redacted]"
DEPTH_MAX = 6
TEXT_LENGTH_MAX = 8_000
# Names of values that are never written, whatever they hold.
_HIDDEN = re.compile(
    r"(password|passwd|secret|token|cookie|authorization|csrf|api_?key|dsn|conninfo"
    r"|e_?mail|phone|mobile|recipient|contact|payer|representative|address|agent"
    r"|user_?name|full_?name|contact_name|person|masked|card)",
    re.IGNORECASE,
)
# Identifiers that merely resemble a hidden name.
_SHOWN = frozenset({"user_id", "admin_id", "staff_id", "tenant_name_length"})
_EMAIL = re.compile(r"[^\s@<>\"'(),;:=\[\]{}]+@[^\s@<>\"'(),;:\[\]{}]+\.[^\s@<>\"'(),;:\[\]{}]+")
# A phone number as people write it: a plus or a leading zero, then groups. Ids and amounts have
# no such start, and digests are longer than any number.
_PHONE = re.compile(r"(?<![\w.:-])(?:\+\d{1,3}[\s.-]?\(?\d|\(?0\d)[\d\s().-]{6,16}\d(?![\w:])")
# Links carry single-use secrets in their last part.
_LINK_SECRET = re.compile(r"(?<=/)[A-Za-z0-9_-]{40,}(?=[\s\"'?#/]|$)")
# user:password@ in an address of a server.
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
# PostgreSQL repeats the row it refused: `Key (email)=(…)`, `Failing row contains (…)`.
_ROW = re.compile(r"(?<=\)=\()[^)]*(?=\))|(?<=contains \().*?(?=\)\.?(?:\n|$))|(?<=PARAMETERS: ).*")
_ROW_MARKS = (")=(", "contains (", "PARAMETERS: ")
_SQLALCHEMY_PARAMETERS = re.compile(r"\[parameters: .*?\](?=\n|$)", re.DOTALL)


def configure(*, stream: TextIO | None = None) -> None:
    """This function will send all logs of this process to `stream` (stderr) as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings().log_level.upper())
    for name in ("httpx", "httpcore", "alembic", "apscheduler", "rq.worker", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """This function will take personal data and secrets out of a log event, at any depth."""
    return {key: _clean(key, value, DEPTH_MAX) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _is_hidden(key):
        return REDACTED
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {str(k)[:200]: _clean(str(k), v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, item, depth - 1) for item in value]
    return scrub(str(value))


@lru_cache(maxsize=1_024)
def _is_hidden(key: str) -> bool:
    return key not in _SHOWN and _HIDDEN.search(key) is not None


def scrub(text: str) -> str:
    """This function will replace addresses, numbers, secrets and rows quoted inside a text.

    Each pattern is tried only where a text has what it can't do without: most have nothing.
    """
    if "[parameters: " in text:
        text = _SQLALCHEMY_PARAMETERS.sub(f"[parameters: {REDACTED}]", text)
    if any(mark in text for mark in _ROW_MARKS):
        text = _ROW.sub(REDACTED, text)
    if "@" in text:
        text = _USERINFO.sub(f"{REDACTED}@", text)
        text = _EMAIL.sub(REDACTED, text)
    text = _PHONE.sub(REDACTED, text)
    if "/" in text:
        text = _LINK_SECRET.sub(REDACTED, text)
    return text if len(text) <= TEXT_LENGTH_MAX else text[:TEXT_LENGTH_MAX] + "…"


def bind(**ids: Any) -> None:
    """This function will put ids (request, tenant, job) on every line that follows."""
    bind_contextvars(**ids)


@contextmanager
def bound(**ids: Any) -> Iterator[None]:
    """This function will put ids on the lines written inside the block."""
    with bound_contextvars(**ids):
        yield


def clear() -> None:
    """This function will forget the ids: a new request or job begins."""
    clear_contextvars()
