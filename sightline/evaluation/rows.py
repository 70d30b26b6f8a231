"""The rows a candidate is judged on: its own file, and what the champion said of the same rows or of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from sightline.arrow import to_arrow
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.store.schema import literal, quote
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import settled_at
from sightline.warehouse.connection import SETTINGS
from sightline.warehouse.reference_data import rows_of_file
from sightline.warehouse.views import prepare

RECENT_WINDOWS = 28
"""Production of so many windows, the newest with labels, where the candidate's rows are others."""
LABELS = ("label_class", "label_value")
How = Literal["paired", "unpaired"]


@dataclass(frozen=True)
class Candidate:
    """A scored evaluation set.

    Attributes
    ----------
    frame : DataFrame
        Rows in lake columns with ``bucket``, ``label_class`` and ``label_value``.
    n_rejected, n_bad_labels, n_repeated : int
        Rows and labels that could not be read; rows that are equal to one above.
    has_ids : bool
        Its rows can be found in production.
    """

    frame: pl.DataFrame
    n_rejected: int
    n_bad_labels: int
    n_repeated: int
    has_ids: bool


@dataclass(frozen=True)
class Compared:
    """Labelled rows of champion and challenger.

    Attributes
    ----------
    how : {"paired", "unpaired"}
        The same rows, in the same order, or others.
    champion, challenger : DataFrame
        In lake columns.
    source : str
        Where the champion's rows come from, in words.
    notes : tuple of str
        What should be known about them.
    """

    how: How
    champion: pl.DataFrame
    challenger: pl.DataFrame
    source: str
    notes: tuple[str, ...] = ()


def outputs(spec: MonitorSpec) -> list[str]:
    """Lake columns that a model fills: what differs between two models of one row."""
    return ["score", "prediction", "predicted_class", *(f"p_{name}" for name in spec.columns.class_scores)]


def read_candidate(spec: MonitorSpec, file: Path) -> Candidate:
    """Read a scored evaluation set as intake would read it.

    Raises
    ------
    SightlineError
        It cannot be read, holds no row, or says different things of one prediction.
    """
    found = rows_of_file(spec, file, file.name, "candidate")
    frame = found.frame
    assert frame is not None  # of a file
    if frame.is_empty():
        what = f"no row of the candidate can be read ({found.n_rejected} were refused)"
        raise SightlineError(what, where=str(file), fix="see the columns that the monitor's file names")
    if not frame.select(pl.any_horizontal(pl.col(outputs(spec)).is_not_null().any())).item():
        told = [spec.columns.score, spec.columns.prediction, *spec.columns.class_scores.values()]
        columns = ", ".join(repr(name) for name in told if name)
        raise SightlineError(
            "no row of the candidate says what the model predicted",
            where=str(file),
            fix=f"it needs the column {columns}",
        )
    frame = frame.drop([name for name in ("batch_id", "row_number", "received_at") if name in frame.columns])
    unique = frame.unique(maintain_order=True)
    twice = unique.filter(pl.col("prediction_id").is_duplicated())["prediction_id"]
    if len(twice):
        raise SightlineError(
            f"the candidate says different things of {twice.n_unique()} predictions, such as {twice[0]!r}",
            where=str(file),
            fix=f"one row per {spec.columns.prediction_id}",
        )
    return Candidate(unique, found.n_rejected, found.n_bad_labels, len(frame) - len(unique), found.has_ids)


def compared_with_file(spec: MonitorSpec, candidate: Candidate, other: Candidate, name: str) -> Compared:
    """Champion and challenger are two scored files: paired by id where they share rows, else different rows."""
    return _paired(spec, candidate, other.frame, f"the file {name}") or Compared(
        "unpaired", labelled(other.frame), labelled(candidate.frame), f"the file {name}, on other rows"
    )


