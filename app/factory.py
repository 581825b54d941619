"""The only place that knows every door."""

from __future__ import annotations

from flask import Flask

from app import cli, web
from app.base import logs, secrets


def create_app() -> Flask:
    """This function will build the application: pages and commands on one Flask."""
    logs.configure()
    app = Flask("app", template_folder="web/templates", static_folder="web/static")
    app.secret_key = secrets.derive("flask")
    web.register(app)
    cli.register(app)
    return app
