"""Posting alert lines to a URL."""

from __future__ import annotations

import logging
import queue
import threading
import time
import urllib.request

logger = logging.getLogger(__name__)
TRIES = 5


class Webhook:
    """Posts alert lines to a URL from a thread of its own, a few tries each; a failure is logged, never raised."""

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        self._url, self._timeout = url, timeout_seconds
        self._queue: queue.Queue[bytes] = queue.Queue(maxsize=1000)
        self.delivered = self.failed = 0
        threading.Thread(target=self._run, name="guard-webhook", daemon=True).start()

    def send(self, line: bytes) -> None:
        """Queue one line; a full queue counts it as failed."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.failed += 1
            logger.warning("the webhook cannot keep up: an alert line was not queued (it is in the alert log)")

    def _run(self) -> None:
        while True:
            line = self._queue.get()
            for attempt in range(TRIES):
                request = urllib.request.Request(  # noqa: S310 (the URL is the operator's own)
                    self._url, line, {"Content-Type": "application/json"}
                )
                try:
                    with urllib.request.urlopen(request, timeout=self._timeout):  # noqa: S310 (as above)
                        self.delivered += 1
                        break
                except OSError as error:
                    if attempt == TRIES - 1:
                        self.failed += 1
                        logger.warning("the webhook refused an alert line %d times: %s", TRIES, error)
                    else:
                        time.sleep(0.2 * 2**attempt)
