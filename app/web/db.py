"""The request's session on the control database: Flask-SQLAlchemy over the floor's one engine."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.base.db import Base, control_engine

log = structlog.get_logger(__name__)


class ControlSQLAlchemy(SQLAlchemy):
    """Flask-SQLAlchemy bound to the engine that jobs and commands use too: one pool a process."""

    def _make_declarative_base(self, *args: Any, **kwargs: Any) -> Any:
        # The rooms' models stay plain: no `.query`, no names derived from classes.
        Base.metadata.info["bind_key"] = None
        self.metadatas[None] = Base.metadata
        return Base

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        return control_engine()

    def _teardown_session(self, exc: BaseException | None) -> None:
        # The answer stands: a connection that was lost under it must not turn it into a failure.
        try:
            self.session.remove()
        except SQLAlchemyError as error:
            log.warning("session.lost", error=type(error).__name__)
            _let_go(self.session())
            self.session.registry.clear()


db = ControlSQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def take_back() -> None:
    """This function will undo the request's transaction after an error, whatever the server does.

    What was loaded stays as it was read, so that the page about the error can name people without
    asking a database that may be gone. What a view's own rollback has emptied already stays with
    its session, to be read again.
    """
    session = db.session()
    for each in list(session):
        if not inspect(each).expired:
            session.expunge(each)
    try:
        session.rollback()
    except SQLAlchemyError as error:
        log.warning("session.lost", error=type(error).__name__)
        _let_go(session)


def _let_go(session: Session) -> None:
    """End a session whose connection is beyond a rollback."""
    try:
        session.invalidate()
    except SQLAlchemyError as error:
        log.warning("session.stuck", error=type(error).__name__)


def control() -> Session:
    """This function will return the request's own session on the control database."""
    return db.session()
