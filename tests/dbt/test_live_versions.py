"""Versions that run beside each other, from a real lake and real marts: what may be said of each, and what may not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from fairlearn.metrics import demographic_parity_difference
from sklearn.metrics import accuracy_score

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.evaluation.by_version import versions
from sightline.evaluation.live import LiveEvaluation, evaluate_live
from sightline.evaluation.live_render import to_json, to_junit, to_markdown, to_table
from sightline.evaluation.live_suite import OF_TRAINING, SAME_INPUTS
from sightline.evaluation.run import evaluate
from sightline.evaluation.suite.findings import Finding
from sightline.home import Home
from sightline.spec.evaluation_sections import Fairness
from sightline.spec.loader import load_monitor
from sightline.warehouse import build_reference, connect
from tests.dbt.support import Bench
from tests.support.live_versions import DAYS, MONITOR, NOW, START, many_versions


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    home = Home(tmp_path_factory.mktemp("versions"))
    home.monitors.mkdir()
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(dict(MONITOR)), encoding="utf-8")
    spec = load_monitor(home.monitors / "m.yaml", home=home)
    rows, labels = many_versions(3)
    made = Bench(spec, home, rows, rows)
    known_at = START + timedelta(days=DAYS + 8)
    made.land("inferences", "all", rows.drop("y", "seen", "day"), known_at)
    made.land("labels", "all", labels, known_at)
    build_reference(spec, made.paths, home)
    made.control()
    made.build()
    return made


def live(bench: Bench, version: str, **more) -> LiveEvaluation:
    return evaluate_live(bench.spec, bench.paths, version, now=NOW, champion="base", with_sections=False, **more)


def row(found: LiveEvaluation, metric: str) -> dict:
    return found.table.filter(segment="all", metric=metric).row(0, named=True)


def test_a_better_shadow_is_superior_and_its_pairs_make_it_precise(bench):
    found, other = live(bench, "shadow"), live(bench, "equal")
    assert (found.verdict.outcome, found.together.is_shadow, found.n_days) == ("superior", True, DAYS)
    assert not other.together.is_shadow
    width = {f.version: row(f, "accuracy")["ci_high"] - row(f, "accuracy")["ci_low"] for f in (found, other)}
    assert width["shadow"] < 0.7 * width["equal"]


def test_equal_versions_are_not_told_apart(bench):
    for name in ("equal", "canary", "growing"):
        found = live(bench, name)
        assert found.verdict.outcome in ("cannot_tell", "non_inferior"), name
        own = row(found, "roc_auc")
        assert own["ci_low"] < 0 < own["ci_high"], name
        if found.verdict.outcome == "cannot_tell":
            assert found.more_days is None or "more days (about" in found.verdict.reason


def test_a_worse_version_is_inferior(bench):
    found = live(bench, "worse")
    assert found.verdict.outcome == "inferior"
    assert "worse by more than the margin: roc_auc" in found.verdict.reason


def test_a_share_that_grows_while_days_get_easier_is_no_gain(bench):
    """All rows pooled, the version that has most of its rows on easy days looks better."""
    rows = bench.inferences.filter(pl.col("day") < DAYS)
    pooled = {
        name: accuracy_score(own["y"], own["p"] >= 0.5)
        for name in ("base", "growing")
        for own in [rows.filter(version=name)]
    }
    own = row(live(bench, "growing"), "accuracy")
    assert pooled["growing"] - pooled["base"] > own["difference"] + 0.01
    assert own["ci_low"] < 0 < own["ci_high"]


def test_the_difference_is_that_of_rows_that_weigh_alike_on_each_day(bench):
    rows = bench.inferences.filter(pl.col("day") < DAYS)
    values, weights = np.zeros((2, DAYS)), np.zeros((2, DAYS))
    for v, name in enumerate(("base", "worse")):
        for (day,), own in rows.filter(version=name).group_by("day"):
            values[v, day] = accuracy_score(own["y"], own["p"] >= 0.5)
            weights[v, day] = len(own)
    w = weights.prod(axis=0) / weights.sum(axis=0)
    found = row(live(bench, "worse"), "accuracy")
    np.testing.assert_allclose(found["difference"], (values[1] - values[0]) @ w / w.sum(), rtol=1e-9)


def test_versions_that_never_ran_together_have_no_difference(bench):
    found = live(bench, "next")
    assert found.verdict.outcome == "cannot_tell"
    assert "never ran in the same windows" in found.verdict.reason
    assert found.table.is_empty()
    assert list(found.together.left_out.values()) == [1], "the day on which one took over"


def test_other_traffic_gives_no_verdict_and_is_named(bench):
    found = live(bench, "routed")
    assert found.verdict.outcome == "cannot_tell"
    assert "do not answer the same kind of rows (age:" in found.verdict.reason


def test_other_traffic_is_found_where_the_reference_does_not_know_the_column(bench, tmp_path):
    shutil.copytree(bench.home.root, tmp_path / "home")
    paths = Home(tmp_path / "home").monitor("m")
    with connect(paths) as con:
        con.execute("delete from marts.column_bins")
    found = evaluate_live(bench.spec, paths, "routed", now=NOW, champion="base")
    assert "do not answer the same kind of rows (age:" in found.verdict.reason


def test_labels_that_one_version_lacks_give_no_number(bench):
    found = live(bench, "late")
    assert found.verdict.outcome == "cannot_tell"
    assert "who has one is part of the difference" in found.verdict.reason
    assert found.table.is_empty()


def test_before_the_seventh_day_nothing_is_said(bench):
    early = evaluate_live(bench.spec, bench.paths, "shadow", now=START + timedelta(days=7, hours=2), champion="base")
    assert early.verdict.outcome == "cannot_tell"
    assert early.n_days < 7
    assert any("not all due" in note for note in early.notes)


def test_the_champion_is_the_version_with_the_most_rows_beside_it(bench):
    assert evaluate_live(bench.spec, bench.paths, "canary", now=NOW, with_sections=False).champion == "base"


def test_what_the_log_does_not_have_is_named(bench):
    with pytest.raises(SightlineError, match="no row of the version 'shadwo'"):
        evaluate_live(bench.spec, bench.paths, "shadwo", now=NOW)
    with pytest.raises(SightlineError, match="compared with itself"):
        live(bench, "base")
    columns = bench.spec.columns.model_copy(update={"model_version": None})
    with pytest.raises(SightlineError, match="logs no model version"):
        evaluate_live(bench.spec.model_copy(update={"columns": columns}), bench.paths, "shadow", now=NOW)


def test_guardrails_and_segments_join_the_verdict(bench):
    rules = bench.spec.evaluation.model_copy(update={"guardrails": {"recall": 0.5}, "segments": ("region",)})
    spec = bench.spec.model_copy(update={"evaluation": rules})
    found = evaluate_live(spec, bench.paths, "shadow", now=NOW, champion="base")
    names = {c.name: c.outcome for c in found.verdict.criteria}
    assert set(names) == {"roc_auc", "recall", "roc_auc | region=north", "roc_auc | region=south"}
    assert found.verdict.outcome == "superior"


def with_fairness(bench: Bench, margin: float | None, **more):
    rules = {"columns": ("region",), "metrics": ("demographic_parity",), "margin": margin, **more}
    return bench.spec.model_copy(update={"fairness": Fairness.model_validate(rules)})


def findings(sections, key: str) -> dict[tuple[str, str], Finding]:
    [section] = [each for each in sections if each.key == key]
    return {(each.name, each.of): each for each in section.findings}


def test_the_sections_of_a_shadow_are_those_of_its_file(bench, tmp_path):
    """The same rows by the log and by a scored file."""
    spec = with_fairness(bench, None)
    file = tmp_path / "shadow.parquet"
    bench.inferences.filter(version="shadow").drop("seen", "day", "version").write_parquet(file)
    of_file = evaluate(spec, bench.paths, file, "shadow", now=NOW, champion="base")
    live = evaluate_live(spec, bench.paths, "shadow", now=NOW, champion="base")
    keys = [each.key for each in live.sections]
    assert keys == ["fairness", "slices", "calibration", "overlap", "latency"]
    assert SAME_INPUTS in live.notes and OF_TRAINING in live.notes
    for key in ("fairness", "calibration", "latency"):
        expected, found = findings(of_file.sections, key), findings(live.sections, key)
        assert expected.keys() <= found.keys()
        for name, each in expected.items():
            mine = [found[name].value, found[name].ci_low, found[name].ci_high]
            np.testing.assert_allclose(mine, [each.value, each.ci_low, each.ci_high], rtol=1e-9, atol=1e-12)
            if key != "latency":  # there the champion's rows are those of the same days, not of the newest ones
                assert found[name].champion == pytest.approx(each.champion, rel=1e-9)
                assert (found[name].status, found[name].n) == (each.status, each.n)


def test_fairness_of_rows_of_its_own_is_that_of_fairlearn(bench):
    found = evaluate_live(with_fairness(bench, None), bench.paths, "worse", now=NOW, champion="base")
    own = bench.inferences.filter(pl.col("version") == "worse", pl.col("day") < DAYS)
    expected = demographic_parity_difference(
        own["y"].to_numpy(), (own["p"] >= 0.5).to_numpy(), sensitive_features=own["region"].to_numpy()
    )
    gap = findings(found.sections, "fairness")[("demographic_parity_difference", "region")]
    assert gap.value == pytest.approx(expected, rel=1e-12)
    sections = {each.key for each in found.sections}
    assert {"slices", "calibration", "overlap", "drift", "latency"} <= sections
    new = np.quantile(own["ms"].to_numpy(), 0.5, method="inverted_cdf")
    assert findings(found.sections, "latency")[("latency_p50_ms", "")].value == pytest.approx(new)


def test_drift_between_versions_of_a_live_test_is_named(bench):
    found = evaluate_live(bench.spec, bench.paths, "routed", now=NOW, champion="base")
    drifted = [each for each in findings(found.sections, "drift").values() if each.status == "warn"]
    assert any(each.of.startswith("age, ") for each in drifted)
    assert "do not answer the same kind of rows" in found.verdict.reason


def test_a_limit_of_fairness_joins_the_verdict_and_holds_at_every_look(bench):
    fair = evaluate_live(with_fairness(bench, 0.4), bench.paths, "shadow", now=NOW, champion="base")
    strict = evaluate_live(with_fairness(bench, 0.001), bench.paths, "shadow", now=NOW, champion="base")
    assert fair.verdict.outcome == "superior"
    assert strict.verdict.outcome == "cannot_tell"
    gap = findings(fair.sections, "fairness")[("demographic_parity_difference", "region")]
    [limit] = [c for c in fair.verdict.criteria if c.name.startswith("demographic_parity")]
    assert limit.found.ci_high - limit.found.difference > 1.5 * (gap.ci_high - gap.value)
    early = evaluate_live(
        with_fairness(bench, 0.4), bench.paths, "shadow", now=START + timedelta(days=7, hours=2), champion="base"
    )
    assert early.verdict.outcome == "cannot_tell"


def test_it_is_told_in_every_form(bench):
    for name in ("shadow", "equal", "next", "routed"):
        found = evaluate_live(bench.spec, bench.paths, name, now=NOW, champion="base")
        told = json.loads(to_json(found))
        assert {each["section"] for each in told["sections"]} == {each.key for each in found.sections}
        assert (told["version"], told["how"], told["outcome"]) == (name, "live", found.verdict.outcome)
        assert name in to_table(found)
        assert to_markdown(found).startswith(f"# m: version {name}")
        suite = ElementTree.fromstring(to_junit(found))
        assert (int(suite.attrib["errors"]) > 0) == (found.verdict.outcome == "cannot_tell")
    hurt = replace(live(bench, "worse"), version="<b>\x00")
    assert "&lt;b" in to_junit(hurt)


def test_the_command_has_the_exit_code_of_its_verdict(bench, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(bench.home.root))
    call = ["evaluate", "m", "--live", "--champion", "base", "--version"]
    assert CliRunner().invoke(cli, [*call, "shadow"]).exit_code == 0
    assert CliRunner().invoke(cli, [*call, "worse"]).exit_code == 1
    wrong = CliRunner().invoke(cli, [*call, "shadow", "--format", "html"])
    assert wrong.exit_code == 2
    assert "--live compares versions of the log" in wrong.output


def test_versions_side_by_side(bench):
    found = versions(bench.spec, bench.paths, now=NOW, against="base")
    seen = {each.version: each for each in found.seen}
    counts = dict(bench.inferences.group_by("version").len().iter_rows())
    assert {name: each.n_rows for name, each in seen.items()} == counts
    own = bench.inferences.filter(version="worse")
    assert seen["worse"].error_rate == pytest.approx((own["status"] == "error").mean())
    assert seen["worse"].latency_mean_ms == pytest.approx(own["ms"].mean())
    assert seen["worse"].latency_p95_ms == pytest.approx(own["ms"].quantile(0.95), rel=0.02)
    quality = {each["metric"]: each["value"] for each in seen["worse"].quality}
    assert quality["accuracy"] == pytest.approx(accuracy_score(own["y"], own["p"] >= 0.5))
    assert sum(each.share for each in found.seen) == pytest.approx(1.0)
    pairs = {pair.version: pair for pair in found.pairs}
    assert pairs["next"].problem.startswith("they never ran")
    assert pairs["next"].quality.is_empty() and not pairs["next"].service
    assert pairs["shadow"].is_shadow
    moved = {item.column: item.distance for item in pairs["routed"].moved}
    assert moved["age"] > 0.4
    assert "age" not in {item.column for item in pairs["shadow"].moved}, "it answers the same rows"
    assert pairs["routed"].routed and not pairs["equal"].routed
    same = live(bench, "worse").table.filter(segment="all", metric="roc_auc").row(0)
    assert pairs["worse"].quality.filter(metric="roc_auc").row(0) == same
    json.dumps(found.to_dict(), default=str, allow_nan=False)


def test_a_range_of_windows_and_what_lies_outside(bench):
    first = START + timedelta(days=10)
    found = versions(bench.spec, bench.paths, now=NOW, start=first, end=first + timedelta(days=5), against="base")
    assert found.windows == ("2026-01-15", "2026-01-19")
    assert {pair.n_days for pair in found.pairs} == {5}
    with pytest.raises(SightlineError, match="no row of any version"):
        versions(bench.spec, bench.paths, now=NOW, start=NOW)
    with pytest.raises(SightlineError, match="'next' has no row in these windows"):
        versions(bench.spec, bench.paths, now=NOW, end=first, against="next")


def test_the_command_shows_each_beside_the_one_before(bench, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(bench.home.root))
    done = CliRunner().invoke(cli, ["versions", "m", "--against", "base"])
    assert done.exit_code == 0, done.output
    assert "next against base: they never ran in the same windows" in done.output
    assert "shadow against base: 21 days on which both ran, both answered the same requests" in done.output
    assert "warning: they do not answer the same kind of rows" in done.output
    told = json.loads(CliRunner().invoke(cli, ["versions", "m", "--format", "json"]).output)
    assert told["seen"][0]["first_at"].endswith("Z")
    assert len(told["seen"]) == 9
