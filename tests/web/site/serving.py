"""The whole application behind a real socket, for browsers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Addresses hold links that are secrets: nothing is written."""


def _whole(app: Any) -> Any:
    """Answers in one piece: a browser that leaves early must not leave our files open.

    Files are kept by the browser, as behind the proxy: fonts alone are a dozen to a page.
    """

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *given: Any) -> Any:
            if environ["PATH_INFO"].startswith("/static/"):
                headers = [each for each in headers if each[0] != "Cache-Control"]
                headers.append(("Cache-Control", "max-age=3600, immutable"))
            return start_response(status, headers, *given)

        body = app(environ, start)
        try:
            return [b"".join(body)]
        finally:
            body.close()

    return answer


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """This function will serve an application for as long as the block lasts; it yields where.

    It even stays there until the run is over: browsers know a site's files by its address.
    """
    if app not in _served:
        server = make_server("localhost", 0, _whole(app), threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        _served[app] = server, thread
    yield f"http://localhost:{_served[app][0].server_port}"


def stop() -> None:
    """This function will serve nothing any more."""
    while _served:
        _, (server, thread) = _served.popitem()
        server.shutdown()
        thread.join()
        server.server_close()


_served: dict[Any, tuple[BaseWSGIServer, threading.Thread]] = {}
