"""Exact repeats are counted and not logged twice; only what is on disk counts as logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.collector.dedupe import RecentIds
from sightline.home import Home
from sightline.log import writer as log_writer
from sightline.log.events import InferenceEvent
from tests.support.collector_site import EVENT, INFER, LABEL, Site, logged, make_home, run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_exact_repeats_are_counted_and_not_logged_twice(home):
    async def talk(site: Site) -> None:
        other = {**EVENT, "score": 0.5}
        assert (await site.post(INFER, [EVENT, EVENT, other])).json() | {"errors": []} == {
            "accepted": 2, "duplicate": 1, "rejected": 0, "errors": [],
        }  # fmt: skip
        assert (await site.post(INFER, other)).json()["duplicate"] == 1
        values = [1, 0, 1, 1]
        answers = [(await site.post(LABEL, {"id": "a", "value": value})).json() for value in values]
        assert [a["accepted"] for a in answers] == [1, 1, 1, 0]  # a label that goes back is a label

    run(home, talk)
    assert [e.score for e in logged(home)] == [0.25, 0.5] and [e.value for e in logged(home, "labels")] == [1, 0, 1]


def test_the_window_of_recent_ids_is_bounded():
    recent = RecentIds(100)
    events = [InferenceEvent(id=str(i)) for i in range(1000)]
    encoded = [e.id.encode() for e in events]
    for i in range(0, 1000, 10):
        split = recent.split("inferences", events[i : i + 10], encoded[i : i + 10])
        assert split.repeats.duplicates == 0
        recent.remember(split.repeats)
    assert 100 <= recent.split("inferences", events, encoded).repeats.duplicates <= 200
    assert recent.split("inferences", events[-100:], encoded[-100:]).repeats.duplicates == 100


def test_halves_of_a_call_are_no_duplicates_of_each_other():
    recent = RecentIds()
    halves = [InferenceEvent(id="a", part="request"), InferenceEvent(id="a", part="response")] * 2
    split = recent.split("inferences", halves, [b"1", b"2", b"1", b"2"])
    assert (len(split.events), split.repeats.duplicates) == (2, 2)


def test_events_of_a_failed_commit_are_not_remembered_as_logged(home, monkeypatch):
    full = [True]
    real = log_writer.OpenSegment.append

    def append(self: Any, *arguments: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    monkeypatch.setattr(log_writer.OpenSegment, "append", append)

    async def talk(site: Site) -> None:
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10") and "No space left" in answer.text
        full[0] = False
        assert (await site.post(INFER, EVENT)).json()["accepted"] == 1

    run(home, talk)
    assert [e.id for e in logged(home)] == ["a"]
