"""Samples of rows with their inputs: of a window, and of the labelled rows of the reference.

Which rows are in a sample follows from a hash of their ids: it is the same however often it is drawn. That of the
reference is kept beside the profile, and drawn again when files of its windows in the lake have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import duckdb
import polars as pl

from sightline.durable import replace_file
from sightline.home import MonitorPaths
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import recover_if_needed
from sightline.lake.store.schema import literal, quote
from sightline.spec.flows import weighted_inputs
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_data import ReferenceData
from sightline.warehouse.settings import negative_class

MOST_ROWS = 20_000
"""Rows of a sample."""

FORMAT = 1
SPARE = 1.2
"""So many times the rows of a sample are looked at: how many ids have a small hash is chance."""

LABELLED = "labelled_rows"
"""Name of the sample of a reference file, among the aggregates of its labelled rows."""

SCORED = "isfinite(score) AND score IS NOT NULL"
ORDER = "md5_number_lower(prediction_id)"
"""Uniform below 2^64, and the same in every release of DuckDB."""


def window_rows(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, key: str) -> pl.DataFrame:
    """At most `MOST_ROWS` scored rows of a window.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    spec : MonitorSpec
    key : str
        Key of the window: only its files are read.

    Returns
    -------
    DataFrame
        ``score, bucket`` and the columns ``f_<name>`` of `sightline.spec.flows.weighted_inputs`.
    """
    return drawn_scored(con, spec, [key])


def drawn_scored(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, keys: Sequence[str]) -> pl.DataFrame:
    """As `window_rows`, of several windows together."""
    here = f"window_key BETWEEN {literal(min(keys))} AND {literal(max(keys))} AND window_key IN ({_list(keys)})"
    [(n,)] = con.sql(f"SELECT count(*) FROM raw.production WHERE {here}").fetchall()  # noqa: S608 (quoted)
    return con.sql(
        f"SELECT {_items(spec)} FROM raw.production "  # noqa: S608 (all quoted)
        f"WHERE {here} AND {SCORED} AND {_drawn(n)} ORDER BY {ORDER}, model_version LIMIT {MOST_ROWS}"
    ).pl()


def labelled_rows(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, paths: MonitorPaths, keys: Sequence[str]
) -> pl.DataFrame:
    """At most `MOST_ROWS` labelled and scored rows of some windows.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    spec : MonitorSpec
    paths : MonitorPaths
        The sample that was drawn last is kept in `paths.reference`.
    keys : sequence of str
        Keys of the reference's windows.

    Returns
    -------
    DataFrame
        As of `window_rows`, and ``is_positive``.
    """
    file = paths.reference / f"{LABELLED}-{_fingerprint(spec, paths, keys)}.parquet"
    if file.exists():
        return pl.read_parquet(file, glob=False)
    rows = _draw_labelled(con, spec, keys)
    for older in file.parent.glob(f"{LABELLED}-*.parquet"):
        older.unlink(missing_ok=True)
    replace_file(file, rows.write_parquet)
    return rows


def drawn_labelled(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, keys: Sequence[str]) -> pl.DataFrame:
    """As `labelled_rows`, of any windows; kept nowhere."""
    return _draw_labelled(con, spec, keys)


def labelled_rows_of_file(spec: MonitorSpec, data: ReferenceData) -> pl.DataFrame:
    """As `labelled_rows`, of a reference file."""
    positive = f"label_class = {literal(spec.positive_class)} AS is_positive"
    items = f"{_items(spec)}, {positive}, {ORDER} AS drawn"
    rows = data.select(items, True).filter(pl.col("score").is_finite() & pl.col("is_positive").is_not_null())
    return rows.sort("drawn", maintain_order=True).head(MOST_ROWS).drop("drawn")


def _draw_labelled(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, keys: Sequence[str]) -> pl.DataFrame:
    here = f"window_key BETWEEN {literal(min(keys))} AND {literal(max(keys))} AND window_key IN ({_list(keys)})"
    table = "inferences" if spec.is_silence_negative else "labels"
    [(n,)] = con.sql(f"SELECT count(*) FROM raw.{table} WHERE {here}").fetchall()  # noqa: S608 (all quoted)
    join, said = "INNER JOIN", "labels.label_class"
    if spec.is_silence_negative:
        join, said = "LEFT JOIN", f"coalesce({said}, {literal(negative_class(spec))})"
    return con.sql(
        f"""
        SELECT {_items(spec, "r.")}, {said} = {literal(spec.positive_class)} AS is_positive
        FROM (SELECT * FROM raw.production WHERE {here} AND {SCORED} AND {_drawn(n)}) AS r
        {join} (SELECT * FROM raw.current_labels WHERE {here} AND {_drawn(n)}) AS labels
        ON r.window_key = labels.window_key AND r.prediction_id = labels.prediction_id
        WHERE {said} IS NOT NULL
        ORDER BY md5_number_lower(r.prediction_id), r.model_version LIMIT {MOST_ROWS}
        """  # noqa: S608 (all quoted)
    ).pl()


def _items(spec: MonitorSpec, of: str = "") -> str:
    names = ["score", "bucket", *(f"f_{name}" for name in weighted_inputs(spec))]
    return ", ".join(f"{of}{quote(name)} AS {quote(name)}" for name in names)


def _drawn(n: int) -> str:
    """Condition that a little more than `MOST_ROWS` of n rows fulfil."""
    share = SPARE * MOST_ROWS / max(n, 1)
    return "true" if share >= 1 else f"{ORDER} < {int(share * 2**64)}"


def _list(keys: Sequence[str]) -> str:
    return ", ".join(map(literal, keys))


def _fingerprint(spec: MonitorSpec, paths: MonitorPaths, keys: Sequence[str]) -> str:
    """Of all that a sample of labelled rows depends on: files of the lake are never changed, only replaced."""
    recover_if_needed(paths)
    with open_ledger(paths.ledger, create=False) as ledger:
        files = [[part.path for part in ledger.parts(kind, keys)] for kind in ("inferences", "labels")]
    labels = [spec.positive_class, negative_class(spec), spec.is_silence_negative]
    content = [FORMAT, MOST_ROWS, files, sorted(keys), {n: str(k) for n, k in weighted_inputs(spec).items()}, labels]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
