"""`sightline compare` and `sightline test` as a user runs them: output, exit codes, messages, and no Dagster."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from sightline.cli import main

ROOT = Path(__file__).parents[3]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def sightline(*arguments, cwd):
    """The entry point in this process: as the shell sees it, without the start of an interpreter."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        argv, sys.argv = sys.argv, ["sightline", *map(str, arguments)]
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            sys.argv = argv
    return Done(code, out.getvalue(), err.getvalue())


def in_a_shell(*command, cwd):
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    for name, seed, shift in (("reference", 1, 0), ("same", 2, 0), ("shifted", 3, 8)):
        rng = np.random.default_rng(seed)
        signal = rng.normal(size=3000)
        frame = pl.DataFrame(
            {
                "id": np.arange(3000),
                "age, in years": rng.normal(40 + shift, 10, 3000),
                "région": rng.choice(["nord", "süd"], 3000),
                "p": 1 / (1 + np.exp(-signal)),
                "y": (rng.random(3000) < 1 / (1 + np.exp(-signal))).astype(int),
            }
        )
        frame.write_parquet(path / f"{name}.parquet")
        frame.write_csv(path / f"{name}.csv")
        frame.write_ndjson(path / f"{name}.ndjson")
    (path / "broken.parquet").write_bytes(b"PAR1")
    return path


