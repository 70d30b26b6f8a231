"""The map of an embedding: rows of a window among rows of the reference, with the nearest of them by id."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multivariate.maps import Method, embedding_map
from sightline.home import MonitorPaths
from sightline.judging.text_vectors import TextVectors
from sightline.results.embedding_maps import MAP_SCHEMA, write_map
from sightline.spec.model import MonitorSpec
from sightline.warehouse.joint_reference import JointReference
from sightline.warehouse.map_rows import reference_rows, window_rows

MAP_ROWS, MAP_ASKED = 400, 100
"""Rows of either side; of texts whose vectors a function of the user's makes."""
LEAST_ROWS = 3


def map_frame(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    reference: JointReference,
    column: str,
    key: str,
    *,
    most: int | None = None,
    method: Method = "pca",
) -> pl.DataFrame:
    """One map.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    reference : JointReference
        Frozen.
    column : str
        Name of the embedding, one of `reference.embeddings`.
    key : str
        Key of the window.
    most : int, optional
        Rows of either side.
    method : {"pca", "umap"}

    Returns
    -------
    DataFrame
        `MAP_SCHEMA`; empty where the reference has fewer than 3 vectors, or the window none.
    """
    asked = column in reference.texts and reference.texts[column] is None
    rows = most or (MAP_ASKED if asked else MAP_ROWS)
    before = reference_rows(con, spec, paths, column, rows)
    after = window_rows(con, spec, column, [key], rows)
    empty = pl.DataFrame(schema=MAP_SCHEMA)
    if before is None or before.is_empty() or after.is_empty():
        return empty
    (old, known), (new, now) = (_vectors(spec, reference, column, frame) for frame in (before, after))
    if len(old) < LEAST_ROWS or not len(new):
        return empty
    places = embedding_map(old, new, method=method)
    sides = {"reference": known, "current": now}
    ids = known["prediction_id"]
    frames = [
        part.select(
            column=pl.lit(column),
            window_start=pl.lit(spec.window_start(key).replace(tzinfo=None)),
            side="side",
            prediction_id=sides[str(side)]["prediction_id"].gather(part["row"]),
            x="x",
            y="y",
            distance="distance",
            nearest=pl.Series(
                [None if near is None else ids.gather(near).to_list() for near in part["nearest"].to_list()],
                dtype=pl.List(pl.String),
            ),
            shown=sides[str(side)]["shown"].gather(part["row"]),
            method=pl.lit(method),
            model=pl.lit(reference.id),
        )
        for (side,), part in places.group_by("side", maintain_order=True)
    ]
    return pl.concat(frames).select(pl.col(name).cast(dtype) for name, dtype in MAP_SCHEMA.items())


def publish_maps(
    spec: MonitorSpec, paths: MonitorPaths, con: duckdb.DuckDBPyConnection, reference: JointReference, key: str
) -> None:
    """Write the maps of all embeddings in one window (`sightline.results.embedding_maps`)."""
    frames = [map_frame(spec, paths, con, reference, column, key) for column in reference.embeddings]
    if frames:
        write_map(paths, key, pl.concat(frames))


def _vectors(
    spec: MonitorSpec, reference: JointReference, column: str, frame: pl.DataFrame
) -> tuple[NDArray[np.float32], pl.DataFrame]:
    """Vectors that fit, and their rows."""
    dimension = reference.embeddings[column].dimension
    if column in reference.texts:
        [made] = TextVectors(spec)(column, reference.texts[column], [frame["value"]], dimension)
        return made.vectors.rows, frame[made.places]
    value = pl.col("value").cast(pl.List(pl.Float32))
    fitting = frame.filter(
        value.list.len() == dimension, value.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
    )
    rows = fitting["value"].cast(pl.List(pl.Float32)).explode(empty_as_null=False).to_numpy()
    return rows.reshape(len(fitting), dimension), fitting
