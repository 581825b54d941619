"""What public pages have a visitor's browser load: all of it from this site."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from app.base.db import control_session
from tests.factories import make_catalogue

PAGES = ("/", "/pricing", "/trial", "/privacy", "/terms")
SITE = "http://localhost"
# Every directive that says from where something is loaded or whereto something is sent.
OWN = (
    *("script-src", "style-src", "img-src", "font-src", "connect-src", "frame-src"),
    *("manifest-src", "form-action"),
)
_LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
# A link element of these kinds names another address of the page, and loads nothing.
_NAMES_ONLY = {"canonical", "alternate"}


class Loaded(HTMLParser):
    """The addresses that a page has its browser load, and what it would run or paint inline."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(_LOADS.get(tag, ""))
        if address and given.get("rel") not in _NAMES_ONLY:
            self.addresses.append(address)
        choices = (given.get("srcset") or "").split(",")
        self.addresses += [choice.split()[0] for choice in choices if choice.strip()]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


def policy_of(answer: Any) -> dict[str, list[str]]:
    rules = (rule.split() for rule in answer.headers["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in rules}


@pytest.fixture(autouse=True)
def _prices(client: Any) -> None:
    with control_session() as session:
        make_catalogue(session)


def test_public_pages_load_everything_from_this_site(client: Any) -> None:
    sheets = set()
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 200, page
        policy = policy_of(answer)
        assert policy["default-src"] == ["'none'"], page
        foreign = {name: set(policy[name]) - {"'self'", "data:"} for name in OWN}
        assert foreign == {name: set() for name in OWN}, page
        loaded = Loaded()
        loaded.feed(answer.text)
        assert loaded.inline == [], page
        assert len(loaded.addresses) > 3, page
        for address in loaded.addresses:
            parts = urlsplit(urljoin(SITE + page, address))
            own = parts.scheme == "data" or f"{parts.scheme}://{parts.netloc}" == SITE
            assert own, f"{page} loads {address}"
            if parts.path.endswith(".css"):
                sheets.add(parts.path)
    assert sheets
    named = [address for sheet in sorted(sheets) for address in named_by(client, sheet)]
    assert any(address.endswith(".woff2") for address in named)
    assert [address for address in named if re.match(r"([a-z]+:)?//", address)] == []


def named_by(client: Any, sheet: str) -> list[str]:
    """The addresses that a style sheet has loaded: fonts, images, other sheets."""
    with client.get(sheet) as answer:
        assert answer.status_code == 200
        return re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)", answer.text)
