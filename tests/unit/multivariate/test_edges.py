"""Constant, empty and missing data: no number where there is none, and never a crash."""

from __future__ import annotations

import numpy as np
import polars as pl

from metrics_py.multivariate import embedding_distances, fit_embeddings, fit_joint, joint_distances, read_vectors
from metrics_py.multivariate.gauge import UNDEFINED
from metrics_py.multivariate.vectors import Vectors


def vectors(rows) -> Vectors:
    return read_vectors(pl.Series(np.asarray(rows, dtype=np.float32).tolist(), dtype=pl.List(pl.Float32)))


def nothing(d: int) -> Vectors:
    return Vectors(np.empty((0, d), dtype=np.float32), 0, 0, 0, {})


def by_name(streams, t: int = 0):
    return {s.statistic: (s.value[t], s.display[t], s.reason[t]) for s in streams}


def test_a_constant_reference_has_no_hotelling():
    constant = vectors(np.ones((300, 4)))
    model = fit_embeddings(constant.rows, [str(k) for k in range(10)], [constant] * 10)
    found = by_name(embedding_distances(model, ["now"], [model.window(vectors(2 * np.ones((300, 4))))]).streams)
    assert found["hotelling"][2] == UNDEFINED
    assert found["centroid_distance"][1] == 2
    assert found["norm"][1] == 4


def test_empty_windows_of_the_reference_do_not_say_how_days_scatter():
    rng = np.random.default_rng(2)
    days = [vectors(rng.standard_normal((300, 4)) + 5) for _ in range(20)]
    sample = np.concatenate([day.rows for day in days])
    now = vectors(rng.standard_normal((300, 4)) + 5.3)
    found = []
    for parts in (days, [*days, *[nothing(4)] * 5]):
        model = fit_embeddings(sample, [str(k) for k in range(len(parts))], parts)
        found.append(by_name(embedding_distances(model, ["now"], [model.window(now)]).streams)["hotelling"][1])
    assert found[0] == found[1] > 10


def test_a_table_without_values_has_no_distance_of_correlations():
    rng = np.random.default_rng(3)
    columns = {"a": rng.standard_normal(500), "b": np.full(500, np.nan), "c": rng.standard_normal(500)}
    model = fit_joint(columns, [], [columns])
    assert model.columns == ("a", "c")
    window = model.window({"a": np.full(500, np.nan), "b": columns["b"], "c": np.full(500, np.inf)})
    found = by_name(joint_distances(model, ["now"], [window]).streams)
    assert found["correlation_distance"][2] == UNDEFINED
    assert found["pca_error"][2] == UNDEFINED
    assert np.isfinite(found["rff_distance"][0])


def test_too_few_rows_are_told():
    rng = np.random.default_rng(4)
    columns = {"a": rng.standard_normal(500), "b": rng.standard_normal(500)}
    model = fit_joint(columns, [], [columns])
    window = model.window({name: values[:50] for name, values in columns.items()})
    told = by_name(joint_distances(model, ["now"], [window], design_effect=2.0).streams)["rff_distance"][2]
    assert told == "50 rows in the window count as 25 independent ones, 200 needed: judge longer windows"
