"""From the kind of an error to an answer: a page that says what to do, or problem JSON."""

from __future__ import annotations

import errno
from typing import Any

import structlog
from flask import Flask, jsonify, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from app.base.config import settings
from app.base.errors import TenantryError
from app.web.db import take_back
from app.web.format import filesize
from app.web.i18n import gettext
from app.web.sentences import say

log = structlog.get_logger()

DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def init_errors(app: Flask) -> None:
    """This function will map every kind of error to its answer."""
    app.register_error_handler(TenantryError, _ours)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DataError, _unstorable)
    app.register_error_handler(OperationalError, _database)
    app.register_error_handler(PoolExhausted, _database)
    app.register_error_handler(OSError, _disk)
    app.register_error_handler(Exception, _unexpected)


def _ours(error: TenantryError) -> Any:
    take_back()
    return _answer(error.status, say(error.message), error.field)


def _csrf(_: CSRFError) -> Any:
    return _answer(
        400, gettext("This form was open for too long. Please go back, reload and send it again.")
    )


def _http(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error
    messages = {
        404: gettext("There is no such page here, or it is not yours to see."),
        405: gettext("This address can't be used that way."),
        413: gettext("That was larger than %(most)s. Please send less.", most=_size_allowed()),
        429: gettext("Too many requests. Please wait a minute and try again."),
    }
    return _answer(error.code, messages.get(error.code, gettext("The request was not understood.")))


def _size_allowed() -> str:
    """The limit in words; of an upload without the room that its form takes beside the file."""
    most = request.max_content_length or settings().request_bytes_max
    return filesize(min(most, settings().upload_bytes_max))


def _unstorable(_: DataError) -> Any:
    """A value that no column can hold: a NUL byte, a number beyond all bounds."""
    take_back()
    return _answer(400, gettext("Something in that can't be stored. Please check what you typed."))


def _database(error: Exception) -> Any:
    log.error("database_unavailable", error=type(error).__name__)
    take_back()
    return _answer(
        503,
        gettext("The database does not answer just now. Nothing was changed; please try again."),
    )


def _disk(error: OSError) -> Any:
    """A large body is kept on the disk while it arrives: a full one refuses it before any view."""
    if error.errno not in DISK_REFUSES:
        return _unexpected(error)
    log.error("disk_refuses", error=errno.errorcode[error.errno])
    take_back()
    return _answer(
        503, gettext("The file could not be stored just now. Nothing was changed; try again.")
    )


def _unexpected(error: Exception) -> Any:
    log.error("unexpected_error", error=type(error).__name__, exc_info=error)
    take_back()
    return _answer(500, gettext("Something went wrong on our side. Nothing was changed."))


def _answer(status: int, message: str, field: str | None = None) -> Any:
    if request.path.startswith(("/api/", "/hooks/")) or (
        request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
    ):
        problem = {
            "type": "about:blank",
            "title": HTTP_STATUS_CODES.get(status, "Unknown"),
            "status": status,
            "detail": message,
        }
        answer = jsonify(problem | ({"field": field} if field else {}))
        answer.mimetype = "application/problem+json"
        return answer, status
    return render_template("layout/error.html", status=status, message=message), status
