"""Contracts on descriptors of texts, checked as events come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sightline.collector.guards import RowGuards
from sightline.collector.screening import COLUMNS_FROM
from sightline.log.events import InferenceEvent
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec

NOW = datetime(2026, 3, 2, 10, 0, 30, tzinfo=UTC)
FILE = """\
model: {id: m, task: binary_classification}
columns:
  score: p
  features:
    review:
      kind: text
      descriptors:
        - characters
        - script
        - is_json
        - has_email
        - {name: order, regex: '^ORD-[0-9]+'}
        - {name: slow, python: "no_such_module:function"}
    review.characters: {min: 2, max: 20}
    review.script: {allowed: [Latin, none]}
    review.has_email: {allowed: [false]}
    review.order: {allowed: ["true"]}
    review.slow: {allowed: [true]}
    is_new: {kind: boolean, allowed: [true]}
reference: {start: 2026-01-01, end: 2026-02-01}
"""


@pytest.fixture
def spec(tmp_path) -> MonitorSpec:
    file = tmp_path / "m.yaml"
    file.write_text(FILE, encoding="utf-8")
    return load_monitor(file)


def event(**features: Any) -> InferenceEvent:
    return InferenceEvent(id="x", at=NOW, score=0.5, features={"is_new": True, **features})


@pytest.mark.parametrize("n", [1, COLUMNS_FROM])
@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("ORD-1 fine", {}),
        ("ORD-1 and a long text behind", {("review.characters", "out_of_contract")}),
        ("x", {("review.characters", "out_of_contract"), ("review.order", "not_allowed")}),
        ("ORD-2 привет, как", {("review.script", "not_allowed")}),
        ("ORD-3 jo@example.org", {("review.has_email", "not_allowed")}),
        (12345, {("review.order", "not_allowed")}),
        ("ORD-4 \ud800", {}),
        (["ORD-1"], {("review", "bad_type")}),
        (None, {("review", "missing")}),
    ],
)
def test_a_broken_contract_is_counted(spec: MonitorSpec, text: Any, broken: set[tuple[str, str]], n: int):
    found = RowGuards(spec).screen([event(review=text)] * n, NOW)
    assert dict(found.counts) == dict.fromkeys(broken, n)


def test_it_raises_a_hard_alert_with_the_value(spec: MonitorSpec):
    [alert] = RowGuards(spec).observe([event(review="ORD-7 " + "x" * 30), event(review="ORD-8")], NOW)
    assert (alert.column, alert.rule, alert.n, alert.n_events) == ("review.characters", "out_of_contract", 1, 2)
    assert alert.example == "36.0"
    assert alert.message == ("out_of_contract in column 'review.characters': 1 of 2 events (contract 2.0 to 20.0)")


def test_booleans_have_a_contract(spec: MonitorSpec):
    for value in (False, 0, "false"):
        found = RowGuards(spec).screen([event(review="ORD-1", is_new=value)], NOW)
        assert dict(found.counts) == {("is_new", "not_allowed"): 1}
    assert not RowGuards(spec).screen([event(review="ORD-1", is_new="1")], NOW).counts


def test_ten_megabytes_are_looked_at_in_bounded_time(spec: MonitorSpec):
    found = RowGuards(spec).screen([event(review="ORD-1 " + "a@" * 5_000_000)], NOW)
    assert dict(found.counts) == {("review.characters", "out_of_contract"): 1}
