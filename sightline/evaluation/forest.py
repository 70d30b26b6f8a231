"""Pictures of differences: one line per metric, criterion or segment, with its interval; coordinates only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

WIDTH, LEFT, RIGHT = 400.0, 8.0, 392.0
ROW, TOP = 34.0, 26.0
LONGEST_NAME = 46
MARGINS_SHOWN = 4.0
"""Beyond so many margins on either side an interval is cut off, with an arrow."""


@dataclass(frozen=True)
class Row:
    """What one line shows: a gain (the right is better) and its interval, in units of the axis."""

    name: str
    gain: float
    low: float
    high: float
    state: str
    text: str


@dataclass(frozen=True)
class Line:
    """A row in the picture's coordinates."""

    name: str
    text: str
    state: str
    y: float
    x: float
    x_low: float
    x_high: float
    is_cut_low: bool
    is_cut_high: bool
    is_inside: bool


@dataclass(frozen=True)
class Tick:
    """A number on the axis."""

    x: float
    text: str


@dataclass(frozen=True)
class Forest:
    """A picture.

    Attributes
    ----------
    title, description : str
        For those who do not see it.
    lines : tuple of Line
    ticks : tuple of Tick
    zero, margin : float or None
        Where no difference and where the margin lies.
    height : float
        In the coordinates whose width is `WIDTH`.
    unit : str
        What the axis counts.
    """

    title: str
    description: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    zero: float
    margin: float | None
    height: float
    unit: str


def forest(
    rows: Sequence[Row], *, title: str, unit: str, margin: float | None = None, most: float | None = None
) -> Forest | None:
    """Draw rows on one axis that always holds 0; None without a row.

    Parameters
    ----------
    rows : sequence of Row
    title, unit : str
    margin : float, optional
        Loss that does not matter, drawn at its negative.
    most : float, optional
        Largest number on the axis, on either side.
    """
    rows = [row for row in rows if all(map(isfinite, (row.gain, row.low, row.high)))]
    if not rows:
        return None
    low = min(0.0, *(row.low for row in rows), *([-margin] if margin is not None else []))
    high = max(0.0, *(row.high for row in rows))
    if most is not None:
        low, high = max(low, -most), min(high, most)
    if high - low <= 0:
        low, high = -1.0, 1.0
    pad = 0.06 * (high - low)
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (min(max(value, low), high) - low) / (high - low), 1)

    lines = tuple(
        Line(
            _short(row.name),
            row.text,
            row.state,
            TOP + ROW * k,
            at(row.gain),
            at(row.low),
            at(row.high),
            row.low < low,
            row.high > high,
            low <= row.gain <= high,
        )
        for k, row in enumerate(rows)
    )
    told = "; ".join(f"{row.name}: {row.text}" for row in rows)
    description = f"Dots are differences, lines their 95 % intervals; right of 0 the challenger is better. {told}."
    zero = at(0.0)
    marked = None if margin is None or -margin < low else at(-margin)
    return Forest(title, description, lines, _ticks(low, high, at), zero, marked, TOP + ROW * len(rows) + 30, unit)


def _ticks(low: float, high: float, at: Callable[[float], float]) -> tuple[Tick, ...]:
    """At most five round numbers."""
    raw = (high - low) / 4
    size = 10.0 ** floor(log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw)
    first, last = int(-(-low // step)), int(high // step)
    return tuple(Tick(at(k * step), f"{k * step:+.4g}" if k else "0") for k in range(first, last + 1))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
