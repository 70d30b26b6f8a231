"""What recovery does with the segments of killed processes, and what it leaves alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.intake.log_retention import compact_log
from sightline.log import inspect as log_inspect
from sightline.log import segment as seg
from sightline.log.events import InferenceEvent, LabelEvent
from sightline.log.files import OpenSegment
from sightline.log.inspect import log_stats, verify_segment
from sightline.log.reader import read_segment
from sightline.log.recovery import recover
from sightline.log.resend import logged_events, replay_to_home, replay_to_url
from sightline.log.writer import SegmentWriter
from sightline.spec.model import MonitorSpec

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "score", "features": {"x": "numeric"}},
        "labels": {"column": "late"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)


def events(n: int) -> list[InferenceEvent]:
    return [
        InferenceEvent(id=f"p{i}", at=AT + timedelta(seconds=i), features={"x": float(i)}, score=0.5) for i in range(n)
    ]


def orphan(log: Path, n: int = 200, tail: bytes = b"") -> Path:
    """An open segment whose writer is dead: written by a process of its own that is killed."""
    code = (
        "import os, signal, sys; from pathlib import Path; from datetime import datetime, timedelta, UTC\n"
        "from sightline.log.writer import SegmentWriter; from sightline.log.events import InferenceEvent\n"
        "at = datetime(2026, 1, 31, 6, tzinfo=UTC)\n"
        "writer = SegmentWriter(Path(sys.argv[1]), 'm', 'inferences')\n"
        "writer.append([InferenceEvent(id=f'p{i}', at=at + timedelta(seconds=i), features={'x': float(i)}) for i in "
        "range(int(sys.argv[2]))])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(log), str(n)], check=False)
    path = seg.list_open(log)[-1]
    with path.open("ab") as file:
        file.write(tail)
    return path


def test_an_orphan_is_sealed_and_its_events_are_all_there(tmp_path):
    orphan(tmp_path)
    report = recover(tmp_path, AT)
    assert (report.events, len(report.sealed), report.live, report.failed) == (200, 1, [], [])
    segment = read_segment(report.sealed[0])
    assert segment.is_sound and segment.footer.recovered and segment.footer.count == 200
    assert (segment.footer.min_at, segment.footer.max_at) == (AT, AT + timedelta(seconds=199))
    assert seg.list_open(tmp_path) == [] and recover(tmp_path).sealed == []


@pytest.mark.parametrize("tail", [b"\x00", b"garbage" * 50, seg.pack_frame(seg.RECORDS_FRAME, 9, b"x" * 100)[:-1]])
def test_a_torn_end_is_cut_off_and_kept(tmp_path, tail):
    path = orphan(tmp_path, tail=tail)
    whole = path.stat().st_size - len(tail)
    report = recover(tmp_path, AT)
    segment = read_segment(report.sealed[0])
    assert len(segment.events) == 200 and segment.is_sound and segment.footer.torn_bytes == len(tail)
    (kept,) = report.damaged
    assert kept.read_bytes() == tail and kept.name == f"{path.name}.{whole}.bin"


def test_cutting_an_orphan_anywhere_keeps_a_beginning_of_its_events(tmp_path):
    rng = random.Random(11)
    source = orphan(tmp_path / "source")
    data = source.read_bytes()
    ids = [e.id for e in read_segment(source).events]
    for attempt, size in enumerate(rng.sample(range(len(data)), 40)):
        log = tmp_path / str(attempt)
        seg.open_folder(log).mkdir(parents=True)
        (seg.open_folder(log) / source.name).write_bytes(data[:size])
        report = recover(log)
        found = [e.id for path in report.sealed for e in read_segment(path).events]
        kept = sum(path.stat().st_size for path in report.damaged)
        assert found == ids[: len(found)] and not report.failed
        assert found or kept == size or kept + 200 > size  # nothing is thrown away but an empty header
        assert all(verify_segment(path).is_sound for path in report.sealed)


def test_a_damaged_record_inside_stays_in_the_sealed_file(tmp_path):
    path = orphan(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (sealed,) = recover(tmp_path).sealed
    segment = read_segment(sealed)
    (damage,) = segment.rejections
    assert damage.reason == "corrupt_record" and len(segment.events) + damage.count == 200


def test_a_header_beyond_reading_is_kept_aside_whole(tmp_path):
    path = orphan(tmp_path)
    path.write_bytes(b"\x00" * 500)
    report = recover(tmp_path)
    assert report.sealed == [] and report.damaged[0].read_bytes() == b"\x00" * 500


def test_live_segments_are_left_alone(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events(3))
        report = recover(tmp_path)
        assert len(report.live) == 1 and report.sealed == []
        writer.append(events(2))
    assert len(read_segment(seg.list_sealed(tmp_path)[0]).events) == 5


def test_recovery_killed_before_the_rename_is_finished_by_the_next_one(tmp_path):
    orphan(tmp_path)
    (sealed,) = recover(tmp_path).sealed
    sealed.rename(seg.open_folder(tmp_path) / sealed.name)
    (again,) = recover(tmp_path).sealed
    segment = read_segment(again)
    assert len(segment.events) == 200 and segment.is_sound


def test_a_segment_without_a_name_is_removed_when_old(tmp_path):
    folder = seg.open_folder(tmp_path)
    folder.mkdir(parents=True)
    young, old = folder / "inferences-x.seg.tmp", folder / "labels-x.seg.tmp"
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    recover(tmp_path)
    assert young.exists() and not old.exists()


def test_recovery_of_nothing(tmp_path):
    assert recover(tmp_path / "absent").sealed == []


def test_stats_count_what_is_there(tmp_path):
    orphan(tmp_path, 10)
    with SegmentWriter(tmp_path, "m", "inferences") as sealed:
        sealed.append(events(5))
    with SegmentWriter(tmp_path, "m", "labels") as live:
        live.append([LabelEvent(id="a", value=1, at=AT)])
        inferences, labels, rejected = log_stats(tmp_path)
    assert (inferences.sealed, inferences.live, inferences.orphaned, inferences.events) == (1, 0, 1, 15)
    assert (labels.live, labels.events, labels.first_at) == (1, 1, AT)
    assert (rejected.events, rejected.bytes, rejected.last_at) == (0, 0, None)


def test_compaction_removes_only_what_the_ledger_has_loaded(tmp_path):
    from sightline.lake.intake.load import intake

    home = Home(tmp_path)
    paths = home.monitor("m")
    later, now = AT + timedelta(hours=1), AT + timedelta(days=10)
    with SegmentWriter(paths.log, "m", "inferences", clock=lambda: later) as writer:
        writer.append(events(20))
        writer.seal()
        writer.append([InferenceEvent(id="q", at=AT, features={"x": 1.0})])
    loaded, damaged = seg.list_sealed(paths.log)
    assert intake(SPEC, paths, "inferences", home, now=now).accepted == 21
    data = bytearray(damaged.read_bytes())
    data[-200] ^= 1
    damaged.write_bytes(data)
    with SegmentWriter(paths.log, "m", "inferences", clock=lambda: later) as writer:
        writer.append([InferenceEvent(id="r", at=AT)])
    with SegmentWriter(paths.log, "m", "labels", clock=lambda: now) as writer:
        writer.append([LabelEvent(id="q", value=1)])

    dry = compact_log(SPEC, paths, home, timedelta(days=7), now=now, dry_run=True)
    assert dry.removed == [loaded] and loaded.exists()
    report = compact_log(SPEC, paths, home, timedelta(days=7), now=now)
    assert (report.removed, report.damaged, report.not_loaded, report.young) == ([loaded], [damaged], 1, 1)
    assert report.removed_bytes > 0 and not loaded.exists() and len(seg.list_sealed(paths.log)) == 3
    assert intake(SPEC, paths, "inferences", home, now=now).accepted == 1  # "r"; nothing is loaded twice


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_segment_adds_up_in_the_lake(tmp_path, seed):
    """Every logged event is in the lake, or counted in the quarantine as corrupt."""
    from sightline.lake.intake.load import intake

    home = Home(tmp_path)
    paths = home.monitor("m")
    with SegmentWriter(paths.log, "m", "inferences", clock=lambda: AT + timedelta(hours=1)) as writer:
        writer.append(events(500))
    (path,) = seg.list_sealed(paths.log)
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for position in rng.sample(range(len(data)), 3):
        data[position] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    found = read_segment(path)
    report = intake(SPEC, paths, "inferences", home, now=AT + timedelta(days=1))
    assert report.accepted == len(found.events) >= 500 - 3 * 64
    damage = [r for r in found.rejections if r.count != 0]
    assert report.quarantined_by_reason.get("corrupt_record", 0) == sum(r.reason == "corrupt_record" for r in damage)
    if all(r.count is not None for r in damage):  # heads that are whole say how many events their frame held
        assert report.accepted + report.rejected == 500


def test_replay_into_another_home_keeps_times_and_sources(tmp_path):
    log = tmp_path / "log"
    with SegmentWriter(log, "m", "inferences", clock=lambda: AT) as writer:
        writer.append(events(1200), source="otlp")
    target = Home(tmp_path / "other")
    start = AT + timedelta(seconds=100)
    assert (
        replay_to_home(logged_events(log, "inferences", start, on_unreadable=pytest.fail), target, "m2", "inferences")
        == 1100
    )
    (path,) = seg.list_sealed(target.monitor("m2").log)
    copied = read_segment(path).events
    assert copied == list(logged_events(log, "inferences", start, on_unreadable=pytest.fail))
    assert {(e.source, e.received_at) for e in copied} == {("otlp", AT)}


def test_replay_tells_what_it_cannot_read_and_goes_on(tmp_path):
    for number in range(3):
        at = AT + timedelta(seconds=number)
        with SegmentWriter(tmp_path, "m", "inferences", clock=lambda at=at: at) as writer:
            writer.append(events(200))
    flipped, foreign, _ = seg.list_sealed(tmp_path)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 4
    flipped.write_bytes(data)
    foreign.write_bytes(b"no segment at all")
    told: list[str] = []
    found = list(logged_events(tmp_path, "inferences", on_unreadable=told.append))
    assert len(found) == 400 - 64
    assert len(told) == 2 and "corrupt_record" in told[0] and "no Sightline segment" in told[1]


def test_replay_to_a_collector_that_is_not_there_says_so(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events(1))
    with pytest.raises(SightlineError, match="cannot send"):
        replay_to_url(
            logged_events(tmp_path, "inferences", on_unreadable=pytest.fail),
            "http://127.0.0.1:9",
            "m",
            "inferences",
            None,
        )
    with pytest.raises(SightlineError, match="no address"):
        replay_to_url(iter(()), "localhost:8700", "m", "inferences", None)


def test_an_open_segment_without_events_is_removed(tmp_path):
    segment = OpenSegment.create(tmp_path, seg.SegmentHeader("m", "labels", "msgpack", "w", 1, AT))
    segment.abandon()
    assert recover(tmp_path).sealed == [] and seg.list_open(tmp_path) == []


def test_stats_of_sealed_segments_read_their_footers_only(tmp_path, monkeypatch):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events(1000))
    (path,) = seg.list_sealed(tmp_path)
    footer = seg.read_footer(path)
    assert footer == read_segment(path).footer and footer.count == 1000
    before = log_stats(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(log_inspect, "read_segment", lambda path: pytest.fail("an event was decoded"))
        assert log_stats(tmp_path) == before
    assert (before[0].events, before[0].first_at, before[0].last_at) == (1000, footer.min_at, footer.max_at)
    data = path.read_bytes()
    for cut in (1, 20, 200):  # no whole footer: what is there is counted
        path.write_bytes(data[:-cut])
        assert seg.read_footer(path) is None and 900 < log_stats(tmp_path)[0].events <= 1000
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    path.write_bytes(flipped)
    assert log_stats(tmp_path)[0].events == 1000 and not verify_segment(path).is_sound, (
        "damage is what verify looks for"
    )
