"""Acme Pay on this machine: as much of it as the adapter speaks with, and no money."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DECLINES = {
    "insufficient": "no_money",
    "stolen": "stolen",
    "expired": "expired",
    "suspected": "held",
}
Answer = tuple[int, dict[str, Any]]


class Refusal(Exception):
    """A request that is refused, by its code."""


class Books:
    """What Acme Pay remembers. The lock makes each request all or nothing."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.cards: dict[str, dict[str, Any]] = {}
        self.charges: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answer] = {}
        self.stopping = threading.Event()

    def register(self, customer: str, behaviour: str) -> str:
        """This function will note a card and return the code that the browser brings back."""
        code = uuid.uuid4().hex
        self.cards[code] = {
            "token": uuid.uuid4().hex,
            "customer": customer,
            "behaviour": behaviour,
            "masked": "**** 4242",
            "declined": 0,
        }
        return code

    def answer(self, path: str, body: dict[str, Any], key: str) -> tuple[Answer, str]:
        """This function will answer a request, or repeat the first answer under its key."""
        done: dict[str, Callable[[dict[str, Any]], tuple[Answer, str]]] = {
            "/cards": self._card,
            "/charges": self._charge,
            "/refunds": self._refund,
        }
        with self.lock:
            if key and key in self.answers:
                return self.answers[key], "answer"
            try:
                answer, fault = done[path](body)
            except Refusal as refusal:
                answer, fault = (402, {"code": str(refusal)}), "answer"
            broken = (500, {"code": "broken"})
            if key:
                self.answers[key] = broken if fault == "keeps_failing" else answer
        if fault in ("fails", "keeps_failing"):
            return broken, "answer"
        return ((409, {"code": "busy"}), "answer") if fault == "busy" else (answer, fault)

    def _card(self, body: dict[str, Any]) -> tuple[Answer, str]:
        card = self.cards.get(str(body.get("code")))
        if card is None or card["customer"] != body.get("customer"):
            raise Refusal("no_such_code")
        return (200, {"token": card["token"], "masked": card["masked"]}), "answer"

    def _charge(self, body: dict[str, Any]) -> tuple[Answer, str]:
        card = next((c for c in self.cards.values() if c["token"] == body["card"]), None)
        if card is None:
            raise Refusal("no_such_card")
        if body["won"] < 100:
            raise Refusal("too_little")
        behaviour = card["behaviour"]
        if behaviour == "declines_once" and not card["declined"]:
            behaviour = "insufficient"
        if behaviour in DECLINES:
            card["declined"] += 1
            raise Refusal(DECLINES[behaviour])
        charge = {
            "id": uuid.uuid4().hex,
            "order": body["order"],
            "won": body["won"],
            "left": body["won"],
            "at": datetime.now(UTC).isoformat(),
            "masked": card["masked"],
        }
        self.charges[charge["id"]] = charge
        faults = {
            "pays_then_hangs": "hangs",
            "pays_then_drops": "drops",
            "pays_then_fails": "fails",
            "pays_and_keeps_failing": "keeps_failing",
            "busy_once": "busy",
        }
        return (200, dict(charge)), faults.get(behaviour, "answer")

    def _refund(self, body: dict[str, Any]) -> tuple[Answer, str]:
        charge = self.charges.get(body["charge"])
        won = charge["left"] if charge and body["won"] is None else body["won"]
        if charge is None or not 0 < won <= charge["left"]:
            raise Refusal("too_much")
        charge["left"] -= won
        told = {"id": uuid.uuid4().hex, "won": won, "left": charge["left"]}
        return (200, {**told, "at": datetime.now(UTC).isoformat()}), "answer"


def serve(books: Books, *, port: int, api_key: str) -> ThreadingHTTPServer:
    """This function will serve the books on this machine, in threads of their own."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer, fault = (401, {"code": "key_unknown"}), "answer"
            if self.headers["Authorization"] == f"Bearer {api_key}":
                key = self.headers["Idempotency-Key"]
                answer, fault = books.answer(self.path, body, key)
            if fault == "hangs":
                books.stopping.wait(60)
            if fault != "drops":
                self._send(*answer)

        def _send(self, status: int, told: dict[str, Any]) -> None:
            raw = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: tokens would stand in the log."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
