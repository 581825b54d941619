"""The pages and the JSON of the mail catcher."""

from __future__ import annotations

import secrets
from io import BytesIO
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    jsonify,
    make_response,
    render_template,
    request,
    send_file,
)

from app.base.loopback import HOST
from app.mailbox.letters import Letter
from app.mailbox.shelf import Shelf

PAGE_SIZE = 50
PAGE_SIZE_MAX = 200

# The mail shown in its frame: no script, no picture from outside, links in a new window only.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)

pages = Blueprint("mailbox", __name__, template_folder="templates")


def create_mailbox(*, shelf: Shelf) -> Flask:
    """This function will build the application over a shelf of mails."""
    flask = Flask(__name__, static_folder=None)
    # Mails carry sign-in links; a page of another site must not reach them by a name of its own.
    flask.config["TRUSTED_HOSTS"] = [HOST, "localhost"]
    flask.json.sort_keys = False  # type: ignore[attr-defined]  # DefaultJSONProvider's
    flask.json.ensure_ascii = False  # type: ignore[attr-defined]  # DefaultJSONProvider's
    flask.extensions["shelf"] = shelf
    flask.register_blueprint(pages)
    return flask


@pages.get("/healthz")
def healthz() -> dict[str, str]:
    """This function will say that the process answers."""
    return {"status": "ok"}


@pages.get("/")
def index() -> str:
    """This function will list the mails, newest first."""
    to = request.args.get("to", "").strip()
    found = _shelf().entries(to=to)
    page = max(request.args.get("page", 1, type=int), 1)
    start = (page - 1) * PAGE_SIZE
    return _page(
        "list.html",
        entries=found[start : start + PAGE_SIZE],
        total=len(found),
        to=to,
        page=page,
        more=len(found) > start + PAGE_SIZE,
    )


@pages.get("/messages/<letter_id>")
def show(letter_id: str) -> str:
    """This function will show one mail: its text, its links and, in a frame, its HTML."""
    return _page("letter.html", letter=_letter(letter_id))


@pages.get("/messages/<letter_id>/html")
def show_html(letter_id: str) -> Response:
    """This function will send the mail's HTML, fit for a frame and harmless there."""
    response = make_response('<base target="_blank">' + _letter(letter_id).html)
    response.headers["Content-Security-Policy"] = _MAIL_POLICY
    return response


@pages.get("/messages/<letter_id>/source")
def show_source(letter_id: str) -> Response:
    """This function will send the mail as it came over the wire."""
    source = _shelf().source(letter_id)
    if source is None:
        abort(404)
    response = make_response(source)
    response.mimetype = "text/plain"
    return response


@pages.get("/messages/<letter_id>/attachments/<int:number>")
def download(letter_id: str, number: int) -> Response:
    """This function will send an attachment, to be saved and not shown."""
    attachments = _letter(letter_id).attachments
    if number >= len(attachments):
        abort(404)
    found = attachments[number]
    return send_file(
        BytesIO(found.content),
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=found.name,
    )


@pages.get("/api/messages")
def list_messages() -> Response:
    """This function will list mails with text and links, newest first.

    `to`: one whole address · `subject`: a part of it · `after`: an id · `limit`: at most 200.
    """
    found = _shelf().entries(
        to=request.args.get("to", "").strip(),
        subject=request.args.get("subject", ""),
        after=request.args.get("after", ""),
    )
    limit = min(max(request.args.get("limit", PAGE_SIZE, type=int), 1), PAGE_SIZE_MAX)
    opened = [_shelf().letter(entry.id) for entry in found[:limit]]
    messages = [letter.as_json() for letter in opened if letter is not None]
    return jsonify(messages=messages, total=len(found))


@pages.get("/api/messages/<letter_id>")
def show_message(letter_id: str) -> Response:
    """This function will send one mail as JSON."""
    return jsonify(_letter(letter_id).as_json())


@pages.after_request
def harden(response: Response) -> Response:
    """This function will allow the page its own style and its own frame, and nothing else."""
    response.headers.setdefault(
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'nonce-{g.get('nonce', '')}'; img-src data:; "
        "frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


def _shelf() -> Shelf:
    shelf: Shelf = current_app.extensions["shelf"]
    return shelf


def _letter(letter_id: str) -> Letter:
    letter = _shelf().letter(letter_id)
    if letter is None:
        abort(404)
    return letter


def _page(template: str, **context: Any) -> str:
    g.nonce = secrets.token_urlsafe(16)
    accepted = request.accept_languages.best_match(["ko", "en"], default="en")
    asked = request.args.get("lang", accepted)
    language = asked if asked in ("ko", "en") else "en"
    return render_template(f"mailbox/{template}", nonce=g.nonce, language=language, **context)
