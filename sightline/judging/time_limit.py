"""A limit to how long a user's function may take."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

METRIC_SECONDS = 120.0
"""Default of ``SIGHTLINE_METRIC_SECONDS``: one Python metric on one window with all its
versions, segments and jackknife.
"""
_AGAIN_SECONDS = 1.0


class TimeLimitExceeded(BaseException):
    """Raised inside the user's function; no `Exception`, so that an ``except Exception`` there does not swallow it."""


def metric_seconds() -> float:
    """The limit for one Python metric on one window."""
    return float(os.environ.get("SIGHTLINE_METRIC_SECONDS", METRIC_SECONDS))


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Interrupt the block after some seconds; again every second, should it go on nevertheless.

    A timer signal interrupts Python code, sleeping and waiting. Compiled code that never returns to Python is not
    interrupted. Signals reach the main thread only, which executes the steps of a Dagster run; in any
    other thread there is no limit.

    Raises
    ------
    TimeLimitExceeded
        The block took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TimeLimitExceeded(f"no result within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
