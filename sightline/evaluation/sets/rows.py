"""The rows a candidate is judged on: its own file, and what the champion said of the same rows or of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from metrics_py.wording import count
from sightline.arrow import to_arrow
from sightline.errors import SightlineError
from sightline.evaluation.sets.queries import LIST, whole_lists
from sightline.evaluation.sets.truth import conflicts, other_units, require_one_list, require_one_truth
from sightline.evaluation.sets.unread import words_of_unread
from sightline.home import MonitorPaths
from sightline.lake.store.schema import literal, quote
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import settled_at
from sightline.warehouse.connection import SETTINGS
from sightline.warehouse.reference_data import rows_of_file
from sightline.warehouse.reference_quality import decided_class
from sightline.warehouse.settings import negative_class
from sightline.warehouse.views import prepare

RECENT_WINDOWS = 28
"""Production of so many windows, the newest with labels, where the candidate's rows are others."""
LABELS = ("label_class", "label_value")
OTHERS = "the rows are others: what tells the two sets apart is part of the difference"
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
    has_entities : bool
        It says which rows belong together, or there is nothing to say.
    unread : tuple of str
        Values of columns that cannot be read, with their numbers.
    """

    frame: pl.DataFrame
    n_rejected: int
    n_bad_labels: int
    n_repeated: int
    has_ids: bool
    has_entities: bool
    unread: tuple[str, ...] = ()


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
    silent : pair of (int, int)
        Of champion and challenger: labelled rows without an output, and all labelled ones.
    doubt : str
        Why nothing can be told from them, or empty.
    """

    how: How
    champion: pl.DataFrame
    challenger: pl.DataFrame
    source: str
    notes: tuple[str, ...] = ()
    silent: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    doubt: str = ""


def outputs(spec: MonitorSpec) -> list[str]:
    """Lake columns that a model fills: what differs between two models of one row."""
    return ["score", "prediction", "predicted_class", *(f"p_{name}" for name in spec.columns.class_scores)]


def read_candidate(spec: MonitorSpec, file: Path, whose: str = "candidate") -> Candidate:
    """Read a scored evaluation set as intake would read it; numbers and times may be text in every format.

    Parameters
    ----------
    spec : MonitorSpec
    file : Path
        Parquet, CSV, NDJSON or a folder of them.
    whose : str, default "candidate"
        Whose it is, for people.

    Raises
    ------
    SightlineError
        It cannot be read, holds no row, or says different things of one prediction.
    """
    found = rows_of_file(spec, file, file.name, whose)
    frame = found.frame
    assert frame is not None  # of a file
    if frame.is_empty():
        what = f"no row of the {whose} file can be read ({found.n_rejected} were refused)"
        raise SightlineError(what, where=str(file), fix="see the columns that the monitor's file names")
    if not frame.select(pl.any_horizontal(pl.col(outputs(spec)).is_not_null().any())).item():
        told = [spec.columns.score, spec.columns.prediction, *spec.columns.class_scores.values()]
        columns = ", ".join(repr(name) for name in told if name)
        raise SightlineError(
            f"no row of the {whose} file says what the model predicted",
            where=str(file),
            fix=f"it needs the column {columns}, with values that can be read (a score lies between 0 and 1)",
        )
    if spec.model.task == "ranking" and frame["query_id"].null_count() == len(frame):
        what = f"no row of the {whose} file says which query it belongs to"
        fix = f"it needs the column {spec.columns.query_id!r}: rows with the same value are one list"
        raise SightlineError(what, where=str(file), fix=fix)
    frame = frame.drop([name for name in ("batch_id", "row_number", "received_at") if name in frame.columns])
    unique = frame.unique(maintain_order=True)
    twice = unique.filter(pl.col("prediction_id").is_duplicated())["prediction_id"]
    if len(twice):
        raise SightlineError(
            f"the {whose} file says different things of {twice.n_unique()} predictions, such as {twice[0]!r}",
            where=str(file),
            fix=f"one row per {spec.columns.prediction_id}",
        )
    has_entities = spec.columns.entity_id is None or unique["entity_id"].null_count() < len(unique)
    return Candidate(
        unique,
        found.n_rejected,
        found.n_bad_labels,
        len(frame) - len(unique),
        found.has_ids,
        has_entities,
        words_of_unread(found.unread),
    )


