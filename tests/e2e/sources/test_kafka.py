"""A Kafka topic as a source: each message once, offsets committed when the lake has them."""

from __future__ import annotations

import itertools
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from sightline.home import Home
from sightline.lake.fetch import reading
from sightline.lake.fetch.spool import open_spool
from sightline.lake.intake.fetching import columns_found, fetch_new, source_of
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from tests.support.kafka import Broker, running
from tests.support.lake import rows
from tests.support.sources import counts, fetch_all, files_holding, home_of, ids, lake, load, look, spec_of

pytestmark = pytest.mark.e2e

NAMES = itertools.count()


@pytest.fixture
def topic() -> str:
    """A name nobody has used; the first message makes the topic."""
    return f"predictions-{next(NAMES)}"


def monitor(broker: Broker, topic: str, side: str = "inferences", **changes: Any) -> MonitorSpec:
    return spec_of(side, kafka={"brokers": broker.address, "topic": topic, **changes})


def distinct(n: int) -> pl.DataFrame:
    return rows(n).unique("id", keep="first", maintain_order=True)


def messages(data: pl.DataFrame) -> list[tuple[int, bytes | None, bytes | None]]:
    lines = data.write_ndjson().splitlines()
    return [(number % 3, None, line.encode()) for number, line in enumerate(lines)]


def test_each_message_comes_once(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec, data = monitor(broker, topic), distinct(60)
    broker.send(topic, *messages(data.head(30)))
    assert load(spec, home).accepted == 30
    assert look(spec, home).n_files == 0
    broker.send(topic, *messages(data.slice(30)))
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (len(data) - 30, 0)
    assert ids(spec, home) == sorted(data["id"].to_list())


def committed(broker: Broker, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "sightline-m"})
    found = consumer.committed([TopicPartition(topic, n) for n in range(3)], timeout=10)
    consumer.close()
    return sum(max(place.offset, 0) for place in found)


