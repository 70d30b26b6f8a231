"""A shadow is judged by version, and nothing that is said of production knows of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.evaluation.live import evaluate_live
from sightline.home import Home
from sightline.results.distributions import read_distributions
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.spec.loader import find_monitor
from sightline.warehouse import connect
from tests.support.live_versions import NOW, START, make_home, requests, scored, spec_of

DAYS, ROWS, SILENT = 14, 150, 11
RUN = ("run_id", "computed_at", "decided_at", "written_at")
MORE = {
    "metrics": [
        {"name": "old_and_sure", "sql": "case when f_age > 40 then score else 0 end", "needs_label": False},
        {"name": "mean_score", "python": "own_metrics:mean_score", "needs_label": False},
        {"name": "hits", "python": "own_metrics:hits", "needs_label": True},
    ],
    "quality": {"windows": ["7d"], "min_labels": 50},
    "alerts": {"warmup": 8},
}
OWN_METRICS = '''
from metrics_py.registry import metric


@metric(name="mean_score", task="custom", needs="rows")
def mean_score(rows):
    """Mean of the scores."""
    return rows["score"].mean()


@metric(name="hits", task="custom", needs="rows")
def hits(rows):
    """Share of right decisions."""
    return ((rows["score"] >= 0.5) == rows["is_positive"]).mean()
'''


def make_homes(folder: Path) -> tuple[Home, Home]:
    """A log of production alone, and the same beside a shadow that fails, is slow, knows other people and is bad."""
    asked = requests(31, DAYS, ROWS)
    production = scored(asked, "base", {"base": 1.0}, 32).filter(pl.col("day") != SILENT)
    shadow = scored(asked, "next", {"next": 3.0}, 33).with_columns(
        status=pl.lit("error"), ms=pl.col("ms") * 50, age=pl.col("age") + 80, plan=pl.lit("never seen")
    )
    for name in ("alone", "beside"):
        (folder / name).mkdir()
        (folder / name / "own_metrics.py").write_text(OWN_METRICS, encoding="utf-8")
    labels = asked.filter(pl.col("day") != SILENT).select("id", "y")
    alone = make_home(folder / "alone", production, labels, **MORE)
    beside = make_home(folder / "beside", pl.concat([production, shadow]), labels, shadows=["next"], **MORE)
    return alone, beside


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> tuple[Home, Home]:
    return make_homes(tmp_path_factory.mktemp("shadows"))


def told(frame: pl.DataFrame) -> pl.DataFrame:
    """What does not depend on when and by which run it was said."""
    kept = frame.drop(name for name in RUN if name in frame.columns)
    return kept.sort(name for name in kept.columns if not kept.schema[name].is_nested())


def test_what_is_said_of_production_does_not_depend_on_a_shadow(homes):
    alone, beside = (read_judgements(home.monitor("m")) for home in homes)
    assert {"base", "next", "all"} == set(beside["model_version"].unique())
    assert len(alone) > 3_000
    assert {"psi", "null_rate", "roc_auc", "estimated_accuracy", "old_and_sure"} <= set(alone["metric"].unique())
    assert_frame_equal(told(alone), told(beside.filter(pl.col("model_version") != "next")), rel_tol=1e-9)


def test_evidence_and_distributions_are_the_same(homes):
    evidence = [read_evidence(home.monitor("m")) for home in homes]
    assert len(evidence[0]) > 300
    assert_frame_equal(*(told(each).drop("reference") for each in evidence), rel_tol=1e-9)
    span = (START.replace(tzinfo=None), START.replace(tzinfo=None) + timedelta(days=DAYS))
    counts = [read_distributions(home.monitor("m"), "age", *span) for home in homes]
    assert len(counts[0]) == DAYS - 1
    assert_frame_equal(*map(told, counts))


def test_the_areas_of_all_versions_leave_it_out(homes):
    found: list[pl.DataFrame] = []
    for home in homes:
        with connect(home.monitor("m"), read_only=True) as con:
            found.append(con.sql("select * from marts.score_areas where model_version = 'all'").pl())
    assert len(found[0]) > 30
    assert_frame_equal(*(frame.sort("window_key", "segment") for frame in found), rel_tol=1e-12)


def test_it_is_judged_by_version_and_against_production(homes):
    home = homes[1]
    found = evaluate_live(spec_of(home), home.monitor("m"), "next", now=NOW)
    assert (found.champion, found.together.is_shadow) == ("base", True)
    assert found.verdict.outcome == "inferior"
    assert {"slices", "calibration", "latency"} <= {section.key for section in found.sections}
    own = read_judgements(home.monitor("m"), "accuracy").filter(pl.col("model_version") == "next")
    assert own["value"].drop_nulls().max() < 0.75


def test_from_when_it_takes_over_it_is_production(homes, tmp_path):
    home = homes[1]
    text = (home.monitors / "m.yaml").read_text(encoding="utf-8")
    day = (START + timedelta(days=SILENT)).date()
    other = Home(tmp_path)
    other.monitors.mkdir()
    (other.monitors / "m.yaml").write_text(text.replace("shadows:\n- next\n", f"shadows: {{next: {day}}}\n"))
    spec = find_monitor(other, "m")
    from sightline.spec.shadows import is_production, production_sql

    with connect(home.monitor("m"), read_only=True) as con:
        rows = con.sql("select * from marts.service_health where segment = 'all'").pl()
        by_sql = con.sql(f"select * from marts.service_health where segment = 'all' and {production_sql(spec)}").pl()
    mine = rows.filter(is_production(spec))
    assert_frame_equal(told(mine), told(by_sql))
    own = mine.filter(model_version="next")["window_key"].sort().to_list()
    assert own == [spec.key(START + timedelta(days=day)) for day in range(SILENT, DAYS)]


@pytest.mark.parametrize(
    ("columns", "shadows", "what"),
    [
        ("{score: p}", "[next]", "no model version is logged"),
        ("{score: p, model_version: v}", "[next, next]", "'next' is named twice"),
        ("{score: p, model_version: v}", "{next: 5}", "no time"),
    ],
)
def test_mistakes_are_named(tmp_path, columns, shadows, what):
    home = Home(tmp_path)
    home.monitors.mkdir()
    (home.monitors / "m.yaml").write_text(
        f"model: {{id: m, task: binary_classification}}\ncolumns: {columns}\nshadows: {shadows}\n"
        "reference: {kind: window, start: 2026-01-01, end: 2026-02-01}\n"
    )
    with pytest.raises(SightlineError, match=what):
        find_monitor(home, "m")


def test_the_file_is_told_what_it_does(homes, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(homes[1].root))
    done = CliRunner().invoke(cli, ["versions", "m"])
    assert done.exit_code == 0, done.output
    assert "shadow" in done.output
