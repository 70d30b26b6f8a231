"""The map of embeddings: places, nearest rows, and what is new."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.multivariate import embedding_map


def test_a_cluster_of_its_own_is_farthest_and_the_nearest_rows_are_right():
    rng = np.random.default_rng(5)
    old, new = rng.standard_normal((400, 12)), rng.standard_normal((60, 12))
    new[:6] += 8
    found = embedding_map(old, new, nearest=2)
    current = found.filter(pl.col("side") == "current")
    assert set(current.sort("distance", descending=True).head(6)["row"]) == set(range(6))
    for row, distance, nearest in current.select("row", "distance", "nearest").rows():
        direct = np.sqrt(((old - new[row]) ** 2).sum(axis=1))
        assert nearest == np.argsort(direct)[:2].tolist()
        assert distance == pytest.approx(direct.min())
    reference = found.filter(pl.col("side") == "reference")
    assert np.abs(np.corrcoef(reference["x"], reference["y"])[0, 1]) < 1e-9
    assert reference["x"].std() >= reference["y"].std()


def test_large_sets_are_thinned_the_same_way(tmp_path):
    rng = np.random.default_rng(6)
    old = rng.standard_normal((6000, 3))
    first, again = embedding_map(old, old[:10]), embedding_map(old, old[:10])
    assert first.equals(again)
    assert first.group_by("side").len().sort("side").rows() == [("current", 10), ("reference", 5000)]
    first.write_parquet(tmp_path / "map.parquet")
    assert pl.read_parquet(tmp_path / "map.parquet").equals(first)


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="vectors of one dimension"):
        embedding_map(np.ones((5, 3)), np.ones((5, 4)))
