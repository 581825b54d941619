"""The request's session on the control database: Flask-SQLAlchemy over the floor's one engine."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.base.db import Base, control_engine


class ControlSQLAlchemy(SQLAlchemy):
    """Flask-SQLAlchemy bound to the engine that jobs and commands use too: one pool a process."""

    def _make_declarative_base(self, *args: Any, **kwargs: Any) -> Any:
        # The rooms' models stay plain: no `.query`, no names derived from classes.
        Base.metadata.info["bind_key"] = None
        self.metadatas[None] = Base.metadata
        return Base

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        return control_engine()


db = ControlSQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def control() -> Session:
    """This function will return the request's own session on the control database."""
    return db.session()
