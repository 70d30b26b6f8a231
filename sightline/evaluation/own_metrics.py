"""The user's own metrics, in SQL and in Python, of champion and challenger."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import polars as pl
from polars.exceptions import PanicException

from metrics_py.evaluation.areas import ALL
from metrics_py.evaluation.differences import row_of_values
from metrics_py.failures import AnswerError, told_failure
from metrics_py.intervals import N_SEGMENT_BUCKETS
from metrics_py.registry import Metric
from sightline.arrow import to_arrow
from sightline.errors import SightlineError
from sightline.evaluation.sets.rows import Compared
from sightline.home import MonitorPaths
from sightline.judging.time_limit import TimeLimitExceeded, metric_seconds, time_limit
from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.judging_sections import CustomMetric
from sightline.spec.model import MonitorSpec
from sightline.user_metrics import python_metrics, sql_metrics
from sightline.user_metrics.python_metrics import LABEL_COLUMNS

OF_THE_CALL = ("model_version", "is_error", "status", "latency_ms", "received_at", "batch_id", "row_number")
"""Columns of the call and not of the row: those of the other model are not known."""
SUMS = ("segment", "bucket", "metric", "n", "sum_value", "sum_value_sq")
MOST_CELLS = 50_000_000
"""Rows x columns that are handed to a Python function."""

UNKNOWN_COLUMN = re.compile(r'Referenced column "(.+?)" not found')
KIND = re.compile(r"\b(?:[A-Z][a-z]+ )+Error: ")


@dataclass(frozen=True)
class OwnMetrics:
    """What could be computed of both models.

    Attributes
    ----------
    sums : tuple of DataFrame
        Of champion and challenger: rows of the custom sums (SQL metrics).
    rows : list of dict
        Rows of `metrics_py.evaluation.differences.SCHEMA` (Python metrics).
    notes : tuple of str
        Which metric was not compared, and why.
    lacking : mapping of str to str
        Metric that could not be computed -> why.
    """

    sums: tuple[pl.DataFrame, pl.DataFrame]
    rows: list[dict[str, Any]]
    notes: tuple[str, ...]
    lacking: Mapping[str, str] = field(default_factory=dict[str, str])


def own_metrics(spec: MonitorSpec, paths: MonitorPaths, compared: Compared, segments: pl.DataFrame) -> OwnMetrics:
    """Both models' values of the metrics that need a label.

    Parameters
    ----------
    spec, paths
        The monitor.
    compared : Compared
        Labelled rows of both.
    segments : DataFrame
        ``segment_column, value`` with a segment of their own.
    """
    wanted = [metric for metric in spec.metrics if metric.needs_label]
    frames = [_given(spec, frame) for frame in (compared.champion, compared.challenger)]
    lacking: dict[str, str] = {}
    wrong = sql_metrics.mistakes(spec) if any(metric.sql for metric in wanted) else {}
    sums: list[list[pl.DataFrame]] = [[], []]
    for metric in (m for m in wanted if m.sql is not None):
        if metric.name in wrong:
            lacking[metric.name] = KIND.sub("", wrong[metric.name].what)
            continue
        try:
            found = [_sums(spec, metric, frame, segments) for frame in frames]
        except duckdb.Error as error:
            lacking[metric.name] = _told(error, frames)
            continue
        for side, own in zip(sums, found, strict=True):
            side.append(own)
    rows: list[dict[str, Any]] = []
    with python_metrics.importable(paths.home):
        for metric in (m for m in wanted if m.python is not None):
            found_row, reason = _python(spec, metric, frames, paired=compared.how == "paired")
            rows += [found_row] if found_row else []
            lacking |= {metric.name: reason} if reason else {}
    notes = [f"{name} is not compared: {reason}" for name, reason in lacking.items()]
    unlabelled = [metric.name for metric in spec.metrics if not metric.needs_label]
    if unlabelled:
        notes.append(f"metrics that need no label are of the inputs and are not compared: {', '.join(unlabelled)}")
    champion, challenger = (pl.concat([*side]) if side else pl.DataFrame() for side in sums)
    return OwnMetrics((champion, challenger), rows, tuple(notes), lacking)


def with_directions(spec: MonitorSpec, table: pl.DataFrame) -> pl.DataFrame:
    """The monitor's own word for which way is better."""
    own = {metric.name: metric.direction for metric in spec.metrics if "direction" in metric.model_fields_set}
    if not own:
        return table
    told = pl.col("metric").replace_strict(list(own), list(own.values()), default=None, return_dtype=pl.String)
    return table.with_columns(direction=pl.coalesce(told, "direction"))


def with_sums(tables: Sequence[Mapping[str, pl.DataFrame]], own: OwnMetrics) -> list[dict[str, pl.DataFrame]]:
    """Aggregates of both models with the sums of SQL metrics among the custom ones."""
    found: list[dict[str, pl.DataFrame]] = []
    for table, sums in zip(tables, own.sums, strict=True):
        custom = pl.concat([table["custom_sums"], sums], how="diagonal_relaxed") if len(sums) else table["custom_sums"]
        found.append({**table, "custom_sums": custom})
    return found


