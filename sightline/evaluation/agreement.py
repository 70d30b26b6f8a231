"""Rows of which both models say the same: what that proves of their difference, and what it does not."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import polars as pl

from metrics_py.evaluation.agreement import unseen_share
from metrics_py.evaluation.differences import SCHEMA
from metrics_py.intervals import ROUNDING
from metrics_py.quality.champion import SAME
from metrics_py.quality.metrics import quality_metric
from sightline.evaluation.sets.rows import Compared, outputs
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_quality import outcomes_by_segment

AREAS = ("roc_auc", "average_precision")
AGREE = "both models agree on all rows that these read, the intervals are what could have stayed unseen: "
MOST_NAMED = 4
ALIKE = "both models order all rows alike: metrics of the order do not differ"
ALIKE_IN = "both models say the same of all rows, or order them alike, so that metrics of the order do not differ, in: "
IDENTICAL = "both models say exactly the same of all of these rows"


def with_agreement(
    spec: MonitorSpec, table: pl.DataFrame, compared: Compared, segments: pl.DataFrame
) -> tuple[pl.DataFrame, list[str]]:
    """Give a difference of exactly 0 on the same rows, which has no jackknife variance, the interval that it has.

    Models whose outputs take many values and are equal, or order all rows alike (a recalibration), do not differ: the
    interval is 0 to 0, in a segment also where that is so of its rows alone (a candidate that changes one region).
    Where they merely agree on all rows (the same decisions, or no mistake of either), others could have stayed unseen:
    the interval of a metric with a range is that of the share of rows that could differ
    (`metrics_py.evaluation.agreement`), by entities where they are known, in the rarest class.

    Parameters
    ----------
    spec : MonitorSpec
    table : DataFrame
        `metrics_py.evaluation.differences.SCHEMA`.
    compared : Compared
    segments : DataFrame
        ``segment_column, value`` with a segment of their own.

    Returns
    -------
    table : DataFrame
        The same rows.
    notes : list of str
        What was taken for certain, and what was not.
    """
    if compared.how != "paired" or table.filter(pl.col("difference") == 0).is_empty():
        return table, []
    alike = _alike_by_segment(spec, table, compared, segments)
    agreeing = _units(spec, compared, segments)
    rows: list[dict[str, Any]] = []
    certain: dict[str, None] = {}
    agreed: list[str] = []
    for row in table.iter_rows(named=True):
        own = alike.get(row["segment"], alike["all"])
        is_zero = row["difference"] == 0 and row["champion"] is not None
        is_open = row["reason"] == SAME or (own.is_same and row["n_champion"] >= spec.quality.min_labels)
        if not is_zero or not is_open:
            rows.append(row)
        elif (own.is_same and (own.is_rich or not _room(spec, row["metric"]))) or (
            own.is_alike and _is_of_order(spec, row)
        ):
            rows.append(row | _known(0.0))
            certain[row["segment"]] = None
        elif room := _room(spec, row["metric"]):
            n = _n_units(spec, row, agreeing)
            rows.append(row | _known(room * unseen_share(n), n) if n else row)
            name = row["metric"] if row["segment"] == "all" else f"{row['metric']} | {row['segment']}"
            agreed += [name] if n else []
        else:
            rows.append(row)
    notes = [*_told_certain(alike, list(certain)), *([_agreed(agreed)] if agreed else [])]
    return pl.DataFrame(rows, schema=table.schema), notes


@dataclass(frozen=True, slots=True)
class _Alike:
    """What both models' outputs have in common on some rows: equal, of many values, in the same order."""

    is_same: bool
    is_rich: bool
    is_alike: bool


def _alike(spec: MonitorSpec, old: pl.DataFrame, new: pl.DataFrame) -> _Alike:
    is_rich = _n_values(spec, new) >= spec.quality.min_labels
    return _Alike(_says_the_same(spec, old, new), is_rich, is_rich and _same_order(spec, old, new))


def _alike_by_segment(
    spec: MonitorSpec, table: pl.DataFrame, compared: Compared, segments: pl.DataFrame
) -> dict[str, _Alike]:
    """Of the whole, and of the segments without a difference where the whole has one."""
    found = {"all": _alike(spec, compared.champion, compared.challenger)}
    if found["all"].is_same or found["all"].is_alike:
        return found
    wanted = table.filter(difference=0, reason=SAME).filter(pl.col("segment") != "all")["segment"].unique().to_list()
    if wanted:
        old, new = (_by_segment(spec, frame, segments) for frame in (compared.champion, compared.challenger))
        for name in wanted:
            if name in old and name in new and old[name]["_row"].equals(new[name]["_row"]):
                found[name] = _alike(spec, old[name], new[name])
    return found


