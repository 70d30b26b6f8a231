"""Candidates on the page Versions: kept evaluations beside the champion, roles, what waits, hostile names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.dashboard.masking import Masking
from sightline.dashboard.pages.candidates import CARD
from sightline.errors import SightlineError
from sightline.evaluation.landed import publish_failure
from sightline.results.judgements import append_judgements
from tests.support.dashboard import served
from tests.support.published import HOSTILE, World, frame_schema, make_published, row

BASE = "/monitors/churn"
BAD_NAME = '"><img src=x onerror=alert(2)>'
N = 1500


def scored(noise: float) -> pl.DataFrame:
    """Labelled rows; the larger the noise, the worse the score."""
    rng, own = np.random.default_rng(41), np.random.default_rng(42)
    truth = rng.random(N) < 0.4
    signal = np.where(truth, 1.0, -1.0) + rng.normal(0, 1, N) + noise * own.normal(size=N)
    columns = {"prediction_id": [f"p{k}" for k in range(N)], "p": 1 / (1 + np.exp(-signal)), "churned": truth}
    return pl.DataFrame({**columns, "age": rng.normal(40, 9, N), HOSTILE: ["a"] * N, "plan": ["basic"] * N})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One candidate superior (after it was inferior), one inferior, one not readable, one landed, one shadow."""
    world = make_published(tmp_path_factory.mktemp("candidates") / "home")
    file = world.home.monitors / "churn.yaml"
    text = file.read_text(encoding="utf-8").replace("columns:\n", "columns:\n  prediction_id: prediction_id\n")
    file.write_text(f"{text}shadows: [dark]\n", encoding="utf-8")
    paths = world.home.monitor("churn")
    rows = [row(world, "churn", 59, "n_rows", 900.0, model_version=name) for name in ("dark", "1.5")]
    rows[1]["value"] = 4.0
    append_judgements(
        paths,
        "data_quality",
        pl.DataFrame(rows, schema=frame_schema()),
        "run-4",
        datetime.now(UTC) + timedelta(hours=1),
    )
    early = row(world, "churn", 59, "roc_auc", 0.5, model_version="1.5", status="provisional", n=4)
    late = datetime.now(UTC) + timedelta(hours=1)
    append_judgements(paths, "model_quality", pl.DataFrame([early], schema=frame_schema()), "run-4", late)
    for name, noise in (("old", 1.0), ("better", 0.1), ("worse", 5.0)):
        scored(noise).write_parquet(world.home.root / f"{name}.parquet")
    for name, version in (("worse", BAD_NAME), ("better", BAD_NAME), ("worse", "4.3")):
        asked = ["evaluate", "churn", str(world.home.root / f"{name}.parquet"), "--version", version, "--keep"]
        found = CliRunner(env={"SIGHTLINE_HOME": str(world.home.root)}).invoke(
            cli, [*asked, "--against", str(world.home.root / "old.parquet")]
        )
        assert found.exit_code == (0 if name == "better" else 1), found.output
    publish_failure(paths, "4.4", SightlineError("no column p", where="x.csv", fix="add it"), datetime.now(UTC))
    folder = paths.landing_candidates / "4.5"
    folder.mkdir(parents=True)
    scored(1.0).write_parquet(folder / "scored.parquet")
    return world


@pytest.fixture(scope="module")
def client(world):
    with served(world.home) as client:
        yield client


def test_candidates_stand_beside_the_champion_with_what_was_found(client, world):
    found = client.get(f"{BASE}/versions.json").json()["candidates"]
    by = {each["version"]: each for each in found}
    assert list(by) == ["4.4", "4.3", BAD_NAME, "4.5", "dark"]
    best = by[BAD_NAME]
    assert (best["outcome"], best["may_promote"], best["n_earlier"], best["n"]) == ("superior", True, 1, N)
    assert (
        best["champion"] == "the file old.parquet" and best["set"] == "better.parquet" and best["metric"] == "roc_auc"
    )
    kept = max(world.home.monitor("churn").results.glob("evaluations/*img*.json"))
    (told,) = [each for each in json.loads(kept.read_text())["criteria"] if each["name"] == "roc_auc"]
    for name in ("difference", "ci_low", "ci_high"):
        assert best[name] == told[name] is not None
    assert best["value"] - best["champion_value"] == pytest.approx(best["difference"])
    assert best["ci_low"] < best["difference"] < best["ci_high"]
    assert (by["4.3"]["outcome"], by["4.3"]["may_promote"]) == ("inferior", False)
    assert by["4.4"]["outcome"] == "cannot_tell" and "no column p" in by["4.4"]["reason"]
    assert by["4.5"]["outcome"] is None and "was not evaluated yet" in by["4.5"]["reason"]
    assert by["dark"]["reason"].endswith("sightline evaluate churn --version dark --live --keep")
    assert [each["role"] for each in found] == [*["candidate"] * 4, "shadow"]


def test_the_role_of_each_version_is_told(client):
    found = client.get(f"{BASE}/versions.json").json()["versions"]
    roles = {each["model_version"]: each["role"] for each in found}
    assert roles == {"1.0": "retired", "2.0": "champion", "dark": "shadow", "1.5": "in production"}


def test_a_value_of_early_labels_is_called_provisional(client, world):
    found = client.get(f"{BASE}/versions.json").json()["versions"]
    states = {each["model_version"]: each["quality_status"] for each in found}
    assert states == {"1.0": "ok", "2.0": "ok", "dark": None, "1.5": "provisional"}
    assert client.get(f"{BASE}/versions").text.count(f"{world.day(59):%Y-%m-%d}, provisional") == 1


def test_the_page_tells_the_same_and_escapes_names(client):
    text = client.get(f"{BASE}/versions").text
    assert "<img" not in text and "&lt;img src=x" in text
    for words in (
        "superior",
        "inferior",
        "may be promoted",
        "may not be promoted",
        "not compared yet",
        "and 1 earlier",
    ):
        assert words in text, words


def test_the_page_of_an_evaluation_is_served_without_a_script(client, world):
    card = next(row["card"] for row in client.get(f"{BASE}/versions.json").json()["candidates"] if row["card"])
    answer = client.get(f"{BASE}/{CARD}?of={quote(card)}")
    assert answer.status_code == 200 and "<script" not in answer.text and "inferior: keep the champion" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "script" not in policy and "sandbox" in policy
    for wrong in ("", "nothing", "../../../monitors/churn", f"failed/{card}"):
        assert client.get(f"{BASE}/{CARD}?of={quote(wrong)}").status_code == 404, wrong
    with served(world.home, masking=Masking(frozenset({"age"}))) as masked:
        assert {row["card"] for row in masked.get(f"{BASE}/versions.json").json()["candidates"]} == {None}
        assert masked.get(f"{BASE}/{CARD}?of={quote(card)}").status_code == 404
