"""The PortOne adapter against its simulator, by each of three companies behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invoices.gateways.conformance import GatewayCases, Till
from tests.fakes.portone.running import open_till


@pytest.fixture(scope="module", params=["kakaopay", "naverpay", "paypal"])
def till(request: pytest.FixtureRequest) -> Iterator[Till]:
    with open_till(request.param) as opened:
        yield opened


class TestPortOne(GatewayCases):
    pass