def _given(spec: MonitorSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as the metrics see them in the marts, without what is known of one of the models only."""
    label = "label_value" if spec.model.task in NUMBER_TASKS else "label_class"
    kept = frame.drop([name for name in OF_THE_CALL if name in frame.columns])
    return kept.filter(pl.col(label).is_not_null()).with_columns(
        label=pl.col(label), is_positive=pl.col("label_class") == spec.positive_class
    )


def _told(error: Exception, frames: Sequence[pl.DataFrame]) -> str:
    """Why DuckDB refuses an expression, without its own words for the place in a query that nobody wrote."""
    text = " ".join(re.split(r"\n+(?:LINE \d+:|Candidate bindings:|Did you mean)", str(error))[0].split())
    unknown = UNKNOWN_COLUMN.search(text)
    if unknown is None:
        left_out = [name for name in OF_THE_CALL if name in text]
        return f"it reads {left_out[0]}, which is not known of both models" if left_out else KIND.sub("", text)
    name = unknown.group(1)
    if name in OF_THE_CALL:
        return f"it reads {name}, which is not known of both models"
    lacks = [whose for whose, frame in zip(("champion", "candidate"), frames, strict=True) if name not in frame.columns]
    return f"it reads {name}, which the rows of {' and '.join(f'the {whose}' for whose in lacks)} do not have"


def _sums(spec: MonitorSpec, metric: CustomMetric, frame: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Sums of a SQL metric by segment and bucket; a value that is no finite number is left out."""
    with duckdb.connect() as con:
        con.register("labelled", to_arrow(frame))
        # the user's own expression, in memory, as `sightline validate` has checked it
        value = con.sql(f"SELECT try(cast((\n{metric.sql}\n) AS DOUBLE)) AS value FROM labelled").pl()["value"]  # noqa: S608
    rows = frame.with_columns(_value=value).filter(pl.col("_value").is_finite())
    bucket = pl.col("bucket").cast(pl.Int32)
    parts = [rows.select("_value", bucket, segment=pl.lit("all"))]
    for name in spec.columns.segments:
        known = segments.filter(pl.col("segment_column") == name)["value"]
        column = pl.col(f"g_{name}")
        shown = pl.when(column.is_null()).then(pl.lit("(null)")).when(column.is_in(known.implode())).then(column)
        label = pl.lit(f"{name}=") + shown.otherwise(pl.lit("(other)"))
        parts.append(rows.select("_value", bucket % N_SEGMENT_BUCKETS, segment=label))
    summed = (
        pl.concat(parts)
        .group_by("segment", "bucket")
        .agg(
            metric=pl.lit(metric.name),
            n=pl.len().cast(pl.Int64),
            sum_value=pl.col("_value").sum(),
            sum_value_sq=(pl.col("_value") ** 2).sum(),
        )
    )
    return summed.select(SUMS).sort("segment", "bucket")


def _python(
    spec: MonitorSpec, metric: CustomMetric, frames: Sequence[pl.DataFrame], *, paired: bool
) -> tuple[dict[str, Any] | None, str]:
    """The row of a Python metric, or why there is none: its values of all rows and without each bucket."""
    large = {f"f_{name}" for name, feature in spec.columns.features.items() if feature.kind in ("text", "embedding")}
    for frame in frames:
        lacking = [name for name in metric.columns or () if name not in (*frame.columns, *OF_THE_CALL)]
        of_call = [name for name in metric.columns or () if name in OF_THE_CALL]
        if lacking or of_call:
            return None, f"it reads {(lacking or of_call)[0]}, which is not known of both models"
    names = [
        *(metric.columns or [n for n in frames[1].columns if n in frames[0].columns and n not in large]),
        *LABEL_COLUMNS,
        "bucket",
    ]
    kept = [frame.select(list(dict.fromkeys(names))) for frame in frames]
    if any(frame.height * frame.width > MOST_CELLS for frame in kept):
        return (
            None,
            f"{kept[1].height:,} rows x {kept[1].width} columns are too many: name those it reads under `columns`",
        )
    try:
        with time_limit(metric_seconds()):
            entry = python_metrics.load(str(metric.python))
            models = [_values(entry, frame) for frame in kept]
    except SightlineError as error:
        return None, error.what
    except TimeLimitExceeded:
        return None, f"no end within {metric_seconds():g} s of its values without each bucket of entities"
    except (Exception, SystemExit, PanicException) as error:  # the user's function may raise anything
        return None, told_failure(error)
    direction = metric.direction if "direction" in metric.model_fields_set else entry.direction
    occupied = [[b for b in values if b != ALL] for values in models]
    counts = (kept[0].height, kept[1].height)
    return (
        row_of_values(
            metric.name, direction, models, occupied, counts, paired=paired, min_labels=spec.quality.min_labels
        ),
        "",
    )


def _values(entry: Metric, frame: pl.DataFrame) -> dict[int, float]:
    """Value of all rows, and without each bucket that holds some."""
    function: Callable[[pl.DataFrame], Any] = entry.function
    found = {ALL: _number(function(frame))}
    for bucket in frame["bucket"].unique().sort().to_list():
        found[int(bucket)] = _number(function(frame.filter(pl.col("bucket") != bucket)))
    return found


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise AnswerError(f"the function returned {type(value).__name__}; return one number, or None if undefined")
    return np.nan if value is None else float(value)
