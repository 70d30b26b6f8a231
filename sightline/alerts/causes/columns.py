"""Inputs that moved when an incident began: each column by its own, and feeds whose columns moved together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from metrics_py.cause import Move, moved
from metrics_py.wording import number, percent
from sightline.alerts.causes.case import Case, Cause
from sightline.alerts.stream_words import stream_words
from sightline.spec.stretches import split

CLEAR = 3.0
"""Standard errors: a member that lies nearer to the windows before is known by the engine's evidence alone."""
FAR = 1000
FAULTS = ("null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate", "contract_rate")
"""Statistics whose rise is a fault of the data rather than another world."""

ALIKE = 0.2
"""Columns are of one feed where the sizes of their moves differ by less than this share."""

LEAST_FAULT = 0.005
"""Rise of a share of missing or impossible values from which it may be a cause."""

LEAST = {"location": 0.1, "spread": 0.1, "skew": 0.25, "tails": 0.25, "log_psi": 0.02}
"""Smallest changes that count: standard deviations, times the reference's, and PSI; of shares it is `LEAST_SHARE`."""

LEAST_SHARE = 0.02
MUCH = 0.2
"""A share of missing or impossible values of so much, or more, is as bad as can be."""

FEED, FAULT, DRIFT, BY_SIZE = 0.58, 0.48, 0.30, 0.25
"""Scores, and what the size of a fault adds at most."""


@dataclass(frozen=True)
class MovedColumn:
    """The statistic of a column that moved most.

    `p_value` counts all statistics of the column; `size` is the change as it is displayed.
    """

    column: str
    statistic: str
    move: Move
    p_value: float
    size: float
    words: str
    is_member: bool


def moved_columns(case: Case) -> list[MovedColumn]:
    """Every input with enough windows, and the statistic of it that is least like before."""
    own = case.evidence.filter(~pl.col("column").str.starts_with("@"), pl.col("column") != "")
    found: list[MovedColumn] = []
    for (column,), rows in own.group_by(["column"], maintain_order=True):
        tried = [t for (_,), part in rows.group_by(["stream"], maintain_order=True) if (t := _try(case, part))]
        if not tried:
            continue
        # a share of rows that are missing or impossible explains the moves of all the other statistics
        faults = [t for t in tried if _is_fault(t) and len(tried) * t.p_value < 0.001]
        large = [t for t in faults or tried if is_large(t)]
        best = min(large or tried, key=lambda t: (t.p_value, -abs(t.move.z)))
        p = min(1.0, len(tried) * best.p_value)
        found.append(MovedColumn(str(column), best.statistic, best.move, p, best.size, best.words, best.is_member))
    return found


def _try(case: Case, rows: pl.DataFrame) -> MovedColumn | None:
    stream, statistic = rows["stream"][0], rows["statistic"][0]
    evidence = case.members.get(stream)
    name, long = split(stream)
    if long and evidence is None:
        return None  # it overlaps the windows before
    before, after = rows.filter(case.is_before()), rows.filter(case.is_after())
    sampling = float(before["variance"].median() or 0.0)  # pyright: ignore[reportArgumentType]
    values = [part["value"].fill_null(np.nan).to_numpy() for part in (before, after)]
    found = moved(*values, least_sd=float(np.sqrt(max(sampling, 0.0))))
    if found is None:
        return None
    shown = [part["display_value"].drop_nulls() for part in (before, after)]
    levels = [float(s.median()) if len(s) else np.nan for s in shown]  # pyright: ignore[reportArgumentType]
    extreme = levels[1]
    if len(shown[1]):
        extreme = float(shown[1].to_numpy()[np.abs(shown[1].to_numpy() - levels[0]).argmax()])
    size = (extreme if found.is_single else levels[1]) - levels[0]
    told = [None if np.isnan(x) else x for x in (levels[0], extreme if found.is_single else levels[1], extreme)]
    p = found.p_value if evidence is None else min(found.p_value, 1 / max(evidence, 1.0))
    words = stream_words(name, told[0], told[1], told[2])
    return MovedColumn(rows["column"][0], split(statistic)[0], found, p, size, words, evidence is not None)


def is_large(item: MovedColumn) -> bool:
    """Whether a move matters: members of the incident do, others from `LEAST` on."""
    if item.statistic in FAULTS:
        return item.is_member or item.size >= LEAST_FAULT
    return item.is_member or abs(item.size) >= LEAST.get(item.statistic, LEAST_SHARE)


def _by_size(item: MovedColumn) -> float:
    return BY_SIZE * (1.0 if item.is_member else min(item.size / MUCH, 1.0))


def _is_fault(found: MovedColumn) -> bool:
    return found.statistic in FAULTS and found.size >= LEAST_FAULT


def feeds(found: Sequence[MovedColumn]) -> list[list[MovedColumn]]:
    """Columns whose same fault rose by the same size, two and more."""
    groups: list[list[MovedColumn]] = []
    for item in sorted(filter(_is_fault, found), key=lambda one: (one.statistic, -one.size)):
        last = groups[-1] if groups else []
        if last and last[0].statistic == item.statistic and item.size >= (1 - ALIKE) * last[0].size:
            last.append(item)
        else:
            groups.append([item])
    return [group for group in groups if len(group) > 1]


def causes(case: Case, found: Sequence[MovedColumn]) -> Iterator[Cause]:
    """A cause per feed and per column, of those that moved beyond chance (`found`)."""
    found = [item for item in found if is_large(item)]
    together: set[str] = set()
    for group in feeds(found):
        together |= {item.column for item in group}
        names = [item.column for item in group]
        what = group[0].words.partition(": ")[2]
        yield Cause(
            "feed",
            f"{', '.join(names)}: these {len(names)} columns come together: one feed. In each of them {what}",
            f"same size and same windows; {_chance(min(group, key=lambda item: item.p_value))}",
            FEED + max(map(_by_size, group)) + 0.05 * _weight(case, names),
            names[0],
            p_value=min(item.p_value for item in group),
        )
    for item in found:
        if item.column in together:
            continue
        strength = min(abs(item.move.z) / 30, 1.0)
        weight = _weight(case, [item.column])
        score = FAULT + _by_size(item) if _is_fault(item) else DRIFT + 0.15 * strength
        yield Cause(
            "column",
            item.words,
            f"{_chance(item)}{_importance(case, item.column)}",
            score + (0.03 if _is_fault(item) else 0.1) * weight,
            item.column,
            p_value=item.p_value,
        )


def _chance(item: MovedColumn) -> str:
    if item.is_member and abs(item.move.z) < CLEAR:  # the engine looks at each window, these are compared as wholes
        return "part of the incident, by the evidence of the alert engine"
    windows = "one window" if item.move.n_after == 1 or item.move.is_single else f"{item.move.n_after} windows"
    lie = "lies" if windows == "one window" else "lie"
    member = "part of the incident; " if item.is_member else ""
    far = number(abs(item.move.z), 2) if abs(item.move.z) < FAR else f"over {FAR:,}"
    return f"{member}{windows} {lie} {far} standard errors from {item.move.n_before} before"


def _weight(case: Case, columns: Sequence[str]) -> float:
    """Importance of the most important of some columns, relative to the most important of all; 1 if it is not known."""
    if not case.importance:
        return 1.0
    return max(case.importance.get(name, 0.0) for name in columns) / max(*case.importance.values(), 1e-12)


def _importance(case: Case, column: str) -> str:
    if column not in case.importance:
        return ""
    share = case.importance[column] / max(sum(case.importance.values()), 1e-12)
    return f"; {percent(share)} of the importance of all inputs"
