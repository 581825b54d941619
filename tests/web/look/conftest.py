"""A small application with the look page alone, served to a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response
from flask_wtf import CSRFProtect
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.conftest import ROOT
from tests.web.site.serving import serve

WEB: Path = ROOT / "app" / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture(scope="session")
def look_app() -> Flask:
    # Not above: pytest reads the conftest of a folder it was told before the settings are there.
    from app.web.i18n import init_i18n
    from app.web.look import register
    from app.web.parts import init_parts

    flask = Flask("look", template_folder=WEB / "templates", static_folder=WEB / "static")
    flask.config.update(SECRET_KEY="only for this test", TESTING=True)
    CSRFProtect(flask)
    init_i18n(flask)
    init_parts(flask)
    register(flask)

    @flask.after_request
    def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return flask


@pytest.fixture(scope="session")
def address(look_app: Flask) -> Iterator[str]:
    with serve(look_app) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found
