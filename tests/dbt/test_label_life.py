"""A label in the marts: set, taken back, set anew; and what earlier moments knew of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.home import Home
from sightline.judging.as_of import judgements_as_of
from sightline.warehouse import connect, ensure_reference, load_reference, write_control
from tests.dbt.support import START, Bench, spec_of

DAY = timedelta(days=1)
NAIVE = START.replace(tzinfo=None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Two days of ten predictions; their labels are known after one day."""
    n = 20
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [NAIVE + timedelta(hours=2.4 * i) for i in range(n)],
            "score": [i / n for i in range(n)],
            "plan": ["a", "b"] * 10,
        }
    )
    labels = inferences.select(
        "prediction_id", label=(pl.col("score") > 0.2).cast(pl.Int64), known=pl.col("timestamp") + DAY
    )
    spec = spec_of(
        start=START.isoformat(),
        model={"id": "small", "task": "binary_classification"},
        columns={"score": "score", "segments": ["plan"]},
        labels={"column": "label", "observed_at": "known"},
        reference={"kind": "window", "start": (START + DAY).isoformat(), "end": (START + 2 * DAY).isoformat()},
    )
    return Bench(spec, Home(tmp_path), inferences, labels)


def delayed(bench: Bench) -> dict[str, pl.DataFrame]:
    ensure_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    return bench.all_marts()


def told(ids: list[str], day: int, **columns: object) -> pl.DataFrame:
    frame = pl.DataFrame({"prediction_id": ids, "known": [NAIVE + day * DAY] * len(ids)})
    return frame.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def test_a_label_that_is_taken_back_leaves_every_mart_and_comes_again(bench: Bench) -> None:
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    before = delayed(bench)
    bench.land("labels", "back", told(["p0", "p3"], 10, retracted=True))
    found = delayed(bench)
    counts = found["label_counts"].filter(window_key="2026-01-05").sort("segment")
    wanted = ["segment", "n_predictions", "n_labelled", "n_revised", "n_retracted"]
    assert counts.select(wanted).rows() == [("all", 10, 8, 0, 2), ("plan=a", 5, 4, 0, 1), ("plan=b", 5, 4, 0, 1)]
    assert found["label_counts"].filter(window_key="2026-01-06")["n_retracted"].to_list() == [0, 0, 0]
    notes = found["label_rejections"].select("window_key", "reason", "severity", "n").rows()
    assert notes == [("2026-01-05", "retracted_label", "note", 2)]

    never = Bench(bench.spec, Home(bench.home.root / "never"), bench.inferences, bench.labels)
    never.land("inferences", "all", bench.inferences)
    never.land("labels", "all", bench.labels.filter(~pl.col("prediction_id").is_in(["p0", "p3"])))
    for name, mart in delayed(never).items():
        if name != "label_rejections":
            assert_frame_equal(found[name].drop("n_retracted", strict=False), mart.drop("n_retracted", strict=False))

    bench.land("labels", "again", told(["p0", "p3"], 11, label=0).with_columns(label=pl.Series([0, 0])))
    again = delayed(bench)
    for name in ("confusion", "quality_cells", "score_label_bins", "label_arrivals", "label_counts"):
        assert_frame_equal(again[name], before[name])


def test_an_earlier_moment_still_has_the_label(bench: Bench) -> None:
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    bench.land("labels", "back", told(["p0"], 10, retracted=True))
    bench.land("labels", "corrected", told(["p1"], 12, label=1))
    delayed(bench)
    for day, n, rate in ((9, 10, 1.0), (11, 9, 0.9)):
        rows = judgements_as_of(bench.spec, bench.paths, START + day * DAY).filter(segment="all", window_start=NAIVE)
        found = dict(rows.filter(pl.col("metric").is_in(["accuracy", "labelled_rate"])).select("metric", "n").rows())
        assert found["accuracy"] == n
        assert rows.filter(metric="labelled_rate")["value"].to_list() == [rate]


def test_the_view_and_the_model_agree(bench: Bench) -> None:
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    bench.land("labels", "back", told(["p0", "p11"], 10, retracted=True))
    bench.land("labels", "new", told(["p11", "p4"], 12, label=0))
    marts = delayed(bench)
    with connect(bench.paths, read_only=True) as con:
        current = con.sql("SELECT window_key, label_class, count(*) FROM raw.current_labels GROUP BY ALL ORDER BY ALL")
        counted = current.fetchall()
    confusion = marts["confusion"].filter(segment="all").group_by("window_key", "actual_class").agg(pl.col("n").sum())
    assert confusion.sort("window_key", "actual_class").rows() == counted


def test_what_is_known_of_repeated_labels_changes_no_mart(bench: Bench) -> None:
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    for flags in ([False, False], [True, False]):
        found = delayed(bench)
        with connect(bench.paths) as con:
            known = con.sql("select may_repeat_labels from control.windows order by window_key").fetchall()
            assert [flag for (flag,) in known] == flags
            write_control(con, bench.spec, load_reference(bench.paths), bench.keys)
        bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
        for name, mart in bench.all_marts().items():
            assert_frame_equal(found[name], mart)
        bench.land("labels", "revised", told(["p0", "p3"], 10).with_columns(label=pl.Series([1, 1])))
