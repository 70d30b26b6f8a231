"""Values at, just below and just above frozen cuts are counted where they belong, however far apart the cuts lie."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from sightline.home import Home
from sightline.warehouse import connect, ensure_reference
from tests.dbt.support import START, Bench, spec_of

PER_DAY = 2_000
EXTREMES = [0.0, -0.0, 5e-324, -5e-324, 1e-300, 2.0**60, -(2.0**60), 1e18, 1.7e308, -1.7e308]


def references(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns whose cuts are one scale apart, many, none, whole, huge, and few beside a value that is often met."""
    normal = rng.normal(size=PER_DAY)
    return {
        "one_scale": normal,
        "far_from_zero": 1e6 + normal,
        "with_zeros": np.where(rng.random(PER_DAY) < 0.3, 0.0, normal),
        "near_zero": rng.random(PER_DAY) ** 12,
        "all_scales": np.exp(25 * normal),
        "tiny": normal * 1e-290,
        "huge": normal * 1e250,
        "whole": np.floor(1000 * normal),
        "nanoseconds": np.floor(1.7e18 + 1e15 * normal),
        "few_values": rng.integers(0, 4, PER_DAY).astype(float),
    }


def inferences(day: int, columns: dict[str, np.ndarray]) -> pl.DataFrame:
    """Rows of a day, as many as the longest column has; the others end in nulls."""
    n = max(map(len, columns.values()))
    times = [START.replace(tzinfo=None) + timedelta(days=day, milliseconds=i) for i in range(n)]
    filled = {name: [*map(float, values), *[None] * (n - len(values))] for name, values in columns.items()}
    return pl.DataFrame(
        {"prediction_id": [f"{day}-{i}" for i in range(n)], "timestamp": times, "score": [0.5] * n} | filled
    )


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, np.ndarray], pl.DataFrame]:
    """A day that freezes the cuts, a day of the cuts and their neighbours, and the cuts."""
    rng = np.random.default_rng(11)
    first = references(rng)
    spec = spec_of(
        model={"id": "cuts", "task": "binary_classification"},
        columns={"score": "score", "features": dict.fromkeys(first, "numeric")},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()},
    )
    bench = Bench(spec, Home(tmp_path_factory.mktemp("cuts")), inferences(0, first), pl.DataFrame())
    bench.land("inferences", "first", bench.inferences)
    assert ensure_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    with connect(bench.paths, read_only=True) as con:
        cuts = con.sql("select column_name, cut, bin_id from control.cuts order by column_name, cut").pl()
    second = {}
    for name, values in first.items():
        own = cuts.filter((pl.col("column_name") == name) & pl.col("cut").is_finite())["cut"].to_numpy()
        near = [own, np.nextafter(own, np.inf), np.nextafter(own, -np.inf), 2 * own, -own, own * (1 + 1e-9)]
        second[name] = np.concatenate([*near, np.array(EXTREMES), rng.permutation(values)[:500]])
        second[name] = second[name][np.isfinite(second[name])]
    rows = inferences(1, second)
    bench.inferences = pl.concat([bench.inferences, rows])
    bench.land("inferences", "second", rows)
    bench.control()
    bench.build("--select", "+column_bins", "+column_moments")
    with connect(bench.paths, read_only=True) as con:  # as they lie in the lake
        lake = con.sql(f"select * from raw.inferences where window_key = '{bench.keys[1]}'").pl()
    return bench, {name: lake[f"f_{name}"].drop_nulls().to_numpy() for name in first}, cuts


def test_every_value_is_counted_in_the_bin_of_its_cut(counted):
    bench, values, cuts = counted
    found = bench.mart("column_bins").filter(segment="all", window_key=bench.keys[1])
    several = 0
    for name, column in values.items():
        own = cuts.filter(column_name=name)
        several += own.height > 11
        place = np.searchsorted(own["cut"].to_numpy(), column, side="left")
        bins, counts = np.unique(own["bin_id"].to_numpy()[place], return_counts=True)
        here = found.filter(column_name=name)
        counted_bins = dict(zip(here["bin_id"], here["n"], strict=True))
        assert {b: counted_bins.pop(b) for b in bins} == dict(zip(bins, counts, strict=True)), name
        assert sum(counted_bins.values()) == bench.inferences.height - PER_DAY - len(column), "the rest are nulls"
    assert several >= 6, "most columns have more cuts than are counted one by one"


def test_sums_are_those_of_exact_arithmetic(counted):
    bench, values, _ = counted
    with connect(bench.paths, read_only=True) as con:
        found = con.sql("select * from intermediate.int_numeric_columns_aggregated order by window_key").pl()
        lake = con.sql(f"select * from raw.inferences where window_key = '{bench.keys[0]}'").pl()
    for name in ("one_scale", "far_from_zero", "with_zeros", "near_zero", "whole", "nanoseconds", "few_values"):
        x = lake[f"f_{name}"].drop_nulls().to_numpy()
        [index] = [
            i for i in range(len(values)) if (found[f"min_x_{i}"][0], found[f"max_x_{i}"][0]) == (x.min(), x.max())
        ]
        assert found[f"sum_x_{index}"][0] == pytest.approx(math.fsum(x), rel=1e-14, abs=1e-13), name
        assert found[f"sum_xx_{index}"][0] == pytest.approx(math.fsum(x**2), rel=1e-15), name
