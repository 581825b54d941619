"""What `--gateway` runs: every case, against the till that was named."""

from __future__ import annotations

from invoices.gateways.conformance.cases import GatewayCases


class TestGateway(GatewayCases):
    """The adapter behind `--gateway`."""
