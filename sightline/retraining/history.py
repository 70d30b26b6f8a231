"""What a training at an earlier moment would have seen: inputs of the lake, with the labels that had come by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl

from sightline.errors import SightlineError
from sightline.evaluation.sets.rows import due, outputs
from sightline.home import MonitorPaths
from sightline.lake.store.schema import literal, quote
from sightline.retraining.versions import Version, in_service, version_of
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.warehouse.connection import SETTINGS
from sightline.warehouse.current_labels import ORDER
from sightline.warehouse.settings import negative_class
from sightline.warehouse.views import prepare

ROWS_PER_FIT = 20
"""Rows that are read at all, as a multiple of those of one training."""
UNVERSIONED = "unversioned"
"""The version of predictions that name none."""
MOST_CELLS = 60_000_000
"""Rows x inputs in memory."""
RECENT = timedelta(days=28)
"""The version in service is the one with the most rows in so much of the newest history."""


@dataclass(frozen=True)
class History:
    """A sample of the lake's predictions, always the same one.

    Attributes
    ----------
    rows : DataFrame
        One row per prediction: ``prediction_id, predicted_at, window_key, bucket, sample_order``, the inputs by the
        names of the lake, and ``label_class, label_value``, null where the window's labels are not due or there is
        none.
    revisions : DataFrame
        ``prediction_id, observed_at, place, label_class, label_value, is_retracted``: all that was said of them.
    served : DataFrame
        Outputs of the model in service: ``prediction_id`` and those of `outputs`.
    version : Version or None
        Which one that is.
    n_rows : int
        Predictions in the lake.
    until : datetime
        End of the newest window whose labels are due (naive UTC).
    notes : tuple of str
        What should be known of it.
    """

    rows: pl.DataFrame
    revisions: pl.DataFrame
    served: pl.DataFrame
    version: Version | None
    n_rows: int
    until: datetime
    notes: tuple[str, ...] = ()

    @property
    def is_sampled(self) -> bool:
        """Whether some predictions of the lake were left out."""
        return len(self.rows) < self.n_rows


def read_history(spec: MonitorSpec, paths: MonitorPaths, *, max_rows: int, now: datetime) -> History:
    """Read what a backtest needs, once.

    Parameters
    ----------
    spec, paths
        The monitor.
    max_rows : int
        Rows of one training; twenty times as many are read, or fewer where there are many inputs.
    now : datetime
        Decides whose labels are due.

    Raises
    ------
    SightlineError
        The lake is empty, or no window has all of its labels.
    """
    with duckdb.connect() as con:
        for name, value in SETTINGS.items():
            con.execute(f"SET {name} = ?", [value])
        prepare(con, spec, paths)
        [(n_rows,)] = con.sql("SELECT count(DISTINCT prediction_id) FROM raw.inferences").fetchall()
        keys = [key for (key,) in con.sql("SELECT DISTINCT window_key FROM raw.inferences").fetchall()]
        if not n_rows:
            fix = "load its history first: `sightline backfill MONITOR`"
            raise SightlineError(f"the lake of {spec.id} is empty", where=str(paths.lake), fix=fix)
        labelled = due(con, spec, keys, now)
        if not labelled:
            raise SightlineError(f"no window of {spec.id} has all of its labels yet", fix="wait until some are due")
        most = min(ROWS_PER_FIT * max_rows, MOST_CELLS // max(len(spec.columns.features), 1))
        sampled = _sampled(min(1.0, most / n_rows))
        notes: list[str] = []
        name, version = _in_service(con, spec, max(labelled), notes)
        rows = _rows(con, spec, sampled)
        revisions = _revisions(con, sampled)
        served = _served(con, spec, sampled, name)
    until = max(spec.window_start(key) for key in labelled).replace(tzinfo=None) + spec.window
    final = _with_labels(spec, rows, revisions, now.astimezone(UTC).replace(tzinfo=None))
    is_due = pl.col("window_key").is_in(labelled)
    final = final.with_columns(pl.when(is_due).then(name).alias(name) for name in ("label_class", "label_value"))
    return History(final, revisions, served, version, n_rows, until, tuple(notes))


def known_by(spec: MonitorSpec, history: History, moment: datetime, since: datetime) -> pl.DataFrame:
    """Labelled rows that a training at a moment could use.

    Parameters
    ----------
    spec : MonitorSpec
    history : History
    moment, since : datetime
        Naive UTC; predictions made in ``[since, moment)`` count.

    Returns
    -------
    DataFrame
        As `History.rows`, with the label of each prediction as it was known at the moment; a label that came, or was
        corrected, later does not count.
    """
    rows = history.rows.filter(pl.col("predicted_at").is_between(since, moment, closed="left"))
    found = _with_labels(spec, rows.drop("label_class", "label_value"), history.revisions, moment)
    return found.filter(pl.col("label_class").is_not_null() | pl.col("label_value").is_not_null())


def _sampled(share: float) -> str:
    """SQL condition on ``prediction_id``: the same rows each time, in whatever order they came."""
    return "true" if share >= 1 else f"md5_number_lower(prediction_id) % 1000000 < {int(share * 1_000_000)}"


def _rows(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, sampled: str) -> pl.DataFrame:
    names = ["predicted_at", "window_key", "bucket", *(f"f_{name}" for name in spec.columns.features)]
    first = ", ".join(f"first({quote(name)} ORDER BY model_version) AS {quote(name)}" for name in names)
    query = (
        f"SELECT prediction_id, md5_number_lower(prediction_id) AS sample_order, {first} FROM raw.inferences "  # noqa: S608 (quoted)
        f"WHERE {sampled} AND is_error IS NOT true GROUP BY prediction_id ORDER BY predicted_at, prediction_id"
    )
    return con.sql(query).pl()


def _revisions(con: duckdb.DuckDBPyConnection, sampled: str) -> pl.DataFrame:
    return con.sql(
        "SELECT prediction_id, observed_at, label_class, label_value, "  # noqa: S608 (constants)
        f"coalesce(is_retracted, false) AS is_retracted, row_number() OVER (ORDER BY {ORDER}) AS place "
        f"FROM raw.labels WHERE {sampled}"
    ).pl()


def _with_labels(spec: MonitorSpec, rows: pl.DataFrame, revisions: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The label of each row as it was known at a moment; where silence is negative it may be that of the silence."""
    known = revisions.filter(pl.col("observed_at") <= moment).sort("place").unique("prediction_id", keep="last")
    known = known.filter(~pl.col("is_retracted")).select("prediction_id", "label_class", "label_value")
    found = rows.join(known, on="prediction_id", how="left", maintain_order="left")
    limit = spec.labels.give_up_after if spec.labels is not None and spec.is_silence_negative else None
    if limit is None:
        return found
    waited = spec.window + spec.closing_time + limit
    over = [key for key in rows["window_key"].unique() if _naive(spec.window_start(key)) + waited <= moment]
    is_silent = pl.col("window_key").is_in(over) & pl.col("label_class").is_null()
    return found.with_columns(
        label_class=pl.when(is_silent).then(pl.lit(negative_class(spec))).otherwise("label_class"),
        label_value=pl.when(is_silent).then(0.0).otherwise("label_value"),
    )


