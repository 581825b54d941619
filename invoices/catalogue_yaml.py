"""YAML as people write it: numbers without quotes, short fields on one line. Pure.

`catalogue_nodes` reads it back with every digit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import yaml

from invoices.fingerprints import plain_decimal


class Number(str):
    """A text that stands in the file without quotes: a number, or true."""

    __slots__ = ()


class Blank(str):
    """A value that is still to be written: it reads as nothing, and is refused as such."""

    __slots__ = ()


class OneLine(dict[str, Any]):
    """Fields that stand on one line: {ko: 팀, en: Team}."""


def digits(value: Decimal) -> Number:
    """This function will return a number as the file writes it: plain, with all its digits."""
    return Number(plain_decimal(value))


class _Dumper(yaml.SafeDumper):
    """Indents lists under their field, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _plain(dumper: yaml.SafeDumper, value: Number) -> yaml.ScalarNode:
    kind = "bool" if value == "true" else "float" if "." in value else "int"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", str(value))


def _one_line(dumper: yaml.SafeDumper, value: OneLine) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _nothing(dumper: yaml.SafeDumper, _: Blank) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:null", "~")


_Dumper.add_representer(Number, _plain)
_Dumper.add_representer(Blank, _nothing)
_Dumper.add_representer(OneLine, _one_line)


def dump(value: Any) -> str:
    """This function will write entries as people do, Korean as it is, in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100))
