"""Group commit, rotation, disk errors, clock jumps and forks of the segment writer."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from sightline.log import files
from sightline.log import segment as seg
from sightline.log.events import InferenceEvent
from sightline.log.reader import read_segment
from sightline.log.recovery import recover
from sightline.log.writer import LogBusyError, LogWriteError, SegmentWriter

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


def events(*ids: str) -> list[InferenceEvent]:
    return [InferenceEvent(id=i, at=AT, features={"x": 1.0}) for i in ids]


def logged_ids(log: Path) -> list[str]:
    return [e.id for path in (*seg.list_sealed(log), *seg.list_open(log)) for e in read_segment(path).events]


def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)


def test_an_append_is_on_disk_when_it_returns(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events("a"))
        (path,) = seg.list_open(tmp_path)
        assert [e.id for e in read_segment(path).events] == ["a"]


def test_threads_share_fsyncs_and_lose_nothing(tmp_path, monkeypatch):
    syncs = []
    real = os.fdatasync
    monkeypatch.setattr(files.os, "fdatasync", lambda fd: (syncs.append(1), real(fd)))
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        threads = [
            threading.Thread(target=lambda t=t: [writer.append(events(f"{t}-{i}")) for i in range(100)])
            for t in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ids = logged_ids(tmp_path)
    assert sorted(ids) == sorted(f"{t}-{i}" for t in range(16) for i in range(100))
    assert len(syncs) < 1600  # one fsync for all that waited
    for t in range(16):
        own = [i for i in ids if i.startswith(f"{t}-")]
        assert own == [f"{t}-{i}" for i in range(100)]


def test_event_loops_share_fsyncs_and_a_waiter_that_fails_harms_nobody(tmp_path, caplog):
    async def main(writer: SegmentWriter) -> list[int]:
        done: list[int] = []
        everybody = asyncio.Event()
        loop = asyncio.get_running_loop()

        def note(number: int) -> None:
            done.append(number)
            if len(done) == 200:
                everybody.set()
            if number == 0:
                raise RuntimeError("waiter")

        commits = [writer.submit(events(f"e{i}")) for i in range(200)]
        for number, commit in enumerate(commits):
            commit.notify(loop, partial(note, number))
        await asyncio.wait_for(everybody.wait(), 10)
        late = loop.create_future()
        commits[0].notify(loop, lambda: late.set_result(commits[0].error))
        assert await asyncio.wait_for(late, 10) is None
        return done

    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        assert sorted(asyncio.run(main(writer))) == list(range(200))
    assert sorted(logged_ids(tmp_path)) == sorted(f"e{i}" for i in range(200)) and "waiter" in caplog.text


def test_segments_are_sealed_by_size_and_by_age(tmp_path):
    sealed: list[Path] = []
    with SegmentWriter(tmp_path, "m", "inferences", max_bytes=2000, on_sealed=sealed.append) as writer:
        for i in range(60):
            writer.append(events(f"a{i}"))
        assert len(sealed) > 1
    sizes = [path.stat().st_size for path in sealed]
    assert all(2000 < size < 2600 for size in sizes[:-1])
    assert logged_ids(tmp_path) == [f"a{i}" for i in range(60)]
    with SegmentWriter(tmp_path / "b", "m", "inferences", max_age_seconds=0.05) as writer:
        writer.append(events("x"))
        until(lambda: len(seg.list_sealed(tmp_path / "b")) == 1)
        assert seg.list_open(tmp_path / "b") == []


def test_seal_on_request_and_an_empty_writer_leaves_nothing(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.seal()
        writer.append(events("a"))
        writer.seal()
        assert len(seg.list_sealed(tmp_path)) == 1
        writer.seal()
        writer.append(events("b"))
    assert len(seg.list_sealed(tmp_path)) == 2
    with SegmentWriter(tmp_path / "none", "m", "inferences"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_closed_writer_refuses(tmp_path):
    writer = SegmentWriter(tmp_path, "m", "inferences")
    writer.append(events("a"))
    writer.close()
    writer.close()
    with pytest.raises(LogWriteError, match="closed"):
        writer.append(events("b"))
    with pytest.raises(ValueError, match="kind must be"):
        SegmentWriter(tmp_path, "m", "other")


class Disk:
    """Stands in for os.write, os.fdatasync and os.ftruncate: fails on demand, after half of the bytes."""

    def __init__(self, monkeypatch) -> None:
        self.full = self.stuck = False
        self._write, self._truncate = os.write, os.ftruncate
        monkeypatch.setattr(files.os, "write", self.write)
        monkeypatch.setattr(files.os, "ftruncate", self.truncate)

    def write(self, descriptor: int, data) -> int:
        if not self.full:
            return self._write(descriptor, data)
        if len(data) > 1:
            return self._write(descriptor, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def truncate(self, descriptor: int, size: int) -> None:
        if self.stuck:
            raise OSError(errno.EIO, "Input/output error")
        self._truncate(descriptor, size)


def test_a_full_disk_refuses_and_corrupts_nothing(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events("a"))
        disk.full = True
        for i in range(3):
            with pytest.raises(LogWriteError, match="No space left"):
                writer.append(events(f"lost{i}"))
        (path,) = seg.list_open(tmp_path)
        assert read_segment(path).is_sound
        disk.full = False
        writer.append(events("b"))
    (path,) = seg.list_sealed(tmp_path)
    segment = read_segment(path)
    assert [e.id for e in segment.events] == ["a", "b"] and segment.is_sound and segment.footer.count == 2


def test_a_segment_that_cannot_be_cut_is_left_to_recovery(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events("a"))
        disk.full = disk.stuck = True
        with pytest.raises(LogWriteError):
            writer.append(events("lost"))
        disk.full = disk.stuck = False
        writer.append(events("b"))
    report = recover(tmp_path)
    assert len(report.sealed) == 1 and report.events == 1
    assert sorted(logged_ids(tmp_path)) == ["a", "b"]
    assert len(list((tmp_path / "damaged").iterdir())) == 1  # the torn bytes


def test_sealing_on_a_full_disk_is_tried_again(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with SegmentWriter(tmp_path, "m", "inferences", max_age_seconds=3600) as writer:
        writer.append(events("a"))
        disk.full = True
        with pytest.raises(LogWriteError, match="cannot seal"):
            writer.seal()
        assert seg.list_sealed(tmp_path) == []
        disk.full = False
        writer.append(events("b"))
    (path,) = seg.list_sealed(tmp_path)
    assert [e.id for e in read_segment(path).events] == ["a", "b"]


def test_a_segment_that_cannot_even_be_begun_refuses(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    disk.full = True
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        with pytest.raises(LogWriteError):
            writer.append(events("lost"))
        assert list(seg.open_folder(tmp_path).iterdir()) == []
        disk.full = False
        writer.append(events("a"))
    assert logged_ids(tmp_path) == ["a"]


def test_too_much_waiting_is_refused_at_once(tmp_path, monkeypatch):
    gate = threading.Event()
    real = os.fdatasync
    monkeypatch.setattr(files.os, "fdatasync", lambda fd: (gate.wait(10), real(fd)))
    with SegmentWriter(tmp_path, "m", "inferences", max_pending_bytes=1000) as writer:
        commits = [writer.submit(events("first"))]
        with pytest.raises(LogBusyError, match="waiting"):
            for i in range(100):
                commits.append(writer.submit(events(f"more{i}")))
        with pytest.raises(TimeoutError):
            commits[0].wait(0.01)
        gate.set()
        for commit in commits:
            commit.wait(10)
    assert len(logged_ids(tmp_path)) == len(commits)


def test_names_keep_their_order_when_the_clock_jumps(tmp_path):
    now = [AT]
    for index, moment in enumerate([AT, AT + timedelta(days=400), AT - timedelta(days=3), AT - timedelta(days=2)]):
        now[0] = moment
        with SegmentWriter(tmp_path, "m", "inferences", clock=lambda: now[0]) as writer:
            writer.append(events(f"{index}-a"))
            writer.seal()
            now[0] = moment - timedelta(hours=5)
            writer.append(events(f"{index}-b"))
    assert logged_ids(tmp_path) == [f"{i}-{letter}" for i in range(4) for letter in "ab"]


def test_a_listener_that_fails_does_not_stop_the_log(tmp_path, caplog):
    def fail(path: Path) -> None:
        raise RuntimeError("listener")

    with SegmentWriter(tmp_path, "m", "inferences", on_sealed=fail) as writer:
        writer.append(events("a"))
        writer.seal()
        writer.append(events("b"))
    assert logged_ids(tmp_path) == ["a", "b"] and "listener" in caplog.text


def test_a_forked_child_writes_segments_of_its_own(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append(events("parent-1"))
        child = os.fork()
        if child == 0:
            try:
                writer.append(events("child"))
                writer.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        writer.append(events("parent-2"))
    owners = {tuple(e.id for e in read_segment(path).events) for path in seg.list_sealed(tmp_path)}
    assert owners == {("parent-1", "parent-2"), ("child",)}


def test_a_forked_child_that_lives_on_does_not_keep_its_dead_parents_segment_locked(tmp_path):
    """The child closes its copies of the descriptors, so that the parent's lock ends with the parent."""
    ready, go = os.pipe(), os.pipe()
    parent = os.fork()
    if parent == 0:  # a process that logs, forks, and is killed; its child lives on
        try:
            writer = SegmentWriter(tmp_path, "m", "inferences")
            writer.append(events("a"))
            if os.fork() == 0:
                os.write(ready[1], b"x")
                os.read(go[0], 1)
            else:
                os.read(go[0], 1)
        finally:
            os._exit(0)
    os.read(ready[0], 1)
    assert recover(tmp_path).live
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    report = recover(tmp_path)
    os.write(go[1], b"x")
    assert report.events == 1 and not report.live
