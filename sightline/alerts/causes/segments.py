"""Segments that moved otherwise than the rest: another mean within them, or another share of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from metrics_py.cause import Decomposition, Move, decompose, moved
from metrics_py.wording import number, percent
from sightline.alerts.causes.case import Case, Cause

LEAST_ROWS = 10
"""Rows of a segment that a window needs to count."""

LEAST_SHARE = 0.25
"""Part of the whole change that a segment must explain."""

SEGMENT, OF_QUALITY = 0.60, 0.74
MOST_SEGMENTS = 2
OUTCOMES = {
    "score": "the mean score",
    "prediction": "the mean prediction",
    "error": "prediction minus label",
    "loss": "the squared error",
    "absolute_error": "the absolute error",
    "brier": "the Brier score",
    "rows": "the number of predictions",
    "failures": "the share of failed calls",
}
QUALITY = ("error", "loss", "absolute_error", "brier")


@dataclass(frozen=True)
class MovedSegment:
    """A segment whose mean of an outcome, or share of the rows, moved against the rest.

    `explained` is the part of the whole change that it adds, with the limits of its interval.
    """

    outcome: str
    segment: str
    part: str
    move: Move
    p_value: float
    explained: float
    low: float
    high: float
    change: float


def moved_segments(case: Case) -> list[MovedSegment]:
    """Every segment with enough rows, by every outcome; p-values count the outcomes of a segment together."""
    found: list[MovedSegment] = []
    outcomes = _outcomes(case)
    for outcome in outcomes:
        sums = case.sums.filter(pl.col("outcome") == outcome)
        whole = sums.filter(pl.col("segment") == "all").select("window_start", n_all="n", total_all="total")
        for (_,), rows in sums.filter(pl.col("segment") != "all").group_by(["segment_column"], maintain_order=True):
            found += _of_column(case, outcome, rows.join(whole, on="window_start"), whole)
    looks = max(len(outcomes), 1)
    return [replace(item, p_value=min(1.0, item.p_value * looks)) for item in found]


def _outcomes(case: Case) -> list[str]:
    """Outcomes that the incident can be about: of the labels where quality is a member, else before them."""
    there = case.sums["outcome"].unique().to_list()
    early = ["rows", "score", "prediction", "failures"]
    wanted = [*QUALITY, "rows"] if case.is_about_quality() else early
    return [name for name in wanted if name in there]


def _of_column(case: Case, outcome: str, rows: pl.DataFrame, whole: pl.DataFrame) -> Iterator[MovedSegment]:
    parts = {
        name: {str(key): part for (key,), part in rows.filter(side).group_by(["segment"], maintain_order=True)}
        for name, side in (("before", case.is_before()), ("after", case.is_after()))
    }
    names = sorted(set(parts["before"]) | set(parts["after"]))
    totals = [_totals(whole.filter(side)) for side in (case.is_before(), case.is_after())]
    if min(n for n, _ in totals) == 0:
        return
    split = _decomposition(parts, names, totals)
    for i, name in enumerate(names):
        before, after = (parts[side].get(name, rows.clear()) for side in ("before", "after"))
        if outcome == "rows":
            tests = [("share", _share(case, before, after, whole))]
        else:
            tests = [("mean", _contrast(before, after))]
        for part, move in tests:
            if move is None:
                continue
            if outcome == "rows":
                change = move.after - move.before
                yield MovedSegment(outcome, name, part, move, move.p_value, change, np.nan, np.nan, change)
                continue
            low, high = split.interval("rate")
            rate, lowest, highest = (float(x[i]) for x in (split.rate, low, high))
            yield MovedSegment(outcome, name, part, move, move.p_value, rate, lowest, highest, split.change)


def _totals(whole: pl.DataFrame) -> tuple[float, float]:
    return float(whole["n_all"].sum()), float(whole["total_all"].sum())


def _decomposition(
    parts: dict[str, dict[str, pl.DataFrame]], names: Sequence[str], totals: list[tuple[float, float]]
) -> Decomposition:
    """Mix and rate over the segments that have rows of their own, and all other rows as one more."""
    sides: list[list[np.ndarray]] = []
    for side, (n_all, total_all) in zip(("before", "after"), totals, strict=True):
        n, total, squares = (
            np.array([float(parts[side][name][column].sum()) if name in parts[side] else 0.0 for name in names])
            for column in ("n", "total", "squares")
        )
        rest_n, rest = max(n_all - n.sum(), 0.0), total_all - total.sum()
        mean = np.append(total, rest) / np.maximum(np.append(n, rest_n), 1.0)
        rest_variance = float(np.average(squares / np.maximum(n, 1.0), weights=np.maximum(n, 1e-9)))
        variance = np.append(squares / np.maximum(n, 1.0), rest_variance + mean[-1] ** 2) - mean**2
        sides.append([np.append(n, rest_n), mean, np.maximum(variance, 0.0)])
    return decompose(*sides[0], *sides[1])


def _contrast(before: pl.DataFrame, after: pl.DataFrame) -> Move | None:
    """The segment's mean minus that of all other rows, by window."""
    values: list[np.ndarray] = []
    sampling = 0.0
    for rows in (before, after):
        rest = rows.with_columns(m=pl.col("n_all") - pl.col("n"), other=pl.col("total_all") - pl.col("total"))
        own = rest.filter(pl.col("n") >= LEAST_ROWS, pl.col("m") >= LEAST_ROWS)
        values.append((own["total"] / own["n"] - own["other"] / own["m"]).to_numpy())
        if rows is before and len(own):
            n, total, squares = (float(own[name].sum()) for name in ("n", "total", "squares"))
            variance = squares / n - (total / n) ** 2
            sampling = float(np.sqrt(max(variance, 0.0) / float(own["n"].median())))  # pyright: ignore[reportArgumentType]
    return moved(*values, least_sd=sampling)


