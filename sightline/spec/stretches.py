"""Stretches: so many windows on end, over which a column with few rows is judged, and the names of streams over them.

Stretches end with fixed windows of the calendar (UTC): days with their Sunday, hours with the last one of their day.
So a history that is worked up at once has the same ones as a monitor that is judged day by day.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sightline.spec.model import MonitorSpec


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


STRETCHES = {
    "hourly": Stretch(24, "@24h", "24 hours", "1d", "%Y-%m-%d %H:%M"),
    "daily": Stretch(7, "@7d", "7 days", "1w", "%Y-%m-%d"),
}
"""Schedule -> its stretch; weekly windows are long enough."""


def stretch_of(spec: MonitorSpec) -> Stretch | None:
    """The stretch of a monitor's schedule, None for weekly windows."""
    return STRETCHES.get(spec.schedule)


def split(stream: str) -> tuple[str, str]:
    """A stream's (or statistic's) name without its ending, and how long the stretch is that it is over.

    Examples
    --------
    >>> split("drift/carrier/log_psi@7d"), split("drift/carrier/log_psi")
    (('drift/carrier/log_psi', '7 days'), ('drift/carrier/log_psi', ''))
    """
    for stretch in STRETCHES.values():
        if stream.endswith(stretch.ending):
            return stream.removesuffix(stretch.ending), stretch.words
    return stream, ""


def is_over_stretch(reason: str | None) -> bool:
    """Whether a judgement is over a stretch, by how its reason begins."""
    return reason is not None and any(reason.startswith(stretch.over) for stretch in STRETCHES.values())
