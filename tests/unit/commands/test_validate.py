"""`sightline validate` and the plan behind it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.lake.intake.load import intake
from sightline.spec import plan
from sightline.spec.docs import EXAMPLE
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.attacks import HOSTILE_FILES
from tests.support.lake import land, make_paths, rows

REGRESSION = """\
model: {id: demand, task: regression, owner: team:ops}
columns:
  prediction: forecast
  status: outcome
  latency_ms: ms
  features: {Wind Speed: {kind: numeric, min: 0, nullable: false}, note: text, v: embedding, seen: datetime}
labels: {}
reference: {kind: rolling}
start: 2026-03-02
schedule: weekly
quality: {quantiles: [0.1, 0.9]}
alerts: {max_null_rate: {seen: 0.05}}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "flight_delay.yaml").write_text(EXAMPLE)
    (tmp_path / "monitors" / "demand.yaml").write_text(REGRESSION)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str):
    import sightline.errors

    result = CliRunner().invoke(cli, ["validate", *arguments])
    if isinstance(result.exception, sightline.errors.SightlineError):
        return 2, "", str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_tells_what_each_file_creates(home):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "flight_delay/inferences" in out and "demand/model_quality" in out
    assert "drift__carrier" in out and "contract__wind_speed" in out
    assert "flight_delay__immediate, flight_delay__delayed" in out
    assert "flight_delay__inferences, flight_delay__labels" in out
    assert "one per day from 2026-01-01" in out and "one per week from 2026-03-02" in out
    assert "at most 1 false incident per 90d expected" in out
    assert "wind_speed: at least 0; at most 150 (else the check fails as an error)" in out
    assert "new inferences every 2d" in out
    assert f"{home}/data/flight_delay/landing/labels" in out


def test_texts_and_embeddings_have_checks(home):
    _, out, _ = run("demand")
    assert "drift__v," in out and "multivariate_drift" in out
    assert "drift__note," in out and "column__note," in out
    assert "drift__note_words" in out and "column__note_script" in out


def test_ranking_is_judged_like_the_other_tasks():
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "r", "task": "ranking"},
            "columns": {"score": "s", "query_id": "q"},
            "labels": {},
            "reference": {"start": "2026-01-01", "end": "2026-02-01"},
        }
    )
    assert plan.quality_metrics(spec)[:2] == ["ndcg", "map"]
    assert plan.primary_metric(spec) == "ndcg"
    assert {check.name for check in plan.checks(spec)} >= {"quality__ndcg", "quality__relevant_query_rate"}


def test_all_files_are_reported_and_the_exit_code_is_2(home):
    (home / "monitors" / "broken.yaml").write_text("model: {id: broken, tsk: regression}\nreference: {}\n")
    (home / "monitors" / "flight_delay.yml").write_text(EXAMPLE)
    code, out, err = run()
    assert code == 2
    assert "demand/drift" in out and "flight_delay/drift" in out
    assert "broken.yaml:1: unknown key 'tsk' in model" in err and "Did you mean 'task'?" in err
    assert "broken.yaml:1: the key 'task' is missing in model" in err
    assert "flight_delay.yml: a second file describes the monitor 'flight_delay'" in err
    assert "2 of 4 monitor files have mistakes" in err


def test_json(home):
    (home / "monitors" / "broken.yaml").write_text("{")
    code, out, _ = run("--format", "json")
    answer = json.loads(out)
    assert code == 2
    assert [monitor["id"] for monitor in answer["monitors"]] == ["demand", "flight_delay"]
    assert answer["errors"][0]["path"].endswith("broken.yaml")
    demand = answer["monitors"][0]
    assert demand["contracts"] == {
        "Wind Speed": ["at least 0", "never missing"],
        "seen": ["missing in at most 0.05 of the rows"],
    }
    assert {"contract__wind_speed", "contract__seen"} <= set(demand["checks"]["data_quality"])
    assert {"quality__pinball_0_1", "quality__pinball_0_9"} <= set(demand["checks"]["model_quality"])
    assert demand["checks"]["data_quality"][:4] == ["row_volume", "rejected_rows", "error_rate", "latency"]
    assert demand["freshness_deadlines"] == {"inferences": "14d", "judgements": "21d", "labels": "15d"}


def test_paths_folders_and_ids(home, tmp_path):
    assert run("demand")[1].startswith("demand")
    assert run(str(home / "monitors" / "demand.yaml"))[1].startswith("demand")
    assert "flight_delay/drift" in run(str(home / "monitors"))[1]
    code, _, err = run("demnd")
    assert code == 2 and "Did you mean 'demand'?" in err


def test_no_monitor_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    code, _, err = run()
    assert code == 2 and "sightline init SAMPLE" in err


