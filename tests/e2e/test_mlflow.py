"""A round trip with MLflow's own server: a version is registered, fetched, evaluated, and tagged with its verdict."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestration.monitor import Monitor
from orchestration.sensors import registry_sensor
from sightline.cli import cli
from sightline.collector.signed_calls import read_calls
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidate, publish
from sightline.evaluation.render import to_json
from sightline.evaluation.run import evaluate
from sightline.registries.build import registry_of
from sightline.registries.protocol import VerdictNote
from sightline.registries.sync import sync
from sightline.spec.loader import find_monitor
from tests.support.collector_process import CollectorProcess, free_port, until
from tests.unit.evaluation.test_evaluate import MONITOR, NOW, production, scored, write_monitor  # noqa: F401

pytestmark = [pytest.mark.e2e, pytest.mark.long]
PINNED = "mlflow==3.17.2"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
VENV = Path(__file__).parents[1] / ".artifacts" / PINNED.replace("==", "-")
SECRET, VARIABLE = "the secret of the test's webhook", "SIGHTLINE_TEST_WEBHOOK"
WEBHOOKS = {
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode(),
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
}
"""Of the server: without these it sends to https and public addresses only, and finds new webhooks after a minute."""
SUBSCRIBE = """
import sys
from mlflow import MlflowClient

url, to, secret = sys.argv[1:]
made = MlflowClient(url).create_webhook(
    name="sightline", url=to, events=["model_version.created", "model_version_tag.set"], secret=secret
)
print("made", made.webhook_id)
"""
REGISTER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

url, model, *files = sys.argv[1:]
mlflow.set_tracking_uri(url)
client = MlflowClient()
try:
    client.create_registered_model(model)
except MlflowException:
    client.get_registered_model(model)
with mlflow.start_run() as run:
    for file in files:
        mlflow.log_artifact(file, "evaluation")
made = client.create_model_version(model, f"runs:/{run.info.run_id}/model", run.info.run_id)
print("made", made.version)
"""
TOLD = """
import json, sys
from mlflow import MlflowClient

url, model, version = sys.argv[1:]
client = MlflowClient(url)
print("told", json.dumps([client.get_model_version(model, version).tags, client.get_registered_model(model).aliases]))
"""


@pytest.fixture(scope="module")
def mlflow_python() -> Path:
    """Python of an environment of its own with MLflow; made once."""
    python = VENV / "bin" / "python"
    if not (VENV / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PINNED], check=True)
        (VENV / "done").touch()
    return python


@pytest.fixture
def mlflow_url(mlflow_python, tmp_path) -> Iterator[str]:
    """A server on loopback; it and its workers are ended by their group."""
    port = free_port()
    folder = tmp_path / "mlflow"
    folder.mkdir()
    command = [mlflow_python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **QUIET, **WEBHOOKS}, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert server.poll() is None, (folder / "log").read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        until(is_up, 180, "the start of MLflow")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)


def said(python: Path, script: str, *arguments: object) -> str:
    command = [str(python), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith(("made ", "told "))]
    return line[5:]


def test_a_registered_version_is_evaluated_and_told_its_verdict(
    production,  # noqa: F811 (a fixture)
    mlflow_python,
    mlflow_url,
    tmp_path,
):
    home, paths = production
    model = "churn d'hiver"
    link = {"url": mlflow_url, "model": model, "passed_alias": "champion"}
    write_monitor(home, {**MONITOR, "registry": link})
    spec = find_monitor(home, "m")
    for name, noise in (("good", 0.1), ("bad", 3.0)):
        scored(5, noise).write_parquet(tmp_path / f"{name}.parquet")

    def register(*files: Path) -> str:
        return said(mlflow_python, REGISTER, mlflow_url, model, *files)

    def told(version: str) -> tuple[dict[str, str], dict[str, str]]:
        tags, aliases = json.loads(said(mlflow_python, TOLD, mlflow_url, model, version))
        return tags, aliases

    def look() -> str:
        return CliRunner().invoke(cli, ["registry", "m"], catch_exceptions=False).output

    def judge(version: str) -> str:
        found = evaluate(spec, paths, candidate(paths, version).path, version, now=NOW)
        publish(paths, version, to_json(found), NOW.replace(minute=int(version)))
        return found.verdict.outcome

    with pytest.raises(SightlineError, match="answered 404"), registry_of(spec, home) as registry:
        registry.versions()
    assert register(tmp_path / "good.parquet") == "1"
    assert look() == "version 1: 1 file landed\n"
    assert candidate(paths, "1").path.read_bytes() == (tmp_path / "good.parquet").read_bytes()
    assert judge("1") == "superior"
    assert look() == "version 1: verdict superior written back\n"
    tags, aliases = told("1")
    assert tags["sightline.verdict"] == "superior"
    assert tags["sightline.evaluated_at"] == "2026-03-06T00:01:00Z"
    assert "roc_auc" in tags["sightline.reason"]
    assert aliases == {"champion": "1"}

    assert register(tmp_path / "bad.parquet") == "2"
    assert register() == "3"
    assert look() == (
        "version 3: no evaluation set\nversion 2: 1 file landed\nversion 3: verdict cannot tell written back\n"
    )
    assert judge("2") == "inferior"
    assert look() == "version 2: verdict inferior written back\n"
    tags, aliases = told("2")
    assert tags["sightline.verdict"] == "inferior"
    assert aliases == {"champion": "1"}, "what is rejected moves no alias"
    tags, _ = told("3")
    assert tags["sightline.verdict"] == "cannot_tell"
    assert "landing/candidates/3/" in tags["sightline.reason"]
    assert look() == "nothing to do\n"

    assert register(tmp_path / "good.parquet") == "4"
    look()
    assert judge("4") == "superior"
    look()
    tags, aliases = told("4")
    assert (aliases, tags["sightline.alias_before"]) == ({"champion": "4"}, "1")
    scored(5, 3.0).write_parquet(paths.landing_candidates / "4" / "good.parquet")
    found = evaluate(spec, paths, candidate(paths, "4").path, "4", now=NOW)
    publish(paths, "4", to_json(found), NOW.replace(minute=30))
    assert look() == "version 4: verdict inferior written back\n"
    tags, aliases = told("4")
    assert (aliases, tags["sightline.alias_before"]) == ({"champion": "1"}, ""), "it goes back where it came from"


