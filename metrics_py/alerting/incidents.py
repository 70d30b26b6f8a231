"""Incidents: what was rejected together, since when, by how much, and how it ended; change points."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Status = Literal["open", "accepted", "fixed", "closed", "moved"]
"""`moved`: it goes on in another incident, by the word of a person."""


@dataclass
class Member:
    """One stream of an incident; windows are numbers of `EngineConfig.index`, levels are in the stream's own unit.

    Attributes
    ----------
    stream : str
        Name of the stream.
    joined_at : int
        Window in which it was rejected.
    change_point : int
        First window after its most likely change.
    evidence, adjusted_evidence : float
        For the stream alone and over all streams, in windows, when it was rejected.
    level_before, level_after : float
        Mean of the baseline over the windows since the change point, and of their values.
    effect : float or None
        Mean distance from the old level between the change point and the rejection, in standard deviations of the old
        baseline's windows; None where it had never varied.
    shift, shift_low, shift_high : float
        `effect` in units of the value with a 95 % interval (descriptive: a stream is listed because it moved).
    latest_effect : float, optional
        `effect` of the last window alone: a muted stream that gets worse shows here. Describes, decides nothing.
    status : {"open", "accepted", "fixed", "closed", "moved"}
        How the membership ended.
    ended_at : int, optional
        Window in which it ended.
    ended_by : str, optional
        ``user``, ``recovered`` or ``new normal``.
    moved_again_at : int, optional
        First window of a second change while the stream was muted. Describes, decides nothing.
    moved_again_effect : float, optional
        Mean distance from the old level since then, near 0 where the stream came back. Describes, decides nothing.
    moved_from : list of str
        Incidents it was a member of before, by merging and splitting, the oldest first.
    """

    stream: str
    joined_at: int
    change_point: int
    evidence: float
    adjusted_evidence: float
    level_before: float
    level_after: float
    effect: float | None
    shift: float
    shift_low: float
    shift_high: float
    latest_effect: float | None = None
    status: Status = "open"
    ended_at: int | None = None
    ended_by: str | None = None
    moved_again_at: int | None = None
    moved_again_effect: float | None = None
    moved_from: list[str] = field(default_factory=list[str])


@dataclass
class Incident:
    """One rejection of the engine and what became of it.

    Attributes
    ----------
    incident_id : str
        Stable name (see `incident_id`).
    opened_at : int
        Window in which it was rejected.
    change_point : int
        First window after the most likely common change of its first members.
    evidence : float
        Largest adjusted evidence of its first members, in windows.
    members : list of Member
        In the order they joined; a stream that left may join again.
    status : {"open", "accepted", "fixed", "closed", "moved"}
        The strongest of the members' ends; open until the last one has ended.
    closed_at : int, optional
        Window in which it ended.
    closed_by : str, optional
        ``user``, ``recovered`` or ``new normal``.
    moved_to, split_from : str, optional
        The incident it was merged into, and the one it was split from.
    """

    incident_id: str
    opened_at: int
    change_point: int
    evidence: float
    members: list[Member] = field(default_factory=list[Member])
    status: Status = "open"
    closed_at: int | None = None
    closed_by: str | None = None
    moved_to: str | None = None
    split_from: str | None = None

    @property
    def streams(self) -> list[str]:
        """Names of the members, in the order they joined, each once; those that have moved only where all have."""
        here = [member.stream for member in self.members if member.status != "moved"]
        return list(dict.fromkeys(here or [member.stream for member in self.members]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form.

        Returns
        -------
        dict
            By the names of the fields.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Incident:
        """Inverse of `to_dict`.

        Parameters
        ----------
        data : dict
            Result of `to_dict`.

        Returns
        -------
        Incident
            With its members.
        """
        fields: dict[str, Any] = {**data, "members": [Member(**member) for member in data["members"]]}
        return cls(**fields)


def incident_id(key: str, streams: list[str]) -> str:
    """Stable name of an incident: the window it opened in and six hex digits of its streams.

    Parameters
    ----------
    key : str
        The window, as words.
    streams : list of str
        Names of the streams, in any order.

    Returns
    -------
    str
        ``<key>-<digits>``.

    Examples
    --------
    >>> incident_id("2026-03-02", ["psi:age", "psi:plan"])
    '2026-03-02-f1020c'
    """
    digest = hashlib.sha256("\n".join(sorted(streams)).encode()).hexdigest()[:6]
    return f"{key}-{digest}"


def change_gain(z: Floats) -> Floats:
    """Twice the log-likelihood gained by a shift from each window on.

    Parameters
    ----------
    z : ndarray, shape (streams, windows)
        Normal scores, oldest first; NaN counts as no observation.

    Returns
    -------
    ndarray, shape (windows,)
        Sum over streams of ``(sum of z[k:])^2 / len(z[k:])`` for every k; -1 where no stream has an observation.

    Examples
    --------
    >>> change_gain(np.array([[0.0, 1.0, 3.0, 3.0]])).tolist()
    [12.25, 16.333333333333332, 18.0, 9.0]
    """
    known = np.isfinite(z)
    tail = np.cumsum(np.where(known, z, 0.0)[:, ::-1], axis=1)[:, ::-1]
    count = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    gain = np.where(count > 0, tail**2 / np.maximum(count, 1), 0.0).sum(axis=0)
    return np.where(known.any(axis=0), gain, -1.0)


def change_point(z: Floats) -> int:
    """Offset of the first window after the most likely change.

    Parameters
    ----------
    z : ndarray, shape (streams, windows)
        Normal scores, as for `change_gain`.

    Returns
    -------
    int
        Where `change_gain` is largest.

    Examples
    --------
    >>> change_point(np.array([[0.0, 1.0, 3.0, 3.0]]))
    2
    """
    return int(np.argmax(change_gain(z)))
