"""Numbers that are large beside their differences, from the landing file to the judgement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.home import Home
from sightline.judging import board, data_quality, drift
from sightline.judging.frames import Judged, Work
from sightline.warehouse import connect, ensure_reference
from tests.dbt.support import START, Bench, spec_of

N_DAYS, PER_DAY = 3, 600
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIRST_NS = int(START.timestamp() * 1e9)
DAY_NS = 86_400 * 10**9


def whole_numbers(path) -> Bench:
    """Ids beyond 2^53, nanoseconds since 1970, and small numbers; only the last day's ids are new ones."""
    rng = np.random.default_rng(531)
    n = N_DAYS * PER_DAY
    day = np.repeat(np.arange(N_DAYS), PER_DAY)
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [START.replace(tzinfo=None) + timedelta(days=float(x)) for x in day + rng.random(n)],
            "score": rng.random(n),
            "account": [2**53 + int(k) for k in rng.integers(0, 500, n)],
            "made_ns": [FIRST_NS + int(x) for x in rng.integers(0, DAY_NS, n)],
            "age": rng.integers(18, 90, n),
        }
    )
    spec = spec_of(
        model={"id": "whole", "task": "binary_classification"},
        columns={"score": "score", "features": dict.fromkeys(("account", "made_ns", "age"), "numeric")},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()},
    )
    return Bench(spec, Home(path), inferences, pl.DataFrame())


def judge(bench: Bench) -> tuple[Judged, Judged]:
    """Reference, dbt, drift and data quality."""
    reference = ensure_reference(bench.spec, bench.paths, bench.home)
    assert reference is not None
    bench.control()
    bench.build()
    with connect(bench.paths, read_only=True) as con:
        work = Work(bench.spec, bench.paths, con, bench.keys, reference.columns, NOW)
        return drift.judge(bench.spec, con, bench.keys, reference.columns), data_quality.judge(work)


def test_whole_numbers_that_doubles_cannot_tell_apart_are_not_judged(tmp_path):
    bench = whole_numbers(tmp_path)
    bench.land("inferences", "all", bench.inferences)
    found, quality = judge(bench)
    for judged in (found, quality):
        rows = judged.judgements.filter(~pl.col("metric").is_in(["null_rate", "not_finite_rate"]))
        lost = rows.filter(column="account")
        assert lost.height >= N_DAYS and lost["window_start"].n_unique() == N_DAYS
        assert set(lost["status"]) == {"insufficient_data"} and set(lost["reason_code"]) == {"imprecise"}
        assert lost["value"].null_count() == lost["ci_low"].null_count() == lost.height
        assert all("one and the same as 64-bit floats" in reason for reason in lost["reason"])
        told = rows.filter(pl.col("column").is_in(["made_ns", "age", "@score"]))
        assert "imprecise" not in set(told["reason_code"])
        assert {"made_ns", "age"} <= set(told.filter(pl.col("value").is_not_null())["column"])
    streams = found.evidence.filter(column="account").filter(pl.col("statistic") != "null_rate")
    assert streams.height and streams["value"].null_count() == streams.height
    assert set(streams["reason_code"]) == {"imprecise"}
    assert "imprecise" in board.LOUD, "the check `coverage` warns at once"
    rates = quality.judgements.filter(column="account", metric="null_rate")
    assert set(rates["status"]) == {"ok"} and set(rates["value"]) == {0.0}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_a_reference_file_of_such_numbers_is_known_for_it(tmp_path, suffix):
    bench = whole_numbers(tmp_path)
    getattr(bench.inferences, f"write_{suffix}")(tmp_path / f"reference.{suffix}")
    written = bench.spec.model_dump(mode="json") | {"reference": {"kind": "file", "path": f"reference.{suffix}"}}
    spec = type(bench.spec).model_validate(written | {"start": START.isoformat()})
    reference = ensure_reference(spec, bench.paths, bench.home)
    assert reference is not None
    assert {name for name, column in reference.columns.items() if column.is_imprecise} == {"account"}


def test_a_deviation_is_good_to_a_millionth_or_not_told(tmp_path):
    """Values of sd 1 around means of 1e3 to 1e12: sums of their squares tell the deviation up to about 7e4."""
    rng = np.random.default_rng(541)
    n = N_DAYS * PER_DAY
    day = np.repeat(np.arange(N_DAYS), PER_DAY)
    means = [10.0**k for k in (3, 4, 4.8, 5, 6, 9, 12)]
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [START.replace(tzinfo=None) + timedelta(days=float(x)) for x in day + rng.random(n)],
            "score": rng.random(n),
            **{f"x{k}": rng.normal(mean, 1, n) for k, mean in enumerate(means)},
        }
    )
    spec = spec_of(
        model={"id": "offset", "task": "binary_classification"},
        columns={"score": "score", "features": dict.fromkeys([f"x{k}" for k in range(len(means))], "numeric")},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()},
    )
    bench = Bench(spec, Home(tmp_path), inferences, pl.DataFrame())
    bench.land("inferences", "all", bench.inferences)
    _, quality = judge(bench)
    for k in range(len(means)):
        found = quality.judgements.filter(metric="standard_deviation", column=f"x{k}", model_version="all")
        assert found["status"].to_list() == ["ok" if k < 3 else "insufficient_data"] * N_DAYS
        days = inferences.with_columns(day=day).group_by("day", maintain_order=True)
        for value, (_, rows) in zip(found.sort("window_start")["value"], days, strict=True):
            assert value == (pytest.approx(rows[f"x{k}"].std(), rel=1e-6) if k < 3 else None)
