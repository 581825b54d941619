"""A worker that stops where a test says, as one that is killed there does."""

from __future__ import annotations

from collections.abc import Callable


class Stopped(BaseException):
    """The worker is gone: nothing of its own handles this."""


def stop_at(step: str, what: str) -> Callable[[str, str], None]:
    """This function will make an `after_step` that ends the run at one boundary."""

    def stop(reached: str, how: str) -> None:
        if (reached, how) == (step, what):
            raise Stopped

    return stop
