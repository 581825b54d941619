"""The kit's pytest plugin, loaded by `-p invoices.gateways.conformance.plugin`.

It adds `--gateway=package.module:name`, the till that the cases are run against. Without paths it
runs the kit alone. At the end it says which cases were skipped, by which undeclared capability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path

import pytest

from invoices.gateways.conformance.declared import SKIPPED
from invoices.gateways.conformance.till import Till


def pytest_addoption(parser: pytest.Parser) -> None:
    """This function will add `--gateway`."""
    parser.addoption(
        "--gateway",
        metavar="PACKAGE.MODULE:NAME",
        help="run the conformance cases of payment gateways against the till that NAME() opens",
    )


def pytest_configure(config: pytest.Config) -> None:
    """This function will point pytest at the cases where no path was named."""
    if config.getoption("--gateway") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = [str(Path(__file__).with_name("run.py"))]


@pytest.fixture(scope="session")
def till(request: pytest.FixtureRequest) -> Iterator[Till]:
    """The till that `--gateway` names, open for the whole run."""
    with opened(request.config.getoption("--gateway")) as found:
        yield found


def opened(name: str | None) -> AbstractContextManager[Till]:
    """This function will open the till of that name."""
    module, colon, attribute = (name or "").partition(":")
    if not (module and colon and attribute):
        raise pytest.UsageError("Name the till: --gateway=package.module:function")
    try:
        opener = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise pytest.UsageError(f"--gateway={name} can't be found: {error}") from error
    till: AbstractContextManager[Till] = opener()
    return till


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """This function will print what was skipped, gateway by gateway and reason by reason."""
    skipped: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if SKIPPED in reason:
            skipped[report.nodeid.split("::")[1], reason.removeprefix("Skipped: ")] += 1
    if skipped:
        terminalreporter.section("gateway cases skipped, by what is not declared")
        for (suite, reason), number in sorted(skipped.items()):
            terminalreporter.write_line(f"{suite}: {number} × {reason}")