def test_a_server_that_goes_away_is_told_and_caught_up_with(production, mlflow_python, tmp_path):  # noqa: F811
    home, paths = production
    write_monitor(home, {**MONITOR, "registry": {"url": f"http://127.0.0.1:{free_port()}", "model": "m"}})
    spec = find_monitor(home, "m")
    with registry_of(spec, home) as registry, pytest.raises(SightlineError, match="cannot be reached"):
        sync(spec, paths, registry)
    assert not (paths.root / "registry.json").exists(), "the first look is still to come"


def test_its_webhook_calls_the_collector_and_the_sensor_looks_at_once(
    production,  # noqa: F811 (a fixture)
    mlflow_python,
    mlflow_url,
    tmp_path,
    monkeypatch,
):
    home, paths = production
    write_monitor(home, {**MONITOR, "registry": {"url": mlflow_url, "model": "m", "webhook_secret_env": VARIABLE}})
    monkeypatch.setenv(VARIABLE, SECRET)
    scored(5, 0.1).write_parquet(tmp_path / "good.parquet")
    monitor = Monitor(find_monitor(home, "m"), home, {})
    sensor = registry_sensor.build(monitor, registry_sensor.job(monitor))

    def tick() -> dg.SensorResult:
        with dg.build_sensor_context() as context:
            found = sensor(context)
        assert isinstance(found, dg.SensorResult)
        return found

    assert said(mlflow_python, REGISTER, mlflow_url, "m", tmp_path / "good.parquet") == "1"
    assert tick().run_requests, "the first look finds it without a call"
    assert CliRunner().invoke(cli, ["registry", "m"]).output == "version 1: 1 file landed\n"
    assert "has not called" in str(tick().skip_reason)
    with CollectorProcess(home.root, monitor=(home.monitors / "m.yaml").read_text()) as collector:
        said(mlflow_python, SUBSCRIBE, mlflow_url, f"{collector.url}/v1/monitors/m/registry", SECRET)
        assert said(mlflow_python, REGISTER, mlflow_url, "m", tmp_path / "good.parquet") == "2"
        until(lambda: read_calls(paths).asked_at, 60, "the call of MLflow")
        assert read_calls(paths).why == "model_version.created"
        assert tick().run_requests, "a call is answered by a look"
        assert "version 2: 1 file landed" in CliRunner().invoke(cli, ["registry", "m"]).output
        assert "has not called" in str(tick().skip_reason)
        known = set(read_calls(paths).seen)
        with registry_of(monitor.spec, home) as registry:
            note = VerdictNote("2", "cannot_tell", "written by this test", "2026-03-06T00:00:00Z")
            registry.write_verdict(registry.versions()[0], note)
        until(lambda: len(set(read_calls(paths).seen) - known) >= 3, 60, "calls about our own tags")
        assert "has not called" in str(tick().skip_reason), "what Sightline wrote itself is no reason to look"


def test_a_webhook_of_another_secret_is_refused(production, mlflow_python, mlflow_url, tmp_path, monkeypatch):  # noqa: F811
    home, paths = production
    write_monitor(home, {**MONITOR, "registry": {"url": mlflow_url, "model": "m", "webhook_secret_env": VARIABLE}})
    monkeypatch.setenv(VARIABLE, SECRET)
    scored(5, 0.1).write_parquet(tmp_path / "good.parquet")
    with CollectorProcess(home.root, monitor=(home.monitors / "m.yaml").read_text()) as collector:
        said(mlflow_python, SUBSCRIBE, mlflow_url, f"{collector.url}/v1/monitors/m/registry", "another secret")
        said(mlflow_python, REGISTER, mlflow_url, "m", tmp_path / "good.parquet")
        until(
            lambda: "the signature is missing or wrong" in (home.root / "collector.log").read_text(), 60, "the refusal"
        )
    assert read_calls(paths).asked_at == 0.0