def test_columns_that_the_landed_data_lacks(home):
    landing = home / "data" / "flight_delay" / "landing" / "inferences"
    landing.mkdir(parents=True)
    columns = ["flight_id", "scheduled_departure_at", "p_late", "version", "distance", "carier", "wind_speed", "origin"]
    pl.DataFrame({name: [1] for name in columns}).write_csv(landing / "1.csv")
    _, out, _ = run("flight_delay")
    assert "1.csv has no column 'carrier' (the feature 'carrier'). Did you mean 'carier'?" in out
    assert out.count("has no column") == 2  # the feature and the segment


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("score: p_late", "prediction: late", "no score: ROC AUC"),
        (
            "{distance: numeric, carrier",
            "{is_late: numeric, carrier",
            "listed as a feature: does the model see the truth?",
        ),
        (
            "{distance: numeric, carrier",
            "{p_late: numeric, carrier",
            "columns.score 'p_late' is listed as a feature too",
        ),
        (
            "carrier: categorical",
            "carrier: {kind: categorical, personal: true}",
            "columns.segments: carrier is personal",
        ),
        (", owner: ops-ml@example.com", "", "no owner"),
        ("labels: {column: is_late, positive: 1, expected_delay: 12h, give_up_after: 3d}\n", "", "no labels"),
        (
            "schedule:",
            "sources: {inferences: {parquet: 'x/*.parquet'}}\nschedule:",
            "no file matches sources.inferences",
        ),
        (
            "alerts: {",
            "alerts: {not_judged: [carrier, 'drift__*', cariier], ",
            "alerts.not_judged: 'cariier' means no check, column or metric. Did you mean 'carrier'?",
        ),
    ],
)
def test_warnings(home, old, new, warning):
    assert old in EXAMPLE
    (home / "monitors" / "flight_delay.yaml").write_text(EXAMPLE.replace(old, new))
    code, out, _ = run("flight_delay")
    assert code == 0
    assert f"  warning     {warning}" in out or warning in out


def test_check_names_are_unique_and_valid_in_dagster(home):
    import re

    from sightline.home import Home
    from sightline.spec.loader import load_monitors

    specs, _ = load_monitors(Home(home))
    for spec in specs.values():
        checks = [(check.asset, check.name) for check in plan.checks(spec)]
        assert len(set(checks)) == len(checks)
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for _, name in checks)
        assert {asset for asset, _ in checks} <= set(plan.assets(spec))


def test_windows_so_far(home):
    from sightline.home import Home
    from sightline.spec.loader import find_monitor

    now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    assert plan.windows(find_monitor(Home(home), "demand"), now) == 4
    assert plan.windows(find_monitor(Home(home), "flight_delay"), now) == 88
    assert plan.windows(find_monitor(Home(home), "flight_delay"), datetime(2025, 1, 1, tzinfo=UTC)) == 0


def test_validate_imports_no_dagster(home):
    import subprocess
    import sys

    code = "import sys; from sightline.commands.validate import command; command(['demand'], standalone_mode=False); "
    code += "print([m for m in ('dagster', 'scipy', 'duckdb', 'sklearn') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.rstrip().endswith("[]")


class TestPythonMetrics:
    GOOD = """
from metrics_py.registry import metric

@metric(name="refund", task="custom", needs="rows")
def refund(rows):
    \"\"\"Mean refund.\"\"\"
    return rows["score"].mean()

@metric(name="of_bins", task="custom", needs="bins")
def of_bins(reference, current):
    \"\"\"No metric of rows.\"\"\"
    return 0.0
"""

    def write(self, home, function: str, columns: str = "") -> None:
        (home / "kpis_of_flights.py").write_text(self.GOOD)
        entry = f"metrics:\n  - {{name: first, sql: '1'}}\n  - name: kpi\n    python: {function}\n{columns}"
        (home / "monitors" / "flight_delay.yaml").write_text(EXAMPLE + entry)

    def test_are_found_in_the_home_folder(self, home):
        self.write(home, "kpis_of_flights:refund", "    columns: [score, f_distance]\n")
        code, out, err = run("flight_delay")
        assert (code, err) == (0, "") and "metric__kpi" in out

    @pytest.mark.parametrize(
        ("function", "what", "fix"),
        [
            ("not_there:f", "module not_there cannot be imported", "put not_there.py into the home folder"),
            ("kpis_of_flights:refunds", "kpis_of_flights has no refunds; did you mean 'refund'?", "decorate it with"),
            ("kpis_of_flights:of_bins", "the function takes bins, not the rows of a window", "decorate it with"),
            ("raises_at_import:f", "cannot be imported (ZeroDivisionError", "mend raises_at_import"),
            ("leaves_at_import:f", "cannot be imported (SystemExit", "mend leaves_at_import"),
            ("needs_more:f", "No module named 'not_installed'", "install what needs_more imports"),
        ],
    )
    def test_that_cannot_be_loaded_are_told_with_line_and_fix(self, home, function, what, fix):
        (home / "raises_at_import.py").write_text("1 / 0")
        (home / "leaves_at_import.py").write_text("raise SystemExit(3)")
        (home / "needs_more.py").write_text("import not_installed")
        self.write(home, function)
        line = (EXAMPLE + "metrics:\n  - first\n  - name\n").count("\n") + 1
        code, out, err = run()
        assert code == 2 and "demand/inferences" in out
        assert f"flight_delay.yaml:{line}: " in err and what in err and fix in err

    def test_columns_that_do_not_exist(self, home):
        self.write(home, "kpis_of_flights:refund", "    columns: [scores]\n")
        code, _, err = run()
        assert code == 2 and "'scores', which is no column of the rows" in err and "Did you mean 'score'?" in err

    def test_reading_a_monitor_file_imports_nothing_of_the_user_s(self, home):
        self.write(home, "raises_at_import:f")
        assert load_monitor(home / "monitors" / "flight_delay.yaml").metrics[1].python == "raises_at_import:f"


