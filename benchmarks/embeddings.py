"""Embeddings: CPU seconds of one window, reading and sums, and of the columns of a table together.

A window of 100,000 vectors of 384 dimensions lies in a lake; `MOST_VECTORS` of them are drawn by a hash of their ids,
read and summed as the asset `drift` does it. Aim: 3 CPU seconds. The same for 20 numeric columns, and for the
texts that the built-in model reads. Run:
``python -m benchmarks embeddings [--rows 100000] [--dimension 384]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from metrics_py.multivariate import embedding_distances, fit_embeddings, fit_joint, joint_distances, read_vectors
from metrics_py.multivariate.text_vectors import fit_texts
from sightline.warehouse.joint_reference import MOST_TEXTS
from sightline.warehouse.joint_rows import MOST_ROWS, MOST_VECTORS, window_columns, window_vectors

KEY = "2026-01-05"
COLUMNS = [f"c{k}" for k in range(20)]
AIM = 3.0


def write_window(file: Path, rows: int, dimension: int) -> None:
    """A Parquet file as the lake has them."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((rows, dimension), dtype=np.float32)
    columns = {f"f_{name}": rng.standard_normal(rows) for name in COLUMNS}
    frame = pl.DataFrame(
        {"prediction_id": [f"id-{k}" for k in range(rows)], "model_version": ["1"] * rows, "window_key": [KEY] * rows}
    )
    held = pl.Series("f_v", vectors, dtype=pl.Array(pl.Float32, dimension)).cast(pl.List(pl.Float32))
    frame.with_columns(held, **columns).write_parquet(file)


def words(n: int) -> np.ndarray:
    """So many texts of 100 words each, by Zipf's law."""
    rng = np.random.default_rng(2)
    chance = 1 / np.arange(1, 20_001)
    return np.array([f"word{k}" for k in range(20_000)])[rng.choice(20_000, (n, 100), p=chance / chance.sum())]


def measured(name: str, work: Callable[[], object]) -> object:
    """Do it, and print its CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    print(f"  {name:<44} {time.process_time() - cpu:7.3f} s CPU {time.perf_counter() - wall:7.3f} s wall")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks embeddings", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        file = Path(folder) / "rows.parquet"
        write_window(file, given.rows, given.dimension)
        con.execute("SET threads = 2")
        con.execute("CREATE SCHEMA raw")
        con.execute(f"CREATE VIEW raw.production AS SELECT * FROM read_parquet('{file}')")  # noqa: S608 (our own name)
        drawn = min(given.rows, MOST_VECTORS)
        print(f"{given.rows:,} rows, {given.dimension} dimensions; {drawn:,} vectors and {MOST_ROWS:,} rows are drawn")
        before = time.process_time()
        vectors = measured(
            "read the vectors", lambda: read_vectors(window_vectors(con, [KEY], "v", given.rows), given.dimension)
        )
        assert hasattr(vectors, "rows")
        read = time.process_time() - before
        model = measured("freeze the reference (once)", lambda: fit_embeddings(vectors.rows[:20_000], [], [vectors]))  # pyright: ignore
        before = time.process_time()
        sums = measured("sums of the window", lambda: model.window(vectors))  # pyright: ignore
        measured("distances from the reference", lambda: embedding_distances(model, [KEY], [sums]))  # pyright: ignore
        total = read + time.process_time() - before
        print(
            f"  one window of embeddings: {total:.2f} CPU seconds, aim {AIM:g}: {'met' if total <= AIM else 'MISSED'}"
        )
        before = time.process_time()
        table = measured("read 20 columns", lambda: window_columns(con, [KEY], COLUMNS, given.rows))
        read = time.process_time() - before
        joint = measured("freeze the reference of 20 columns (once)", lambda: fit_joint(table, [], [table]))  # pyright: ignore
        before = time.process_time()
        own = measured("sums of 20 columns", lambda: joint.window(table))  # pyright: ignore
        measured("distances of 20 columns", lambda: joint_distances(joint, [KEY], [own]))  # pyright: ignore
        print(f"  one window of 20 columns together: {read + time.process_time() - before:.3f} CPU seconds")
        texts = pl.Series([" ".join(row) for row in words(MOST_TEXTS)])
        known = measured("freeze the built-in model of texts (once)", lambda: fit_texts(texts))
        measured(f"vectors of {MOST_TEXTS:,} texts of 100 words", lambda: known.transform(texts))  # pyright: ignore


if __name__ == "__main__":
    main()
