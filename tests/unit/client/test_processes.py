"""Forks, the end of the process, kills, and other Pythons."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sightline_client
from sightline_client import Client
from sightline_client import segments as client_segments

from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.recovery import recover
from tests.support.fake_collector import client_threads, collecting, logged, until

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


def test_a_forked_child_logs_on_its_own_and_repeats_nothing(tmp_path):
    log = Client("m", path=tmp_path, interval=60)
    log.prediction("parent-1")  # waits in the parent's queue at the fork
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert log.stats()["logged"] == 0
            log.prediction("child")
            log.close()
            status = 0 if log.stats()["sent"] == 1 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    log.prediction("parent-2")
    log.close()
    assert sorted(e.id for e in logged(tmp_path)) == ["child", "parent-1", "parent-2"]
    assert len(seg.list_sealed(Home(tmp_path).monitor("m").log)) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_flush_at_their_end(tmp_path, method):
    script = tmp_path / "main.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from sightline_client import Client\n"
        "def work(name):\n"
        "    log = LOG if LOG is not None else Client('m', path=sys.argv[1], interval=60)\n"
        "    for i in range(5): log.prediction(f'{name}-{i}')\n"
        "LOG = None\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method(sys.argv[2])\n"
        "    if sys.argv[2] == 'fork':\n"
        "        LOG = Client('m', path=sys.argv[1], interval=60)\n"
        "        LOG.prediction('parent-0')\n"
        "    children = [multiprocessing.Process(target=work, args=(f'c{i}',)) for i in range(3)]\n"
        "    [c.start() for c in children]; [c.join() for c in children]\n"
    )
    subprocess.run([sys.executable, str(script), str(tmp_path), method], check=True, timeout=60)
    expected = [f"c{c}-{i}" for c in range(3) for i in range(5)] + (["parent-0"] if method == "fork" else [])
    assert sorted(e.id for e in logged(tmp_path)) == sorted(expected)


def test_the_end_of_the_process_flushes(tmp_path):
    code = (
        "import sys; from sightline_client import Client; log = Client('m', path=sys.argv[1], interval=60)\nfor i in "
        "range(50): log.prediction(i)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=30)
    assert [e.id for e in logged(tmp_path)] == [str(i) for i in range(50)]
    assert seg.list_open(Home(tmp_path).monitor("m").log) == []


def test_the_end_of_the_process_spools_what_a_hanging_collector_does_not_take(tmp_path):
    gate = threading.Event()
    with collecting() as collector:
        collector.answer = lambda kind, rows: (gate.wait(30), None)[1]
        code = (
            "import sys; from sightline_client import Client\n"
            "log = Client('m', url=sys.argv[1], spool=sys.argv[2], interval=0.01, exit_timeout=0.5, timeout=60)\n"
            "for i in range(700): log.prediction(i)\n"
        )
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code, collector.url, str(tmp_path)], check=True, timeout=60)
        assert time.monotonic() - started < 20
        gate.set()
    spooled = [
        event["id"]
        for path in (tmp_path / "m" / "sealed").glob("*.seg")
        for _, kind, payload in client_segments.read_frames(path.read_bytes())
        if kind == client_segments.RECORDS
        for event in json.loads(payload)[2]
    ]
    assert sorted(spooled, key=int) == [str(i) for i in range(700)]


def test_a_killed_process_loses_at_most_what_was_queued(tmp_path):
    code = (
        "import os, sys; from sightline_client import Client; log = Client('m', path=sys.argv[1], interval=60)\n"
        "for i in range(20): log.prediction(i)\n"
        "assert log.flush(10); log.prediction('queued'); os.kill(os.getpid(), 9)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30).returncode
        == -signal.SIGKILL
    )
    report = recover(Home(tmp_path).monitor("m").log)
    assert report.events == 20
    assert [e.id for e in logged(tmp_path)] == [str(i) for i in range(20)]


def test_a_client_nobody_refers_to_still_delivers(tmp_path):
    def log_one() -> None:
        Client("m", path=tmp_path, interval=60).prediction("a")

    before = client_threads()
    log_one()
    gc.collect()
    until(lambda: [e.id for e in logged(tmp_path)] == ["a"])
    until(lambda: client_threads() <= before)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_it_runs_on_other_pythons(tmp_path, version):
    """Runs where such an interpreter is installed; CI has them all."""
    installed = [
        shutil.which(f"python{version}"),
        *(Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"),
    ]
    code = (
        "import sys; from sightline_client import Client, ASGIMiddleware, WSGIMiddleware\n"
        "with Client('m', path=sys.argv[1]) as log:\n"
        "    log.prediction('a', features={'x': 1}); log.label('a', 1)\n"
        "    log.wrap(lambda row: 0.5)({'x': 2})\n"
    )
    env = {"PYTHONPATH": str(Path(sightline_client.__file__).parent.parent), "PATH": os.environ["PATH"]}
    working = [
        str(p)
        for p in installed
        if p and not subprocess.run([p, "-c", ""], env=env, check=False, capture_output=True).returncode
    ]
    if not working:
        pytest.skip(f"no Python {version} on this machine")
    subprocess.run([working[0], "-c", code, str(tmp_path)], check=True, timeout=60, env=env)
    assert len(logged(tmp_path)) == 2
