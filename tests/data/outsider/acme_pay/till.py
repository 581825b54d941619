"""Acme Pay as the conformance kit wants it: the adapter, and a simulator that does as told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from acme_pay.gateway import AcmeGateway
from acme_pay.simulator import Books, serve
from app.base.money import Money
from invoices.gateways.conformance import Card


class AcmeTill:
    def __init__(self, gateway_class: type[AcmeGateway] = AcmeGateway) -> None:
        self.books = Books()
        self.server = serve(self.books, port=0, api_key="ours")
        self.gateway = self._open(gateway_class, "ours", 20)
        self.impatient = self._open(gateway_class, "ours", 0.2)
        self.stranger = self._open(gateway_class, "somebody-elses", 20)

    def _open(self, gateway_class: type[AcmeGateway], key: str, seconds: float) -> AcmeGateway:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return gateway_class(base_url=url, api_key=key, read_timeout_seconds=seconds)

    def browser_returns(self, *, customer_key: str, card: Card) -> dict[str, str]:
        return {"code": self.books.register(customer_key, card.value)}

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return {"cancelled": uuid.uuid4().hex}

    def captured(self, order_id: str) -> list[Money]:
        charges = self.books.charges.values()
        return [Money(charge["won"], "KRW") for charge in charges if charge["order"] == order_id]

    def kill_and_restart(self) -> None:
        port = self.server.server_port
        self.server.shutdown()
        self.server.server_close()
        self.server = serve(self.books, port=port, api_key="ours")

    def close(self) -> None:
        for gateway in (self.gateway, self.impatient, self.stranger):
            gateway.close()
        self.books.stopping.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def open_till() -> Iterator[Any]:
    till = AcmeTill()
    yield till
    till.close()