@pytest.mark.parametrize(
    ("current", "code"), [("same.parquet", 0), ("same.csv", 0), ("shifted.ndjson", 1), ("shifted.csv", 1)]
)
def test_exit_codes_and_formats(folder, current, code):
    done = sightline(
        "compare", "reference.parquet", current, "--columns", "age, in years", "--columns", "région", cwd=folder
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert "2 columns compared, 3,000 reference and 3,000 current rows" in done.stdout
    assert ("higher by 0.8 sd" in done.stdout or "higher by 0.79 sd" in done.stdout) == (code == 1)


@pytest.mark.parametrize(("current", "code"), [("same.csv", 0), ("shifted.parquet", 1), ("nope.csv", 2)])
def test_the_shell_sees_the_exit_code(folder, current, code):
    done = in_a_shell(sys.executable, "-m", "sightline.cli", "compare", "reference.parquet", current, cwd=folder)
    assert done.returncode == code
    assert bool(done.stdout) != bool(done.stderr)


def test_json_is_a_list_of_records(folder):
    done = sightline(
        "compare",
        "reference.parquet",
        "shifted.csv",
        "--format",
        "json",
        "--metric",
        "psi",
        "--metric",
        "ks",
        cwd=folder,
    )
    records = json.loads(done.stdout)
    assert done.returncode == 1
    needed = {
        "column",
        "metric",
        "value",
        "p_value",
        "effect",
        "ci_low",
        "ci_high",
        "state",
        "n_reference",
        "n_current",
    }
    assert all(needed <= set(record) for record in records)
    found = {(r["column"], r["metric"]): r["state"] for r in records}
    assert found["age, in years", "psi"] == found["age, in years", "ks"] == "drift"
    assert found["région", "psi"] == "stable"


def test_by_and_entity(folder):
    done = sightline(
        "compare",
        "reference.parquet",
        "shifted.parquet",
        "--by",
        "région",
        "--metric",
        "psi",
        "--format",
        "json",
        cwd=folder,
    )
    records = json.loads(done.stdout)
    assert {r["segment"] for r in records} == {"région=nord", "région=süd"}
    assert "région" not in {r["column"] for r in records}
    done = sightline(
        "compare", "reference.parquet", "same.parquet", "--entity", "id", "--kind", "y=boolean", cwd=folder
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.parquet", "same.csv"], "reference: nope.parquet does not exist"),
        (["reference.parquet", "broken.parquet"], "current: broken.parquet cannot be read"),
        (["reference.parquet", "same.csv", "--metric", "pse"], "did you mean 'psi'"),
        (["reference.parquet", "same.csv", "--columns", "agee"], "there is no column 'agee'"),
        (["reference.parquet", "same.csv", "--by", "region"], "did you mean 'région'"),
        (["reference.parquet", "same.csv", "--tolerance", "-1"], "must be positive"),
        (["reference.parquet", "same.csv", "--kind", "region"], "write --kind COLUMN=KIND"),
        (["reference.parquet", "same.csv", "--format", "xml"], "'xml' is not one of"),
        (["reference.parquet"], "Missing argument"),
    ],
)
def test_mistakes_exit_with_2_and_one_message(folder, arguments, message):
    done = sightline("compare", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


PROBE = """
import sys
sys.argv = ["sightline", *{arguments!r}]
from sightline.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
heavy = sorted(m for m in ("dagster", "dbt", "duckdb", "pandas", "pyarrow", "sklearn") if m in sys.modules)
print("CODE", code, "HEAVY", heavy)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "reference.parquet", "same.parquet"],
        ["test", "suite.yaml", "reference.parquet", "same.parquet"],
        ["test", "--generate", "reference.parquet"],
    ],
)
def test_no_dagster_is_imported(folder, arguments):
    (folder / "suite.yaml").write_text("checks: [{metric: row_count, ge: 1}]\n", encoding="utf-8")
    code = PROBE.format(arguments=arguments)
    done = in_a_shell(sys.executable, "-c", code, cwd=folder)
    assert done.stdout.splitlines()[-1] == "CODE 0 HEAVY []" or "CODE None HEAVY []" in done.stdout, (
        done.stdout + done.stderr
    )


def test_a_generated_suite_passes_the_same_and_fails_the_shifted(folder):
    made = sightline("test", "--generate", "reference.parquet", "--label", "y", "--score", "p", cwd=folder)
    assert (made.returncode, made.stderr) == (0, "")
    (folder / "made.yaml").write_text(made.stdout, encoding="utf-8")
    same = sightline("test", "made.yaml", "reference.parquet", "same.csv", cwd=folder)
    assert same.returncode == 0, same.stdout
    shifted = sightline("test", "made.yaml", "reference.parquet", "shifted.parquet", "--format", "json", cwd=folder)
    assert shifted.returncode == 1
    failed = {record["check"] for record in json.loads(shifted.stdout) if record["status"] == "fail"}
    assert "psi(age, in years)" in failed
    assert failed <= {"psi(age, in years)", "out_of_range_rate(age, in years)"}


def test_junit_for_ci(folder):
    (folder / "ci.yaml").write_text(
        """\
checks:
  - {metric: row_count, ge: 5000, name: "rows <enough> & \\u0007"}
  - {metric: row_count, ge: 5000, severity: warn}
  - {metric: mean, column: "age, in years", between: [30, 60]}
""",
        encoding="utf-8",
    )
    done = sightline("test", "ci.yaml", "reference.parquet", "same.csv", "--format", "junit", cwd=folder)
    assert done.returncode == 1
    suite = ElementTree.fromstring(done.stdout)
    assert suite.attrib == {"name": "ci.yaml", "tests": "3", "failures": "1", "skipped": "1"}
    outcomes = [(case.attrib["name"], [child.tag for child in case]) for case in suite]
    assert outcomes == [("rows <enough> &  ", ["failure"]), ("row_count", ["skipped"]), ("mean(age, in years)", [])]
    assert suite[0][0].attrib["message"] == "fail: 3000, expected >= 5000: below the bound"


def test_every_mistake_of_a_suite_has_its_line(folder):
    (folder / "bad.yaml").write_text(
        """\
version: 1
qualty: {task: regression}
checks:
  - metric: psi
    colum: p
    le: 0.1
  - {metric: roc_auc, ge: 0.7}
  - {metric: null_rat, column: p, le: 0.1}
  - {metric: mean, column: p, between: [3]}
  - {metric: mean, column: p}
  - {metric: mean, column: p, le: 1, severity: fatal}
  - {metric: mean, column: p, le: high}
""",
        encoding="utf-8",
    )
    done = sightline("test", "bad.yaml", "reference.parquet", "same.csv", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    for line, text in (
        (2, "unknown key 'qualty'"),
        (5, "unknown key 'colum'"),
        (7, "metric 'roc_auc' is unknown"),
        (8, "metric 'null_rat' is unknown"),
        (9, "`between` is [3]"),
        (10, "a check needs a bound"),
        (11, "severity: 'fatal'"),
        (12, "`le` is 'high'"),
    ):
        assert f"bad.yaml:{line}: {text}" in done.stderr
    for fix in (
        "Did you mean 'quality'?",
        "Did you mean 'column'?",
        "did you mean 'null_rate'?",
        "it needs `quality:`",
    ):
        assert fix in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.yaml", "reference.parquet", "same.csv"], "nope.yaml: cannot read the file"),
        (["suite.yaml", "reference.parquet"], "give three files"),
        (["--generate"], "takes one file"),
        (["--generate", "reference.parquet", "--score", "p"], "need --label"),
        (["--generate", "reference.parquet", "--label", "y"], "--label needs --score"),
        (["--generate", "reference.parquet", "--label", "y", "--task", "ranking"], "needs the column query"),
        (["--generate", "reference.parquet", "--label", "y", "--task", "rank"], "--task rank is unknown"),
        (
            ["--generate", "reference.parquet", "--label", "y", "--score", "age, in years"],
            "probabilities lie in [0, 1]",
        ),
        (["--generate", "reference.parquet", "--label", "z", "--score", "p"], "there is no column 'z'"),
    ],
)
def test_mistakes_of_the_test_command(folder, arguments, message):
    done = sightline("test", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


LABELS = {
    "csv": ["True", "False"],
    "parquet": ["1.0", "0.0"],
    "ndjson": [True, False],
}


@pytest.mark.parametrize("form", LABELS)
def test_a_suite_reads_classes_alike_in_every_format(form, tmp_path):
    rng = np.random.default_rng(20)
    score = rng.random(800)
    y = rng.random(800) < score
    pl.DataFrame({"y": y.astype(int), "p": score}).write_parquet(tmp_path / "ref.parquet")
    current = pl.DataFrame({"y": [LABELS[form][0 if truth else 1] for truth in y], "p": score})
    {"csv": current.write_csv, "parquet": current.write_parquet, "ndjson": current.write_ndjson}[form](
        tmp_path / f"cur.{form}"
    )
    (tmp_path / "suite.yaml").write_text(
        "quality: {task: binary_classification, label: y, score: p, positive: 1, negative: 0}\n"
        "checks: [{metric: accuracy, relative_tolerance: 0}, {metric: positive_rate, relative_tolerance: 0}]\n"
    )
    done = sightline("test", "suite.yaml", "ref.parquet", f"cur.{form}", "--format", "json", cwd=tmp_path)
    rows = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [row["value"] for row in rows] == [row["reference_value"] for row in rows]
    assert rows[0]["value"] == pytest.approx(np.mean(y == (score >= 0.5)), abs=1e-12)


def test_a_file_without_rows_is_a_mistake_and_too_few_rows_are_no_pass(folder, tmp_path):
    (tmp_path / "empty.csv").write_text("id,y\n", encoding="utf-8")
    (tmp_path / "few.csv").write_text("id,y\n1,0\n2,1\n", encoding="utf-8")
    for files in ((folder / "same.csv", "empty.csv"), ("empty.csv", folder / "same.csv")):
        done = sightline("compare", *files, "--html", "page.html", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "empty.csv" in done.stderr and "has no rows" in done.stderr
    assert not (tmp_path / "page.html").exists()
    done = sightline("compare", folder / "same.csv", "few.csv", "--column", "y", cwd=tmp_path)
    assert done.returncode == 3 and "2 current values, 30 needed" in done.stdout


def test_pages_and_parquet_are_written_beside_the_table(folder, tmp_path):
    files = [folder / "reference.parquet", folder / "shifted.parquet"]
    done = sightline("compare", *files, "--html", "c.html", "--parquet", "c.parquet", "--format", "json", cwd=tmp_path)
    assert json.loads(done.stdout) == pl.read_parquet(tmp_path / "c.parquet").to_dicts()
    assert "columns drifted" in (tmp_path / "c.html").read_text(encoding="utf-8")
    suite = tmp_path / "suite.yaml"
    suite.write_text("checks:\n  - {metric: psi, column: 'age, in years', le: 0.1}\n", encoding="utf-8")
    written = ("--html", "t.html", "--parquet", "t.parquet", "--format", "json")
    done = sightline("test", suite, *files, *written, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "wrote t.html\nwrote t.parquet\n"
    assert json.loads(done.stdout) == pl.read_parquet(tmp_path / "t.parquet").to_dicts()
    assert "Of 1 checks 1 failed" in (tmp_path / "t.html").read_text(encoding="utf-8")


def test_markdown_is_a_summary_for_a_chat(folder):
    done = sightline("compare", "reference.parquet", "shifted.csv", "--format", "markdown", cwd=folder)
    assert done.stdout.startswith("**1 of 5 columns drifted**") and "higher by 0." in done.stdout
