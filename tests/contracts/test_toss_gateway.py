"""The Toss adapter against its simulator, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invoices.gateways.conformance import GatewayCases, Till
from tests.fakes.toss.till import open_till


@pytest.fixture(scope="module")
def till() -> Iterator[Till]:
    with open_till() as opened:
        yield opened


class TestTheTossGateway(GatewayCases):
    pass
