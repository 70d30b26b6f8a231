"""Texts through the assets: quiet weeks are quiet, and an injected change is told by the descriptor that shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.backfill import materialize_range
from sightline.home import Home, MonitorPaths
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.results.words import read_words
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.workshop import land, write

DAYS, PER_DAY, REFERENCE, LONGER, GERMAN = 48, 300, 14, 36, 42
"""From day `LONGER` on texts are half as long again, from day `GERMAN` on 4 in 10 are German instead of 1 in 20."""
ENGLISH_TEXT = """
    the item came in time and works as said but box was a bit dented so we called help they sent new one next day
    price fair color nice size small large great bad slow fast good fine shipping quality battery screen charger love
"""
GERMAN_TEXT = """
    der artikel kam und funktioniert wie beschrieben aber die verpackung war etwas beschädigt deshalb haben wir
    angerufen am nächsten tag neue lieferung preis ist gut farbe schön größe klein groß schlecht langsam qualität
"""
ENGLISH, GERMAN_WORDS = ENGLISH_TEXT.split(), GERMAN_TEXT.split()
MONITOR = """\
model: {{id: reviews, task: binary_classification, owner: ml@example.com}}
columns:
  prediction_id: id
  timestamp: at
  score: p
  features:
    review: {{kind: text, descriptors: [characters, words, digit_share, script, language, has_email]}}
    review.characters: {{max: 5000}}
  segments: [review.language]
reference: {{kind: window, start: {first:%Y-%m-%d}, end: {end:%Y-%m-%d}}}
alerts: {{budget: 1 per 90d, warmup: 14}}
"""


def day_rows(rng: np.random.Generator, at: datetime, k: int) -> pl.DataFrame:
    """One day: lengths have an effect of the day, one text in ten names an order, one in fifty an address."""
    mean = 30 * np.exp(rng.normal(0, 0.04)) * (1.5 if k >= LONGER else 1)
    texts: list[str | None] = []
    for _ in range(PER_DAY):
        words = GERMAN_WORDS if rng.random() < (0.4 if k >= GERMAN else 0.05) else ENGLISH
        text = " ".join(rng.choice(words, max(4, int(rng.gamma(4, mean / 4)))))
        text += f" order {rng.integers(10**6)}" if rng.random() < 0.1 else ""
        text += " jo@example.org" if rng.random() < 0.02 else ""
        texts.append(None if rng.random() < 0.01 else text)
    return pl.DataFrame(
        {
            "id": [f"{k}-{i}" for i in range(PER_DAY)],
            "at": [at + timedelta(seconds=200 * i) for i in range(PER_DAY)],
            "p": rng.beta(2, 4, PER_DAY),
            "review": texts,
        }
    )


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MonitorSpec, MonitorPaths, datetime]]:
    """All days worked up, and the first of them."""
    home = Home(tmp_path_factory.mktemp("texts") / "home")
    home.monitors.mkdir(parents=True)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=DAYS + 1)
    rng = np.random.default_rng(881)
    days = [day_rows(rng, first.replace(tzinfo=None) + timedelta(days=k), k) for k in range(DAYS)]
    land(home, "reviews", "inferences", "history", pl.concat(days))
    text = MONITOR.format(first=first, end=first + timedelta(days=REFERENCE))
    spec = load_monitor(write(home, "reviews", text), home=home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
        patch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
        materialize_range(home, spec, spec.key(first), spec.key(first + timedelta(days=DAYS - 1)))
        yield spec, home.monitor("reviews"), first


def told(paths: MonitorPaths) -> set[str]:
    """Columns with a stream in an incident."""
    members = read_snapshot(paths, "incident_members")
    assert members is not None
    return {stream.split("/")[1] for stream in members["stream"]}


@pytest.mark.long
def test_changes_of_texts_are_told_by_their_descriptors_and_quiet_days_are_quiet(replayed):
    spec, paths, first = replayed
    drift = {check.name for check in plan.checks(spec) if check.asset == "drift"}
    assert {"drift__review_words", "drift__review_language", "drift__review"} <= drift
    found = read_judgements(paths).filter((pl.col("metric") == "psi") & (pl.col("segment") == "all"))
    states = {
        name: found.filter(pl.col("column") == name).sort("window_start")["status"].to_list()
        for name in ("review.words", "review.language", "review.digit_share", "review.has_email", "review.script")
    }
    assert states["review.words"][LONGER:].count("warn") >= DAYS - LONGER - 1
    assert states["review.language"][GERMAN:] == ["warn"] * (DAYS - GERMAN)
    assert all("warn" not in values[REFERENCE:LONGER] for values in states.values())
    assert "warn" not in states["review.has_email"] + states["review.script"]

    incidents = read_snapshot(paths, "incidents")
    assert incidents is not None
    change = first.replace(tzinfo=None) + timedelta(days=LONGER)
    assert incidents["opened_at"].min() >= change, "no incident in the quiet weeks"
    members = read_snapshot(paths, "incident_members")
    assert members is not None
    assert {"review.words", "review.characters", "review.language"} <= told(paths)
    assert not told(paths) & {"review.script", "review.has_email"}
    streams = read_snapshot(paths, "alert_streams")
    assert streams is not None
    language = streams.filter(stream="drift/review.language/log_psi").sort("window_start")["status"].to_list()
    assert "alert" in language[GERMAN : GERMAN + 4], "a switch of language is an incident within days"
    assert "warn" not in language[:GERMAN]
    lengths = members.filter(pl.col("stream").is_in(["drift/review/location", "drift/review/log_psi"]))
    assert lengths.is_empty(), "its descriptors are judged in their place"
    words = read_words(paths, [spec.key(first + timedelta(days=GERMAN))]).filter("is_moved")
    assert len(set(words["word"]) & set(GERMAN_WORDS)) > 5
