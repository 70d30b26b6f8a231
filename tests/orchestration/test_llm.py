"""A language model's traffic through the assets: each injected change is told by its own stream, else all is quiet."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orchestration.backfill import materialize_range
from sightline.home import Home
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitor
from tests.support.workshop import land, write

DAYS, PER_DAY, REFERENCE = 60, 300, 14
INJECTED = {"refusals": 34, "truncated": 38, "german": 42, "cost": 46, "thumbs": 48}
"""From this day on."""
STREAMS = {
    "refusals": "drift/answer.is_refusal/true_rate",
    "truncated": "drift/answer.is_truncated/true_rate",
    "german": "drift/answer.switches_language/true_rate",
    "cost": "drift/answer.cost/location",
    "thumbs": "model_quality/thumbs_up_rate",
}
MONITOR = """\
model: {{id: assistant, task: text_generation, owner: ml@example.com}}
columns:
  prediction_id: response_id
  timestamp: at
  latency_ms: latency_ms
  model_version: model
  entity_id: conversation
  llm:
    prompt: question
    response: answer
    documents: documents
    input_tokens: tokens_in
    output_tokens: tokens_out
    finish_reason: finish_reason
    format: {{regex: '^[[:alpha:]]'}}
    prices: {{"small-*": {{input: 0.15, output: 0.6}}}}
    measures: [is_empty, is_refusal, is_truncated, is_valid_format, cost, ms_per_token, context_overlap, count,
      switches_language]
  features:
    question: {{kind: text, descriptors: [words]}}
    answer: {{kind: text, descriptors: [words]}}
labels: {{column: thumb, feedback: thumbs, observed_at: rated_at, expected_delay: 1d, give_up_after: 3d}}
reference: {{kind: window, start: {first:%Y-%m-%d}, end: {end:%Y-%m-%d}}}
alerts: {{budget: 1 per 90d, warmup: 14}}
"""
ENGLISH_TEXT = """
    the parcel arrives within three working days and you can follow it with the number in the mail we sent you open
    the page of your account choose the order and press return then print the label and bring the box to a shop
"""
GERMAN_TEXT = """
    das paket kommt innerhalb von drei werktagen und sie können es mit der nummer in der nachricht verfolgen öffnen
    sie die seite ihres kontos wählen sie die bestellung und drücken sie zurücksenden dann bringen sie den karton
"""
ENGLISH, GERMAN = ENGLISH_TEXT.split(), GERMAN_TEXT.split()
REFUSALS = ("I'm sorry, but I can't help with that request.", "I cannot provide that information to you.")


def _text(rng: np.random.Generator, words: list[str], n: int) -> str:
    start = int(rng.integers(len(words)))
    return " ".join((words * (n // len(words) + 2))[start : start + n])


def day_rows(rng: np.random.Generator, at: datetime, k: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls of one day, and the thumbs of four in ten of them, which come half a day later in the mean."""
    injected = {name for name, day in INJECTED.items() if k >= day}
    effect = np.exp(rng.normal(0, 0.03))
    calls: list[dict[str, object]] = []
    for i in range(PER_DAY):
        is_refused = rng.random() < (0.10 if "refusals" in injected else 0.02)
        is_german = rng.random() < (0.08 if "german" in injected else 0.01)
        is_cut = rng.random() < (0.12 if "truncated" in injected else 0.015)
        n = max(8, int(rng.gamma(8, 3.5 * effect)))
        answer = rng.choice(REFUSALS) if is_refused else _text(rng, GERMAN if is_german else ENGLISH, n) + "."
        tokens = len(answer.split()) * 1.3 * (1.9 if "cost" in injected else 1)
        calls.append(
            {
                "response_id": f"resp-{k}-{i}",
                "at": at + timedelta(seconds=200 * i + int(rng.integers(100))),
                "model": "small-2",
                "conversation": f"c{rng.integers(10**6)}",
                "question": _text(rng, ENGLISH, int(rng.integers(8, 20))) + "?",
                "answer": answer[: len(answer) // 2] if is_cut else answer,
                "documents": [_text(rng, ENGLISH, 40) for _ in range(int(rng.integers(2, 5)))],
                "tokens_in": int(rng.integers(300, 400)),
                "tokens_out": round(tokens),
                "finish_reason": "length" if is_cut else "stop",
                "latency_ms": 200 + tokens * 20 * np.exp(rng.normal(0, 0.2)),
            }
        )
    rated = [call for call in calls if rng.random() < 0.4]
    up = 0.62 if "thumbs" in injected else 0.85
    thumbs = [
        {
            "response_id": call["response_id"],
            "thumb": "up" if rng.random() < up else "down",
            "rated_at": call["at"] + timedelta(hours=float(rng.exponential(12))),
        }
        for call in rated
    ]
    return pl.DataFrame(calls), pl.DataFrame(thumbs)


@pytest.mark.long
def test_changes_of_a_language_model_are_told_by_their_own_streams_and_quiet_weeks_are_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = Home(tmp_path / "home")
    home.monitors.mkdir(parents=True)
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=DAYS + 4)
    rng = np.random.default_rng(4711)
    days = [day_rows(rng, first.replace(tzinfo=None) + timedelta(days=k), k) for k in range(DAYS)]
    land(home, "assistant", "inferences", "history", pl.concat([calls for calls, _ in days]))
    land(home, "assistant", "labels", "history", pl.concat([thumbs for _, thumbs in days]))
    text = MONITOR.format(first=first, end=first + timedelta(days=REFERENCE))
    spec = load_monitor(write(home, "assistant", text), home=home)
    materialize_range(home, spec, spec.key(first), spec.key(first + timedelta(days=DAYS - 1)))
    paths = home.monitor("assistant")
    incidents, members = read_snapshot(paths, "incidents"), read_snapshot(paths, "incident_members")
    assert incidents is not None and members is not None
    start = first.replace(tzinfo=None)
    assert incidents["opened_at"].min() >= start + timedelta(days=INJECTED["refusals"]), "quiet weeks are quiet"
    joined = {stream: (at - start).days for stream, at in members.select("stream", "joined_at").rows()}
    for name, stream in STREAMS.items():
        assert stream in joined, (name, sorted(joined))
        assert 0 <= joined[stream] - INJECTED[name] <= 6, (name, joined[stream])
    told = {stream.split("/")[1] for stream in joined}
    assert not told & {"answer.is_empty", "answer.is_valid_format", "documents.count", "question.words", "tokens_in"}

    found = read_judgements(paths).filter((pl.col("segment") == "all") & (pl.col("metric") == "thumbs_up_rate"))
    assert (found["n"] > 80).all(), "of four in ten answers"
    assert found["ci_low"].null_count() == 0, "with an interval"
    quiet = found.filter(pl.col("window_start") < start + timedelta(days=INJECTED["thumbs"]))["value"].mean()
    bad = found.filter(pl.col("window_start") >= start + timedelta(days=INJECTED["thumbs"]))["value"].mean()
    assert isinstance(quiet, float) and abs(quiet - 0.85) < 0.02
    assert isinstance(bad, float) and abs(bad - 0.62) < 0.04
