"""The documentation against what it documents: settings, links, commands, the steps of the jobs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.base.config import CHECKOUT, Settings
from app.cli import COMMANDS, LaterCommand
from jobs.registry import STEP_MODULES

PAGES = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")])
# Defaults that are worked out, not written down: said in words.
IN_WORDS = {
    "TENANTRY_SECRET_KEYS": "required",
    "TENANTRY_VAR_DIR": "`var` of the checkout",
    "TENANTRY_FILES_DIR": "`files` in the var directory",
}
_ROW = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def variable(name: str, field: FieldInfo) -> str:
    """This function will name the environment variable of a setting."""
    return str(field.validation_alias or f"TENANTRY_{name}".upper())


def default(name: str, field: FieldInfo) -> str:
    """This function will write a default as the table does."""
    if name in IN_WORDS:
        return IN_WORDS[name]
    value = field.default
    plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return f"`{plain}`" if plain else "empty"


class TestReadme:
    def test_lists_every_setting_with_its_default(self) -> None:
        written = {
            name: shown for name, shown, _ in _ROW.findall((CHECKOUT / "README.md").read_text())
        }
        expected = {
            variable(name, field): default(variable(name, field), field)
            for name, field in Settings.model_fields.items()
        }
        assert written == expected

    def test_names_every_process_that_is_supervised(self) -> None:
        text = (CHECKOUT / "README.md").read_text()
        source = (CHECKOUT / "app" / "embedded" / "processes.py").read_text()
        processes = set(re.findall(r'python\(\s*"(\w+)"', source))
        assert processes >= {"web", "worker", "scheduler"}
        assert {name for name in processes if f"| {name} |" not in text} == set()


class TestGuides:
    def test_operators_guide_names_every_command(self) -> None:
        text = (CHECKOUT / "docs" / "guide" / "operator.md").read_text()
        assert [name for name in COMMANDS if f"flask {name}" not in text] == []

    def test_developers_guide_names_every_step(self) -> None:
        text = (CHECKOUT / "docs" / "guide" / "developer.md").read_text()
        assert [name for name in STEP_MODULES if f"`{name}`" not in text] == []

    def test_every_decision_is_in_the_index(self) -> None:
        folder = CHECKOUT / "docs" / "decisions"
        index = (folder / "README.md").read_text()
        pages = [page.name for page in folder.glob("*.md") if page.name != "README.md"]
        assert pages
        assert [page for page in pages if f"]({page})" not in index] == []


def commands_named(text: str) -> set[tuple[str, str]]:
    """This function will list what a page calls `flask …`, with the word that follows it."""
    return set(re.findall(r"`(?:bin/)?flask ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", text))


def is_command(name: str, word: str) -> bool:
    """This function will tell whether `flask name word` is there; a word may be an argument."""
    if name not in COMMANDS:
        return False
    command = LaterCommand(name=name, path=COMMANDS[name]).load()
    if isinstance(command, click.Group):
        return not word or word in command.commands
    kinds = [each.type for each in command.params if isinstance(each, click.Argument)]
    choices = kinds[0].choices if kinds and isinstance(kinds[0], click.Choice) else ()
    return not word or not choices or word in choices


def test_every_command_that_a_page_names_is_there() -> None:
    named = {name for page in PAGES for name in commands_named(page.read_text())}
    assert len(named) > len(COMMANDS)
    assert [" ".join(each) for each in sorted(named) if not is_command(*each)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
class TestEveryPage:
    def test_links_lead_somewhere(self, page: Path) -> None:
        broken = [
            target
            for target in _LINK.findall(page.read_text())
            if not leads_somewhere(page, target)
        ]
        assert broken == []

    def test_lines_are_short_enough_to_read_as_text(self, page: Path) -> None:
        long = [
            line
            for line in page.read_text().splitlines()
            if len(line) > 110 and not line.startswith("|") and "](" not in line
        ]
        assert long == []


def leads_somewhere(page: Path, target: str) -> bool:
    """This function will tell whether a link's file, and its heading if it names one, is there."""
    if target.startswith(("https://", "mailto:")):
        return True
    path, _, anchor = unquote(target).partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists() or not file.is_relative_to(CHECKOUT):
        return False
    return not anchor or anchor in {slug(text) for text in _HEADING.findall(file.read_text())}


def slug(heading: str) -> str:
    """This function will write a heading as its anchor."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
