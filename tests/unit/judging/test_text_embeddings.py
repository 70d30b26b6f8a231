"""Embeddings made of texts: by the frozen built-in model, and by a function of the user's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.dashboard.charts.embedding_map import map_chart
from sightline.errors import SightlineError
from sightline.judging import multivariate
from sightline.judging.frames import Judged, Work
from sightline.judging.text_vectors import TextVectors
from sightline.lake.intake.load import intake
from sightline.results.embedding_maps import read_map
from sightline.spec.loader import load_monitor
from sightline.warehouse import connect, ensure_reference, prepare
from sightline.warehouse.joint_reference import ensure_joint_reference
from tests.support.marts import create_marts

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, REFERENCE, ROWS = 12, 9, 240
LAST = DAYS - 1
NOW = FIRST + timedelta(days=60)
TOPICS = {
    "bill": ["bill", "invoice", "charged", "twice", "amount", "refund", "card", "paid"],
    "parcel": ["parcel", "late", "courier", "door", "lost", "delivery", "street", "waiting"],
    "login": ["password", "login", "account", "locked", "reset", "mail", "code", "screen"],
}
FUNCTION = """
import numpy as np

def embed(texts):
    if any("broken" in text for text in texts):
        raise RuntimeError("no model today")
    return np.array([[len(text), text.count("a"), text.count("e"), text.count("o")] for text in texts], dtype=float)

def wide(texts):
    return [[1.0, float(len(text)), 0.5] if "lost" in text else [1.0, float(len(text))] for text in texts]
"""
FILE = """\
version: 1
model: {{id: mail, task: binary_classification}}
columns:
  prediction_id: id
  timestamp: at
  score: p
  features:
    mail: {{kind: text, descriptors: [], embedding: "{embedding}"{more}}}
