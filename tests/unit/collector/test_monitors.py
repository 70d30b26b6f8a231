"""The monitors of a collector come, go and break while it runs; their guards may fail."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sightline.collector import app
from sightline.collector.limits import Limits
from sightline.collector.monitors import Registry
from sightline.home import Home
from tests.support.attacks import HOSTILE_FILES
from tests.support.collector_site import EVENT, INFER, LABEL, MONITOR, Site, make_home, run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_monitors_come_go_and_break_while_the_collector_runs(home):
    registry = Registry(home, Limits())
    assert registry.load() == [] and set(registry.monitors) == {"m", "other"} and not registry.changed()
    m = registry.monitors["m"]
    (home.monitors / "new.yaml").write_text(MONITOR.format(name="new"))
    (home.monitors / "other.yaml").unlink()
    (home.monitors / "m.yaml").write_text("version: 1\nmodle: {}\n")
    assert registry.changed()
    (gone,) = registry.load()
    assert gone.spec.id == "other" and set(registry.monitors) == {"m", "new"}
    assert registry.monitors["m"] is m and set(registry.broken) == {"m"}  # a typing mistake loses no events
    (home.monitors / "m.yaml").write_text(MONITOR.format(name="m") + "schedule: hourly\n")
    (replaced,) = registry.load()
    assert replaced is m and registry.monitors["m"].spec.schedule == "hourly" and not registry.broken
    registry.close()


def test_a_monitor_that_never_was_sound_is_503(home):
    (home.monitors / "bad.yaml").write_text("version: 1\n")

    async def talk(site: Site) -> None:
        answer = await site.post("/v1/monitors/bad/labels", [])
        assert (answer.status_code, "sightline validate" in answer.text) == (503, True)

    run(home, talk)


@pytest.mark.parametrize("content", HOSTILE_FILES.values(), ids=HOSTILE_FILES)
def test_one_file_that_cannot_be_read_stops_no_other_monitor(home, content):
    (home.monitors / "bad.yaml").write_bytes(content)
    started = time.monotonic()

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, EVENT)).status_code == 200
        assert (await site.post("/v1/monitors/bad/labels", [])).status_code == 503

    run(home, talk)
    assert time.monotonic() - started < 10


def test_a_monitor_whose_folder_cannot_be_used_stops_no_other(home):
    home.data.mkdir()
    (home.data / "m").write_text("no folder")

    async def talk(site: Site) -> None:
        assert (await site.post("/v1/monitors/other/inferences", EVENT)).status_code == 200
        assert (await site.post(INFER, EVENT)).status_code == 503

    run(home, talk)


class Watcher:
    """An observer that remembers, and fails when told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.ticks = 0
        self.fails = self.closed = False

    def screen(self, events: Any, received_at: datetime) -> int:
        if self.fails:
            raise RuntimeError("guard")
        return len(events)

    def apply(self, findings: int, received_at: datetime, duplicates: int = 0) -> None:
        if findings == 3:
            raise RuntimeError("guard")
        self.seen.append((findings, duplicates))

    def tick(self, now: datetime) -> None:
        self.ticks += 1
        if self.ticks == 1:
            raise RuntimeError("guard")

    def close(self, now: datetime) -> None:
        self.closed = True

    def counts(self) -> list[tuple[str, str, int]]:
        return [('x"\n', "missing", 3)]


def test_observers_see_every_accepted_batch_and_may_fail(home, monkeypatch):
    monkeypatch.setattr(app, "RELOAD_SECONDS", 0.01)
    watcher = Watcher()

    async def talk(site: Site) -> None:
        site.collector.registry.monitors["m"].observer = watcher
        await site.post(INFER, [EVENT, {"id": "b"}, {"x": 1}])
        await site.post(LABEL, {"id": "a", "value": 1})
        await site.post(INFER, EVENT)
        assert (await site.post(INFER, [{"id": f"three{i}"} for i in range(3)])).status_code == 200
        watcher.fails = True
        assert (await site.post(INFER, {"id": "c"})).status_code == 200
        while watcher.ticks < 2:  # housekeeping goes on after a guard has failed
            await asyncio.sleep(0.01)
        text = (await site.web.get("/metrics")).text
        assert 'sightline_guard_violations_total{column="x\\"\\n",monitor="m",rule="missing"} 3.0' in text
        assert "sightline_collector_observer_errors_total 3.0" in text

    run(home, talk)
    assert watcher.seen == [(2, 0), (0, 1)] and watcher.closed
