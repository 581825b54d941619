"""The adapter of bank transfers: little is declared, and whatever is not is refused."""

from __future__ import annotations

from typing import Any

import pytest

from invoices.gateways.conformance import GatewayCases
from invoices.gateways.manual import ManualGateway


class ManualTill:
    """A person with a bank account: there is no other side to be steered."""

    def __init__(self) -> None:
        self.gateway = ManualGateway(account="가나은행 1002-123-456789 (주)테넌트리")


@pytest.fixture(scope="module")
def till() -> Any:
    return ManualTill()


class TestTheManualGateway(GatewayCases):
    pass