reference: {{kind: window, start: 2026-01-01, end: 2026-01-10}}
start: 2026-01-01
drift: {{min_rows: 50}}
"""


def day_rows(k: int, change: str) -> pl.DataFrame:
    rng = np.random.default_rng([23, k])
    names = ["bill", "parcel"] if change != "topic" else ["bill", "login"]
    texts = [" ".join(rng.choice(TOPICS[rng.choice(names)], 12)) for _ in range(ROWS)]
    if change == "missing":
        texts[:20] = [None] * 10 + [""] * 10
    elif change == "broken":
        texts = [f"{text} broken" for text in texts]
    elif change == "hostile":
        texts[:6] = ["a" * 300_000, "\u202e\u0000\x07", "e" + "\u0301" * 50_000, "語" * 9_000, "🙂" * 5_000, "\ufffd"]
    at = [FIRST.replace(tzinfo=None) + timedelta(days=k, seconds=i) for i in range(ROWS)]
    return pl.DataFrame(
        {"id": [f"{k}-{i}" for i in range(ROWS)], "at": at, "p": rng.random(ROWS), "mail": texts},
        schema_overrides={"mail": pl.String},
    )


@pytest.fixture
def judge(home):
    def run(embedding: str, change: str = "", more: str = "") -> Judged:
        file = home.monitors / "mail.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILE.format(embedding=embedding, more=more), encoding="utf-8")
        (home.root / "vectors_of_mail.py").write_text(FUNCTION, encoding="utf-8")
        spec = load_monitor(file, home=home)
        paths = home.monitor(spec.id)
        paths.landing_inferences.mkdir(parents=True, exist_ok=True)
        for k in range(DAYS):
            day_rows(k, change if k == LAST else "").write_parquet(paths.landing_inferences / f"{k}.parquet")
        intake(spec, paths, "inferences", home, now=NOW)
        with connect(paths) as con:
            prepare(con, spec, paths)
            create_marts(con)
            profile = ensure_reference(spec, paths, home, now=NOW, con=con)
            keys = [spec.key(FIRST + timedelta(days=k)) for k in range(DAYS)]
            judged = multivariate.judge(Work(spec, paths, con, keys, profile.columns if profile else {}, NOW))
            again = ensure_joint_reference(spec, paths, con, TextVectors(spec))  # as it was frozen
            assert again is not None
            assert set(again.embeddings) | set(again.lacking) == {"mail.embedding"}
        return judged

    return run


def of(judged: Judged, metric: str, k: int = LAST) -> dict:
    start = (FIRST + timedelta(days=k)).replace(tzinfo=None)
    found = judged.judgements.filter(column="mail.embedding", metric=metric, window_start=start)
    assert len(found) == 1
    return found.row(0, named=True)


def test_a_new_topic_is_seen_by_the_built_in_model(judge):
    found = judge("builtin", "topic")
    for metric in ("rff_distance", "centroid_distance", "domain_auc"):
        assert of(found, metric)["status"] == "warn", metric
        assert {of(found, metric, k)["status"] for k in range(LAST)} == {"ok"}, metric
    assert of(found, "norm")["status"] == "warn"  # words that the reference does not know shorten a vector
    assert of(found, "norm")["value"] < of(found, "norm", 0)["value"]


def test_texts_without_words_are_zero_vectors_and_missing_ones_are_none(judge):
    found = judge("builtin", "missing")
    row = of(found, "zero_vector_rate")
    assert (row["n"], row["value"]) == (ROWS - 10, pytest.approx(10 / (ROWS - 10)))


def test_hostile_texts_stop_nothing(judge):
    found = judge("builtin", "hostile")
    row = of(found, "rff_distance")
    assert row["n"] == ROWS
    assert row["value"] is not None


def test_a_function_of_the_users_is_asked(judge):
    found = judge("vectors_of_mail:embed", "topic")
    assert of(found, "centroid_distance")["status"] == "warn"
    assert {of(found, "no_vector_rate", k)["status"] for k in range(DAYS)} == {"ok"}
    assert {of(found, "no_vector_rate", k)["value"] for k in range(DAYS)} == {0.0}


def test_a_function_that_fails_is_told_and_stops_nothing(judge):
    found = judge("vectors_of_mail:embed", "broken")
    row = of(found, "no_vector_rate")
    assert (row["status"], row["reason_code"], row["value"]) == ("alert", "broken_contract", 1.0)
    left_out = f"{ROWS} of {ROWS} texts (100 %) have no vector and are left out"
    assert row["reason"] == f"{left_out} (RuntimeError in line 6 of vectors_of_mail.py)"
    far = of(found, "rff_distance")
    assert (far["status"], far["reason_code"], far["value"]) == ("insufficient_data", "too_few_rows", None)
    assert of(found, "rff_distance", 0)["status"] == "ok"


def test_vectors_of_two_lengths_are_counted_by_the_length_of_most(judge):
    found = judge("vectors_of_mail:wide")
    row = of(found, "wrong_dimension_rate", 0)
    assert row["status"] == "alert"
    assert 0.2 < row["value"] < 0.5


def test_a_function_that_is_not_there_is_told_in_every_window(judge):
    found = judge("vectors_of_mail:gone")
    rows = found.judgements.filter(column="mail.embedding")
    assert len(rows) == DAYS
    assert rows["status"].unique().to_list() == ["insufficient_data"]
    assert "module vectors_of_mail has no function 'gone'" in rows["reason"][0]


def test_the_map_of_the_newest_window_is_published_and_printed(judge, home, monkeypatch, tmp_path):
    judge("builtin", "topic")
    rows = read_map(home.monitor("mail"), "mail.embedding")
    assert rows.group_by("side").len().sort("side").rows() == [("current", ROWS), ("reference", 400)]
    assert rows["window_start"].unique().to_list() == [(FIRST + timedelta(days=LAST)).replace(tzinfo=None)]
    known = set(rows.filter(side="reference")["prediction_id"])
    now = rows.filter(side="current").sort("distance", descending=True)
    assert all(len(ids) == 3 and set(ids) <= known for ids in now["nearest"].to_list())
    far, near = now.head(60)["shown"].to_list(), now.tail(60)["shown"].to_list()
    assert all(text.split()[0] in TOPICS["login"] for text in far)
    assert all(text.split()[0] in TOPICS["bill"] for text in near)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    page = tmp_path / "map.html"
    told = CliRunner().invoke(cli, ["map", "mail", "mail.embedding", "--html", str(page)], catch_exceptions=False)
    assert "The first two principal components of the reference. Half of the rows" in told.output
    assert told.exit_code == 0
    assert now["prediction_id"][0] in told.output
    html = page.read_text(encoding="utf-8")
    assert "default-src" in html
    assert now["prediction_id"][0] in html
    computed = CliRunner().invoke(
        cli, ["map", "mail", "mail.embedding", "--window", "2026-01-03", "--rows", "50", "--format", "json"]
    )
    found = json.loads(computed.output)
    assert [row["side"] for row in found].count("current") == 50
    assert {row["window_start"] for row in found} == {"2026-01-03 00:00:00"}


def test_a_map_by_umap_names_it(judge, home):
    judge("builtin")
    rows = read_map(home.monitor("mail"), "mail.embedding").with_columns(method=pl.lit("umap"))
    chart = map_chart("map", "mail.embedding", rows, "2026-01-03")
    assert chart is not None and chart.summary.startswith("UMAP of the reference: neighbours are kept")


def test_a_column_without_vectors_has_no_map(judge, home, monkeypatch):
    judge("builtin")
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    for arguments, fix in (
        (["mail"], "mail.embedding"),
        (["mail.embedding", "--window", "x"], "such as 2026-01-01"),
    ):
        with pytest.raises(SightlineError) as caught:
            CliRunner().invoke(cli, ["map", "mail", *arguments], catch_exceptions=False)
        assert fix in str(caught.value)


def test_a_map_of_personal_texts_does_not_show_them(judge, home):
    judge("builtin", more=", personal: true")
    rows = read_map(home.monitor("mail"), "mail.embedding")
    assert len(rows) == ROWS + 400
    assert rows["shown"].null_count() == len(rows)
