"""A pass of delivery: from changes, guard lines and the calendar to what a receiver got."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA, STREAMS_SCHEMA
from sightline.alerts.delivery import sending
from sightline.alerts.delivery.sending import deliver, tell
from sightline.alerts.outbox import Outbox, enqueue
from sightline.errors import SightlineError
from sightline.results.snapshots import write_snapshot
from sightline.spec.loader import find_monitor
from tests.support.outbox import Receiver, fact, make_home, webhook_routes

DAY = 86400.0
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


class Clock:
    def __init__(self, moment: datetime = NOON):
        self.now = moment.timestamp()

    def __call__(self) -> float:
        return self.now


def lines(home):
    file = home.monitor("churn").results / "alerts.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_without_routes_everything_is_in_the_record(tmp_path):
    home = make_home(tmp_path, notify="ops")
    enqueue(home, [fact(n) for n in range(100)])
    assert deliver(home).sent == 100 and deliver(home).sent == 0
    assert [line["facts"]["subject"] for line in lines(home)] == [f"run {n}" for n in range(100)]
    assert lines(home)[0]["owner"] is None and "to" not in lines(home)[0]


def test_a_webhook_gets_each_change_once(tmp_path):
    with Receiver() as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        enqueue(home, [fact(n) for n in range(5)])
        assert deliver(home).sent == 5 and deliver(home).sent == 0
    assert set(receiver.taken.values()) == {1} and len(receiver.taken) == 5
    assert len(receiver.requests) == 5 and lines(home) == []


def test_ten_thousand_at_once_are_one_message_to_each_channel(tmp_path):
    with Receiver() as receiver:
        text = f"channels:\n  ops: {{kind: webhook, url: '{receiver.url}', allow_private: true}}\n"
        home = make_home(tmp_path, text + "  f: {kind: file, path: all.ndjson}\nroutes: [{to: [ops, f]}]")
        enqueue(home, [fact(n) for n in range(10_000)])
        assert deliver(home).sent == 20_000
    assert len(receiver.requests) == 1 and len(receiver.taken) == 10_000
    assert len((tmp_path / "all.ndjson").read_text().splitlines()) == 10_000
    with Outbox(home) as outbox:
        rows = outbox.listed(channel="ops", limit=20_000)
    assert len({row["message"] for row in rows}) == 1 and {row["state"] for row in rows} == {"sent"}


def test_a_day_of_errors(tmp_path):
    clock, down = Clock(), True
    with Receiver(lambda n, changes: (500, False) if down else (200, True)) as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        enqueue(home, [fact(n) for n in range(30)])
        end = clock.now + DAY
        while clock.now < end:
            deliver(home, clock=clock)
            clock.now += 120.0
        assert 24 <= len(receiver.requests) <= 100  # not hammered: one message at a time, up to an hour apart
        down = False
        clock.now += 3601.0
        assert deliver(home, clock=clock).sent == 30
    assert set(receiver.taken.values()) == {1} and len(receiver.taken) == 30


def test_what_is_given_up_is_told_elsewhere(tmp_path):
    clock = Clock()
    with Receiver(lambda n, changes: (500, False)) as receiver, Receiver() as other:
        text = "channels:\n"
        for name, each in (("ops", receiver), ("team", other)):
            text += f"  {name}: {{kind: webhook, url: '{each.url}', allow_private: true}}\n"
        home = make_home(tmp_path, text + "routes: [{to: ops}]")
        enqueue(home, [fact(1), fact(2)])
        dead, start = 0, clock.now
        while not dead:
            dead = deliver(home, clock=clock).dead
            clock.now += 900.0
        assert clock.now - start >= 3 * DAY
        deliver(home, clock=clock)
    (body,) = other.bodies
    assert body["changes"][0]["kind"] == "delivery_failed"
    assert "the channel ops took no messages, and 2 were given up: answered 500" in body["changes"][0]["facts"]["what"]


def test_quiet_hours_hold_what_is_not_urgent(tmp_path):
    clock = Clock(NOON.replace(hour=23))
    with Receiver() as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url, 'quiet_hours: {from: "22:00", to: "07:00"}'))
        enqueue(home, [fact(1), fact(2, "labels_overdue")])
        done = deliver(home, clock=clock)
        assert (done.sent, done.held) == (1, 1) and receiver.bodies[0]["changes"][0]["kind"] == "run_failed"
        assert deliver(home, clock=clock).sent == 0
        clock.now += 8 * 3600 - 1
        assert deliver(home, clock=clock).sent == 0
        clock.now += 1
        assert deliver(home, clock=clock).sent == 1
    assert receiver.bodies[1]["held_for"] == "quiet hours"


def test_a_message_that_failed_by_day_does_not_ring_at_night(tmp_path):
    clock, down = Clock(NOON.replace(hour=21, minute=59, second=58)), True
    with Receiver(lambda n, changes: (500, False) if down else (200, True)) as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url, 'quiet_hours: {from: "22:00", to: "07:00"}'))
        enqueue(home, [fact(1, "labels_overdue")])
        assert deliver(home, clock=clock).failed == 1
        down = False
        clock.now += 3600
        assert deliver(home, clock=clock).held == 1 and len(receiver.requests) == 1
        clock.now += 9 * 3600
        assert deliver(home, clock=clock).sent == 1
    assert set(receiver.taken.values()) == {1}


def test_a_downtime_is_told_in_one_summary(tmp_path):
    clock = Clock(datetime(2026, 4, 1, 9, tzinfo=UTC))
    with Receiver() as receiver:
        down = "downtime: [{monitors: [churn], from: 2026-04-01T08:00, to: 2026-04-01T10:00, reason: upgrade}]"
        home = make_home(tmp_path, webhook_routes(receiver.url, down))
        enqueue(home, [fact(1), fact(2), fact(3, "run_recovered")])
        assert deliver(home, clock=clock).held == 3
        with Outbox(home) as outbox:
            assert {row["state"] for row in outbox.listed()} == {"held"}
        clock.now += 3601
        assert deliver(home, clock=clock).sent == 3
    (body,) = receiver.bodies
    assert body["n_changes"] == 3 and body["held_for"] == "downtime until 2026-04-01 10:00: upgrade"


def test_broken_routes_lose_nothing(tmp_path):
    with Receiver() as receiver:
        home = make_home(tmp_path, "chanels: {}")
        enqueue(home, [fact(1)])
        with pytest.raises(SightlineError, match="unknown key 'chanels'"):
            deliver(home)
        make_home(tmp_path, webhook_routes(receiver.url))
        assert deliver(home).sent == 1


def test_a_secret_that_is_missing_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.delenv("OPS_URL", raising=False)
    clock = Clock()
    with Receiver() as receiver:
        text = "channels: {ops: {kind: webhook, url: env:OPS_URL, secret: file:key, allow_private: true}}\n"
        home = make_home(tmp_path, text + "routes: [{to: ops}]")
        enqueue(home, [fact(1)])
        done = deliver(home, clock=clock)
        assert "OPS_URL is not set (alerts/routes.yaml: channels.ops.url)" in done.errors["ops"]
        monkeypatch.setenv("OPS_URL", receiver.url)
        clock.now += 10
        assert "cannot read key" in deliver(home, clock=clock).errors["ops"]
        (tmp_path / "key").write_text("s3cret\n")
        clock.now += 20
        assert deliver(home, clock=clock).sent == 1
    assert receiver.requests[0][0]["X-Sightline-Signature"]


def test_no_secret_is_written_anywhere(tmp_path, monkeypatch, caplog):
    url = "http://127.0.0.1:9/services/T0P-S3CRET"
    monkeypatch.setenv("OPS_URL", url)
    monkeypatch.setenv("MAIL_URL", "mailto://user:T0P-S3CRET@127.0.0.1:9?from=a@b.example&to=c@d.example")
    text = (
        "channels:\n  ops: {kind: webhook, url: env:OPS_URL, secret: env:OPS_URL, allow_private: true}\n"
        "  mail: {kind: apprise, url: env:MAIL_URL}\nroutes: [{to: [ops, mail]}]"
    )
    home = make_home(tmp_path, text)
    enqueue(home, [fact(1)])
    done = deliver(home)
    assert set(done.errors) == {"ops", "mail"} and "T0P-S3CRET" not in str(done) + caplog.text
    for file in home.root.rglob("*"):
        assert not file.is_file() or b"T0P-S3CRET" not in file.read_bytes(), file


def test_guard_lines_go_the_same_way(tmp_path):
    with Receiver() as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        guards = home.monitor("churn").guards
        guards.mkdir(parents=True)
        old = {"at": "2020-01-01T00:00:00+00:00", "column": "age", "rule": "missing", "state": "open", "message": "old"}
        new = {
            **old,
            "at": datetime.now(UTC).isoformat(),
            "rule": "out_of_contract",
            "message": "age breaks its contract",
        }
        text = json.dumps(old) + "\n" + json.dumps(new) + "\n" + '{"at": "torn'
        (guards / "alerts.ndjson").write_text(text)
        assert deliver(home).sent == 1 and deliver(home).sent == 0
        with (guards / "alerts.ndjson").open("a") as file:
            file.write("\n" + json.dumps({**new, "state": "closed", "message": "none for 10 minutes"}) + "\n")
        assert deliver(home).sent == 1
    assert [body["changes"][0]["kind"] for body in receiver.bodies] == ["row_guard", "row_guard_ended"]
    assert receiver.bodies[0]["changes"][0]["owner"] == "ops-ml@example.com"


def test_the_digest_is_sent_at_its_hour_once(tmp_path):
    clock = Clock(datetime(2026, 3, 9, 7, 59, tzinfo=UTC))
    with Receiver() as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url, "digest: {to: [ops]}"))
        paths, start = home.monitor("churn"), datetime(2026, 3, 2)
        row = {"incident_id": "a", "opened_at": start, "change_point": start, "main_stream": "drift/age/location"}
        rows = [{**row, "status": "open", "settled_at": start + timedelta(days=5)}]
        rows += [{**row, "incident_id": "b", "status": "closed", "closed_by": "recovered", "closed_at": start}]
        schema = {**INCIDENTS_SCHEMA, "settled_at": pl.Datetime("us"), "acknowledged_at": pl.Datetime("us")}
        write_snapshot(paths, "incidents", pl.DataFrame(rows, schema=schema))
        write_snapshot(paths, "incident_members", pl.DataFrame(schema=MEMBERS_SCHEMA))
        stream = {"stream": "drift/age/skew", "window_start": start, "decided_at": start, "status": "insufficient_data"}
        streams = pl.DataFrame([{**stream, "reason": "too few rows"}], schema=STREAMS_SCHEMA)
        write_snapshot(paths, "alert_streams", streams)
        for _ in range(2):
            deliver(home, clock=clock)
        assert receiver.bodies == []
        clock.now += 60
        for _ in range(3):
            deliver(home, clock=clock)
            clock.now += 3600
    (body,) = receiver.bodies
    (change,) = body["changes"]
    assert change["kind"] == "digest" and change["facts"]["what"] == "0 open, 1 settled unseen, over 1 monitor"
    text = "\n".join(change["facts"]["lines"])
    for words in ("settled, and nobody said what it was: a: age: the mean", "ended: b", "too few rows",
                  "budget 1 per 90d", "spent on: 1 settled unseen, 1 recovered"):  # fmt: skip
        assert words in text, words


def test_a_dead_endpoint_holds_a_run_up_by_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "IN_PASSING_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and says nothing
        home = make_home(tmp_path, webhook_routes(f"http://127.0.0.1:{server.getsockname()[1]}/"))
        enqueue(home, [fact(n) for n in range(5)])
        spec = find_monitor(home, "churn")
        start = time.monotonic()
        said = tell(home, spec, home.monitor("churn"))
        assert time.monotonic() - start < 4.0 and said.startswith(
            "alerts are not delivered yet: a channel does not answer"
        )
    make_home(tmp_path, "chanels: {}")
    assert "unknown key 'chanels'" in tell(home, spec, home.monitor("churn"))
