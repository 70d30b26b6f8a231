"""One evaluation: the candidate against the champion, the reference's trivial answer and the margins of the monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl

from metrics_py.comparison.tables import open_ends
from metrics_py.evaluation.areas import deleted_areas
from metrics_py.evaluation.differences import SCHEMA, differences
from metrics_py.evaluation.verdict import EvaluationVerdict, judge
from metrics_py.quality.champion import Direction, PairedDifference, RowSet
from metrics_py.quality.metrics import quality_metric
from metrics_py.quality.table import quality_table
from metrics_py.wording import count
from sightline.errors import SightlineError, nearest
from sightline.evaluation.agreement import with_agreement
from sightline.evaluation.facts import Facts, facts_of
from sightline.evaluation.own_metrics import own_metrics, with_directions, with_sums
from sightline.evaluation.proper import notes_of_improper
from sightline.evaluation.sets.rows import (
    Candidate,
    Compared,
    compared_with_file,
    compared_with_production,
    labelled,
    read_candidate,
)
from sightline.evaluation.suite.build import suite_of
from sightline.evaluation.suite.findings import Section, judged
from sightline.evaluation.suite.traffic import read_traffic
from sightline.evaluation.suite.training import read_training
from sightline.home import MonitorPaths
from sightline.results.learnt_delays import with_learnt_delays
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference import TOP_SEGMENTS, load_reference
from sightline.warehouse.reference_quality import aggregates_of, scored_rows
from sightline.warehouse.settings import negative_class

MARGIN, RELATIVE_MARGIN = 0.005, 0.01
"""Loss that does not matter where the file names none: of metrics between 0 and 1; of others as a share of it."""

SMALLEST_MARGIN = 1e-300
"""Of a champion whose error is 0: whatever is worse is worse."""

DIGITS = 12
"""Of the trivial answer's values: what is less beside the labels is the rounding of sums."""
BY = ("segment",)


@dataclass(frozen=True)
class Evaluation:
    """What was found of a candidate.

    Attributes
    ----------
    monitor, version, candidate : str
        Of which monitor, which version, from which file.
    compared : Compared
        The rows.
    table : DataFrame
        `metrics_py.evaluation.differences.SCHEMA`, and ``trivial``: the value of an answer that knows no input.
    verdict : EvaluationVerdict
    primary : str
        The metric that decides.
    notes : tuple of str
        What should be known.
    facts : Facts
        Of the candidate's data.
    task : str
        Of the model.
    sections : tuple of Section
        What else was looked at.
    """

    monitor: str
    version: str
    candidate: str
    compared: Compared
    table: pl.DataFrame
    verdict: EvaluationVerdict
    primary: str
    notes: tuple[str, ...]
    facts: Facts
    task: str
    sections: tuple[Section, ...] = ()


