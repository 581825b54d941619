"""One whole system for the scenarios that need one, started at the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.whole_system import WholeSystem, whole_system


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This function will put those who need it beside each other: it works as long as it lives."""
    items.sort(key=lambda item: "system" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeSystem]:
    """A running system of this test worker's own; each test leaves it running."""
    with whole_system(tmp_path_factory.mktemp("whole")) as running:
        yield running
