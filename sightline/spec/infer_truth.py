"""Columns of a scored sample that may be its truth or the model's decision, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from metrics_py.class_names import class_text, counterpart
from sightline.spec.kinds import TEXT_TYPES, PolarsType

TRUTH_MIN_Z = 3.0
"""Standard errors by which the scores of the two values of a label differ."""
WORD_TYPES: tuple[PolarsType, ...] = (*TEXT_TYPES, pl.Boolean)


def may_be_truth(score: pl.Series, columns: Iterable[pl.Series]) -> dict[str, str]:
    """Name -> what it may be, of the columns that must not become features unasked.

    A column of two opposite values that goes with the score is the truth, or an input that the model leans on: nothing
    in the sample tells which. As a feature the truth would be leakage, and an input is no truth: the user says it. One
    whose values a threshold of the score splits is most likely the model's decision, which is no input either.
    """
    groups = {column.name: _by_value(score, column) for column in columns if _is_pair(column)}
    strong = [name for name, group in groups.items() if _z_of_ranks(group) > TRUTH_MIN_Z]
    told: dict[str, str] = {}
    for name in strong or groups:
        if name in strong and _is_split(groups[name]):
            told[name] = (
                "one threshold of the score splits its two values, as it does the model's decisions: "
                f"--prediction {name} takes it for them, --label {name} for the label, --no-label for a feature"
            )
            continue
        how = "that go with the score" if name in strong else "beside a score"
        told[name] = (
            f"two opposite values {how} may be the truth or an input: "
            f"--label {name} takes it for the label, --no-label for a feature"
        )
    return told


def _is_pair(column: pl.Series) -> bool:
    """Whether the values are the two of a pair such as 0 and 1, false and true, no and yes."""
    if not (column.dtype.is_numeric() or column.dtype in WORD_TYPES):
        return False
    values = column.drop_nulls().unique()
    texts = {class_text(value).lower() for value in values.to_list()} if len(values) == 2 else set[str]()
    return any(counterpart(text) in texts for text in texts)


def _by_value(score: pl.Series, column: pl.Series) -> pl.DataFrame:
    """Of both values: rows, mean rank of the score, smallest and largest score."""
    rows = pl.DataFrame({"score": score.cast(pl.Float64), "value": column.cast(pl.String)}).drop_nulls()
    return (
        rows.with_columns(pl.col("score").rank().alias("rank"))
        .group_by("value")
        .agg(pl.len().alias("n"), pl.col("rank").mean(), pl.col("score").min().alias("low"), pl.col("score").max())
    )


def _is_split(groups: pl.DataFrame) -> bool:
    low, high = groups.sort("rank").iter_rows(named=True)
    return low["score"] <= high["low"]


def _z_of_ranks(groups: pl.DataFrame) -> float:
    """How far the ranks of the scores lie apart under the two values, in standard errors (Mann-Whitney)."""
    if len(groups) != 2:
        return 0.0
    (n, m), (mean, other) = groups["n"], groups["rank"]
    error = ((n + m) ** 2 * (n + m + 1) / (12 * n * m)) ** 0.5
    return abs(float(mean - other)) / error
