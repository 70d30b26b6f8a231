"""Marks as CloudEvents: kept as the command keeps them, once, with a token that may log, or refused with the place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sightline.collector.auth import create_token
from sightline.durable import exclusive
from sightline.home import Home
from sightline.results.marks import MARKS, append_mark, append_mark_once, read_marks
from tests.support.collector_process import CollectorProcess
from tests.support.collector_site import EVENT, Site, logged, make_home, run

PATH = "/v1/monitors/m/cloudevents"
STRUCTURED = "application/cloudevents+json"
MARK: dict[str, Any] = {
    "specversion": "1.0",
    "type": "sightline.mark",
    "id": "build-1041",
    "source": "ci",
    "time": "2026-01-31T06:00:00+02:00",
    "data": {"text": "deployed 4.2"},
}


@pytest.fixture
def home(tmp_path) -> Home:
    return make_home(tmp_path)


def kept(home: Home) -> list[tuple[Any, ...]]:
    return read_marks(home.monitor("m")).select("at", "text", "source").rows()


def test_a_mark_is_kept_as_the_command_keeps_it_and_once(home):
    async def talk(site: Site) -> None:
        answer = await site.post(PATH, MARK, content_type=STRUCTURED)
        assert answer.json() == {"accepted": 1, "duplicate": 0, "rejected": 0, "errors": []}, answer.text
        assert kept(home) == [(datetime(2026, 1, 31, 4), "deployed 4.2", "ci")], "on disk before the answer"
        again = await site.post("/", MARK, content_type=STRUCTURED, x_sightline_monitor="m")
        assert again.json()["duplicate"] == 1
        other = await site.post(PATH, {**MARK, "source": "cd"}, content_type=STRUCTURED)
        assert other.json()["accepted"] == 1, "an id is one of its source"
        headers = {f"ce_{name}": MARK[name] for name in ("specversion", "type", "source")}
        binary = await site.post(PATH, {"text": "rolled back"}, **headers, ce_id="2")
        assert binary.json()["accepted"] == 1, binary.text
        metrics = (await site.web.get("/metrics")).text
        assert 'events_total{kind="marks",monitor="m",outcome="accepted"} 3.0' in metrics

    run(home, talk)
    append_mark(home.monitor("m"), "by hand", at=datetime(2026, 1, 1, tzinfo=UTC))
    found = kept(home)
    assert [row[1:] for row in found] == [
        ("by hand", ""),
        ("deployed 4.2", "ci"),
        ("deployed 4.2", "cd"),
        ("rolled back", "ci"),
    ]
    assert datetime.now(UTC).replace(tzinfo=None) - found[-1][0] < timedelta(minutes=5), "without a time: received"
    assert logged(home) == [] and read_marks(home.monitor("other")).is_empty()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"data": {}}, "event.data.text"),
        ({"data": {"text": " "}}, "event.data.text"),
        ({"data": {"text": 42}}, "event.data.text"),
        ({"data": {"text": "x" * 501}}, "event.data.text"),
        ({"data": {"text": "x", "version": "4.2"}}, "event.data.version"),
        ({"data": ["deployed"]}, "event.data"),
        ({"data": "deployed 4.2"}, "event.data"),
        ({"data": None}, "event.data"),
        ({"time": "yesterday"}, "event.time"),
        ({"time": "2300-01-01T00:00:00Z"}, "event.time"),
        ({"id": ""}, "lacks id"),
        ({"id": "x" * 513}, "event.id"),
        ({"source": None}, "lacks source"),
        ({"source": "x" * 501}, "event.source"),
        ({"specversion": "0.3"}, "specversion"),
        ({"type": "sightline.marks"}, "sightline.mark"),
    ],
)
def test_what_is_no_mark_is_refused_with_its_place(home, change, place):
    async def talk(site: Site) -> None:
        answer = await site.post(PATH, {**MARK, **change}, content_type=STRUCTURED)
        assert answer.status_code == 400 and place in answer.text, answer.text

    run(home, talk)
    assert kept(home) == [] and logged(home, "rejected") == []


def test_a_batch_with_a_mark_is_refused_as_a_whole(home):
    inference = {**MARK, "id": "p", "type": "io.sightline.inference", "data": EVENT}

    async def talk(site: Site) -> None:
        media = "application/cloudevents-batch+json"
        for wrong in (MARK, {**MARK, "data": None}):
            answer = await site.post(PATH, [inference, wrong], content_type=media)
            assert answer.status_code == 400 and "batch[1]" in answer.text, answer.text
        assert (await site.post(PATH, [inference], content_type=media)).json()["accepted"] == 1

    run(home, talk)
    assert kept(home) == [] and len(logged(home)) == 1 and logged(home, "rejected") == []


def test_a_mark_needs_a_token_that_may_log(home):
    tokens = {scope: create_token(home.monitor("m"), scope, "ci") for scope in ("write", "read", "act")}
    elsewhere = create_token(home.monitor("other"), "write", "ci")

    async def talk(site: Site) -> None:
        async def status(**headers: str) -> int:
            return (await site.post(PATH, MARK, content_type=STRUCTURED, **headers)).status_code

        assert await status() == 401
        assert await status(authorization=f"Bearer {elsewhere}") == 401
        assert [await status(authorization=f"Bearer {tokens[scope]}") for scope in ("read", "act")] == [403, 403]
        assert kept(home) == []
        assert await status(authorization=f"Bearer {tokens['write']}") == 200

    run(home, talk)
    assert len(kept(home)) == 1


def test_a_mark_that_cannot_be_kept_is_answered_503_and_may_be_sent_again(home, monkeypatch):
    monkeypatch.setattr("sightline.collector.keeping.LOCK_SECONDS", 0.05)

    async def talk(site: Site) -> None:
        with exclusive(home.monitor("m").results / ".lock"):
            answer = await site.post(PATH, MARK, content_type=STRUCTURED)
        assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
        assert (await site.post(PATH, MARK, content_type=STRUCTURED)).json()["accepted"] == 1

    run(home, talk)
    assert len(kept(home)) == 1


def test_what_was_answered_survives_a_kill_and_counts_once_after_it(tmp_path):
    collector = CollectorProcess(tmp_path)
    headers = {"content-type": STRUCTURED}
    with collector:
        answer = httpx.post(collector.url + PATH, content=json.dumps(MARK), headers=headers)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
        collector.kill()
        assert len(kept(Home(tmp_path))) == 1
        collector.start()
        answer = httpx.post(collector.url + PATH, content=json.dumps(MARK), headers=headers)
        assert answer.json()["duplicate"] == 1
        wrong = httpx.post(collector.url + PATH, content=json.dumps({**MARK, "data": 1}), headers=headers)
        assert wrong.status_code == 400 and "event.data" in wrong.json()["error"]
        document = httpx.get(collector.url + "/openapi.json").json()
        content = document["paths"]["/v1/monitors/{monitor}/cloudevents"]["post"]["requestBody"]["content"]
        shown = content[STRUCTURED]["examples"]["mark"]["value"]
        assert httpx.post(collector.url + PATH, content=json.dumps(shown), headers=headers).status_code == 200
    assert len(kept(Home(tmp_path))) == 1, "the document's example has the id and source of the first"


def test_a_torn_line_is_no_mark_and_its_id_may_come_again(home):
    paths = home.monitor("m")
    assert append_mark_once(paths, "deployed 4.2", id="1", source="ci")
    with (paths.results / MARKS).open("ab") as file:
        file.write(b'{"id": "2", "source": "ci", "at": "2026-02-0')
    assert append_mark_once(paths, "deployed 4.3", id="2", source="ci")
    assert not append_mark_once(paths, "deployed 4.3", id="2", source="ci")
    assert [row[1] for row in kept(home)] == ["deployed 4.2", "deployed 4.3"]
