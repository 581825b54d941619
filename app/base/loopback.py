"""A small WSGI server for the programs that only ever serve this machine.

One process, a bounded number of threads, 127.0.0.1 and nothing else: a kill -9 leaves no worker
behind to hold the port. Never for the product's own pages, which gunicorn serves.
"""

from __future__ import annotations

import signal
import socketserver
import threading
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
_THREADS_MAX = 64
_READ_TIMEOUT_S = 30


class _Handler(WSGIRequestHandler):
    timeout = _READ_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: addresses on these pages carry one-time codes and sign-in links."""

    def address_string(self) -> str:
        """This function will name the client without asking a name server."""
        return str(self.client_address[0])


class LoopbackServer(socketserver.ThreadingMixIn, WSGIServer):
    """Serves one WSGI application on 127.0.0.1; port 0 takes any free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *, application: WSGIApplication, port: int) -> None:
        self._places = threading.BoundedSemaphore(_THREADS_MAX)
        super().__init__((HOST, port), _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        # The base class looks its own name up, which can hang where there is no name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name = HOST
        self.server_port = int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket | tuple[bytes, socket], client_address: Any
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: only a client that went away ends here; the application logs its own."""


def wait_for_stop() -> None:
    """This function will return when the process is asked to stop, by SIGTERM or Ctrl-C."""
    asked = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    asked.wait()
