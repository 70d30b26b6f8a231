"""Whether two sets of rows are judged by one truth: labels in one unit, and lists that both models ranked."""

from __future__ import annotations

from typing import cast

import polars as pl

from metrics_py.wording import count, number
from sightline.errors import SightlineError
from sightline.evaluation.sets.queries import LIST
from sightline.spec.model import MonitorSpec

MOST_OTHER = 0.1
"""Share of labels, and of the variance of numbers, that may differ between two files: some are corrected."""

ROUNDING = 1e-6
"""Of a label that is written as a 32-bit float."""

MOST_APART = 10.0
"""Interquartile ranges by which the medians of two sets may differ, and ratio of these ranges."""


def conflicts(name: str, other: str) -> pl.Expr:
    """Rows of which two sides say different labels.

    Parameters
    ----------
    name : str
        Column with one of them: a number, beyond the rounding of 32-bit floats, or ``label_class``.
    other : str
        Prefix of the column with the other.
    """
    own, theirs = pl.col(name), pl.col(f"{other}{name}")
    if name == "label_class":
        return (own != theirs).fill_null(value=False)
    return ((own - theirs).abs() > ROUNDING * pl.max_horizontal(own.abs(), theirs.abs())).fill_null(value=False)


def require_one_truth(spec: MonitorSpec, both: pl.DataFrame, other: str, source: str) -> None:
    """Refuse shared rows of which the two sides say different truths: neither model was made for the other's.

    Parameters
    ----------
    spec : MonitorSpec
    both : DataFrame
        Shared rows of the candidate with the labels of the champion's, `other` before their names.
    other : str
        Prefix.
    source : str
        Where the champion's rows come from.

    Raises
    ------
    SightlineError
        More than a tenth of the labels is other, and of numbers more than a tenth of their variance.
    """
    numeric = spec.model.task in ("regression", "ranking")
    name = "label_value" if numeric else "label_class"
    known = both.drop_nulls([name, f"{other}{name}"])
    if spec.model.task == "ranking":  # most rows of most lists are irrelevant
        known = known.filter((pl.col(name) != 0) | (pl.col(f"{other}{name}") != 0))
    own, theirs = known[name], known[f"{other}{name}"]
    column = spec.labels.column if spec.labels else "label"
    n = len(known.filter(conflicts(name, other)))
    is_other = n > MOST_OTHER * len(known)
    told = f"{n:,} of the labels of {count(len(known), 'shared rows')} are not those of {source}"
    if is_other and numeric:
        means = [number(cast("float", each.mean()), 4) for each in (own, theirs)]
        told += f" (mean {means[0]} and {means[1]})"
        is_other = cast("float", ((own - theirs) ** 2).mean()) > MOST_OTHER * cast("float", theirs.var(ddof=0))
    if is_other:
        fix = f"give both the same truth in the same unit, or leave the column {column!r} out of one of them"
        raise SightlineError(f"{told}: the models cannot be judged by one truth", where=column, fix=fix)


def require_one_list(spec: MonitorSpec, both: pl.DataFrame, other: str, source: str) -> None:
    """Refuse shared rows that stand in other lists than the champion ranked.

    Parameters
    ----------
    spec, both, other, source
        As of `require_one_truth`.

    Raises
    ------
    SightlineError
        More than a tenth of the rows stand in lists that are split or joined; lists may have other names.
    """
    if spec.model.task != "ranking" or f"{other}{LIST}" not in both.columns:
        return
    known = both.drop_nulls([LIST, f"{other}{LIST}"])
    split = pl.col(f"{other}{LIST}").n_unique().over(LIST) > 1
    joined = pl.col(LIST).n_unique().over(f"{other}{LIST}") > 1
    n = len(known.filter(split | joined))
    if n > MOST_OTHER * len(known):
        column = spec.columns.query_id
        raise SightlineError(
            f"{n:,} of {count(len(known), 'shared rows')} stand in other lists than those of {source}: "
            "the champion never ranked these lists",
            where=column,
            fix=f"the rows of one query have one value of {column!r} in both, and no other row has it",
        )


def other_units(spec: MonitorSpec, champion: pl.DataFrame, challenger: pl.DataFrame) -> str:
    """Why errors of different rows cannot be compared: labels of another unit or another scale; empty if they can.

    Parameters
    ----------
    spec : MonitorSpec
    champion, challenger : DataFrame
        Labelled rows.
    """
    if spec.model.task != "regression":
        return ""
    sets = [frame["label_value"].drop_nulls() for frame in (champion, challenger)]
    if any(each.is_empty() for each in sets):
        return ""
    quartiles = [[cast("float", each.quantile(q, "linear")) for q in (0.25, 0.5, 0.75)] for each in sets]
    old, new = (each[2] - each[0] for each in quartiles)
    if not old > 0 or not new > 0:
        return ""
    apart = abs(quartiles[1][1] - quartiles[0][1])
    if max(old / new, new / old) <= MOST_APART and apart <= MOST_APART * max(old, new):
        return ""
    halves = [f"from {number(each[0], 4)} to {number(each[2], 4)}" for each in quartiles]
    both = f"half of the champion's lie {halves[0]}, half of the challenger's {halves[1]}"
    return f"the labels are those of another unit or population: {both}"