def evaluate(
    spec: MonitorSpec,
    paths: MonitorPaths,
    file: Path,
    version: str,
    *,
    now: datetime,
    champion: str | None = None,
    against: Path | None = None,
    training: Path | None = None,
) -> Evaluation:
    """Judge a scored, labelled evaluation set of a candidate.

    Parameters
    ----------
    spec, paths
        The monitor: the same definitions that judge production.
    file : Path
        Parquet, CSV or NDJSON with the monitor's columns.
    version : str
        What the candidate is called.
    now : datetime
        Decides whose labels are due.
    champion : str, optional
        Model version in production to compare with.
    against : Path, optional
        Scored file of the champion instead.
    training : Path, optional
        What the candidate was trained on; it needs no score.

    Returns
    -------
    Evaluation

    Raises
    ------
    SightlineError
        The file cannot be read, no row has a label, the monitor has no metric that decides, or a margin or guardrail
        names what there is not.
    """
    spec = with_learnt_delays(spec, paths)
    primary = plan.primary_metric(spec)
    if spec.labels is None or primary is None:
        fix = "declare `labels`, and a score or prediction"
        raise SightlineError(f"{spec.id} has no metric of quality, so no candidate can be judged", fix=fix)
    candidate = read_candidate(spec, file)
    if against is not None:
        other = read_candidate(spec, against, "champion's (--against)")
        compared = compared_with_file(spec, candidate, other, against.name)
    else:
        compared = compared_with_production(spec, paths, candidate, champion, now)
    if compared.challenger.is_empty():
        fix = f"the column {spec.labels.column!r} holds the truth"
        raise SightlineError("no row of the candidate has a label", where=str(file), fix=fix)
    segments = _segments(spec, paths, compared.challenger)
    both = (compared.champion, compared.challenger)
    own = own_metrics(spec, paths, compared, segments)
    tables = with_sums([aggregates_of(spec, frame, segments) for frame in both], own)
    table = _differences(spec, tables, _exact(spec, both, segments), paired=compared.how == "paired")
    table = with_directions(spec, pl.concat([table, pl.DataFrame(own.rows, schema=SCHEMA)]))
    table, same = with_agreement(spec, table, compared, segments)
    table = _with_trivial(spec, table, compared.challenger)
    trained = read_training(spec, training) if training is not None else None
    traffic = read_traffic(spec, paths)
    sections = suite_of(spec, compared, candidate, training=trained, traffic=traffic, paths=paths)
    verdict = judged(verdict_of(spec, table, primary, {**_irrelevant(spec, table), **own.lacking}), sections)
    told = (*notes_of_improper(spec, both), *own.notes, *_left_out(spec))
    cut = [words for each in filter(None, (file, against, training)) for words in open_ends(each)]
    notes = (*_of_candidate(candidate), *cut, *compared.notes, *same, *told)
    facts = facts_of(candidate, file, now)
    task = spec.model.task
    return Evaluation(spec.id, version, file.name, compared, table, verdict, primary, notes, facts, task, sections)


def _segments(spec: MonitorSpec, paths: MonitorPaths, frame: pl.DataFrame) -> pl.DataFrame:
    """Segments with a name: those of the reference, else the most frequent ones of the candidate's rows."""
    reference = load_reference(paths)
    if reference is not None:
        return reference.segments
    parts = [pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String})]
    for name in spec.columns.segments:
        top = frame[f"g_{name}"].drop_nulls().value_counts(sort=True).head(TOP_SEGMENTS)
        parts.append(top.select(segment_column=pl.lit(name), value=f"g_{name}"))
    return pl.concat(parts)


