"""The only place that knows every door."""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from types import FunctionType
from typing import Any

from flask import Flask
from flask.templating import Environment
from jinja2.runtime import Context, Macro

# What a library loads only because it is there, and every process would hold: rich and pygments, to
# colour logs that we write as JSON and a command line of httpx (5 MB), and greenlet, for
# asynchronous code, of which there is none (2 MB).
_OPTIONAL = ("rich", "pygments", "greenlet")
_absent = [name for name in _OPTIONAL if name not in sys.modules]
sys.modules.update(dict.fromkeys(_absent))  # type: ignore[arg-type]  # Python's "not installed"

from app import cli, web  # noqa: E402
from app.base import logs, secrets  # noqa: E402
from app.web.compiled import Compiled  # noqa: E402

for _name in _absent:
    del sys.modules[_name]  # our own commands may want them


class _Context(Context):
    """What a template is made with; it calls macros and plain functions, which most are, directly.

    Jinja looks first at all that a callable could be, and that at some five hundred calls a page.
    """

    def call(self, obj: Any, /, *args: Any, **named: Any) -> Any:
        """This function will call what a template names."""
        if type(obj) is Macro:
            args = (self.eval_ctx, *args)
        elif type(obj) is not FunctionType or hasattr(obj, "jinja_pass_arg"):
            return super().call(obj, *args, **named)
        # Jinja's own, for callables that want them.
        named.pop("_block_vars", None)
        named.pop("_loop_vars", None)
        return obj(*args, **named)


class _Templates(Environment):
    """Jinja, whose templates each find all that every template may call in one plain dictionary.

    Nothing is added to it once pages are made; to look through layers would cost at every import.
    """

    context_class = _Context

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """This function will return what a template may call."""
        return {**self.globals, **(d or {})}


class _Application(Flask):
    """Flask, without a look at each function that it calls for whether it is asynchronous."""

    jinja_environment = _Templates

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """This function will return the function: none of ours is asynchronous."""
        return func


def create_app() -> Flask:
    """This function will build the application: pages and commands on one Flask."""
    logs.configure()
    app = _Application("app", template_folder="web/templates", static_folder="web/static")
    app.secret_key = secrets.derive("flask")
    app.jinja_env.bytecode_cache = Compiled()
    web.register(app)
    cli.register(app)
    return app
