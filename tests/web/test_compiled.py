"""Templates that set-up compiled: every process reads them while they are of source and code."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.factory import create_app
from app.web import compiled
from app.web.compiled import Compiled, compile_templates


def application(folder: Path) -> Flask:
    app = Flask("pages", template_folder=str(folder))
    app.jinja_env.bytecode_cache = Compiled(folder / "__pycache__")
    return app


def said(app: Flask) -> str:
    return app.jinja_env.get_template("page.html").render(name="Hanbit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text("Hello, {{ name }}.")
    assert compile_templates(application(tmp_path)) == 1
    return tmp_path


@pytest.fixture
def uncompiling(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An application that finds everything compiled, or fails."""
    app = application(folder)

    def compile_anew(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(app.jinja_env, "compile", compile_anew)
    return app


def test_what_set_up_compiled_is_not_compiled_again(uncompiling: Flask) -> None:
    assert said(uncompiling) == "Hello, Hanbit."


def test_a_template_that_was_changed_is(uncompiling: Flask, folder: Path) -> None:
    (folder / "page.html").write_text("Goodbye, {{ name }}.")
    assert said(application(folder)) == "Goodbye, Hanbit."
    with pytest.raises(AssertionError, match="compiled again"):
        said(uncompiling)


def test_so_is_one_when_our_code_was_changed(
    uncompiling: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_code", lambda: "newer")
    with pytest.raises(AssertionError, match="compiled again"):
        said(uncompiling)


def test_a_process_that_serves_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("Hello, {{ name }}.")
    assert said(application(tmp_path)) == "Hello, Hanbit."
    assert not (tmp_path / "__pycache__").exists()


def test_the_application_keeps_them_beside_their_sources() -> None:
    app = create_app()
    kept = app.jinja_env.bytecode_cache
    assert isinstance(kept, Compiled)
    assert [kept.place.parent] == [Path(each) for each in app.jinja_loader.searchpath]
