"""What three ordinary monitors do not have: ranking, labels by silence, odd values, revisions, rejected rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orchestration.resources import PROJECT_DIR
from sightline.engines import spark
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.home_file import EngineSettings
from sightline.warehouse import connect, ensure_reference
from tests.dbt.ranking_world import bench_of, rows_of
from tests.dbt.support import START, Bench, spec_of
from tests.dbt.test_silence import frauds
from tests.spark.homes import assert_same, marts
from tests.spark.small import small

ODD = ["a\\b", "c\nd", "e'f", 'g"h', "${x}", "{i}", "[j]", "", "  k ", "ü😀", "\t"]
BUILD = ["build", "--exclude-resource-type", "unit_test"]


def ranking(root: Path) -> Bench:
    return bench_of(root, rows_of(np.random.default_rng(3)))


def silence(root: Path) -> Bench:
    bench = frauds(root)
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    return bench


def odd(root: Path) -> Bench:
    """Signs that mean something to SQL and globs, numbers at the edges, labels that change, rows that are refused."""
    rng = np.random.default_rng(5)
    n = 900
    at = [START.replace(tzinfo=None) + timedelta(minutes=5 * i) for i in range(n)]
    x = rng.normal(1e9, 1, n)
    x[::50], x[1::50], x[2::70] = np.inf, np.nan, -np.inf
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": at,
            "version": rng.choice(["v\\1", "v'2"], n),
            "score": np.clip(rng.normal(0.5, 0.4, n), -0.1, 1.1),
            "x": x,
            "edge": rng.choice([2**53 + 1.0, 1e300, -1e-310, 0.1, -0.0], n),
            "cat": rng.choice(ODD, n),
            "text": rng.choice(["👩‍🚀 ok", "naïve", "", " "], n),
            "none": pl.Series([None] * n, dtype=pl.Float64),
            "flag": rng.random(n) < 0.3,
            "seg": rng.choice(ODD[:8], n),
            "when": [START.replace(tzinfo=None) + timedelta(hours=int(h)) for h in rng.integers(0, 4000, n)],
        }
    )
    number = dict.fromkeys(("x", "edge", "none"), "numeric")
    other = {"flag": "boolean", "when": "datetime", "text": {"kind": "text", "descriptors": []}}
    spec = spec_of(
        model={"id": "odd", "task": "binary_classification"},
        columns={
            "score": "score",
            "model_version": "version",
            "segments": ["seg"],
            "features": {**number, **other, "cat": {"kind": "categorical", "allowed": ODD[:5]}},
        },
        labels={"column": "y", "observed_at": "seen", "positive": "ja\\", "negative": ["nein'"]},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=2)).isoformat()},
        value_matrix={"ja\\": {"ja\\": 2.0, "nein'": -1.0}},
        metrics=[
            {"name": "lengths", "sql": "case when f_cat = 'a\\b' then 1 else length(f_text) end"},
            {"name": "caught", "sql": "case when label = 'ja\\' then score end", "needs_label": True},
        ],
    )
    bench = Bench(spec, Home(root), inferences, pl.DataFrame())
    bench.land("inferences", "first", inferences.head(400))
    is_bad = pl.int_range(pl.len()) % 37 == 0
    rest = inferences[400:].with_columns(
        edge=pl.when(is_bad).then(pl.lit("bad")).otherwise(pl.col("edge").cast(pl.String)),
        prediction_id=pl.when(pl.int_range(pl.len()) % 91 == 0).then(None).otherwise(pl.col("prediction_id")),
    )
    bench.land("inferences", "second", pl.concat([rest, rest.head(5)]))
    truth = np.where(rng.random(n) < 0.5, "ja\\", "nein'")
    seen = [moment + timedelta(hours=float(h)) for moment, h in zip(at, rng.exponential(30, n), strict=True)]
    labels = pl.DataFrame({"prediction_id": inferences["prediction_id"], "y": truth, "seen": seen})
    bench.land("labels", "first", labels.filter(pl.Series(rng.random(n) < 0.8)))
    changed = labels.sample(150, seed=1).with_columns(
        y=pl.Series(rng.choice(["ja\\", "nein'", "kaputt"], 150)), seen=pl.col("seen") + timedelta(days=1)
    )
    bench.land("labels", "changed", changed)
    return bench


@pytest.mark.full
@pytest.mark.parametrize("world", [ranking, silence, odd])
def test_odd_worlds_have_the_marts_of_duckdb(tmp_path, world: Callable[[Path], Bench]):
    bench = world(tmp_path / "a home [of] {odd} name")
    ensure_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    bench.build()
    tables = marts(bench.home, bench.spec.id)
    with connect(bench.paths) as con:
        for name in tables:
            con.execute(f"drop table marts.{name}")
    settings = EngineSettings(kind="spark", master="local[2]", work=tmp_path)
    manifest = json.loads((bench.paths.dbt / "target" / "manifest.json").read_text())
    built = spark.build(bench.spec, bench.paths, settings, BUILD, project=PROJECT_DIR, manifest=manifest)
    assert built.error is None, built.error
    assert_same(tables, marts(bench.home, bench.spec.id))
    with connect(bench.paths, read_only=True) as con:
        assert not con.sql("from control.refused_metrics").fetchall()


def test_a_work_folder_whose_name_spark_takes_for_a_pattern_is_refused(tmp_path):
    bench = small(tmp_path / "home [1]")
    settings = EngineSettings(kind="spark", master="local[2]")
    with pytest.raises(SightlineError, match=r"set `engine\.work`") as caught:
        spark.build(bench.spec, bench.paths, settings, BUILD, project=PROJECT_DIR, manifest={})
    assert "home [1]" in str(caught.value)
