"""What a budget costs and buys on a monitor's own history: incidents while nothing changes, days until one is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from metrics_py.alerting.config import EngineConfig
from metrics_py.alerting.replay import SavedReplay, replay
from metrics_py.scipy_functions import poisson_interval

AT_ONCE = 7
"""Windows replayed before it is looked whether the change has been told."""


@dataclass(frozen=True)
class Rate:
    """Incidents counted over some time.

    Parameters
    ----------
    incidents : int
        Counted.
    days : float
        Observed.
    """

    incidents: int
    days: float

    def per(self, days: float) -> float:
        """Incidents per so many days.

        Parameters
        ----------
        days : float
            Unit of the rate.

        Returns
        -------
        float
            NaN where nothing was observed.
        """
        return self.incidents / self.days * days if self.days > 0 else float("nan")

    def interval(self, days: float) -> tuple[float, float]:
        """95 % interval of the rate, exact for a Poisson process.

        Parameters
        ----------
        days : float
            As for `per`.

        Returns
        -------
        low, high : float
            NaN where nothing was observed.

        Examples
        --------
        >>> tuple(round(x, 3) for x in Rate(3, 90).interval(90))
        (0.619, 8.767)
        """
        if self.days <= 0:
            return float("nan"), float("nan")
        low, high = poisson_interval(self.incidents)
        return low / self.days * days, high / self.days * days


@dataclass(frozen=True)
class Start:
    """A window of the history, and the engine as it stood before it.

    Parameters
    ----------
    at : datetime
        Start of the window (naive UTC).
    state : SavedReplay
        After all windows decided before `at`.
    """

    at: datetime
    state: SavedReplay


def starts_of(log: pl.DataFrame, config: EngineConfig, moments: Sequence[datetime]) -> list[Start]:
    """The engine before each of some windows.

    Parameters
    ----------
    log : DataFrame
        Evidence as for `replay`, with ``decided_at``.
    config : EngineConfig
        Settings.
    moments : sequence of datetime
        Starts of windows, ascending.

    Returns
    -------
    list of Start
        One for each.
    """
    found: list[Start] = []
    state: SavedReplay | None = None
    since: datetime | None = None
    for moment in moments:
        part = log.filter(pl.col("decided_at") < moment)
        if since is not None:
            part = part.filter(pl.col("decided_at") >= since)
        engine = replay(part, config, resume=state).engine
        state, since = SavedReplay(engine.to_state(), []), moment
        found.append(Start(moment, state))
    return found


def alerts_after(
    log: pl.DataFrame,
    config: EngineConfig,
    start: Start,
    horizon: int,
    until: Mapping[str, datetime] | None = None,
) -> tuple[dict[str, datetime], frozenset[str]]:
    """Streams that alert within some windows after a start.

    Parameters
    ----------
    log : DataFrame
        Evidence as for `replay`, with ``decided_at``: as it was, or changed.
    config : EngineConfig
        Settings.
    start : Start
        Of `starts_of`, under the same settings.
    horizon : int
        Windows.
    until : mapping of stream to datetime, optional
        Stop once one of these streams has alerted before its moment, such as that at which it would have anyway.

    Returns
    -------
    alerts : dict of stream to datetime
        Start of the window with which it was first decided.
    live : frozenset of str
        Streams that could have alerted from the start on: past their warm-up, not part of an open incident.
    """
    alerts: dict[str, datetime] = {}
    live: frozenset[str] = frozenset()
    state = start.state
    for piece, (begin, end) in enumerate(_pieces(start.at, config.window, horizon)):
        part = log.filter(pl.col("decided_at") >= begin, pl.col("decided_at") < end)
        if part.is_empty():
            continue
        found = replay(part, config, resume=state)
        state = SavedReplay(found.engine.to_state(), [])
        for stream, decided in found.streams.filter(status="alert").select("stream", "decided_at").iter_rows():
            alerts.setdefault(stream, decided)
        if piece == 0:
            first = found.streams.unique("stream", keep="first", maintain_order=True)
            can = (first["status"] != "insufficient_data") & (first["status"] != "muted")
            live = frozenset(first.filter(can)["stream"])
        if until is not None and any(alerts[stream] < until[stream] for stream in until.keys() & alerts.keys()):
            break
    return alerts, live


def _pieces(start: datetime, window: timedelta, horizon: int) -> Iterator[tuple[datetime, datetime]]:
    for first in range(0, horizon, AT_ONCE):
        yield start + first * window, start + min(first + AT_ONCE, horizon) * window