def compared_with_production(
    spec: MonitorSpec, paths: MonitorPaths, candidate: Candidate, version: str | None, now: datetime
) -> Compared:
    """The champion is what production said: of the candidate's own rows where it saw them, else of recent ones.

    Parameters
    ----------
    spec, paths
        The monitor.
    candidate : Candidate
    version : str, optional
        Model version that is the champion; default: the one with the most rows in the newest windows.
    now : datetime
        Decides whose labels are due.

    Raises
    ------
    SightlineError
        There is no such version, or no production.
    """
    with duckdb.connect() as con:
        for name, value in SETTINGS.items():
            con.execute(f"SET {name} = ?", [value])
        prepare(con, spec, paths)
        version = _champion(con, spec, version)
        named = "production" if version is None else f"version {version} in production"
        if candidate.has_ids:
            found = _paired(spec, candidate, _of_ids(con, spec, candidate.frame, version, now), named)
            if found is not None:
                return found
        recent, first, last = _recent(con, spec, version, now)
    source = f"{named}, on other rows ({len(recent)} labelled ones from {first} to {last})"
    note = "the rows are others: what tells the two sets apart is part of the difference"
    return Compared("unpaired", recent, labelled(candidate.frame), source, (note,))


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose truth is known."""
    return frame.filter(pl.any_horizontal(pl.col(LABELS).is_not_null()))


def _paired(spec: MonitorSpec, candidate: Candidate, champion: pl.DataFrame, source: str) -> Compared | None:
    """The rows that both judged, with the candidate's labels where it has some, else the champion's; None if few."""
    names = [name for name in outputs(spec) if name in champion.columns]
    other = champion.select(
        "prediction_id",
        *(pl.col(n).alias(f"_champion_{n}") for n in names),
        *(pl.col(n).alias(f"_{n}") for n in LABELS),
    )
    both = candidate.frame.join(other, on="prediction_id", how="inner", maintain_order="left")
    conflicts = both.filter(pl.any_horizontal((pl.col(n) != pl.col(f"_{n}")).fill_null(value=False) for n in LABELS))
    known = pl.any_horizontal(pl.col(LABELS).is_not_null())
    both = both.with_columns(pl.when(known).then(n).otherwise(f"_{n}").alias(n) for n in LABELS)
    both = labelled(both)
    answered = both.filter(_has_output(names, ""), _has_output(names, "_champion_"))
    n_silent, both = len(both) - len(answered), answered
    n_possible = max(len(labelled(candidate.frame)), len(both))
    if len(both) < spec.quality.min_labels or 2 * len(both) < n_possible:
        return None
    notes = [f"{len(both):,} of {len(candidate.frame):,} rows are shared and labelled"]
    if len(conflicts):
        notes.append(
            f"{len(conflicts):,} labels of the candidate contradict those of the champion's rows: its own count"
        )
    if n_silent:
        notes.append(f"{n_silent:,} labelled rows without an output of one of the models are left out for both")
    extra = [f"_champion_{n}" for n in names] + [f"_{n}" for n in LABELS]
    challenger = both.drop(extra)
    old = challenger.with_columns(both[f"_champion_{n}"].alias(n) for n in names)
    return Compared("paired", old, challenger, source, tuple(notes))


def _has_output(names: Sequence[str], prefix: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(f"{prefix}{name}").is_not_null() for name in names)


def _champion(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, version: str | None) -> str | None:
    if spec.columns.model_version is None:
        if version is not None:
            fix = "name the column under columns.model_version, or leave out --champion"
            raise SightlineError(f"{spec.id} logs no model version, so {version!r} cannot be found", fix=fix)
        return None
    newest = f"SELECT DISTINCT window_key FROM raw.inferences ORDER BY 1 DESC LIMIT {RECENT_WINDOWS}"  # noqa: S608 (a number)
    rows = con.sql(
        f"SELECT model_version, count(*) FROM raw.inferences WHERE window_key IN ({newest}) "  # noqa: S608 (constants)
        "AND model_version IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    names = [name for name, _ in rows]
    if version is None:
        return names[0] if names else None
    [(n,)] = con.sql("SELECT count(*) FROM raw.inferences WHERE model_version = ?", params=[version]).fetchall()
    if not n:
        what = f"production has no row of the version {version!r}"
        raise SightlineError(what, fix=f"the newest windows have {', '.join(map(repr, names)) or 'none'}")
    return version


def _columns(spec: MonitorSpec) -> str:
    names = ["prediction_id", "bucket", *outputs(spec), *(f"g_{name}" for name in spec.columns.segments)]
    return ", ".join(f"r.{quote(name)}" for name in names)


def _due(spec: MonitorSpec, keys: Iterable[str], now: datetime) -> list[str]:
    """Windows all of whose labels should be there: those that come first are not like the others."""
    return [key for key in keys if now >= settled_at(spec, key)]


def _of_ids(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, frame: pl.DataFrame, version: str | None, now: datetime
) -> pl.DataFrame:
    """What production said of some predictions, with the labels of windows whose labels are due."""
    con.register("candidate_ids", to_arrow(frame.select("prediction_id")))
    condition = "true" if version is None else f"r.model_version = {literal(version)}"
    rows = con.sql(
        f"SELECT r.window_key, {_columns(spec)}, labels.label_class, labels.label_value "  # noqa: S608 (all quoted)
        "FROM raw.inferences AS r SEMI JOIN candidate_ids AS c ON r.prediction_id = c.prediction_id "
        "LEFT JOIN raw.current_labels AS labels "
        "ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id "
        f"WHERE {condition}"
    ).pl()
    rows = rows.unique("prediction_id", keep="none", maintain_order=True)
    due = _due(spec, rows["window_key"].unique(), now)
    is_due = pl.col("window_key").is_in(due)
    return rows.with_columns(pl.when(is_due).then(name).alias(name) for name in LABELS).drop("window_key")


def _recent(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, version: str | None, now: datetime
) -> tuple[pl.DataFrame, str, str]:
    """Labelled rows of the newest windows whose labels are due."""
    found = con.sql("SELECT DISTINCT window_key FROM raw.labels ORDER BY 1 DESC").fetchall()
    keys = _due(spec, (key for (key,) in found), now)[:RECENT_WINDOWS]
    if not keys:
        fix = "compare with a scored file: --against FILE"
        raise SightlineError(f"production of {spec.id} has no window with all of its labels to compare with", fix=fix)
    here = f"window_key IN ({', '.join(map(literal, keys))})"
    condition = "true" if version is None else f"r.model_version = {literal(version)}"
    rows = con.sql(
        f"SELECT {_columns(spec)}, labels.label_class, labels.label_value "  # noqa: S608 (all quoted)
        f"FROM (SELECT * FROM raw.inferences WHERE {here}) AS r "
        f"JOIN (SELECT * FROM raw.current_labels WHERE {here}) AS labels "
        f"ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id WHERE {condition}"
    ).pl()
    return rows, min(keys), max(keys)
