"""The simulator as an application and as a process."""

from __future__ import annotations

import threading
from pathlib import Path

from flask import Flask

from app.base.loopback import HOST, LoopbackServer, wait_for_stop
from app.sandbox.server import dropping
from tests.fakes.portone.api import api
from tests.fakes.portone.book import Simulator
from tests.fakes.portone.control import control
from tests.fakes.portone.delivery import Messenger
from tests.fakes.portone.pages import pages


def create_app(simulator: Simulator) -> Flask:
    """This function will build the application over an open book."""
    flask = Flask(__name__, static_folder=None)
    flask.config.update(MAX_CONTENT_LENGTH=256 * 1024, TRUSTED_HOSTS=[HOST, "localhost"])
    flask.json.sort_keys = False  # type: ignore[attr-defined]  # DefaultJSONProvider's
    flask.extensions["portone"] = simulator
    for blueprint in (api, control, pages):
        flask.register_blueprint(blueprint)
    return flask


def serve(
    *, port: int, simulator: Simulator, webhook_url: str, webhook_secret: str, retry_seconds: float
) -> None:
    """This function will run the simulator until SIGTERM, saying on one line where it listens."""
    application = dropping(create_app(simulator).wsgi_app)
    server = LoopbackServer(application=application, port=port)
    messenger = None
    if webhook_url:
        messenger = Messenger(
            simulator=simulator, url=webhook_url, secret=webhook_secret, retry_seconds=retry_seconds
        )
        messenger.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"portone simulator on http://{HOST}:{server.server_port}", flush=True)  # noqa: T201 - said to whoever started it
    wait_for_stop()
    simulator.stopping.set()
    server.shutdown()
    server.server_close()
    if messenger:
        messenger.stop()
        messenger.join(timeout=2)


def open_simulator(
    *, directory: Path, api_secret: str, store_id: str, hang_seconds: float
) -> Simulator:
    """This function will open the book in a directory; a kill -9 forgets nothing of it."""
    return Simulator(
        directory=directory,
        api_secret=api_secret,
        store_id=store_id,
        hang_seconds=hang_seconds,
    )
