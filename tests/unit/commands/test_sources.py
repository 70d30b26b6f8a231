"""`sightline sources`, and what `sightline validate` says of sources that are fetched."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from deltalake import write_deltalake

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.spec.loader import load_monitor

MONITOR = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p}
labels: {column: churned}
reference: {kind: window, start: 2026-01-01, end: 2026-01-11}
sources:
"""
BOTH = """\
  inferences: {delta: {uri: table}}
  labels: {postgres: {host: 127.0.0.1, port: 1, database: d, user: u, table: t, cursor: at, password_env: NOT_SET}}
"""
TABLE = pl.DataFrame({"prediction_id": ["a", "b"], "timestamp": ["2026-01-05", "2026-01-06"], "p": [0.1, 0.2]})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(MONITOR + BOTH)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.delenv("NOT_SET", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_states_are_told_and_a_problem_is_exit_code_1(home: Path) -> None:
    assert "not looked at yet" in run("sources", "churn").output
    write_deltalake(home / "table", TABLE)
    found = run("sources", "churn", "--fetch")
    assert found.exit_code == 1
    assert "churn inferences: delta://table\n  2 rows in 1 file fetched" in found.output
    assert "CANNOT BE READ since" in found.output
    assert "the environment variable NOT_SET is not set\n  fix: export NOT_SET" in found.output
    told = json.loads(run("sources", "--format", "json").output)
    assert [state["side"] for state in told] == ["inferences", "labels"]
    assert told[0]["counts"] == {"files": 1, "rows": 2}


def test_the_doctor_tells_as_well(home: Path) -> None:
    write_deltalake(home / "table", TABLE)
    run("sources", "churn", "--fetch")
    found = run("doctor", "--no-start")
    assert found.exit_code == 1
    assert "ok     source churn inferences: delta://table" in found.output
    assert "lacks  source churn labels" in found.output


def test_a_restart_fetches_all_once_more(home: Path) -> None:
    write_deltalake(home / "table", TABLE)
    run("sources", "churn", "--fetch")
    assert "2 rows in 1 file" in run("sources", "churn", "--fetch").output
    assert "4 rows in 2 files" in run("sources", "churn", "--restart", "inferences", "--fetch").output
    refused = run("sources", "--restart", "labels")
    assert isinstance(refused.exception, SightlineError)
    assert "needs the monitor" in str(refused.exception)


def test_validate_asks_when_told_to(home: Path) -> None:
    told = run("validate")
    assert told.exit_code == 0
    assert "sources.labels.postgres: the environment variable NOT_SET is not set here" in told.output
    assert "inferences: delta table" in told.output
    write_deltalake(home / "table", TABLE)
    asked = run("validate", "--connect")
    assert asked.exit_code == 2
    assert "inferences: delta://table has prediction_id (String), timestamp (String), p (Float64)" in asked.output
    write_deltalake(home / "table", TABLE.rename({"p": "q"}), mode="overwrite", schema_mode="overwrite")
    assert (
        "there is no column 'p'; the table has 'prediction_id', 'timestamp', 'q'" in run("validate", "--connect").output
    )


def test_a_package_that_lacks_is_told_with_its_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deltalake(home / "table", TABLE)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    assert "pip install 'sightline[delta]'" in run("sources", "churn", "--fetch").output


SECRETS = {
    "kafka": ("{kafka: {brokers: b, topic: t, properties: {sasl.password: x}}}", "sasl.password is a secret"),
    "url": (
        "{iceberg: {table: a.b, properties: {uri: 'postgresql://u:pw@h/d'}}}",
        "uri is a URL with a password",
    ),
    "s3": ("{delta: {uri: 's3://b/t', store: {endpoint: 'http://a:b@h'}}}", "holds a password"),
    "two": ("{delta: {uri: t}, parquet: '*.parquet'}", "names several places: `parquet` and `delta`"),
    "none": ("{postgres: {table: t, cursor: c}}", "it does not say which database to read"),
    "cloud": ("{delta: {uri: 'gs://b/t'}}", "read from folders and from `s3://`"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_what_is_wrong_is_told_when_the_file_is_read(home: Path, case: str) -> None:
    section, what = SECRETS[case]
    file = home / "monitors" / "churn.yaml"
    file.write_text(f"{MONITOR}  inferences: {section}\n")
    with pytest.raises(SightlineError, match=what.replace("(", r"\(")):
        load_monitor(file)
