"""Incidents: what was rejected together, since when, by how much, and how it ended; change points."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Status = Literal["open", "accepted", "fixed", "closed"]


@dataclass
class Member:
    """One stream of an incident; windows are numbers of `EngineConfig.index`, levels are in the stream's own unit.

    `effect` is the mean distance from the old level since the change point, in standard deviations of the old baseline's
    windows (None where it had never varied); `latest_effect` is that of the last window alone (a muted stream that gets worse shows
    here). `moved_again_at` is the first window of a second change while the stream was muted, and `moved_again_effect` the mean
    distance from the old level since then (near 0: it came back). They describe and decide nothing. `shift` is `effect` in units of the value with a 95 % interval (descriptive: a stream is listed because it moved).
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


@dataclass
class Incident:
    """One rejection of the engine and what became of it."""

    incident_id: str
    opened_at: int
    change_point: int
    evidence: float
    members: list[Member] = field(default_factory=list)
    status: Status = "open"
    closed_at: int | None = None
    closed_by: str | None = None

    @property
    def streams(self) -> list[str]:
        """Names of the members, in the order they joined, each once."""
        return list(dict.fromkeys(member.stream for member in self.members))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Incident:
        """Inverse of `to_dict`."""
        return cls(**{**data, "members": [Member(**member) for member in data["members"]]})


def incident_id(key: str, streams: list[str]) -> str:
    """Stable name: the window it opened in and six hex digits of its streams."""
    digest = hashlib.sha256("\n".join(sorted(streams)).encode()).hexdigest()[:6]
    return f"{key}-{digest}"


def change_gain(z: Floats) -> Floats:
    """Sum over streams of ``(sum of z[k:])^2 / len(z[k:])`` for every k: twice the log-likelihood gained by a shift at k.

    Parameters
    ----------
    z : float array (streams, windows)
        Normal scores, oldest first; NaN counts as no observation.

    Returns
    -------
    float array (windows,)
        -1 where no stream has an observation.
    """
    known = np.isfinite(z)
    tail = np.cumsum(np.where(known, z, 0.0)[:, ::-1], axis=1)[:, ::-1]
    count = np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    gain = np.where(count > 0, tail**2 / np.maximum(count, 1), 0.0).sum(axis=0)
    return np.where(known.any(axis=0), gain, -1.0)


def change_point(z: Floats) -> int:
    """Offset of the first window after the most likely change (see `change_gain`)."""
    return int(np.argmax(change_gain(z)))
