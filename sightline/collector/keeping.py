"""Keeping marks that come over HTTP where `sightline mark` keeps them, on a thread of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sightline.collector.dedupe import Repeats
from sightline.collector.formats.marks import MarkEvent
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.log.writer import Commit, LogBusyError, LogWriteError
from sightline.results.marks import append_mark_once

logger = logging.getLogger(__name__)

MAX_WAITING = 32
"""Marks of all monitors that wait for the disk."""
LOCK_SECONDS = 5.0


class MarkKeeping:
    """Marks on their way to the disk, one after the other; used by the event loop alone."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "sightline-marks")
        self._waiting: list[Commit] = []

    def submit(
        self, paths: MonitorPaths, mark: MarkEvent, received_at: datetime, tell: Callable[[Repeats], None]
    ) -> Commit:
        """Queue a mark and return at once.

        Parameters
        ----------
        paths : MonitorPaths
            Of its monitor.
        mark : MarkEvent
        received_at : datetime
            When it came in (aware).
        tell : callable
            Called on a thread, before the commit is done, with whether it was new.

        Returns
        -------
        Commit
            Done when the mark is durable.

        Raises
        ------
        LogBusyError
            Too many wait.
        """
        self._waiting = [commit for commit in self._waiting if not commit.done]
        if len(self._waiting) >= MAX_WAITING:
            raise LogBusyError(f"{len(self._waiting)} marks are waiting for the disk", fix="send more slowly")
        commit = Commit()
        self._waiting.append(commit)
        self._thread.submit(_keep, paths, mark, received_at, tell, commit)
        return commit


def _keep(
    paths: MonitorPaths, mark: MarkEvent, received_at: datetime, tell: Callable[[Repeats], None], commit: Commit
) -> None:
    try:
        at = mark.at or received_at
        is_new = append_mark_once(
            paths, mark.text, id=mark.id, at=at, source=mark.source, now=received_at, seconds=LOCK_SECONDS
        )
        tell(Repeats({}, int(is_new), int(not is_new)))
    except (SightlineError, OSError) as error:
        logger.exception("a mark could not be kept")
        what = error.what if isinstance(error, SightlineError) else f"the mark could not be kept: {error.strerror}"
        commit.finish(LogWriteError(what, fix="send it again"))
    except BaseException:  # whoever waits must be answered
        commit.finish(LogWriteError("the mark could not be kept", fix="see the collector's log"))
        raise
    else:
        commit.finish(None)
