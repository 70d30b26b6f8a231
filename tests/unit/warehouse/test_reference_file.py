"""A reference file: read as intake reads, with or without ids, times and labels; its quality like scikit-learn's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.quality.table import quality_table
from orchestration.assets.reference import describe
from sightline.commands.validate import summarise
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference import build_reference, ensure_reference, load_reference
from tests.support.class_scores import NAMES, class_label_bins, draw_classes

sklearn = pytest.importorskip("sklearn.metrics")


def spec_of(task: str, file: str, **sections) -> MonitorSpec:
    base = {
        "model": {"id": "m", "task": task},
        "labels": {"column": "y"},
        "reference": {"kind": "file", "path": file},
        "start": "2026-01-01",
    }
    return MonitorSpec.model_validate(base | sections)


def binary_frame(n: int = 2_000) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    score = np.round(rng.random(n), 6)
    return pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "p": score,
            "y": (rng.random(n) < score).astype(int),
            "place": rng.choice(["a", "b"], n),
        }
    )


BINARY = {"columns": {"score": "p", "features": {"x": "numeric"}, "segments": ["place"]}, "quality": {"threshold": 0.3}}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_every_format_gives_the_same_profile(tmp_path, suffix):
    frame, ids = binary_frame(), []
    for form in ("parquet", suffix):
        home = Home(tmp_path / form)
        home.root.mkdir(exist_ok=True)
        getattr(frame, f"write_{form}")(home.root / f"ref.{form}")
        spec = spec_of("binary_classification", f"ref.{form}", **BINARY)
        profile = ensure_reference(spec, home.monitor("m"), home)
        ids.append(profile.id)
        assert profile.n_rows == 2_000 and profile.n_rejected == 0 and "@label" in profile.columns
    assert ids[0] == ids[1]


def test_quality_of_a_binary_file(tmp_path):
    frame, home = binary_frame(), Home(tmp_path)
    frame.write_parquet(tmp_path / "ref.parquet")
    spec = spec_of(
        "binary_classification",
        "ref.parquet",
        **BINARY,
        value_matrix={"1": {"1": 2.0, "0": -1.0}, "0": {"1": -3.0, "0": 0.5}},
    )
    build_reference(spec, home.monitor("m"), home)
    tables = load_reference(home.monitor("m")).quality
    table = quality_table(
        tables["confusion"], tables["score_label_bins"], tables["quality_sums"], tables["custom_sums"],
        task="binary_classification", positive="1", min_labels=1, by=["segment"],
    )  # fmt: skip
    found = {(segment, metric): value for segment, metric, value in table.select("segment", "metric", "value").rows()}
    y, p, place = frame["y"].to_numpy(), frame["p"].to_numpy(), frame["place"].to_numpy()
    for segment, mask in {"all": np.ones(len(y), bool), "place=a": place == "a", "place=b": place == "b"}.items():
        decided = p[mask] >= 0.3
        assert found[segment, "accuracy"] == pytest.approx(sklearn.accuracy_score(y[mask], decided), abs=1e-12)
        assert found[segment, "f1"] == pytest.approx(sklearn.f1_score(y[mask], decided), abs=1e-12)
        assert found[segment, "log_loss"] == pytest.approx(sklearn.log_loss(y[mask], p[mask]), rel=1e-9)
        assert found[segment, "brier"] == pytest.approx(sklearn.brier_score_loss(y[mask], p[mask]), rel=1e-9)
        assert found[segment, "roc_auc"] == pytest.approx(sklearn.roc_auc_score(y[mask], p[mask]), abs=2e-3)
    decided = p >= 0.3
    value = np.where(decided, np.where(y == 1, 2.0, -1.0), np.where(y == 1, -3.0, 0.5))
    custom = tables["custom_sums"].filter(segment="all")
    assert custom["sum_value"].sum() == pytest.approx(value.sum()) and custom["n"].sum() == len(y)


def test_quality_of_multiclass_and_regression_files(tmp_path):
    rng, home = np.random.default_rng(4), Home(tmp_path)
    names = ["a", "b", "c"]
    p = rng.dirichlet([1, 2, 3], 900)
    truth = np.array([rng.choice(names, p=row) for row in p])
    pl.DataFrame({f"p{c}": p[:, i] for i, c in enumerate(names)} | {"y": truth}).write_parquet(
        tmp_path / "many.parquet"
    )
    spec = spec_of("multiclass_classification", "many.parquet", columns={"class_scores": {c: f"p{c}" for c in names}})
    sums = build_reference(spec, home.monitor("m"), home).quality["quality_sums"]
    assert sums["sum_log_loss"].sum() / 900 == pytest.approx(sklearn.log_loss(truth, p, labels=names), rel=1e-9)
    y = rng.normal(50, 9, 700)
    f = y + rng.normal(1, 3, 700)
    pl.DataFrame({"f": f, "y": y}).write_parquet(tmp_path / "value.parquet")
    spec = spec_of("regression", "value.parquet", columns={"prediction": "f"}, quality={"quantiles": [0.9]})
    quality = build_reference(spec, home.monitor("m"), home, force=True).quality
    assert quality["quality_sums"]["sum_abs_error"].sum() == pytest.approx(np.abs(f - y).sum())
    loss = sklearn.mean_pinball_loss(y, f, alpha=0.9)
    assert quality["custom_sums"]["sum_value"].sum() / 700 == pytest.approx(loss)
    assert quality["confusion"].is_empty() and quality["score_label_bins"].is_empty()


def test_outcomes_of_several_classes_by_decision_and_score(tmp_path):
    """As the mart holds them: the class of the largest score is decided; a row without one of its scores is none."""
    home = Home(tmp_path)
    scores, classes = draw_classes(np.random.default_rng(5), 1_200)
    gaps = scores.copy()
    gaps[:40, 1], gaps[40:60, 2] = np.nan, np.nan
    columns = {f"p{name}": gaps[:, i] for i, name in enumerate(NAMES)}
    frame = pl.DataFrame(columns | {"y": np.array(NAMES)[classes]})
    frame = frame.with_columns(pl.when(pl.int_range(pl.len()) < 20).then(None).otherwise("pcat").alias("pcat"))
    frame.write_parquet(tmp_path / "many.parquet")
    spec = spec_of(
        "multiclass_classification", "many.parquet", columns={"class_scores": {name: f"p{name}" for name in NAMES}}
    )
    found = build_reference(spec, home.monitor("m"), home).quality["class_label_bins"].filter(segment="all")
    wanted = class_label_bins(scores[60:], classes[60:])
    keys = ["predicted_class", "class_name", "score_bin", "is_positive"]
    kept = load_reference(home.monitor("m")).quality["class_label_bins"].select(*keys, "n")
    assert_frame_equal(found.select(*keys, "n").sort(keys), wanted.sort(keys), check_dtypes=False)
    assert kept.sort(keys).equals(found.select(*keys, "n").sort(keys))


def test_a_file_without_labels_or_with_bad_rows(tmp_path):
    home, frame = Home(tmp_path), binary_frame().drop("y")
    bad = frame.with_columns(
        prediction_id=pl.when(pl.col("x") > 2).then(None).otherwise(pl.int_range(pl.len()).cast(pl.String))
    )
    bad.write_parquet(tmp_path / "ref.parquet")
    profile = build_reference(spec_of("binary_classification", "ref.parquet", **BINARY), home.monitor("m"), home)
    assert profile.n_rejected == frame.filter(pl.col("x") > 2).height > 0
    assert profile.n_rows + profile.n_rejected == 2_000
    assert "@label" not in profile.columns and profile.quality == {}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_labels_that_cannot_be_read_are_counted_and_told(tmp_path, suffix):
    home, frame = Home(tmp_path), binary_frame(400)
    odd = pl.int_range(pl.len())
    label = pl.when(odd < 30).then(pl.lit("perhaps")).when(odd < 50).then(None).otherwise(pl.col("y").cast(pl.String))
    getattr(frame.with_columns(y=label), f"write_{suffix}")(tmp_path / f"ref.{suffix}")
    spec = spec_of("binary_classification", f"ref.{suffix}", **BINARY)
    profile = build_reference(spec, home.monitor("m"), home)
    assert (profile.n_rows, profile.n_rejected, profile.n_bad_labels) == (400, 0, 30)
    assert profile.quality["confusion"].filter(segment="all")["n"].sum() == 350
    kept = load_reference(home.monitor("m"))
    assert kept is not None and kept.n_bad_labels == 30
    assert describe(kept)["labels refused"] == 30
    warnings = summarise(spec, tmp_path / "m.yaml", home)["warnings"]
    assert any(
        warning.startswith(f"30 labels of the reference file ref.{suffix} cannot be read (y)") for warning in warnings
    )


def test_numbers_that_are_no_labels_of_a_regression_are_counted(tmp_path):
    home = Home(tmp_path)
    pl.DataFrame({"f": [1.0, 2.0, 3.0, 4.0], "y": ["1.5", "inf", "soon", ""]}).write_csv(tmp_path / "ref.csv")
    spec = spec_of("regression", "ref.csv", columns={"prediction": "f"})
    assert build_reference(spec, home.monitor("m"), home).n_bad_labels == 2


def test_errors_name_the_file_and_the_column(tmp_path):
    home = Home(tmp_path)
    paths = home.monitor("m")
    with pytest.raises(SightlineError, match="does not exist"):
        build_reference(spec_of("binary_classification", "gone.parquet", **BINARY), paths, home)
    (tmp_path / "ref.parquet").write_text("this is no Parquet")
    with pytest.raises(SightlineError, match="cannot be read"):
        build_reference(spec_of("binary_classification", "ref.parquet", **BINARY), paths, home)
    (tmp_path / "ref.xlsx").write_text("")
    with pytest.raises(SightlineError, match="no known format"):
        build_reference(spec_of("binary_classification", "ref.xlsx", **BINARY), paths, home)
    binary_frame().rename({"x": "xx"}).write_parquet(tmp_path / "ref.parquet")
    with pytest.raises(SightlineError, match="no column 'x'") as error:
        build_reference(spec_of("binary_classification", "ref.parquet", **BINARY), paths, home)
    assert "Did you mean 'xx'" in str(error.value)
