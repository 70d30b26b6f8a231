"""`sightline alerts`, as a user types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from sightline.alerts.outbox import enqueue
from sightline.cli import cli
from sightline.errors import SightlineError
from tests.support.outbox import Receiver, fact, make_home, webhook_routes


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))

    def call(*arguments, code=0):
        result = CliRunner().invoke(cli, ["alerts", *arguments])
        if isinstance(result.exception, SightlineError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_a_specimen_is_sent(run, tmp_path):
    with Receiver() as receiver:
        make_home(tmp_path, webhook_routes(receiver.url))
        assert "ops: taken" in run("test")
        assert "ops: taken" in run("test", "--to", "ops")
    assert receiver.bodies[0]["changes"][0]["kind"] == "test" and len(receiver.keys) == 2
    assert "ops: the connection was refused" in run("test", code=1)
    with pytest.raises(SightlineError, match="no channel 'opps'") as caught:
        run("test", "--to", "opps")
    assert "'ops'" in str(caught.value)


def test_without_routes_the_specimen_is_in_the_record(run, tmp_path):
    make_home(tmp_path)
    assert "record: taken" in run("test")
    assert "specimen" in (tmp_path / "data" / "alerts" / "alerts.ndjson").read_text()


def test_send_and_look(run, tmp_path):
    assert "nothing is due" in run("send")
    assert "the outbox is empty" in run("outbox")
    with Receiver(lambda n, changes: (500, False)) as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        enqueue(home, [fact(1)])
        assert "1 to be tried again" in run("send", code=1)
    text = run("outbox")
    assert "1 failed" in text and "tried 1 times: answered 500; tried again at" in text and "the run 1 failed" in text
    found = json.loads(run("outbox", "--format", "json", "--state", "failed", "--channel", "ops"))
    assert (
        found["counts"]["failed"] == 1 and found["deliveries"][0]["kind"] == "run_failed" and "ops" in found["resting"]
    )
    assert json.loads(run("outbox", "--format", "json", "--state", "sent"))["deliveries"] == []


def test_the_digest_is_printed(run, tmp_path):
    make_home(tmp_path)
    assert "0 open, 0 settled unseen, over 1 monitor" in run("digest")
    assert json.loads(run("digest", "--format", "json"))["lines"]


def test_bad_durations(run, tmp_path):
    make_home(tmp_path)
    with pytest.raises(SightlineError, match="no duration"):
        run("send", "--every", "often")


def test_validate_tells_of_routes(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    make_home(tmp_path, "channels: {ops: {kind: webhook, url: env:A}}", notify="opss")
    result = CliRunner().invoke(cli, ["validate"])
    assert result.exit_code == 0 and "alerts.notify names 'opss'" in result.output and "'ops'" in result.output
    make_home(tmp_path, "chanels: {}")
    result = CliRunner().invoke(cli, ["validate"])
    assert result.exit_code == 2 and "routes.yaml:1: unknown key 'chanels'" in result.output
