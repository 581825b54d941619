"""The simulator as an application and as a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from app.base.loopback import HOST, LoopbackServer, wait_for_stop
from tests.fakes.stripe.api import api
from tests.fakes.stripe.box import Box
from tests.fakes.stripe.control import control
from tests.fakes.stripe.hosted import hosted
from tests.fakes.stripe.once import DROP_CONNECTION
from tests.fakes.stripe.webhooks import Messenger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_stripe(*, box: Box, messenger: Messenger) -> Flask:
    """This function will build the application over an open box."""
    flask = Flask(__name__, static_folder=None)
    flask.config.update(MAX_CONTENT_LENGTH=64 * 1024, TRUSTED_HOSTS=[HOST, "localhost"])
    flask.extensions["stripe"] = box
    flask.extensions["stripe_messenger"] = messenger
    for blueprint in (api, hosted, control):
        flask.register_blueprint(blueprint)
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
) -> None:
    """This function will run until SIGTERM, saying on one line where it listens."""
    box = Box.open(directory=directory, secret_key=secret_key, hang_seconds=hang_seconds)
    messenger = Messenger(
        box=box, url=webhook_url, secret=webhook_secret, retry_seconds=webhook_retry_seconds
    )
    flask = create_stripe(box=box, messenger=messenger)
    server = LoopbackServer(application=dropping(flask.wsgi_app), port=port)
    if webhook_url:
        messenger.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"stripe simulator on http://{HOST}:{server.server_port}", flush=True)  # noqa: T201
    wait_for_stop()
    box.stopping.set()
    server.shutdown()
    server.server_close()
    if webhook_url:
        messenger.stop()
        messenger.join(timeout=2)
