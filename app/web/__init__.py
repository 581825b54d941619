"""The door for people and programs: pages, hooks and the guards in front of them."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.base.config import settings
from app.web import bills, errors, i18n, look, parts, security
from app.web.blueprints import BLUEPRINTS
from app.web.db import db
from app.web.sessions import StoredSessions, refuse_unread


def register(app: Flask) -> None:
    """This function will put every page and every guard on the application."""
    if settings().proxies_trusted:
        count = settings().proxies_trusted
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]  # Flask's documented way
    app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg://"
    db.init_app(app)
    app.session_interface = StoredSessions()
    app.before_request(refuse_unread)
    security.init_security(app)
    i18n.init_i18n(app)
    parts.init_parts(app)
    bills.init_bills(app)
    errors.init_errors(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings().environment != "production":
        look.register(app)
