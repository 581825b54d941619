"""YAML as it was written: every value with its line and column, every number as its text. Pure.

The library builds nodes and we read them ourselves: its own reading would turn 0.1 into a float,
`no` into false and let the second of two equal keys win in silence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import yaml

TEXT_BYTES_MAX = 512_000
DEPTH_MAX = 12
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NOTHING = ("", "~", "null")
_TRUTHS = {"true": True, "false": False}
_KINDS = {
    yaml.MappingNode: "fields",
    yaml.SequenceNode: "a list",
    yaml.ScalarNode: "a single value",
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong at one place of a file, from line 1 and column 1, and what to do about it.

    `text` is a sentence with places for `values`, so that a page can say it in its language.
    """

    line: int
    column: int
    path: str
    text: str
    values: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def message(self) -> str:
        """The sentence in English."""
        return self.text % self.values if self.values else self.text

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class Notes:
    """Where each value stands, and what was found wrong so far."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._places: dict[str, tuple[int, int]] = {"": (1, 1)}

    def place(self, path: str, node: yaml.Node) -> None:
        """This function will remember where a value stands."""
        mark = node.start_mark
        self._places[path] = (mark.line + 1, mark.column + 1)

    def fault(self, path: str, text: str, /, **values: object) -> None:
        """This function will note a fault at a value, or at what it would have stood in."""
        known = path
        while known not in self._places:
            known = known.rpartition(".")[0]
        line, column = self._places[known]
        said = MappingProxyType({name: str(value) for name, value in values.items()})
        self.faults.append(Fault(line, column, path, text, said))


class _Loader(yaml.SafeLoader):
    """Builds nodes of what needs no memory of other places and no deep recursion."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs say too little
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not read here: write the value out",
                problem_mark=event.start_mark,
            )
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(
                problem="this is nested too deeply", problem_mark=event.start_mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _unreadable(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or error.context or ""
    if "'\\t'" in problem:
        return Fault(line, column, "", "Indent with spaces: a tab can't be read.")
    sentence = "This is not YAML: %(problem)s. Look at indents, colons and quotes here."
    return Fault(line, column, "", sentence, {"problem": problem})


def parse(text: str, notes: Notes) -> Entry | None:
    """This function will read a text as one mapping; None, with a fault noted, where it is none."""
    if len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
        notes.fault("", "The file is larger than %(most)s bytes: split it.", most=TEXT_BYTES_MAX)
        return None
    try:
        # The text is only ever made into nodes; no object of any kind is built from it.
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        notes.faults.append(Fault(line, column, "", "This character has no place in a file."))
        return None
    except yaml.MarkedYAMLError as error:
        notes.faults.append(_unreadable(error))
        return None
    if node is None:
        notes.fault("", "The file is empty.")
        return None
    if not isinstance(node, yaml.MappingNode):
        notes.fault("", "Begin with plans: and list the plans under it.")
        return None
    return Entry(node, "", notes)


class Entry:
    """The fields of one mapping; a reader asks for each by its name and gets its typed value.

    A value that is wrong is noted and read as None, so that one pass finds every fault.
    """

    def __init__(self, node: yaml.MappingNode, path: str, notes: Notes) -> None:
        self.path = path
        self.notes = notes
        self._values: dict[str, yaml.Node] = {}
        notes.place(path, node)
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            where = self.of(name)
            if name in self._values:
                mark = key.start_mark
                sentence = "%(name)s is written twice here: keep one."
                said = {"name": name}
                notes.faults.append(Fault(mark.line + 1, mark.column + 1, where, sentence, said))
                continue
            notes.place(where, value if isinstance(value, yaml.ScalarNode) else key)
            self._values[name] = value

    def of(self, name: str) -> str:
        """This function will return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> list[str]:
        """This function will list the fields that are written, in order."""
        return list(self._values)

    def fault(self, name: str, text: str, /, **values: object) -> None:
        """This function will note a fault at one of the fields."""
        self.notes.fault(self.of(name), text, **values)

    def only(self, known: Collection[str]) -> None:
        """This function will note every field that nobody reads."""
        for name in self._values:
            if name in known:
                continue
            near = get_close_matches(name, known, 1)
            if near:
                self.fault(
                    name, "There is no %(name)s here. Is it %(near)s?", name=name, near=near[0]
                )
            else:
                self.fault(
                    name,
                    "There is no %(name)s here; there are %(known)s.",
                    name=name,
                    known=", ".join(sorted(known)),
                )

    def _scalar(self, name: str, required: bool) -> str | None:
        node = self._values.get(name)
        if node is None:
            if required:
                self.fault(name, "%(name)s is missing: write it here.", name=name)
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.fault(
                name,
                "%(name)s is a single value, not %(kind)s.",
                name=name,
                kind=_KINDS[type(node)],
            )
            return None
        if node.style is None and node.value in _NOTHING:
            self.fault(name, "%(name)s is empty: write a value.", name=name)
            return None
        return str(node.value)

    def text(self, name: str, *, required: bool = True) -> str | None:
        """This function will read words."""
        return self._scalar(name, required)

    def number(self, name: str, *, required: bool = True) -> Decimal | None:
        """This function will read a number exactly as it is written."""
        return _plain_number(self, name, self._scalar(name, required))

    def whole(self, name: str) -> int | None:
        """This function will read a whole number, which must be there."""
        written = self._scalar(name, True)
        if written is None:
            return None
        if not _WHOLE.fullmatch(written):
            self.fault(name, "%(name)s is a whole number such as 10.", name=name)
            return None
        return int(written)

    def truth(self, name: str) -> bool | None:
        """This function will read true or false; None where it is not said."""
        written = self._scalar(name, False)
        if written is None:
            return None
        if written not in _TRUTHS:
            self.fault(name, "%(name)s is true or false.", name=name)
            return None
        return _TRUTHS[written]

    def entry(self, name: str, *, required: bool = True) -> Entry | None:
        """This function will read fields within the field."""
        node = self._values.get(name)
        if node is None:
            if required:
                self.fault(name, "%(name)s is missing: write it here.", name=name)
            return None
        if not isinstance(node, yaml.MappingNode):
            self.fault(
                name, "%(name)s has fields of its own, each on a line with a colon.", name=name
            )
            return None
        return Entry(node, self.of(name), self.notes)

    def entries(self, name: str, *label: str, required: bool = True) -> Iterator[Entry]:
        """This function will read a list of fields, each named in paths by its `label` fields."""
        taken: set[str] = set()
        for number, node in enumerate(self._list(name, required), 1):
            said = [_written(node, each) for each in label]
            called = "-".join(word for word in said if word) or str(number)
            if called in taken:
                called = f"{called}#{number}"
            taken.add(called)
            path = f"{self.of(name)}.{called}"
            self.notes.place(path, node)
            if isinstance(node, yaml.MappingNode):
                yield Entry(node, path, self.notes)
            else:
                self.notes.fault(
                    path, "Each of %(name)s has fields, not a single value.", name=name
                )

    def texts(self, name: str) -> list[str]:
        """This function will read a list of words, which may be missing."""
        found = []
        for number, node in enumerate(self._list(name, False), 1):
            path = f"{self.of(name)}.{number}"
            self.notes.place(path, node)
            if isinstance(node, yaml.ScalarNode):
                found.append(str(node.value))
            else:
                self.notes.fault(path, "Each of %(name)s is a single word.", name=name)
        return found

    def _list(self, name: str, required: bool) -> list[yaml.Node]:
        node = self._values.get(name)
        if node is None:
            if required:
                self.fault(name, "%(name)s is missing: write it here.", name=name)
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(name, "%(name)s is a list: begin each of its lines with a dash.", name=name)
            return []
        return list(node.value)


def _plain_number(entry: Entry, name: str, written: str | None) -> Decimal | None:
    if written is None:
        return None
    if not _NUMBER.fullmatch(written):
        entry.fault(
            name,
            "Write %(name)s as a plain number such as 1234.56: no commas, no exponent, no sign of"
            " a currency.",
            name=name,
        )
        return None
    return Decimal(written)


def _written(node: yaml.Node, name: str) -> str | None:
    """This function will return what a field of a mapping says, wherever it stands, if anything."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(value, yaml.ScalarNode) and key.value == name:
            return str(value.value)
    return None
