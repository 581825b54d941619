"""python -m app.embedded: what bin/ calls before there is a Flask application.

keep        the process that runs PostgreSQL and Valkey for everybody who holds them
flask …     the Flask command line with the servers held and the settings of bin/dev
supervise   the whole system, as bin/dev runs it
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from app.embedded.errors import EmbeddedError


def main(arguments: list[str]) -> int:
    """Run one of the three."""
    if arguments[:2] == ["flask", "supervise"]:
        arguments = arguments[1:]  # it holds the servers itself, and sees to their keeper
    if arguments[:1] == ["flask"]:
        _become_flask(arguments[1:])
    parser = argparse.ArgumentParser(prog="app.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep")
    keep.add_argument("--directory", type=Path, required=True)
    keep.add_argument("--only", action="append", choices=("postgres", "valkey"), required=True)
    keep.add_argument("--scratch", action="store_true")
    supervise = commands.add_parser("supervise")
    supervise.add_argument("--directory", type=Path)
    supervise.add_argument("--environment", default="dev")
    supervise.add_argument("--scratch", action="store_true")
    supervise.add_argument("--no-seed", action="store_true")
    supervise.add_argument("--quiet", action="store_true")
    supervise.add_argument("--with", dest="simulated", default="", metavar="stripe,odcloud,…")
    supervise.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(arguments)
    if given.command == "keep":
        from app.embedded import servers  # noqa: PLC0415 each command loads what it needs

        return servers.keep(given.directory, only=frozenset(given.only), scratch=given.scratch)
    from app.embedded import simulators, system  # noqa: PLC0415 likewise

    return system.run(
        directory=given.directory,
        environment=given.environment,
        scratch=given.scratch,
        seed=not given.no_seed,
        quiet=given.quiet,
        settings_of_its_own=dict(one.split("=", 1) for one in given.set),
        simulated=simulators.named(given.simulated),
    )


def _become_flask(arguments: list[str]) -> NoReturn:
    """Turn into the Flask command line; the servers run until it ends."""
    from app.embedded import environment  # noqa: PLC0415 likewise

    values = environment.for_command(next(iter(arguments), ""))
    # As `python -m flask` does it, but usage lines then say what was typed.
    command = "from flask.cli import cli; cli.main(prog_name='bin/flask')"
    os.execve(sys.executable, [sys.executable, "-c", command, *arguments], values)  # noqa: S606 no shell is meant


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (EmbeddedError, PermissionError) as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(1)
