"""Connections to a gateway that does not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from invoices.gateways.connections import Connections
from invoices.gateways.port import GatewayUnavailable


class Acme(Connections):
    called = "Acme Pay"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that nobody listens at, and nobody will: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def acme(port: int, *, read_timeout_seconds: float = 20) -> Acme:
    return Acme(
        base_url=f"http://127.0.0.1:{port}",
        connect_timeout_seconds=20,
        read_timeout_seconds=read_timeout_seconds,
        auth=("a secret key", ""),
    )


class TestAGatewayThatDoesNotAnswer:
    def test_is_unavailable_by_its_name(self, nobody: int) -> None:
        connections = acme(nobody)
        with pytest.raises(GatewayUnavailable) as refusal:
            connections.send("GET", "/payments", query={"order": "a secret order"})
        assert str(refusal.value) == "Acme Pay gave no answer (ConnectError)."
        connections.close()

    def test_is_waited_for_as_long_as_it_was_told(self, silent: int) -> None:
        connections = acme(silent, read_timeout_seconds=0.05)
        with pytest.raises(GatewayUnavailable, match="ReadTimeout"):
            connections.send("POST", "/payments", body={}, idempotency_key="key-1")
        connections.close()

    def test_is_told_by_what_failed_and_not_by_what_was_asked(self, nobody: int) -> None:
        connections = acme(nobody)
        with pytest.raises(GatewayUnavailable) as refusal:
            connections.send_as_is("POST", f"http://127.0.0.1:{nobody}/secret", content="secret")
        assert "secret" not in str(refusal.value)
        connections.close()
