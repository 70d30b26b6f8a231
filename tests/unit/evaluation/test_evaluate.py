"""`sightline evaluate`: which rows are compared, what decides, what a person is told; through a real lake."""

from __future__ import annotations

import json
from datetime import timedelta
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from metrics_py.evaluation.differences import SCHEMA
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.evaluation.run import evaluate
from sightline.lake.intake.load import intake
from sightline.spec.loader import find_monitor
from tests.support.lake import START, land, make_paths

N, DAYS = 300, 8
NOW = START + timedelta(days=60)
MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "model_version": "version",
        "features": {"x": "numeric"},
        "segments": ["c"],
    },
    "labels": {"column": "y", "expected_delay": "2d", "give_up_after": "3d"},
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
    "evaluation": {"margin": 0.03},
}


def scored(seed: int, noise: float, n: int = N * DAYS) -> pl.DataFrame:
    """Rows of a model: the larger the noise, the worse. Truth and segments do not depend on the noise."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    signal = np.where(truth, 1.0, -1.0) + rng.normal(0, 1.0, n)
    region = rng.choice(["north", "south"], n)
    p = 1 / (1 + np.exp(-(signal + noise * np.random.default_rng(seed + 1).normal(size=n))))
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(n)],
            "ts": [(START + timedelta(minutes=4.8 * i)).replace(tzinfo=None) for i in range(n)],
            "p": p,
            "version": ["v1"] * n,
            "x": rng.normal(size=n),
            "c": region.tolist(),
            "y": truth.astype(int),
        }
    )


@pytest.fixture
def production(tmp_path, monkeypatch):
    """A monitor whose version v1 has scored eight days, all of them labelled."""
    home, paths = make_paths(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    write_monitor(home, MONITOR)
    rows = scored(5, 0.5)
    land(paths.landing_inferences, "all.parquet", rows.drop("y"), START + timedelta(days=9))
    land(paths.landing_labels, "truth.parquet", rows.select("id", "y"), START + timedelta(days=9))
    spec = find_monitor(home, "m")
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    return home, paths


def write_monitor(home, content) -> None:
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(content))


def run(production, tmp_path, rows: pl.DataFrame, name: str = "new.parquet", **more):
    home, paths = production
    file = tmp_path / name
    rows.write_parquet(file)
    return evaluate(find_monitor(home, "m"), paths, file, "v2", now=more.pop("now", NOW), **more)


def test_the_same_rows_are_compared_in_pairs_and_the_better_one_is_superior(production, tmp_path):
    found = run(production, tmp_path, scored(5, 0.1))
    assert found.compared.how == "paired"
    assert found.verdict.outcome == "superior"
    row = found.table.filter(metric="roc_auc", segment="all").row(0, named=True)
    assert row["n_champion"] == row["n_challenger"] == N * DAYS
    from sklearn.metrics import roc_auc_score

    y = scored(5, 0.1)["y"]
    assert row["challenger"] == pytest.approx(roc_auc_score(y, scored(5, 0.1)["p"]), abs=1e-12)
    assert row["champion"] == pytest.approx(roc_auc_score(y, scored(5, 0.5)["p"]), abs=1e-12)
    assert row["trivial"] == 0.5
    assert row["ci_low"] <= row["challenger"] - row["champion"] <= row["ci_high"]


@pytest.mark.parametrize("has_ids", [True, False])
def test_a_model_that_is_silent_where_it_is_wrong_cannot_be_told(production, tmp_path, has_ids):
    rows = scored(5, 0.5)
    is_wrong = (pl.col("p") >= 0.5) != (pl.col("y") == 1)
    rows = rows.with_columns(p=pl.when(is_wrong).then(None).otherwise("p"))
    if not has_ids:
        rows = rows.with_columns(id="other-" + pl.col("id"))
    found = run(production, tmp_path, rows)
    assert found.verdict.outcome == "cannot_tell" and "unanswered" in found.verdict.reason
    (section,) = [each for each in found.sections if each.key == "answers"]
    assert section.status == "fail" and section.findings[0].value == pytest.approx(rows["p"].null_count() / len(rows))


def test_a_few_rows_without_an_output_change_no_verdict(production, tmp_path):
    rows = scored(5, 0.1).with_row_index()
    found = run(production, tmp_path, rows.with_columns(p=pl.when(pl.col("index") >= 5).then("p")).drop("index"))
    assert found.verdict.outcome == "superior"
    (section,) = [each for each in found.sections if each.key == "answers"]
    assert section.status == "ok"


def test_labels_of_production_are_used_where_the_candidate_has_none(production, tmp_path):
    own = run(production, tmp_path, scored(5, 0.1))
    borrowed = run(production, tmp_path, scored(5, 0.1).drop("y"))
    assert borrowed.verdict.outcome == "superior"
    assert borrowed.table.drop("trivial").equals(own.table.drop("trivial"))


def test_labels_that_are_still_coming_are_not_borrowed(production, tmp_path):
    early = START + timedelta(days=6)
    with pytest.raises(SightlineError, match=r"no window with all of its labels"):
        run(production, tmp_path, scored(5, 0.1).drop("y"), now=START + timedelta(days=1))
    found = run(production, tmp_path, scored(5, 0.1).drop("y"), now=early)
    assert len(found.compared.challenger) < N * 5


def test_worse_equal_and_open(production, tmp_path):
    assert run(production, tmp_path, scored(5, 3.0)).verdict.outcome == "inferior"
    same = run(production, tmp_path, scored(5, 0.5).with_columns(p=pl.col("p") * 0.999))
    assert same.verdict.outcome in ("non_inferior", "cannot_tell")
    few = run(production, tmp_path, scored(5, 0.9).head(250))
    assert few.verdict.outcome == "cannot_tell"
    assert few.verdict.more_rows is not None
    assert "more labelled rows needed" in few.verdict.reason


def test_other_rows_are_compared_without_pairs_and_it_is_said(production, tmp_path):
    others = scored(77, 0.1).with_columns(id=pl.format("new-{}", "id"))
    found = run(production, tmp_path, others)
    assert found.compared.how == "unpaired"
    assert "on other rows" in found.compared.source
    paired = run(production, tmp_path, scored(5, 0.1))
    width = [
        each.table.filter(metric="roc_auc", segment="all").select(pl.col("ci_high") - pl.col("ci_low")).item()
        for each in (found, paired)
    ]
    assert width[0] > 1.5 * width[1]


def test_a_file_of_the_champion(production, tmp_path):
    scored(5, 0.5).write_parquet(tmp_path / "old.parquet")
    found = run(production, tmp_path, scored(5, 0.1), against=tmp_path / "old.parquet")
    with_production = run(production, tmp_path, scored(5, 0.1))
    assert found.table.drop("trivial").equals(with_production.table.drop("trivial"))


def test_guardrails_decide_too(production, tmp_path):
    home, _ = production
    write_monitor(home, {**MONITOR, "evaluation": {"margin": 0.03, "guardrails": {"recall": 0.02}, "segments": ["c"]}})
    rows = scored(5, 0.1)
    timid = rows.with_columns(p=pl.col("p") * 0.6)  # the same order, too few positives are found
    found = run(production, tmp_path, timid)
    assert found.verdict.outcome == "inferior"
    outcomes = {c.name: c.outcome for c in found.verdict.criteria}
    assert outcomes["roc_auc"] == "superior"
    assert outcomes["recall"] == "inferior"
    assert {"roc_auc | c=north", "roc_auc | c=south"} <= set(outcomes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.head(0), "no row of the candidate"),
        (lambda rows: rows.drop("p"), "it needs the column 'p'"),
        (lambda rows: pl.concat([rows, rows.head(1).with_columns(p=0.5)]), "different things"),
        (lambda rows: rows.with_columns(id=pl.format("n{}", "id"), y=None), "has a label"),
    ],
)
def test_bad_candidates_are_refused_with_the_place(production, tmp_path, change, told):
    with pytest.raises(SightlineError, match=told):
        run(production, tmp_path, change(scored(5, 0.1)))


def test_the_champion_itself_is_not_inferior_to_itself(production, tmp_path):
    found = run(production, tmp_path, scored(5, 0.5))
    assert found.verdict.outcome == "non_inferior"
    assert any("exactly the same" in note for note in found.notes)
    few = run(production, tmp_path, scored(5, 0.5).head(10))
    assert few.verdict.outcome == "cannot_tell"


def test_ten_rows_cannot_tell(production, tmp_path):
    found = run(production, tmp_path, scored(5, 0.1).head(10).with_columns(id=pl.format("n{}", "id")))
    assert found.verdict.outcome == "cannot_tell"
    assert "10 labelled rows, 100 needed" in found.verdict.reason


def test_unreadable_labels_and_repeats_are_counted(production, tmp_path):
    rows = scored(5, 0.1).with_columns(y=pl.col("y").cast(pl.String))
    odd = rows.with_columns(y=pl.when(pl.int_range(pl.len()) < 7).then(pl.lit("maybe")).otherwise("y"))
    found = run(production, tmp_path, pl.concat([odd, odd.tail(3)]))
    assert any("7 labels" in note for note in found.notes)
    assert any("3 rows" in note for note in found.notes)


def test_a_candidate_whose_last_line_has_no_end_is_noted(production, tmp_path):
    home, paths = production
    text = scored(5, 0.1).write_csv()
    for name, content in (("whole.csv", text), ("cut.csv", text.rstrip("\n"))):
        (tmp_path / name).write_text(content, encoding="utf-8")
    spec = find_monitor(home, "m")
    whole, cut = (evaluate(spec, paths, tmp_path / name, "v2", now=NOW).notes for name in ("whole.csv", "cut.csv"))
    assert set(cut) - set(whole) == {"the last line of cut.csv has no end: its last row may be cut"}


def test_versions_that_production_does_not_know(production, tmp_path):
    with pytest.raises(SightlineError, match="no row of the version 'v9'"):
        run(production, tmp_path, scored(5, 0.1), champion="v9")


def test_every_metric_of_the_table_has_a_direction_and_the_order_of_the_models(production, tmp_path):
    table = run(production, tmp_path, scored(5, 0.1)).table
    assert set(SCHEMA) < set(table.columns)
    log_loss = table.filter(metric="log_loss", segment="all").row(0, named=True)
    assert log_loss["direction"] == "lower_is_better"
    assert log_loss["ci_high"] < 0


@pytest.mark.parametrize(("noise", "code"), [(0.1, 0), (3.0, 1)])
def test_the_command_in_all_formats(production, tmp_path, noise, code):
    file = tmp_path / "new.parquet"
    scored(5, noise).write_parquet(file)
    call = ["evaluate", "m", str(file), "--version", "v2|<b>"]
    runner = CliRunner()
    table = runner.invoke(cli, call)
    assert table.exit_code == code, table.output
    assert ("superior" if code == 0 else "inferior") in table.output
    told = json.loads(runner.invoke(cli, [*call, "--format", "json"]).output)
    assert told["may_promote"] is (code == 0)
    assert told["criteria"][0]["name"] == "roc_auc"
    suite = ElementTree.fromstring(runner.invoke(cli, [*call, "--format", "junit"]).output)
    assert suite.attrib["failures"] == str(code)
    card = runner.invoke(cli, [*call, "--format", "markdown"]).output
    assert card.startswith("# m: candidate v2\\|&lt;b&gt;")


def test_an_unknown_guardrail_is_named(production, tmp_path):
    home, _ = production
    write_monitor(home, {**MONITOR, "evaluation": {"guardrails": {"recal": 0.1}}})
    with pytest.raises(SightlineError, match="recal"):
        run(production, tmp_path, scored(5, 0.1))
