"""The door for operators: `flask …`."""

from __future__ import annotations

from flask import Flask


def register(app: Flask) -> None:
    """This function will put every command on the application."""
