"""`compare` of embeddings, and of numeric columns together."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from metrics_py.comparison.compare import compare
from metrics_py.comparison.together import TOGETHER, area_tolerance
from sightline.cli import cli


def table(seed: int, rho: float = 0.7, n: int = 3000, change: str = "") -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    v = rng.standard_normal((n, 24)) * np.linspace(0.5, 2, 24) + 1
    if change == "model":
        v = v[:, ::-1]
    vectors = v.astype(np.float32).tolist()
    if change == "dimension":
        vectors = [x[:12] for x in vectors]
    columns = {"a": a, "b": rho * a + np.sqrt(1 - rho**2) * b, "c": np.exp(c)}
    return pl.DataFrame({**columns, "v": pl.Series(vectors, dtype=pl.List(pl.Float32))})


def rows(old: pl.DataFrame, new: pl.DataFrame, **options) -> dict[tuple[str, str], dict]:
    return {(row["column"], row["metric"]): row for row in compare(old, new, **options).to_dicts()}


def test_a_lost_correlation_is_drift_of_the_columns_together_only():
    found = rows(table(1), table(2, rho=0.0), together=True)
    row = found[TOGETHER, "correlation_change"]
    assert row["state"] == "drift"
    assert row["direction"].startswith("a and b: 0.7")
    assert row["ci_low"] < 0.7 < row["ci_high"]
    classifier = found[TOGETHER, "domain_auc"]
    assert classifier["state"] in ("drift", "unclear")  # two of four directions changed
    assert classifier["p_value"] < 1e-12
    assert set(classifier["direction"].partition(" by ")[2].partition(":")[0].split(", ")) == {"a", "b"}
    assert {found[name, "psi"]["state"] for name in ("a", "b", "c")} == {"stable"}


def test_the_same_law_is_stable():
    found = rows(table(3, n=8000), table(4, n=8000), together=True)
    assert {row["state"] for row in found.values() if row["state"]} == {"stable"}
    assert found["v", "rff_distance"]["p_value"] > 0.001


def test_another_embedding_model_is_drift_while_the_norm_is_stable():
    found = rows(table(5), table(6, change="model"))
    assert found["v", "psi"]["state"] == "stable"
    assert found["v", "domain_auc"]["state"] == "drift"
    assert found["v", "rff_distance"]["p_value"] < 1e-12
    assert found["v", "centroid_cosine"]["value"] < 0.01


def test_vectors_of_another_dimension_are_drift():
    found = rows(table(7), table(8, change="dimension"))
    row = found["v", "wrong_dimension_rate"]
    assert (row["state"], row["value"]) == ("drift", 1.0)
    assert row["direction"] == "3000 of 3000 vectors have 12 numbers, the reference's 24"
    assert found["v", "domain_auc"]["state"] == "insufficient_data"


def test_together_is_asked_for_and_says_what_it_lacks():
    old, new = table(9, n=100), table(10, n=100)
    assert TOGETHER not in {column for column, _ in rows(old, new)}
    row = rows(old.select("a"), new.select("a"), together=True)[TOGETHER, "correlation_change"]
    assert row["state"] == "insufficient_data"
    assert row["reason"] == "1 numeric columns that vary, 100 and 100 rows; 2 columns and 50 rows needed"


def test_the_tolerance_is_that_of_the_psi_in_other_words():
    """A normal column shifted by s has the PSI s^2; the best classifier then has the area Phi(s / sqrt 2)."""
    rng = np.random.default_rng(11)
    shift = np.sqrt(0.1)
    old, new = rng.standard_normal(20_000), rng.standard_normal(20_000) + shift
    wins = (np.searchsorted(np.sort(old), new) / len(old)).mean()
    assert wins - 0.5 == pytest.approx(area_tolerance(0.1), abs=0.01)


def test_what_is_tolerated_of_each_direction_is_tolerated_of_all():
    """Every one of 24 directions shifts by 0.2 standard deviations, less than the tolerated 0.32."""
    old = table(12)
    shift = 0.2 * np.linspace(0.5, 2, 24)
    moved = [list(np.asarray(x) + shift) for x in table(13)["v"]]
    new = table(13).with_columns(v=pl.Series(moved, dtype=pl.List(pl.Float32)))
    row = rows(old, new)["v", "domain_auc"]
    assert row["value"] > 0.65
    assert row["state"] == "stable"


@pytest.mark.parametrize("vector", [[], [0.0, 1.0]], ids=["no numbers", "constant"])
def test_vectors_that_are_all_the_same_are_told(vector):
    old = pl.DataFrame({"v": [vector] * 400}, schema={"v": pl.List(pl.Float32)})
    for new in (old, table(8, n=400).select("v")):
        row = rows(old, new)["v", "domain_auc"]
        assert row["state"] == "insufficient_data"
        assert row["value"] is None
        assert "the same" in row["reason"] or "needed" in row["reason"]


@pytest.mark.parametrize(("more", "is_hinted"), [([], True), (["--together"], False), (["--columns", "a"], False)])
def test_the_command_names_the_option_that_compares_columns_together(tmp_path, more, is_hinted):
    rng = np.random.default_rng(8)
    files = [str(tmp_path / name) for name in ("old.parquet", "new.parquet")]
    for file in files:
        a = rng.standard_normal(400)
        pl.DataFrame({"a": a, "b": a + rng.standard_normal(400)}).write_parquet(file)
    done = CliRunner().invoke(cli, ["compare", *files, *more])
    assert ("--together also compares" in done.stdout) == is_hinted
    assert not done.stderr
