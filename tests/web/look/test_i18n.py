"""Both languages, whole: no English left over in Korean pages, nothing translated for nobody."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from flask import Flask, render_template_string

import app
from app.web.i18n import TRANSLATIONS, catalogue, read_catalogue

ROOT = Path(app.__file__).parent.parent
WEB = ROOT / "app" / "web"
METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
OPTIONS = {"**.html": {"newstyle_gettext": "true", "silent": "false"}}
KEYWORDS = {"_": None, "gettext": None, "lazy": None, "ngettext": (1, 2)}


def written() -> dict[str, str]:
    """Every English text that a page asks to translate, and where it stands."""
    found = extract_from_dir(WEB, METHODS, OPTIONS, KEYWORDS)
    texts = {}
    for file, line, text, _comments, _context in found:
        texts.setdefault(_first(text), f"{file}:{line}")
    return texts | dict(refusals())


def refusals() -> Iterator[tuple[str, str]]:
    """The sentences of rooms, with which they refuse; pages translate them as they are shown."""
    for room in ("tenants", "invoices", "app"):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value, f"{file.relative_to(ROOT)}:{node.lineno}"


def _first(text: str | tuple[str, ...]) -> str:
    return text if isinstance(text, str) else text[0]


def translated() -> Iterator[tuple[str, Message]]:
    for file in sorted((TRANSLATIONS / "ko").glob("*.po")):
        for message in read_catalogue(file):
            if message.id:
                yield file.name, message


class TestKorean:
    def test_has_a_translation_of_every_text_of_the_pages(self) -> None:
        asked = extract_from_dir(WEB, METHODS, OPTIONS, KEYWORDS)
        known = {_first(message.id) for _, message in translated() if message.string}
        missing = sorted({_first(text) for _, _, text, _, _ in asked} - known)
        assert missing == []

    def test_translates_nothing_that_no_page_says(self) -> None:
        texts = written()
        unused = [f"{file}: {m.id}" for file, m in translated() if _first(m.id) not in texts]
        assert unused == []

    def test_says_each_thing_in_one_way(self) -> None:
        seen: dict[str, Message] = {}
        differing = []
        for file, message in translated():
            other = seen.setdefault(_first(message.id), message)
            if other.string != message.string:
                differing.append(f"{file}: {message.id}: {other.string} or {message.string}")
        assert differing == []

    def test_keeps_every_placeholder_and_leaves_nothing_doubtful(self) -> None:
        wrong = [
            f"{file}: {message.id}: {error}"
            for file, message in translated()
            for error in [*message.check(), *(["fuzzy"] if message.fuzzy else [])]
        ]
        assert wrong == []

    def test_counts_with_one_form(self) -> None:
        forms = ("%(count)s row", "%(count)s rows")
        assert {catalogue("ko").ngettext(*forms, count) for count in (0, 1, 7)} == {"%(count)s건"}


class TestChoiceOfLanguage:
    @pytest.mark.parametrize(
        ("query", "cookie", "browser", "expected"),
        [
            ("", None, "", "ko"),
            ("", None, "en-US,en;q=0.9", "en"),
            ("", None, "fr,de;q=0.5", "ko"),
            ("", "en", "ko-KR", "en"),
            ("?lang=ko", "en", "en", "ko"),
            ("?lang=en", None, "ko", "en"),
            ("?lang=<script>", "en", "ko", "en"),
            ("", "xx", "en", "en"),
        ],
    )
    def test_asks_the_address_then_the_cookie_then_the_browser(
        self, look_app: Flask, query: str, cookie: str | None, browser: str, expected: str
    ) -> None:
        client = look_app.test_client()
        if cookie:
            client.set_cookie("lang", cookie)
        answer = client.get(f"/_/look/frame/plain{query}", headers={"Accept-Language": browser})
        assert f'<html lang="{expected}">' in answer.text
        assert answer.headers["Content-Language"] == expected

    def test_is_remembered_and_keeps_the_page(self, look_app: Flask) -> None:
        client = look_app.test_client()
        first = client.get("/_/look/?sort=total&page=3&lang=en", headers={"Accept-Language": "ko"})
        assert "lang=en" in first.headers["Set-Cookie"]
        assert 'href="/_/look/?sort=total&amp;page=3&amp;lang=ko"' in first.text
        assert '<html lang="en">' in client.get("/_/look/").text


class TestWordsFromElsewhere:
    """What a room says when it refuses may quote what somebody typed."""

    def test_are_escaped_and_keep_their_signs(self, look_app: Flask) -> None:
        with look_app.test_request_context("/?lang=ko"):
            said = render_template_string("{{ worded(text) }}", text="<b>5 % & more")
        assert said == "&lt;b&gt;5 % &amp; more"

    def test_are_never_taken_for_a_templates_own(self) -> None:
        taken = [
            f"{file.relative_to(WEB)}: {found}"
            for file in sorted((WEB / "templates").rglob("*.html"))
            for found in re.findall(r"(?<!\w)_\(\s*[^\"'\s][^)]*\)", file.read_text())
        ]
        assert taken == []
