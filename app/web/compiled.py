"""Templates compiled at set-up, beside their sources, for every process: as modules are.

To compile them in each takes seconds of its first pages, and 4 MB that it keeps. A process that
finds nothing there, or what another source or other code of ours was compiled to, does it itself.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import sha1
from pathlib import Path
from tempfile import NamedTemporaryFile

from flask import Flask
from jinja2 import BytecodeCache
from jinja2 import __version__ as jinja_version
from jinja2.bccache import Bucket

PLACE = Path(__file__).with_name("templates") / "__pycache__"


class Compiled(BytecodeCache):
    """Reads what was compiled; writes while it is told to, else leaves the code's folder alone."""

    def __init__(self, place: Path = PLACE) -> None:
        self.place = place
        self.writes = False

    def get_source_checksum(self, source: str) -> str:
        """This function will tell what a template is compiled from.

        Jinja works out what a filter makes of a constant, so our code belongs to it.
        """
        return sha1((_code() + source).encode(), usedforsecurity=False).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """This function will fill in what was compiled, where it is there and of this source."""
        try:
            with (self.place / bucket.key).open("rb") as file:
                bucket.load_bytecode(file)
        except OSError:
            return  # it is compiled now, as if there were no such place

    def dump_bytecode(self, bucket: Bucket) -> None:
        """This function will keep what was compiled, for whoever reads at any moment."""
        if not self.writes:
            return
        with NamedTemporaryFile(dir=self.place, delete=False) as file:
            bucket.write_bytecode(file)
        Path(file.name).chmod(0o644)
        os.replace(file.name, self.place / bucket.key)


def compile_templates(app: Flask) -> int:
    """This function will compile all templates of the application, and return how many there are.

    Raises: OSError where the code's folder is not ours to write.
    """
    compiled = app.jinja_env.bytecode_cache
    assert isinstance(compiled, Compiled)
    compiled.place.mkdir(exist_ok=True)
    compiled.writes = True
    try:
        names = app.jinja_env.list_templates(extensions=["html"])
        for name in names:
            app.jinja_env.get_template(name)
    finally:
        compiled.writes = False
    return len(names)


@cache
def _code() -> str:
    seen = sha1(jinja_version.encode(), usedforsecurity=False)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        seen.update(file.read_bytes())
    return seen.hexdigest()
