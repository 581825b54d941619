"""The gateway as an application and as a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from app.base.loopback import HOST, LoopbackServer, wait_for_stop
from app.sandbox.api import DROP_CONNECTION, api
from app.sandbox.hosted import hosted
from app.sandbox.journal import Book
from app.sandbox.state import Sandbox
from app.sandbox.webhooks import Messenger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_BODY_BYTES_MAX = 64 * 1024


def create_gateway(*, box: Sandbox) -> Flask:
    """This function will build the application over an open book."""
    flask = Flask(__name__, static_folder=None)
    flask.config.update(
        MAX_CONTENT_LENGTH=_BODY_BYTES_MAX,
        # Keeps pages of other sites from reaching this one under a name of theirs.
        TRUSTED_HOSTS=[HOST, "localhost"],
    )
    flask.json.sort_keys = False  # type: ignore[attr-defined]  # DefaultJSONProvider's
    flask.extensions["sandbox"] = box
    flask.register_blueprint(api)
    flask.register_blueprint(hosted)
    return flask


def dropping(application: WSGIApplication) -> WSGIApplication:
    """This function will wrap the application so that it can hang up without an answer."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = application(environ, start_response)
        if environ.get(DROP_CONNECTION):
            # wsgiref takes this for a client that left, and closes without writing anything.
            raise ConnectionAbortedError
        return answer

    return wrapped


def serve(
    *,
    port: int,
    directory: Path,
    secret_key: str,
    webhook_url: str,
    webhook_secret: str,
    webhook_retry_seconds: float,
    hang_seconds: float,
    key_window: timedelta,
) -> None:
    """This function will run the gateway until SIGTERM, saying on one line where it listens.

    Raises: DirectoryTaken, OSError when the port is taken.
    """
    book = Book(directory=directory)
    box = Sandbox(
        book=book, secret_key=secret_key, hang_seconds=hang_seconds, key_window=key_window
    )
    server = LoopbackServer(application=dropping(create_gateway(box=box).wsgi_app), port=port)
    messenger = None
    if webhook_url:
        messenger = Messenger(
            book=book, url=webhook_url, secret=webhook_secret, retry_seconds=webhook_retry_seconds
        )
        messenger.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"sandbox gateway on http://{HOST}:{server.server_port}", flush=True)  # noqa: T201 - said to whoever started it
    wait_for_stop()
    box.stopping.set()
    server.shutdown()
    server.server_close()
    if messenger:
        messenger.stop()
        messenger.join(timeout=2)
