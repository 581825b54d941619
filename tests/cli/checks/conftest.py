from __future__ import annotations

import pytest

from tests.cli.checks.books import Books, TakenBack, keep_books, take_back
from tests.conftest import Scenario


@pytest.fixture
def books(scenario: Scenario) -> Books:
    return keep_books(scenario)


@pytest.fixture
def taken_back(books: Books) -> TakenBack:
    return take_back(books)
