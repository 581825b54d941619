"""Whom our clients trust over TLS: the authorities of the web, read once in a process."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


def trusted(*, at: str) -> ssl.SSLContext:
    """This function will return what a client of an address takes certificates from.

    To read all the web's authorities takes longer than most answers, so every client shares them,
    whichever thread it is used in; who forks afterwards has them, too. A client of plain HTTP is
    shown no certificate and trusts nobody: one that it is shown after all, it refuses.
    """
    return _nobody() if at.lower().startswith("http:") else of_the_web()


# A cache and no lock: two threads may both read them at first, but a fork can't inherit a lock
# that nobody is left to open.
@cache
def of_the_web() -> ssl.SSLContext:
    """This function will read the authorities that browsers trust, when it is first called."""
    return httpx.create_ssl_context(trust_env=False)


@cache
def _nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
