"""`sightline doctor` and `sightline.yaml`: what lacks is named with its cure."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.home import Home
from sightline.spec.home_file import load_home_file
from sightline.spec.loader import SpecError
from tests.support.spark_cluster import free_port

MONITOR = """\
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
reference: {start: 2026-01-01, end: 2026-02-01}
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(MONITOR)
    return Home(tmp_path)


def doctor(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["doctor", *args])
    return done.exit_code, done.output


def test_a_home_that_lacks_nothing(home):
    code, told = doctor()
    assert code == 0 and not any(line.startswith("lacks") for line in told.splitlines())
    assert "ok     monitor churn" in told and "engine: DuckDB" in told


def test_what_lacks_is_named_one_by_one(home):
    (home.monitors / "broken.yaml").write_text("model: {id: broken}\n")
    port = free_port()
    (home.root / "sightline.yaml").write_text(f"engine: {{kind: spark, master: 'spark://127.0.0.1:{port}'}}\n")
    code, told = doctor("--no-start", "--format", "json")
    assert code == 1
    errors = {row["about"]: row["error"] for row in json.loads(told) if row["error"]}
    assert errors.keys() == {"monitor broken", "engine"}
    assert f"127.0.0.1:{port}: the master does not answer" in errors["engine"]


def test_java_that_is_not_there_or_too_old_is_named(home, tmp_path, monkeypatch):
    (home.root / "sightline.yaml").write_text("engine: {kind: spark, master: 'local[1]'}\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    code, told = doctor("--no-start")
    assert code == 1 and "there is no Java" in told and "openjdk-17" in told
    old = tmp_path / "old" / "bin" / "java"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    code, told = doctor("--no-start")
    assert code == 1 and "Java 11 is too old" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("engine: {kind: spork}", "'spork'"),
        ("engin: {}", "unknown key 'engin'"),
        ("engine: {kind: spark, memory: lots}", "memory"),
        ("engine: {conf: {spark.sql.ansi.enabled: 'true'}}", "Sightline sets it"),
        ("engine: {start_within: soon}", "'soon' is no duration"),
        ("engine: [spark]", "engine"),
    ],
)
def test_mistakes_in_the_homes_file_are_told_with_their_line_by_validate_too(home, text, told):
    (home.root / "sightline.yaml").write_text(f"# the home\n{text}\n")
    with pytest.raises(SpecError) as caught:
        load_home_file(home)
    assert told in str(caught.value) and "sightline.yaml:2" in str(caught.value)
    done = CliRunner().invoke(cli, ["validate"])
    assert done.exit_code == 2 and told in done.output