def compared_with_file(spec: MonitorSpec, candidate: Candidate, other: Candidate, name: str) -> Compared:
    """Champion and challenger are two scored files: paired by id where they share rows, else different rows."""
    source, notes = f"the file {name}", [OTHERS]
    if candidate.has_ids and other.has_ids:
        found = _paired(spec, candidate, other.frame, source)
        if found is not None:
            return found
    else:
        notes.append(f"a file has no prediction ids ({spec.columns.prediction_id!r}), so no row can be found again")
    known, lost = whole_lists(spec, labelled(other.frame), other.frame)
    return _others(spec, known, candidate, f"{source}, on other rows", [*notes, *lost])


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
    source = f"{named}, on other rows ({count(len(recent), 'labelled rows')} from {first} to {last})"
    return _others(spec, recent, candidate, source, [OTHERS])


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose truth is known."""
    return frame.filter(pl.any_horizontal(pl.col(LABELS).is_not_null()))


def _paired(spec: MonitorSpec, candidate: Candidate, champion: pl.DataFrame, source: str) -> Compared | None:
    """The rows that both judged, with the candidate's labels where it has some, else the champion's; None if few.

    Entities and segments that the candidate's file does not have are those of the champion's rows.
    """
    names, n_rows = [name for name in outputs(spec) if name in champion.columns], len(candidate.frame)
    kept = [] if candidate.has_entities else ["bucket", "entity_id"]
    kept += [n for n in _segments_of(spec) if n in champion.columns and candidate.frame[n].null_count() == n_rows]
    lists = [LIST] if spec.model.task == "ranking" and LIST in champion.columns else []
    other = champion.select(
        "prediction_id",
        *(pl.col(n).alias(f"_champion_{n}") for n in names),
        *(pl.col(n).alias(f"_{n}") for n in (*LABELS, *kept, *lists)),
    )
    both = candidate.frame.join(other, on="prediction_id", how="inner", maintain_order="left")
    both = both.with_columns(pl.col(f"_{n}").alias(n) for n in kept)
    shared = both
    conflicting = both.filter(pl.any_horizontal(conflicts(n, "_") for n in LABELS))
    known = pl.any_horizontal(pl.col(LABELS).is_not_null())
    both = both.with_columns(pl.when(known).then(n).otherwise(f"_{n}").alias(n) for n in LABELS)
    both, lost = whole_lists(spec, labelled(both), candidate.frame)
    n_possible = max(len(labelled(candidate.frame)), len(both))
    if len(both) < spec.quality.min_labels or 2 * len(both) < n_possible:
        return None
    require_one_truth(spec, shared, "_", source)
    require_one_list(spec, shared, "_", source)
    old = both.with_columns(pl.col(f"_champion_{n}").alias(n) for n in names)
    old, new, told = _both_scored(spec, old, both)
    is_answered, silent = _same_answers(spec, old, new), (_silent(spec, old), _silent(spec, new))
    n_silent, both, old, new = int((~is_answered).sum()), *(frame.filter(is_answered) for frame in (both, old, new))
    notes = [f"{len(both):,} of {count(len(candidate.frame), 'rows')} shared and labelled"]
    if len(conflicting):
        notes.append(f"{count(len(conflicting), 'labels')} against that of the champion's row: the candidate's counts")
    if n_silent:
        notes.append(f"{count(n_silent, 'labelled rows')} without an output of one of the models: left out for both")
    extra = [f"_champion_{n}" for n in names] + [f"_{n}" for n in (*LABELS, *kept, *lists)]
    return Compared("paired", old.drop(extra), new.drop(extra), source, (*notes, *lost, *told), silent)


def _others(
    spec: MonitorSpec, champion: pl.DataFrame, candidate: Candidate, source: str, notes: Sequence[str]
) -> Compared:
    known, lost = whole_lists(spec, labelled(candidate.frame), candidate.frame)
    old, new, told = _both_scored(spec, champion, known)
    if not candidate.has_entities:
        told.append(
            f"the candidate has no column {spec.columns.entity_id!r}: its rows count as independent of each other"
        )
    silent = (_silent(spec, old), _silent(spec, new))
    return Compared("unpaired", old, new, source, (*notes, *lost, *told), silent, other_units(spec, old, new))


def _both_scored(
    spec: MonitorSpec, champion: pl.DataFrame, challenger: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Scores of the classes that both models score: a mean over other classes would be another metric."""
    notes: list[str] = []
    decides = [frame["predicted_class"].null_count() < len(frame) for frame in (champion, challenger)]
    if spec.model.task == "binary_classification" and spec.columns.prediction and decides[0] != decides[1]:
        whose = "challenger" if decides[0] else "champion"
        notes.append(f"decisions of the {whose} are those of its score and the threshold {spec.quality.threshold:g}")
    for name, column in spec.columns.class_scores.items():
        lacks = [frame[f"p_{name}"].null_count() == len(frame) for frame in (champion, challenger)]
        if lacks[0] != lacks[1]:
            whose = "champion" if lacks[0] else "challenger"
            notes.append(f"the {whose} has no score of the class {name!r} ({column}): it is compared for neither model")
            empty = pl.lit(None, pl.Float64).alias(f"p_{name}")
            champion, challenger = champion.with_columns(empty), challenger.with_columns(empty)
    return champion, challenger, notes