def test_offsets_are_committed_when_the_lake_has_the_batch(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec, data = monitor(broker, topic), distinct(30)
    broker.send(topic, *messages(data))
    look(spec, home)
    look(spec, home)
    assert committed(broker, topic) == 0, "fetched, but not loaded"
    intake(spec, paths, "inferences", home)
    look(spec, home)
    assert committed(broker, topic) == len(data)


def test_a_key_is_a_column_and_what_is_no_object_is_counted(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(broker, topic, key="id")
    row = {"ts": "2026-01-05T10:00:00Z", "p": 0.5, "version": "v1", "x": 1.5, "c": "a"}
    pretty = json.dumps({**row, "c": "zwei\nZeilen"}, indent=2).encode()
    broker.send(
        topic,
        (0, b"k-1", json.dumps(row).encode()),
        (0, b"k-2", json.dumps({**row, "id": "own"}).encode()),
        (0, 'ключ "3"'.encode(), pretty),
        (0, b"k-4", json.dumps({**row, "x": float("nan")}).encode()),
        (0, b"k-5", None),
        (0, b"k-6", b"[1, 2]"),
        (0, b"k-7", b"no JSON"),
        (0, b"k-8", b"{half"),
        (0, b"k-9", b"\xff\xfe\x00"),
        (0, b"k-10", b""),
        (0, b"k-11", b"{} {}"),
        (0, b"k-12", b"{}"),
    )
    report = load(spec, home)
    assert ids(spec, home) == sorted(["k-1", "own", 'ключ "3"', "k-4"])
    assert set(lake(spec, home)["g_c"]) == {"a", "zwei\nZeilen"}
    assert report.quarantined_by_reason["corrupt_record"] == 6
    assert report.rejected == 7
    assert counts(spec, home)["tombstones"] == 1


def test_many_bad_messages_refuse_no_good_ones(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec, data = monitor(broker, topic), distinct(20)
    broker.send(topic, *[(0, None, b"bad")] * 1_700, *messages(data))
    report = load(spec, home)
    assert (report.accepted, report.rejected, report.refused) == (len(data), 1_700, [])


def test_a_long_topic_streams_in_bounded_batches(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr("sightline.lake.fetch.run.LOOK_ROWS", 250)
    home, paths = home_of(tmp_path)
    spec, data = monitor(broker, topic), distinct(1000)
    broker.send(topic, *messages(data.head(800)))
    assert not look(spec, home).is_done
    broker.send(topic, *messages(data.slice(800)))
    fetch_all(spec, home)
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (len(data), 0)
    assert max(file.read_text().count("\n") for file in paths.fetched.rglob("*.ndjson")) <= 100


def test_only_new_messages_when_asked_for(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec, data = monitor(broker, topic, start="latest"), distinct(40)
    broker.send(topic, *messages(data.head(20)))
    assert look(spec, home).n_files == 0
    broker.send(topic, *messages(data.slice(20)))
    assert load(spec, home).accepted == len(data) - 20


def test_a_replaced_topic_and_expired_messages_are_told(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(broker, topic)
    broker.send(topic, *messages(distinct(6)))
    load(spec, home)
    set_offsets(spec, home, {"0": 1_000})
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert "offset 1000 of partition 0 was read, and it ends at 2" in str(found.problem)
    assert "sightline sources m --restart inferences" in str(found.problem)
    set_offsets(spec, home, {"0": -5})
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert "5 messages were removed by the topic's retention" in str(found.problem)
    assert load(spec, home).duplicates == 6
    assert counts(spec, home)["messages_expired_unread"] == 5


def set_offsets(spec: MonitorSpec, home: Home, offsets: dict[str, int]) -> None:
    """As if so much had been read of a topic that was another one then."""
    found = source_of(spec, "inferences")
    assert found is not None
    with open_spool(home.monitor(spec.id)) as spool:
        spool.commit(found.source, [], {"offsets": offsets}, {}, datetime.now(UTC))


def test_columns_are_shown(broker: Broker, topic: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    broker.send(topic, *messages(distinct(5)))
    found = columns_found(monitor(broker, topic), "inferences", home)
    assert found is not None
    assert list(found[1]) == rows(5).columns


ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no topic": ({"topic": "nowhere"}, "UNKNOWN_TOPIC", "correct `topic`"),
    "no broker": ({"brokers": "127.0.0.1:1"}, "transport failure", "see whether the brokers are up"),
    "odd property": ({"properties": {"no.such.property": "1"}}, "no.such.property", "librdkafka"),
    "no password": ({"properties_env": {"sasl.password": "NO_SUCH"}}, "NO_SUCH is not set", "export NO_SUCH"),
    "wrong protocol": (
        {"properties": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}},
        "",
        "see whether",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_place_and_the_fix_and_no_secret(
    broker: Broker,
    topic: str,
    tmp_path: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    changes, what, fix = ERRORS[case]
    monkeypatch.setenv("KAFKA_SECRET", "s3cret-of-kafka")
    broker.send(topic, *messages(distinct(2)))
    home, paths = home_of(tmp_path)
    if case == "wrong protocol":
        changes = {**changes, "properties_env": {"sasl.password": "KAFKA_SECRET"}}
    found = fetch_new(monitor(broker, **{"topic": topic, **changes}), paths, "inferences", home)
    assert found is not None
    assert found.problem is not None
    assert what in found.problem.what
    assert fix in (found.problem.fix or "")
    assert "sources.inferences.kafka" in (found.problem.where or "")
    output = capfd.readouterr()
    assert "s3cret-of-kafka" not in str(found.problem) + output.out + output.err
    assert not files_holding(tmp_path, "s3cret-of-kafka")


def test_a_broker_that_is_silent_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, paths = home_of(tmp_path)
    with running() as broker:
        spec, data = monitor(broker, "t"), distinct(20)
        broker.send("t", *messages(data.head(10)))
        load(spec, home)
        monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "1")
        broker.process.send_signal(signal.SIGSTOP)
        started = datetime.now(UTC)
        found = fetch_new(spec, paths, "inferences", home)
        assert found is not None
        assert "no answer for" in str(found.problem)
        assert datetime.now(UTC) - started < timedelta(seconds=10)
        broker.process.send_signal(signal.SIGCONT)
        broker.send("t", *messages(data.slice(10)))
        monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "30")
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while (found := fetch_new(spec, paths, "inferences", home)) is None or found.problem:
            assert datetime.now(UTC) < deadline
        report = load(spec, home)
    assert report.duplicates == 0
    assert ids(spec, home) == sorted(data["id"].to_list())
