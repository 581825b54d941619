"""The simulator as an application and as a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flask import Flask

from app.base.loopback import HOST, LoopbackServer, wait_for_stop
from app.sandbox.journal import Book
from tests.fakes.toss.api import DROP_CONNECTION, api
from tests.fakes.toss.box import TABLES, Box
from tests.fakes.toss.pages import pages
from tests.fakes.toss.webhooks import Messenger


def create(box: Box) -> Flask:
    """This function will build the application over an open book."""
    flask = Flask(__name__, static_folder=None)
    flask.config.update(MAX_CONTENT_LENGTH=64 * 1024, TRUSTED_HOSTS=[HOST, "localhost"])
    flask.extensions["toss"] = box
    flask.register_blueprint(api)
    flask.register_blueprint(pages)
    return flask


def dropping(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """This function will wrap the application so that it can hang up without an answer."""

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer = application(environ, start_response)
        if environ.get(DROP_CONNECTION):
            raise ConnectionAbortedError
        return answer

    return wrapped


def serve(
    *,
    port: int,
    directory: Path,
    webhook_url: str,
    security_key: str,
    minute_seconds: float,
    hang_seconds: float,
) -> None:
    """This function will run the simulator until SIGTERM, saying on one line where it listens."""
    book = Book(directory=directory, tables=TABLES)
    messenger = Messenger(
        book=book, url=webhook_url, security_key=security_key, minute_seconds=minute_seconds
    )
    box = Box(book=book, messenger=messenger, hang_seconds=hang_seconds)
    server = LoopbackServer(application=dropping(create(box).wsgi_app), port=port)
    if webhook_url:
        messenger.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"toss simulator on http://{HOST}:{server.server_port}", flush=True)  # noqa: T201
    wait_for_stop()
    box.stopping.set()
    server.shutdown()
    server.server_close()
    messenger.stop()
    book.close()
