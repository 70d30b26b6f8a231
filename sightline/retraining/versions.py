"""Model versions that judged the same windows: those of the log, and candidates whose training time is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from sightline.errors import SightlineError, nearest
from sightline.evaluation.landed import candidates
from sightline.evaluation.sets.rows import labelled, read_candidate
from sightline.home import MonitorPaths
from sightline.judging.marts import ALL_VERSIONS
from sightline.results.judgements import read_judgements
from sightline.retraining.losses import loss, metric_of, rules_of, sign_of, without_segments
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import settled_at

JUDGED = ("ok", "warn", "alert")
RECENT_WINDOWS = 28
"""The version in service is the one with the most labelled rows in so many of the newest windows."""
ABOUT = 0.95
"""Versions with such a share of the most rows have about as many."""
WEEK = timedelta(days=7)
CELLS = {
    "version": pl.String,
    "window": pl.String,
    "age": pl.Float64,
    "loss": pl.Float64,
    "n": pl.Int64,
}


@dataclass(frozen=True)
class Version:
    """A version and when it was trained.

    Attributes
    ----------
    name : str
    trained_at : datetime
        Naive UTC.
    is_declared : bool
        The monitor's file says it; else it is when the version was first seen.
    """

    name: str
    trained_at: datetime
    is_declared: bool


@dataclass(frozen=True)
class Versions:
    """Losses of versions on windows whose labels are due.

    Attributes
    ----------
    cells : DataFrame
        ``version, window, age, loss, n``; ages in weeks.
    known : mapping of str to Version
    served : Version or None
        The one with the most labelled rows in the newest windows.
    notes : tuple of str
        What was left out.
    """

    cells: pl.DataFrame
    known: dict[str, Version]
    served: Version | None
    notes: tuple[str, ...]


def versions(spec: MonitorSpec, paths: MonitorPaths, *, now: datetime) -> Versions:
    """Losses of all versions by window.

    Parameters
    ----------
    spec, paths
        The monitor.
    now : datetime
        Decides whose labels are due.

    Notes
    -----
    Of the log, what is published as judgements: windows whose labels are due, and whose value is no longer provisional.
    Of candidates in `landing/candidates/`, their own rows by the time of the prediction, where `retraining.trained_at`
    names the version.
    """
    notes: list[str] = []
    judged = read_judgements(paths, asset="model_quality", segment="all")
    judged = judged.filter((pl.col("model_version") != ALL_VERSIONS) & (pl.col("column") == ""))
    seen = judged.group_by("model_version").agg(pl.col("window_start").min()).sort("model_version")
    known = {name: version_of(spec, name, first) for name, first in seen.iter_rows()}
    own = judged.filter(
        (pl.col("metric") == metric_of(spec)) & pl.col("status").is_in(JUDGED) & pl.col("value").is_not_null()
    )
    is_due = [now >= settled_at(spec, spec.key(start)) for start in own["window_start"]]
    n_open, own = len(own) - sum(is_due), own.filter(pl.Series(is_due, dtype=pl.Boolean))
    if n_open:
        notes.append(f"{n_open} values of windows whose labels are not all due are left out")
    lacking = sorted(set(known) - set(own["model_version"]))
    if lacking and len(own):
        notes.append(f"without a value of {metric_of(spec)} yet, or of another metric: {', '.join(lacking)}")
    cells = pl.DataFrame(
        [
            (row["model_version"], spec.key(row["window_start"]), row["window_start"], row["value"], row["n"])
            for row in own.iter_rows(named=True)
        ],
        schema={"version": pl.String, "window": pl.String, "at": pl.Datetime("us"), "value": pl.Float64, "n": pl.Int64},
        orient="row",
    )
    cells = cells.with_columns(loss=sign_of(spec, metric_of(spec)) * pl.col("value")).drop("value")
    served = _served(spec, cells, known, notes)
    landed = _landed(spec, paths, known, notes, now)
    return Versions(_aged(spec, pl.concat([cells, landed]), known), known, served, tuple(notes))


def _version(name: str, first: datetime, declared: datetime | None) -> Version:
    if declared is None:
        return Version(name, first, is_declared=False)
    return Version(name, declared.astimezone(UTC).replace(tzinfo=None), is_declared=True)


def _aged(spec: MonitorSpec, cells: pl.DataFrame, known: dict[str, Version]) -> pl.DataFrame:
    """Windows that begin after a version's training, with its age in the middle of each."""
    trained = pl.DataFrame(
        {"version": list(known), "trained_at": [version.trained_at for version in known.values()]},
        schema={"version": pl.String, "trained_at": pl.Datetime("us")},
    )
    found = cells.join(trained, on="version").filter(pl.col("at") >= pl.col("trained_at"))
    age = (pl.col("at") + pl.lit(spec.window / 2, pl.Duration("us")) - pl.col("trained_at")).dt.total_seconds()
    return found.with_columns(age=age / WEEK.total_seconds()).select(
        pl.col(name).cast(dtype) for name, dtype in CELLS.items()
    )


