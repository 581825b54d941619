"""This process's way to Valkey: short time-outs, and a breaker so that its absence costs nothing.

Nothing that must not be lost is kept there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import redis

from app.base.config import settings

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 2.0

Answer = TypeVar("Answer")


class ValkeyAway(Exception):
    """Valkey does not answer, or did not a moment ago."""


class Breaker:
    """Refuses calls for a moment after one failed, so that requests don't queue up on time-outs."""

    def __init__(self) -> None:
        self._closed_until = 0.0

    def call(self, act: Callable[[redis.Redis], Answer]) -> Answer:
        """This function will run one call against Valkey.

        Raises: ValkeyAway.
        """
        if time.monotonic() < self._closed_until:
            raise ValkeyAway
        try:
            return act(client())
        except redis.RedisError as error:
            self._closed_until = time.monotonic() + PAUSE_SECONDS
            raise ValkeyAway from error


@lru_cache(maxsize=1)
def client() -> Any:
    """This function will return the pooled client of this process."""
    return redis.Redis.from_url(
        settings().redis_url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        decode_responses=True,
    )


@lru_cache(maxsize=1)
def breaker() -> Breaker:
    """This function will return the breaker of this process."""
    return Breaker()