def _in_service(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, newest: str, notes: list[str]
) -> tuple[str | None, Version | None]:
    """The version in service, and its name in the lake; of a monitor without versions the model itself."""
    since = spec.key(spec.window_start(newest) + spec.window - max(RECENT, spec.window))
    found = con.sql(
        "SELECT model_version, "  # noqa: S608 (quoted)
        f"count(*) FILTER (WHERE window_key >= ? AND window_key <= ? AND {production_sql(spec)}), min(predicted_at) "
        "FROM raw.inferences GROUP BY 1 ORDER BY 1",
        params=[since, newest],
    ).fetchall()
    named = {name or UNVERSIONED: name for name, _, _ in found}
    known = {name or UNVERSIONED: version_of(spec, name or UNVERSIONED, first) for name, _, first in found}
    version = in_service(spec, {name or UNVERSIONED: n for name, n, _ in found if n}, known, notes)
    return (named[version.name] if version else None), version


def _served(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, sampled: str, version: str | None) -> pl.DataFrame:
    names: Sequence[str] = ["prediction_id", *outputs(spec)]
    same = "model_version IS NULL" if version is None else f"model_version = {literal(version)}"
    query = f"SELECT {', '.join(map(quote, names))} FROM raw.inferences WHERE {sampled} AND {same}"  # noqa: S608 (quoted)
    return con.sql(query).pl().unique("prediction_id", keep="none")


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
