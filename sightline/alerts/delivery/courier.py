"""A thread that delivers what is due when it is called, for a service that must not wait."""

from __future__ import annotations

import logging
import threading

from sightline.alerts.delivery.sending import deliver
from sightline.errors import SightlineError
from sightline.home import Home

logger = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
"""Without a call it looks this often: for what failed, and for the end of quiet hours."""


class Courier:
    """Delivers what is due in a thread of its own; what goes wrong is logged and tried again.

    Parameters
    ----------
    home : Home
        Its outbox and `alerts/routes.yaml`.
    every : float
        Seconds after which it looks without being called.
    """

    def __init__(self, home: Home, every: float = EVERY_SECONDS) -> None:
        self._home, self._every = home, every
        self._called = threading.Event()
        threading.Thread(target=self._run, name="alerts", daemon=True).start()

    def call(self) -> None:
        """There is something to deliver; returns at once."""
        self._called.set()

    def _run(self) -> None:
        complaint = ""
        while True:
            self._called.wait(self._every)
            self._called.clear()
            try:
                deliver(self._home)
                complaint = ""
            except SightlineError as error:
                if str(error) != complaint:  # said once, not every half minute
                    logger.error("alerts wait in the outbox: %s", error)
                complaint = str(error)
            except Exception:  # a defect must not end the thread: what waits would wait for good
                logger.exception("alerts wait in the outbox")
