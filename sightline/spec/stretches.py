"""Several windows as one: stretches and sliding windows, and the names of what is over them.

A stretch is so many windows on end, over which a column with few rows is judged: days up to their Sunday, hours up to
the last one of their day. A sliding window (`quality.windows`) ends with every window; the alert engine sees it once
per block, so that no row is evidence twice. Stretches and blocks end with fixed windows of the calendar (UTC): a
history that is worked up at once has the same ones as a monitor that is judged day by day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from sightline.spec.model import MonitorSpec

MONDAY = datetime(1970, 1, 5)
"""Blocks of sliding windows are counted from here (naive UTC)."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ENDING = r"@(\d+)([hd])$"
"""Of names of what is over several windows."""
_ENDING = re.compile(ENDING)


@dataclass(frozen=True)
class Stretch:
    """A second, slower cadence of a schedule.

    Parameters
    ----------
    n : int
        Windows.
    ending : str
        Of the names of streams over it.
    words : str
        How long it is.
    truncated : str
        Unit of the calendar that it is, as polars names it.
    moment : str
        How the start of a window is written.
    """

    n: int
    ending: str
    words: str
    truncated: str
    moment: str

    @property
    def over(self) -> str:
        """How judgements over it begin."""
        return f"over {self.words}"

    def last(self, spec: MonitorSpec, start: pl.Expr) -> pl.Expr:
        """Start of the last window of the stretch that a window belongs to.

        Parameters
        ----------
        spec : MonitorSpec
        start : polars.Expr
            Start of the window (naive UTC).
        """
        return start.dt.truncate(self.truncated) + (self.n - 1) * spec.window

    def later(self, spec: MonitorSpec, start: pl.Expr) -> pl.Expr:
        """With which window another one is judged, in words; before the first whole stretch of the history: from when.

        Parameters
        ----------
        spec, start
            As of `last`.
        """
        last = self.last(spec, start)
        is_whole = last - (self.n - 1) * spec.window >= pl.lit(spec.first_window.replace(tzinfo=None))
        told = pl.format("judged {}, with the window of {}", pl.lit(self.over), last.dt.strftime(self.moment))
        first = (last + spec.window).dt.strftime(self.moment)
        return pl.when(is_whole).then(told).otherwise(pl.format("judged {}, from {} on", pl.lit(self.over), first))


STRETCHES = {
    "hourly": Stretch(24, "@24h", "24 hours", "1d", "%Y-%m-%d %H:%M"),
    "daily": Stretch(7, "@7d", "7 days", "1w", "%Y-%m-%d"),
}
"""Schedule -> its stretch; weekly windows are long enough."""


def stretch_of(spec: MonitorSpec) -> Stretch | None:
    """The stretch of a monitor's schedule, None for weekly windows."""
    return STRETCHES.get(spec.schedule)


@dataclass(frozen=True)
class SlidingWindow:
    """A longer window that ends with every window of the schedule.

    Parameters
    ----------
    n : int
        Windows of the schedule.
    ending : str
        Of the names of metrics and streams over it.
    """

    n: int
    ending: str

    def begins(self, spec: MonitorSpec, end: datetime) -> datetime:
        """Start of its first window, from the start of its last one."""
        return end - (self.n - 1) * spec.window

    def ends_block(self, spec: MonitorSpec, end: pl.Expr) -> pl.Expr:
        """Whether it is a block, from the start of its last window (naive UTC): blocks do not overlap."""
        length = self.n * spec.window
        since = (end - pl.lit(MONDAY, dtype=pl.Datetime("us")) + spec.window).dt.total_microseconds()
        return since % (length // timedelta(microseconds=1)) == 0


def sliding_windows(spec: MonitorSpec) -> list[SlidingWindow]:
    """The longer windows of `quality.windows`, the shortest first; none without labels.

    Parameters
    ----------
    spec : MonitorSpec

    Returns
    -------
    list of SlidingWindow
        The window of the schedule itself, if it is named, is none of them.
    """
    if spec.labels is None:
        return []
    longer = sorted(length for length in spec.quality.windows if length > spec.window)
    return [SlidingWindow(length // spec.window, ending(length)) for length in longer]


def ending(length: timedelta) -> str:
    """How names of what is over a length end.

    Examples
    --------
    >>> ending(timedelta(days=28)), ending(timedelta(days=1)), ending(timedelta(hours=36))
    ('@28d', '@24h', '@36h')
    """
    days = length // DAY
    return f"@{days}d" if days > 1 and length == days * DAY else f"@{length // HOUR}h"


def strides(spec: MonitorSpec) -> dict[str, int]:
    """Ending of streams over several windows -> windows from one of their values to the next."""
    stretch = stretch_of(spec)
    own = {stretch.ending: stretch.n} if stretch else {}
    return own | {window.ending: window.n for window in sliding_windows(spec)}


def split(stream: str) -> tuple[str, str]:
    """The name of a stream, statistic or metric without its ending, and how long that is over which it is.

    Examples
    --------
    >>> split("drift/carrier/log_psi@7d"), split("roc_auc@28d"), split("drift/carrier/log_psi")
    (('drift/carrier/log_psi', '7 days'), ('roc_auc', '28 days'), ('drift/carrier/log_psi', ''))
    """
    found = _ENDING.search(stream)
    if found is None:
        return stream, ""
    return stream[: found.start()], f"{found[1]} {'days' if found[2] == 'd' else 'hours'}"


def metric_words(metric: str) -> str:
    """A metric as people read it.

    Examples
    --------
    >>> metric_words("roc_auc@7d"), metric_words("null_rate")
    ('roc auc of the last 7 days', 'null rate')
    """
    name, over = split(metric)
    words = name.replace("_", " ")
    return f"{words} of the last {over}" if over else words


def is_over_stretch(reason: str | None) -> bool:
    """Whether a judgement is over a stretch, by how its reason begins."""
    return reason is not None and any(reason.startswith(stretch.over) for stretch in STRETCHES.values())
