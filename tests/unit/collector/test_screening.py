"""Whole columns and single values are judged alike, whatever a batch holds and however its features were decoded."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.formats import native
from sightline.collector.formats.features import Features
from sightline.collector.screening import COLUMNS_FROM, KnownColumn, Screen
from sightline.log.events import InferenceEvent
from sightline.spec.model import MonitorSpec

NOW = datetime(2026, 3, 2, 10, 0, 30, tzinfo=UTC)
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "score": "s",
            "segments": ["region"],
            "features": {
                "age": {"kind": "numeric", "min": 0, "max": 120, "nullable": False},
                "income": "numeric",
                "plan": {"kind": "categorical", "allowed": ["free", "true", "1"]},
                "city": "categorical",
                "active": "boolean",
                "vector": {"kind": "embedding", "dimension": 2},
                "since": "datetime",
                "note": "text",
            },
        },
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)
KNOWN = {
    "age": KnownColumn(18, 90),
    "income": KnownColumn(-5.0, 1e6),
    "city": KnownColumn(values=frozenset({"Ulm", "1"})),
    "vector": KnownColumn(1.0, 6.0),
}
SOUND = {
    "age": 40,
    "income": 1.5,
    "plan": "free",
    "city": "Ulm",
    "active": True,
    "vector": [3.0, 4.0],
    "since": "2026-01-01",
    "note": "x",
}
NAMES = [*SOUND, "region", "invented"]

odd = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        1.0,
        -1,
        17,
        91.5,
        121,
        2**70,
        "",
        "1",
        "1.0",
        "true",
        "NaN",
        "inf",
        "free",
        "Ulm",
        "Mars",
        [1],
        [1, 2],
        [30.0, 40],
        ["a", "b"],
        [None, 1.0],
        [float("nan"), 1.0],
        {"a": 1},
        float("nan"),
        float("inf"),
    ]
)
rows = st.fixed_dictionaries({}, optional={name: st.just(SOUND.get(name)) | odd for name in NAMES})
events = st.builds(
    InferenceEvent,
    id=st.just("x"),
    features=rows,
    at=st.sampled_from([None, NOW, NOW - timedelta(days=3), NOW + timedelta(hours=1)]),
    score=st.sampled_from([None, 0.5, 1.5, -0.1]),
    part=st.sampled_from([None, None, "request", "response"]),
)


def one_by_one(screen: Screen, batch: list[Any]) -> Counter[tuple[str, str]]:
    """The same batch in pieces too small for columns."""
    total: Counter[tuple[str, str]] = Counter()
    for each in batch:
        total += screen.look([each], NOW).counts
    return total


@settings(max_examples=300, deadline=None)
@given(st.lists(events, min_size=COLUMNS_FROM + 4, max_size=40), st.sampled_from([KNOWN, {}]))
def test_columns_and_values_find_the_same(batch, known):
    screen = Screen(SPEC, known, timedelta(days=1))
    found = screen.look(batch, NOW)
    assert found.counts == one_by_one(screen, batch) and found.n_events == len(batch)
    for (name, rule), value in found.examples.items():
        if name in SPEC.columns.features and value is not None:
            alone = InferenceEvent(id="x", features={**SOUND, name: value})
            assert screen.look([alone], NOW).counts[name, rule] == 1, (name, rule, value)


sendable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats(allow_nan=False,
     allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES[:9]), sendable), min_size=1, max_size=30), st.booleans())
def test_features_decoded_to_structs_say_the_same_as_dicts(features, is_lines):
    """Sent alone (quick), and with an event that no Struct can hold (row types fall back to dicts)."""
    screen = Screen(SPEC, KNOWN, timedelta(days=1))
    sent = [{"id": str(i), "features": f} for i, f in enumerate(features)]

    def decode(documents: list[dict[str, Any]]) -> list[Any]:
        text = "\n".join(map(json.dumps, documents)) if is_lines else json.dumps(documents)
        return native.inferences({"content-type": "application/x-ndjson" if is_lines else ""}, text.encode(), SPEC)

    quick, slow = decode(sent), decode([*sent, {"id": "z", "features": {"invented": 1}}])[:-1]
    assert [type(a).__name__ == "RejectedEvent" for a in quick] == [type(b).__name__ == "RejectedEvent" for b in slow]
    quick, slow = ([e for e in found if isinstance(e, InferenceEvent)] for found in (quick, slow))
    assert screen.look(quick, NOW).counts == screen.look(slow, NOW).counts == one_by_one(screen, quick)


def test_an_event_has_the_same_bytes_however_it_was_decoded():
    """Else a repeat in another batch would not be known again."""
    import msgspec

    row = {"id": "a", "features": {"note": "x", "age": 40, "region": "eu"}}
    (quick,) = native.inferences({}, json.dumps(row).encode(), SPEC)
    slow, _ = native.inferences({}, json.dumps([row, {"id": "b", "features": {"invented": 1}}]).encode(), SPEC)
    assert isinstance(quick.features, Features) and isinstance(slow.features, dict)
    assert msgspec.msgpack.encode(quick) == msgspec.msgpack.encode(slow)
    assert list(slow.features) == ["age", "note", "region"]


@pytest.mark.parametrize("value", ["NaN", float("nan")])
@pytest.mark.parametrize("size", [1, COLUMNS_FROM])
def test_what_pandas_has_for_a_missing_category_is_missing(value, size):
    batch = [InferenceEvent(id="x", features={**SOUND, "city": value}, at=NOW)] * size
    assert Screen(SPEC, KNOWN, timedelta(days=1)).look(batch, NOW).counts == {("city", "missing"): size}


@pytest.mark.parametrize("size", [1, COLUMNS_FROM, 500])
def test_a_batch_of_sound_events_finds_nothing(size):
    batch = [InferenceEvent(id="x", features=SOUND, at=NOW, score=0.5)] * size
    assert not Screen(SPEC, KNOWN, timedelta(days=1)).look(batch, NOW).counts


def test_vectors_are_told_by_their_length_and_their_norm():
    screen = Screen(SPEC, KNOWN, timedelta(days=1))
    vectors = [[3.0, 4.0], [3.0], [30.0, 40.0], ["a", 1.0], [float("nan"), 1.0], None, "x"]
    batch = [InferenceEvent(id=str(k), features={**SOUND, "vector": v}, at=NOW) for k, v in enumerate(vectors * 4)]
    found = screen.look(batch, NOW).counts
    told = {rule: n for (column, rule), n in found.items() if column == "vector"}
    assert told == {"out_of_contract": 4, "out_of_range": 4, "bad_type": 8, "missing": 8}