def test_mistakes_in_sql_metrics_are_told_with_line_and_fix(home):
    entry = "metrics:\n  - {name: first, sql: '1'}\n  - name: kpi\n    sql: f_distanc * 2\n"
    (home / "monitors" / "flight_delay.yaml").write_text(EXAMPLE + entry)
    line = (EXAMPLE + "metrics:\n  - first\n  - name\n").count("\n") + 1
    code, out, err = run()
    assert code == 2 and "demand/inferences" in out
    assert (
        f"flight_delay.yaml:{line}: metric 'kpi': " in err and '"f_distance"' in err and "fix: the columns are" in err
    )


@pytest.mark.parametrize("content", HOSTILE_FILES.values(), ids=HOSTILE_FILES)
def test_a_file_that_would_cost_too_much_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    started = time.process_time()
    result = CliRunner().invoke(cli, ["validate", str(path)], env={"SIGHTLINE_HOME": str(tmp_path)})
    assert (result.exit_code, time.process_time() - started < 10) == (2, True)
    assert f"error: {path}" in result.stderr and "1 of 1 monitor files have mistakes" in result.stderr


def test_the_reference_is_told_with_the_dates_that_are_used_and_what_to_migrate(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    made, paths = make_paths(tmp_path)
    (tmp_path / "monitors").mkdir()
    file = tmp_path / "monitors" / "m.yaml"
    text = (
        "model: {id: m, task: binary_classification}\n"
        "columns: {prediction_id: id, timestamp: ts, score: p, features: {x: numeric}}\n"
        "reference: {kind: window, start: 2026-01-07, end: 2026-01-21}\n"
    )
    file.write_text(text)
    land(paths.landing_inferences, "a.parquet", rows(10))
    intake(load_monitor(file), paths, "inferences", made)
    code, told, _ = run()
    assert code == 0
    assert "from 2026-01-07 00:00 to 2026-01-21 00:00 UTC, frozen once\n" in told
    assert "migrate" not in told
    file.write_text(f"{text}schedule: weekly\n")
    code, told, _ = run()
    assert "from 2026-01-05 00:00 to 2026-01-26 00:00 UTC, frozen once; the file says 2026-01-07 00:00 to" in told
    assert "widened to whole weeks" in told
    assert "schedule was daily, is weekly" in told and "run sightline migrate m\n" in told


def test_tells_that_no_classes_of_several_are_named(home):
    text = "model: {id: kinds, task: multiclass_classification}\ncolumns: {prediction: said}\nlabels: {LABELS}\n"
    text += "reference: {kind: rolling}\nstart: 2026-03-02\n"
    for labels, is_told in (("column: y", True), ("classes: [a, b]", False)):
        (home / "monitors" / "kinds.yaml").write_text(text.replace("LABELS", labels))
        code, out, _ = run("kinds")
        assert code == 0
        assert ("no classes are named: every label is a class of its own" in out) is is_told


def test_tells_that_weights_weigh_nothing(home):
    path = home / "monitors" / "demand.yaml"
    path.write_text(REGRESSION.replace("  status: outcome\n", "  status: outcome\n  weight: w\n"))
    code, out, _ = run("demand")
    assert code == 0
    assert "columns.weight 'w' weighs nothing" in out


@pytest.mark.parametrize(("path", "told"), [("ref.parquet", "the file ref.parquet"), ("ref", "the folder ref")])
def test_a_reference_of_files_is_called_what_it_is(tmp_path, monkeypatch, path, told):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "ref").mkdir()
    for file in ("ref.parquet", "ref/a.parquet"):
        rows(60).write_parquet(tmp_path / file)
    (tmp_path / "monitors" / "m.yaml").write_text(
        "model: {id: m, task: binary_classification}\n"
        "columns: {prediction_id: id, timestamp: ts, score: p, features: {x: numeric}}\n"
        f"start: 2026-01-05\nreference: {{kind: file, path: {path}}}\n"
    )
    code, output, errors = run()
    assert code == 0, errors
    assert f"{told}, frozen once" in output