def _tables(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    names = {
        "confusion": "confusion",
        "score_label_bins": "score_bins",
        "quality_sums": "sums",
        "custom_sums": "custom",
    }
    return {name: tables[mart] for mart, name in names.items() if not tables[mart].is_empty()}


def _exact(
    spec: MonitorSpec, frames: tuple[pl.DataFrame, pl.DataFrame], segments: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    task = spec.model.task
    if task not in ("binary_classification", "multiclass_classification"):
        return None
    old, new = (deleted_areas(scored_rows(spec, frame, segments), task) for frame in frames)
    return old, new


def _differences(
    spec: MonitorSpec,
    tables: list[dict[str, pl.DataFrame]],
    exact: tuple[pl.DataFrame, pl.DataFrame] | None,
    *,
    paired: bool,
) -> pl.DataFrame:
    table = differences(
        *(_tables(each) for each in tables),
        task=spec.model.task,
        positive=spec.positive_class,
        paired=paired,
        min_labels=spec.quality.min_labels,
        exact=exact,
    )
    wanted = [*plan.quality_metrics(spec), *table.filter(pl.col("metric") == "business_value")["metric"]]
    return table.filter(pl.col("metric").is_in(wanted))


def _with_trivial(spec: MonitorSpec, table: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The value of an answer that knows no input: the most frequent class, the share of positives, the mean."""
    answers = _trivial(spec, rows)
    known = _tables(
        aggregates_of(spec, answers, pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String}))
    )
    found = quality_table(
        known.get("confusion"),
        known.get("score_bins"),
        known.get("sums"),
        known.get("custom"),
        task=spec.model.task,
        positive=spec.positive_class,
        min_labels=1,
        by=BY,
    )
    is_rounding = pl.col("value").abs() <= 10.0**-DIGITS * _scale_of(spec, rows)
    value = pl.when(is_rounding).then(0.0).otherwise(pl.col("value").round_sig_figs(DIGITS))
    whole = found.filter(segment="all").select("segment", "metric", trivial=value)
    return table.join(whole, on=["segment", "metric"], how="left", maintain_order="left")


def _scale_of(spec: MonitorSpec, rows: pl.DataFrame) -> float:
    """What the values of metrics are made of: labels of a regression, else numbers between 0 and 1."""
    if spec.model.task != "regression":
        return 1.0
    return cast("float | None", rows["label_value"].abs().mean()) or 1.0


def _trivial(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    if spec.model.task == "binary_classification":
        share = cast("float", rows["label_value"].mean())
        decided = spec.positive_class if share >= spec.quality.threshold else negative_class(spec)
        return rows.with_columns(score=pl.lit(share), predicted_class=pl.lit(decided))
    if spec.model.task == "multiclass_classification":
        shares = {str(name): n / len(rows) for name, n in rows["label_class"].value_counts().iter_rows()}
        most = max(sorted(shares), key=lambda name: shares[name])
        scores = [pl.lit(shares.get(name, 0.0)).alias(f"p_{name}") for name in spec.columns.class_scores]
        return rows.with_columns(*scores, predicted_class=pl.lit(most))
    if spec.model.task == "ranking":  # every order of a list is as likely
        return rows.with_columns(score=pl.lit(0.0))
    return rows.with_columns(prediction=pl.lit(cast("float", rows["label_value"].mean())))


def verdict_of(
    spec: MonitorSpec, table: pl.DataFrame, primary: str, lacking: Mapping[str, str] | None = None
) -> EvaluationVerdict:
    """Apply the rule of promotion of the monitor's file to a table of differences.

    Parameters
    ----------
    spec : MonitorSpec
    table : DataFrame
        Columns of `metrics_py.evaluation.differences.SCHEMA`.
    primary : str
        The metric that decides.
    lacking : mapping of str to str, optional
        Metrics of the user's that could not be computed -> why: what they decide cannot be told.

    Raises
    ------
    SightlineError
        A margin or guardrail names what there is not.
    """
    rules = spec.evaluation
    lacking = lacking or {}
    found = _found(table, primary, "all", lacking)
    direction = _direction(spec, primary, table, lacking)
    margin = rules.margin if rules.margin is not None else default_margin(spec, primary, found.champion)
    guardrails: dict[str, PairedDifference] = {}
    margins: dict[str, float] = {}
    directions: dict[str, Direction] = {}
    for metric, own in rules.guardrails.items():
        guardrails[metric] = _found(table, metric, "all", lacking)
        margins[metric], directions[metric] = own, _direction(spec, metric, table, lacking)
    for segment in _guarded(spec, table):
        guardrails[f"{primary} | {segment}"] = _found(table, primary, segment, lacking)
    return judge(
        found,
        guardrails,
        margin=margin,
        direction=direction,
        margins=margins,
        directions=directions,
        name=primary,
        counted=quality_metric(primary, spec.model.task).counted or "labelled rows",
    )


def default_margin(spec: MonitorSpec, metric: str, value: float | None) -> float:
    """Loss of a metric that does not matter where the file names none.

    Parameters
    ----------
    spec : MonitorSpec
    metric : str
    value : float or None
        Of the champion.
    """
    if quality_metric(metric, spec.model.task).scale in ("proportion", "unit", "skill"):
        return MARGIN
    return max(RELATIVE_MARGIN * abs(value or 0.0), SMALLEST_MARGIN)


def _direction(spec: MonitorSpec, metric: str, table: pl.DataFrame, lacking: Mapping[str, str]) -> Direction:
    """Which way is better: as the file or the function says, else by the metric's definition."""
    told: list[str] = table.filter(metric=metric)["direction"].to_list()
    found = told[0] if told else quality_metric(metric, spec.model.task).direction
    if metric in lacking and found == "none":
        return "higher_is_better"  # it has no value: nothing is better
    if found not in ("higher_is_better", "lower_is_better"):
        fix = "choose a metric of which it is known which way is better"
        raise SightlineError(f"{metric} cannot decide about a candidate: no direction of it is better", fix=fix)
    return found


def _guarded(spec: MonitorSpec, table: pl.DataFrame) -> list[str]:
    """Segments that must not suffer: `column=value`, or all of a column."""
    known: list[str] = table.filter(pl.col("segment") != "all")["segment"].unique(maintain_order=True).to_list()
    found: list[str] = []
    for wanted in spec.evaluation.segments:
        own = [name for name in known if name == wanted or name.partition("=")[0] == wanted]
        if not own:
            raise SightlineError(
                f"the guardrail {wanted!r} is no segment of the candidate's rows",
                where="evaluation.segments",
                fix=nearest(wanted, known) if known else "name it under columns.segments",
            )
        found += own
    return list(dict.fromkeys(found))


def _found(table: pl.DataFrame, metric: str, segment: str, lacking: Mapping[str, str]) -> PairedDifference:
    rows = table.filter(metric=metric, segment=segment)
    if metric in lacking:
        return PairedDifference(None, None, None, None, None, None, 0, "insufficient_data", lacking[metric])
    if rows.is_empty():
        names = table["metric"].unique().sort().to_list()
        if metric in names:
            reason = f"no row of {segment}"
            return PairedDifference(None, None, None, None, None, None, 0, "insufficient_data", reason)
        raise SightlineError(
            f"{metric!r} is no metric that the candidate's rows have",
            where="evaluation",
            fix=nearest(metric, names) if names else "no metric can be computed from these rows",
        )
    row: dict[str, Any] = rows.row(0, named=True)
    names = ("champion", "challenger", "difference", "ci_low", "ci_high", "p_value", "reason")
    old, new = int(row["n_champion"]), int(row["n_challenger"])
    sets = None
    if row.get("se_champion") is not None and row.get("se_challenger") is not None:
        sets = (RowSet(old, float(row["se_champion"])), RowSet(new, float(row["se_challenger"])))
    status = "ok" if row["status"] == "ok" else "insufficient_data"
    facts: dict[str, Any] = {name: row[name] for name in names} | {"n_agreeing": row.get("n_agreeing"), "sets": sets}
    return PairedDifference(n=min(old, new), status=status, **facts)


def _of_candidate(candidate: Candidate) -> list[str]:
    told: list[str] = []
    if candidate.n_rejected:
        told.append(f"of the candidate {count(candidate.n_rejected, 'rows')} cannot be read: left out")
    if candidate.n_bad_labels:
        told.append(f"of the candidate {count(candidate.n_bad_labels, 'labels')} cannot be read: taken for missing")
    told += [f"of the candidate {each}" for each in candidate.unread]
    if candidate.n_repeated:
        told.append(f"of the candidate {count(candidate.n_repeated, 'rows')} are copies of another one: left out")
    n = len(candidate.frame) - len(labelled(candidate.frame))
    if n and n < len(candidate.frame):
        told.append(f"of the candidate {count(n, 'rows')} without a label of their own")
    return told


def _irrelevant(spec: MonitorSpec, table: pl.DataFrame) -> dict[str, str]:
    """Metrics of rankings that no list defines, and why."""
    if spec.model.task != "ranking":
        return {}
    known = set(table["metric"])
    reason = f"no compared query has a relevant row ({spec.labels.column if spec.labels else 'label'!r} above 0)"
    return {name: reason for name in plan.quality_metrics(spec) if name not in known}


def _left_out(spec: MonitorSpec) -> list[str]:
    if not spec.columns.weight:
        return []
    return [f"every row counts once: columns.weight {spec.columns.weight!r} weighs nothing"]