def _served(spec: MonitorSpec, cells: pl.DataFrame, known: dict[str, Version], notes: list[str]) -> Version | None:
    """The version that is named, else that with the most rows in the newest windows; of about as many the last."""
    if cells.is_empty():
        return None
    newest = cells["window"].unique().sort(descending=True).head(RECENT_WINDOWS)
    counts = cells.filter(pl.col("window").is_in(newest.implode())).group_by("version").agg(pl.col("n").sum())
    return in_service(spec, dict(counts.iter_rows()), known, notes)


def in_service(
    spec: MonitorSpec, n_rows: Mapping[str, int], known: Mapping[str, Version], notes: list[str]
) -> Version | None:
    """Which version's replacement is weighed.

    Parameters
    ----------
    spec : MonitorSpec
        `retraining.in_service` may name it.
    n_rows : mapping of str to int
        Rows of each version in the newest windows.
    known : mapping of str to Version
    notes : list of str
        Told where it is not clear.

    Raises
    ------
    SightlineError
        The file names a version that was never seen.
    """
    named = rules_of(spec).in_service
    if named is not None:
        if named not in known:
            what = f"production has no row of the version {named!r}"
            raise SightlineError(what, where="retraining.in_service", fix=nearest(named, known, most=10))
        return known[named]
    most = max(n_rows.values(), default=0)
    equals = [name for name, n in n_rows.items() if n >= ABOUT * most]
    if not equals:
        return None
    last = max(equals, key=lambda name: (known[name].trained_at, name))
    if len(equals) > 1:
        notes.append(
            f"{', '.join(sorted(equals))} have about as many rows: {last}, trained last, is taken to be in service "
            "(retraining.in_service names another)"
        )
    return known[last]


def version_of(spec: MonitorSpec, name: str, first: datetime) -> Version:
    """A version with the training time of the monitor's file, else its first window (naive UTC)."""
    return _version(name, first, rules_of(spec).trained_at.get(name))


def _landed(
    spec: MonitorSpec, paths: MonitorPaths, known: dict[str, Version], notes: list[str], now: datetime
) -> pl.DataFrame:
    """Candidates by window; those that are in the log as well count by the log."""
    rows: list[tuple[str, str, datetime, int, float | None]] = []
    plain, declared, metric = without_segments(spec), rules_of(spec).trained_at, metric_of(spec)
    for landed in candidates(paths)[0]:
        if landed.version in known:
            continue
        if landed.version not in declared:
            notes.append(
                f"candidate {landed.version} is left out: retraining.trained_at does not say when it was trained"
            )
            continue
        if metric in {each.name for each in spec.metrics}:
            notes.append(f"candidate {landed.version} is left out: {metric} is a metric of your own")
            continue
        try:
            frame = labelled(read_candidate(spec, landed.path).frame).drop_nulls("predicted_at")
        except SightlineError as error:
            notes.append(f"candidate {landed.version} is left out: {error.what}")
            continue
        found = 0
        for (start,), own in frame.group_by(
            pl.col("predicted_at").map_elements(lambda at: spec.floor(at).replace(tzinfo=None), pl.Datetime("us")),
            maintain_order=True,
        ):
            assert isinstance(start, datetime)
            value = loss(plain, own, metric, spec.quality.min_labels)
            if value is not None and now >= settled_at(spec, spec.key(start)):
                rows.append((landed.version, spec.key(start), start, len(own), value))
                found += 1
        if found:
            known[landed.version] = _version(landed.version, now, declared[landed.version])
            continue
        notes.append(f"candidate {landed.version} is left out: no window of it has enough labelled rows with a time")
    return pl.DataFrame(
        rows,
        schema={"version": pl.String, "window": pl.String, "at": pl.Datetime("us"), "n": pl.Int64, "loss": pl.Float64},
        orient="row",
    ).select("version", "window", "at", "n", "loss")
