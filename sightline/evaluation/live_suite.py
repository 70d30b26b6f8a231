"""What else is asked of a version that runs beside another one: a candidate's sections, from rows of the log.

Their intervals are those of one look. Limits that the monitor's file names join the verdict, which may be read daily:
their intervals are widened to hold at every look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import polars as pl

from metrics_py.evaluation.confidence_sequence import FIRST_DAY, LEAST_EFFECTIVE, interval_at
from metrics_py.evaluation.limits import Limit
from sightline.evaluation.own_metrics import own_metrics
from sightline.evaluation.sets.queries import whole_lists
from sightline.evaluation.sets.rows import Candidate, Compared, labelled, outputs
from sightline.evaluation.suite.answers import answers
from sightline.evaluation.suite.calibration import calibration
from sightline.evaluation.suite.fairness import fairness
from sightline.evaluation.suite.findings import Finding, Section
from sightline.evaluation.suite.overlap import overlap
from sightline.evaluation.suite.robustness import robustness
from sightline.evaluation.suite.slices import weaknesses
from sightline.evaluation.suite.traffic import Traffic, drift, latency, read_traffic
from sightline.evaluation.suite.training import Training
from sightline.evaluation.together import Together
from sightline.home import MonitorPaths
from sightline.lake.store.schema import lake_schema, literal, quote
from sightline.spec.model import MonitorSpec
from sightline.warehouse.connection import SETTINGS
from sightline.warehouse.settings import negative_class
from sightline.warehouse.views import prepare

MOST_ROWS = 50_000
"""Rows of each version; of more a sample, the same requests of both."""
OF_INTAKE = ("batch_id", "row_number", "received_at")
ONE_LOOK = 1.959963984540054
"""Standard errors of an interval of one look."""
OF_ONE_LOOK = "sections beside the comparison: their intervals hold at one look, limits of the file at every look"
OF_TRAINING = "overlap with the training set is not looked at without --training"
EVALUATION_SET = "the evaluation set are the rows of {}, recent production those of {} on the same days"
SAME_INPUTS = "drift is not looked at: both answered the same requests"
RANKING = "ranking has no sections beside the comparison"


def live_suite(
    spec: MonitorSpec,
    paths: MonitorPaths,
    found: Together,
    *,
    n_days: int,
    effective_days: float,
    training: Training | None = None,
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Sections that the rows of two versions allow, and what could not be looked at.

    Parameters
    ----------
    spec, paths
        The monitor.
    found : Together
        Windows that count.
    n_days, effective_days
        Of the metric that decides: how many looks limits must hold at.
    training : Training, optional
        What the challenger was trained on.
    """
    if spec.model.task == "ranking":
        return (), (RANKING,)
    frames, n_made, traffic = _read(spec, paths, found)
    compared = _compared(spec, found, frames)
    candidate = Candidate(frames[1], 0, 0, 0, has_ids=True, has_entities=True)
    traffic = replace(traffic, production=frames[0])
    sections = (
        answers(compared),
        _at_every_look(fairness(spec, compared), n_days, effective_days),
        weaknesses(spec, compared),
        calibration(spec, compared),
        overlap(spec, compared, training, has_ids=True),
        None if found.is_shadow and training is None else _drift(spec, found, candidate, training, traffic),
        robustness(spec, paths, compared),
        latency(spec, candidate, traffic),
        _python_metrics(spec, paths, compared),
    )
    told = [OF_ONE_LOOK]
    told += [SAME_INPUTS] if found.is_shadow else []
    told += [OF_TRAINING] if training is None else []
    if n_made > 2 * MOST_ROWS:
        told.append(f"sections are of a sample of {sum(map(len, frames)):,} of {n_made:,} rows")
    return tuple(section for section in sections if section is not None), tuple(told)


def _read(
    spec: MonitorSpec, paths: MonitorPaths, found: Together
) -> tuple[tuple[pl.DataFrame, pl.DataFrame], int, Traffic]:
    """Rows of champion and challenger with their labels, how many there are, and the reference's."""
    large = {f"f_{name}" for name, feature in spec.columns.features.items() if feature.kind in ("text", "embedding")}
    names = [name for name in lake_schema(spec, "inferences") if name not in {*OF_INTAKE, *large}]
    keys = f"window_key IN ({', '.join(map(literal, found.keys))})"
    versions = (found.champion, found.challenger)
    both = f"model_version IN ({', '.join(map(literal, versions))})"
    said = "labels.label_class, labels.label_value"
    if spec.is_silence_negative:
        said = f"coalesce(labels.label_class, {literal(negative_class(spec))}) AS label_class, "
        said += "coalesce(labels.label_value, 0.0) AS label_value"
    with duckdb.connect() as con:
        for name, value in SETTINGS.items():
            con.execute(f"SET {name} = ?", [value])
        prepare(con, spec, paths)
        counted = f"SELECT count(*) FROM raw.inferences WHERE {keys} AND {both} GROUP BY model_version"  # noqa: S608
        counts = [n for (n,) in con.sql(counted).fetchall()]
        share = MOST_ROWS / max(counts, default=1)
        drawn = "true" if share >= 1 else f"md5_number_lower(prediction_id) < {int(share * 2**64)}"
        rows = con.sql(
            f"SELECT {', '.join(f'r.{quote(name)}' for name in names)}, r.window_key, {said} "  # noqa: S608 (quoted)
            f"FROM (SELECT * FROM raw.inferences WHERE {keys} AND {both} AND {drawn}) AS r "
            f"LEFT JOIN (SELECT * FROM raw.current_labels WHERE {keys}) AS labels "
            "ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id "
            "ORDER BY r.window_key, r.prediction_id"
        ).pl()
    old, new = (rows.filter(pl.col("model_version") == version) for version in versions)
    return (old, new), sum(counts), read_traffic(spec, paths)