def _by_segment(spec: MonitorSpec, frame: pl.DataFrame, segments: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Labelled rows of each segment, in their order."""
    rows = outcomes_by_segment(spec, frame.with_row_index("_row"), segments).select("_row", "segment")
    return {
        str(name): frame.with_row_index("_row").join(own.select("_row"), on="_row", how="semi").sort("_row")
        for (name,), own in rows.group_by("segment")
    }


def _told_certain(alike: dict[str, _Alike], certain: list[str]) -> list[str]:
    """Where differences of 0 were taken for certain."""
    if alike["all"].is_same or alike["all"].is_alike:
        is_told = bool(certain) or alike["all"].is_same
        return [IDENTICAL if alike["all"].is_same else ALIKE] if is_told else []
    return [f"{ALIKE_IN}{_named(sorted(certain))}"] if certain else []


def _agreed(names: list[str]) -> str:
    return f"{AGREE}{_named(names)}"


def _named(names: list[str]) -> str:
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{rest}"


def _says_the_same(spec: MonitorSpec, old: pl.DataFrame, new: pl.DataFrame) -> bool:
    """Whether all outputs are equal, numbers to the rounding of floats."""
    for name in outputs(spec):
        a, b = old[name], new[name]
        if not a.is_null().equals(b.is_null()):
            return False
        if a.dtype.is_numeric():
            if not ((a - b).abs() <= ROUNDING * (a.abs() + 1)).all():
                return False
        elif not a.equals(b):
            return False
    return True


def _known(half: float, n: int | None = None) -> dict[str, Any]:
    """Columns of a difference of 0 whose interval is known; `n` units agree."""
    found = {"ci_low": 0.0 - half, "ci_high": half, "p_value": 1.0, "n_agreeing": n, "status": "ok", "reason": None}
    assert found.keys() <= SCHEMA.keys()
    return found


def _n_values(spec: MonitorSpec, frame: pl.DataFrame) -> int:
    """Different values of the output that has the most; decisions are few."""
    numbers = [name for name in outputs(spec) if name != "predicted_class" and name in frame.columns]
    return max((frame[name].drop_nulls().n_unique() for name in numbers), default=0)


def _same_order(spec: MonitorSpec, old: pl.DataFrame, new: pl.DataFrame) -> bool:
    """Whether every score of both models ranks the rows (of a query) alike, ties included."""
    names = [name for name in outputs(spec) if name == "score" or name.startswith("p_")]
    names = [name for name in names if name in old.columns and old[name].null_count() < len(old)]
    parts = ["query_id"] if spec.model.task == "ranking" else []
    ranks = [
        frame.select(pl.col(name).rank("dense").over(parts) if parts else pl.col(name).rank("dense") for name in names)
        for frame in (old, new)
    ]
    return bool(names) and ranks[0].equals(ranks[1])


def _is_of_order(spec: MonitorSpec, row: dict[str, Any]) -> bool:
    own = {metric.name for metric in spec.metrics}
    if row["metric"] in own:
        return False
    return spec.model.task == "ranking" or row["metric"].startswith(AREAS)


def _room(spec: MonitorSpec, metric: str) -> float:
    """How far one row of many can move a metric, by its range; 0 where it has none."""
    if metric == "business_value":
        worth = [float(value) for row in (spec.value_matrix or {}).values() for value in row.values()]
        return max(worth) - min(worth) if worth else 0.0
    if metric in {each.name for each in spec.metrics}:
        return 0.0
    low, high = quality_metric(metric, spec.model.task).range
    return high - low if isfinite(high - low) else 0.0


def _units(spec: MonitorSpec, compared: Compared, segments: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """By segment: independent units, and those of the rarest class, whether true or decided."""
    found: dict[str, list[int]] = {}
    rarest: dict[str, int] = {}
    for frame in (compared.champion, compared.challenger):
        numbered = frame.with_row_index("_row")
        entity = pl.col("entity_id") if "entity_id" in frame.columns else pl.lit(None, pl.String)
        numbered = numbered.with_columns(_unit=pl.coalesce(entity, pl.format("row {}", "_row")))
        rows = outcomes_by_segment(spec, numbered, segments)
        for (name,), own in rows.group_by("segment"):
            found.setdefault(str(name), []).append(own["_unit"].n_unique())
            for column in ("actual_class", "decided_class"):
                counts = own.drop_nulls(column).group_by(column).agg(pl.col("_unit").n_unique())["_unit"]
                fewest = int(counts.min() or 0)  # pyright: ignore[reportArgumentType] (counts)
                if len(counts):
                    rarest[str(name)] = min(rarest.get(str(name), fewest), fewest)
    return {name: (min(counts), rarest.get(name, min(counts))) for name, counts in found.items()}


def _n_units(spec: MonitorSpec, row: dict[str, Any], units: dict[str, tuple[int, int]]) -> int:
    """Independent units on which the models agree, of those that the metric reads."""
    if spec.model.task == "ranking":
        return row["n_challenger"]
    n, rarest = units.get(row["segment"], (0, 0))
    return n if row["metric"] in ("accuracy", "business_value") else rarest