def _share(case: Case, before: pl.DataFrame, after: pl.DataFrame, whole: pl.DataFrame) -> Move | None:
    """The segment's share of the rows by window, on the arcsine scale; windows without it count as 0."""
    values: list[np.ndarray] = []
    for rows, side in ((before, case.is_before()), (after, case.is_after())):
        every = whole.filter(side, pl.col("n_all") > 0).join(
            rows.select("window_start", "n"), on="window_start", how="left"
        )
        share = (every["n"].fill_null(0.0) / every["n_all"]).to_numpy()
        values.append(np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0))))
    typical = float(whole.filter(case.is_before())["n_all"].median() or 1.0)  # pyright: ignore[reportArgumentType]
    found = moved(*values, least_sd=0.5 / np.sqrt(max(typical, 1.0)))
    if found is None:
        return None
    before_share, after_share = (float(np.sin(x) ** 2) for x in (found.before, found.after))
    return replace(found, before=before_share, after=after_share)


def is_large(item: MovedSegment) -> bool:
    """Whether a segment explains enough of the change to be called its cause."""
    if item.outcome == "rows":
        return abs(item.change) >= 0.05
    excludes_none = item.low > 0 or item.high < 0
    return excludes_none and abs(item.explained) >= LEAST_SHARE * abs(item.change)


def causes(found: Sequence[MovedSegment]) -> Iterator[Cause]:
    """Of those that moved beyond chance the ones that explain most, one cause per segment."""
    best: dict[str, MovedSegment] = {}
    for item in sorted(filter(is_large, found), key=lambda item: (-_explained(item), item.p_value)):
        best.setdefault(item.segment, item)
    for item in list(best.values())[:MOST_SEGMENTS]:
        chance = f"{number(abs(item.move.z), 2)} standard errors from {item.move.n_before} windows before"
        if item.outcome == "rows":
            words = (
                f"{item.segment}: its share of the rows {_verb(item.move)} from {percent(item.move.before)} "
                f"to {percent(item.move.after)}"
            )
            evidence = chance
        else:
            words = (
                f"{item.segment}: {OUTCOMES[item.outcome]} moved otherwise there than in all other rows (difference "
                f"{number(item.move.before, 3)} before, {number(item.move.after, 3)} since)"
            )
            evidence = (
                f"{chance}; it adds {number(item.explained, 2)} ({number(item.low, 2)} to {number(item.high, 2)}) to "
                f"the change of {number(item.change, 2)}"
            )
        score = (OF_QUALITY if item.outcome in QUALITY else SEGMENT) + 0.08 * _explained(item)
        yield Cause("segment", words, evidence, score, segment=item.segment, p_value=item.p_value)


def _explained(item: MovedSegment) -> float:
    if item.outcome == "rows":
        return min(abs(item.change) * 2, 1.0)
    return min(abs(item.explained) / max(abs(item.change), 1e-12), 1.0)


def _verb(move: Move) -> str:
    return "rose" if move.after > move.before else "fell"