def _compared(spec: MonitorSpec, found: Together, frames: Sequence[pl.DataFrame]) -> Compared:
    """Labelled rows that have an output: of a shadow those that both answered, in the same order."""
    said = [name for name in outputs(spec) if name in frames[0].columns]
    has_output = pl.any_horizontal(pl.col(name).is_not_null() for name in said)
    known = [whole_lists(spec, labelled(frame), frame)[0] for frame in frames]
    n_silent = [(len(frame) - len(frame.filter(has_output)), len(frame)) for frame in known]
    old, new = (frame.filter(has_output) for frame in known)
    if found.is_shadow:
        old, new = (
            mine.join(other, on=["window_key", "prediction_id"], how="semi", maintain_order="left")
            for mine, other in ((old, new), (new, old))
        )
    return Compared(
        "paired" if found.is_shadow else "unpaired",
        old.drop("window_key"),
        new.drop("window_key"),
        f"version {found.champion} on the same days",
        (),
        (n_silent[0], n_silent[1]),
    )


def _drift(
    spec: MonitorSpec, found: Together, candidate: Candidate, training: Training | None, traffic: Traffic
) -> Section:
    if found.is_shadow:
        traffic = replace(traffic, production=None)
    section = drift(spec, candidate, training, traffic)
    return replace(section, notes=(*section.notes, EVALUATION_SET.format(found.challenger, found.champion)))


def _at_every_look(section: Section | None, n_days: int, effective_days: float) -> Section | None:
    """Limits with intervals that hold at every look; none before a verdict may be given."""
    if section is None or not section.limits:
        return section
    return replace(section, limits=tuple(widened(limit, n_days, effective_days) for limit in section.limits))


def widened(limit: Limit, n_days: int, effective_days: float) -> Limit:
    """A limit whose interval holds at every daily look, from one that holds at one.

    Parameters
    ----------
    limit : Limit
        With the interval of one look.
    n_days, effective_days
        Days behind it, and as many of equal weight.

    Notes
    -----
    Each half is as many standard errors long as that of `metrics_py.evaluation.confidence_sequence.interval_at`. What
    days share beyond what entities do is not part of the interval of a gap between groups.
    """
    if limit.value is None or limit.ci_low is None or limit.ci_high is None:
        return limit
    if n_days < FIRST_DAY or effective_days < LEAST_EFFECTIVE:
        reason = f"{n_days} days on which both ran, {FIRST_DAY} needed"
        return replace(limit, ci_low=None, ci_high=None, reason=reason)
    _, half = interval_at(0.0, 1.0, effective_days)
    by = float(half) / ONE_LOOK
    low, high = limit.value - by * (limit.value - limit.ci_low), limit.value + by * (limit.ci_high - limit.value)
    return replace(limit, ci_low=low, ci_high=high)


def _python_metrics(spec: MonitorSpec, paths: MonitorPaths, compared: Compared) -> Section | None:
    """The user's Python metrics of all rows: facts, since their rows are not kept by day."""
    wanted = tuple(metric for metric in spec.metrics if metric.needs_label and metric.python is not None)
    if not wanted:
        return None
    only = spec.model_copy(update={"metrics": wanted})
    own = own_metrics(only, paths, compared, pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String}))
    findings = [
        Finding(
            name=row["metric"],
            of="challenger minus champion",
            value=row["difference"],
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            champion=row["champion"],
            n=min(row["n_champion"], row["n_challenger"]),
            method="delete-one-bucket jackknife, one look",
            status="ok" if row["status"] == "ok" else "insufficient_data",
            reason=row["reason"] or f"the challenger's is {row['challenger']:.4g}",
        )
        for row in own.rows
    ]
    return Section(key="own_metrics", title="Python metrics of your own", findings=tuple(findings), notes=own.notes)