def _silent(spec: MonitorSpec, frame: pl.DataFrame) -> tuple[int, int]:
    """Rows without any output, and all rows."""
    kinds = [pl.col(name).is_not_null() for name in outputs(spec) if name in frame.columns]
    return len(frame.filter(~pl.any_horizontal(*kinds, decided_class(spec).is_not_null()))), len(frame)


def _same_answers(spec: MonitorSpec, champion: pl.DataFrame, challenger: pl.DataFrame) -> pl.Series:
    """Rows of which both models say the same kinds of things: else a metric would be one of other rows for each."""
    parts: list[pl.DataFrame] = []
    for frame in (champion, challenger):
        kinds = [name for name in outputs(spec) if name in frame.columns and name != "predicted_class"]
        has = [pl.col(name).is_not_null().alias(name) for name in kinds]
        parts.append(frame.select(*has, decided=decided_class(spec).is_not_null()))
    old, new = parts
    told = [name for name in old.columns if old[name].any() and new[name].any()]
    same = pl.Series([True] * len(old), dtype=pl.Boolean)
    for name in told:
        same &= old[name] == new[name]
    answers = [part.select(pl.any_horizontal(pl.all())).to_series() for part in parts]
    return same & answers[0] & answers[1]


def _champion(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, version: str | None) -> str | None:
    if spec.columns.model_version is None:
        if version is not None:
            fix = "name the column under columns.model_version, or leave out --champion"
            raise SightlineError(f"{spec.id} logs no model version, so {version!r} cannot be found", fix=fix)
        return None
    newest = f"SELECT DISTINCT window_key FROM raw.production ORDER BY 1 DESC LIMIT {RECENT_WINDOWS}"  # noqa: S608 (a number)
    rows = con.sql(
        f"SELECT model_version, count(*) FROM raw.production WHERE window_key IN ({newest}) "  # noqa: S608 (constants)
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


def _segments_of(spec: MonitorSpec) -> list[str]:
    return [f"g_{name}" for name in spec.columns.segments]


def _columns(spec: MonitorSpec) -> str:
    names = ["prediction_id", "bucket", "entity_id", *outputs(spec), *_segments_of(spec)]
    query = [f"r.window_key || ' ' || r.query_id AS {LIST}"] if spec.model.task == "ranking" else []
    return ", ".join([*(f"r.{quote(name)}" for name in names), *query])


def due(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, keys: Iterable[str], now: datetime) -> list[str]:
    """Windows all of whose labels should be there: those that come first are not like the others.

    Silence is an answer (`labels.silence`) only where labels were seen to come in for as long as it takes.
    """
    until = now
    if spec.is_silence_negative:
        [(seen,)] = con.sql("SELECT max(observed_at) FROM raw.labels").fetchall()
        until = now if seen is None else min(now, seen.replace(tzinfo=UTC))
        if seen is None:
            return []
    return [key for key in keys if until >= settled_at(spec, key)]


def _labels(spec: MonitorSpec) -> str:
    """Labels of rows ``r`` joined to ``labels``; where only positives are reported the others are negative."""
    if not spec.is_silence_negative:
        return "labels.label_class, labels.label_value"
    value = "coalesce(labels.label_value, 0.0) AS label_value"
    if spec.model.task == "ranking":
        return f"labels.label_class, {value}"
    return f"coalesce(labels.label_class, {literal(negative_class(spec))}) AS label_class, {value}"


def _of_ids(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, frame: pl.DataFrame, version: str | None, now: datetime
) -> pl.DataFrame:
    """What production said of some predictions, with the labels of windows whose labels are due."""
    con.register("candidate_ids", to_arrow(frame.select("prediction_id")))
    rows = con.sql(
        f"SELECT r.window_key, {_columns(spec)}, {_labels(spec)} "  # noqa: S608 (all quoted)
        "FROM raw.inferences AS r SEMI JOIN candidate_ids AS c ON r.prediction_id = c.prediction_id "
        "LEFT JOIN raw.current_labels AS labels "
        "ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id "
        f"WHERE {_of_version(version)}"
    ).pl()
    rows = rows.unique("prediction_id", keep="none", maintain_order=True)
    settled = due(con, spec, rows["window_key"].unique(), now)
    is_due = pl.col("window_key").is_in(settled)
    return rows.with_columns(pl.when(is_due).then(name).alias(name) for name in LABELS).drop("window_key")


def _recent(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, version: str | None, now: datetime
) -> tuple[pl.DataFrame, str, str]:
    """Labelled rows of the newest windows in which the version has rows and whose labels are due."""
    with_labels = "" if spec.is_silence_negative else "SEMI JOIN raw.labels AS l ON r.window_key = l.window_key "
    found = con.sql(
        f"SELECT DISTINCT r.window_key FROM raw.inferences AS r {with_labels}"  # noqa: S608 (all quoted)
        f"WHERE {_of_version(version)} ORDER BY 1 DESC"
    ).fetchall()
    keys = due(con, spec, (key for (key,) in found), now)[:RECENT_WINDOWS]
    if not keys:
        fix = "compare with a scored file: --against FILE"
        raise SightlineError(f"production of {spec.id} has no window with all of its labels to compare with", fix=fix)
    here = f"window_key IN ({', '.join(map(literal, keys))})"
    join = "LEFT JOIN" if spec.is_silence_negative or spec.model.task == "ranking" else "JOIN"
    rows = con.sql(
        f"SELECT {_columns(spec)}, {_labels(spec)} "  # noqa: S608 (all quoted)
        f"FROM (SELECT * FROM raw.inferences WHERE {here}) AS r "
        f"{join} (SELECT * FROM raw.current_labels WHERE {here}) AS labels "
        f"ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id WHERE {_of_version(version)}"
    ).pl()
    return whole_lists(spec, labelled(rows), rows)[0], min(keys), max(keys)


def _of_version(version: str | None) -> str:
    return "true" if version is None else f"r.model_version = {literal(version)}"
