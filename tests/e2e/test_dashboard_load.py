"""Fifty readers of the dashboard while results are published: no error, no torn page, and the writer is not held up."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import httpx
import polars as pl
import pytest

from sightline.home import Home
from sightline.results.judgements import append_judgements
from sightline.results.snapshots import write_snapshot
from tests.support.published import DAYS, World, frame_schema, make_published, row

pytestmark = [pytest.mark.long, pytest.mark.e2e]

READERS, SECONDS, ALONE = 50, 15.0, 20
COLUMNS = ("x0", "x1", "x2", "x3")
"""Published in one file with one value each time: a page that shows two values was made of two moments."""
PAGES = (
    "/index.json",
    "/",
    "/monitors/churn",
    "/monitors/churn/columns.json",
    "/monitors/churn/column?column=age",
    "/monitors/churn/metric.json?metric=roc_auc",
    "/monitors/churn/incidents",
    "/metrics",
)


@contextmanager
def dashboard(home: Home) -> Iterator[str]:
    """`sightline dashboard` as a process of its own."""
    environment = {**os.environ, "SIGHTLINE_HOME": str(home.root), "PYTHONPATH": os.pathsep.join(sys.path)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sightline.cli", "dashboard", "--port", str(port)]
    with (home.root / "dashboard.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=home.root, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield address_of(process, home)
        finally:
            process.terminate()
            process.wait(30)


def address_of(process: subprocess.Popen, home: Home) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in (home.root / "dashboard.log").read_text().splitlines():
            if line.startswith("Dashboard: "):
                address = line.split()[1].rstrip("/")
                with suppress(httpx.TransportError):
                    if httpx.get(f"{address}/healthz").status_code == 200:
                        return address
        time.sleep(0.05)
    raise AssertionError((home.root / "dashboard.log").read_text())


def publish(world: World, turn: int) -> float:
    """One run's results: the same value for every column, quality, and a snapshot; returns its seconds."""
    paths, at = world.home.monitor("churn"), datetime.now(UTC)
    value = 0.3 + turn / 1e6
    drift = [row(world, "churn", DAYS - 1, "psi", value, column=name, bound_high=0.1) for name in COLUMNS]
    quality = [row(world, "churn", DAYS - 1, "roc_auc", value, status="provisional")]
    begin = time.perf_counter()
    for asset, rows in (("drift", drift), ("model_quality", quality)):
        append_judgements(paths, asset, pl.DataFrame(rows, schema=frame_schema()), f"load-{turn}", at)
    write_snapshot(paths, "provisional_windows", pl.DataFrame({"window_start": [world.day(DAYS - 1)]}))
    return time.perf_counter() - begin


def read(address: str, k: int, end: float, answers: list[int], mistakes: list[str]) -> None:
    """One reader: page after page until the time is over."""
    with httpx.Client(base_url=address, timeout=60) as client:
        while time.monotonic() < end:
            page = PAGES[k % len(PAGES)]
            k += 1
            try:
                answer = client.get(page)
            except httpx.HTTPError as error:
                mistakes.append(f"{page}: {error!r}")
                continue
            answers.append(answer.status_code)
            if answer.status_code != 200:
                mistakes.append(f"{page}: {answer.status_code} {answer.text[:200]}")
            elif flaw := torn(page, answer):
                mistakes.append(f"{page}: {flaw}")


def torn(page: str, answer: httpx.Response) -> str:
    """What shows that a page is not whole, or of two moments; empty if nothing does."""
    if ".json" not in page:
        is_whole = page == "/metrics" or answer.text.rstrip().endswith("</html>")
        return "" if is_whole else f"ends with {answer.text[-40:]!r}"
    found = answer.json()
    if page.endswith("columns.json"):
        values = {each["distance"] for each in found["columns"] if each["column"] in COLUMNS}
        return "" if len(values) == 1 else f"columns of one run show {sorted(values)}"
    return ""


def test_fifty_readers_and_a_writer(tmp_path, record_property):
    world = make_published(tmp_path / "home", ("churn", "price"))
    alone = [publish(world, turn) for turn in range(ALONE)]
    answers: list[int] = []
    mistakes: list[str] = []
    with dashboard(world.home) as address:
        end = time.monotonic() + SECONDS
        readers = [threading.Thread(target=read, args=(address, k, end, answers, mistakes)) for k in range(READERS)]
        for reader in readers:
            reader.start()
        beside: list[float] = []
        while time.monotonic() < end:
            beside.append(publish(world, ALONE + len(beside)))
        for reader in readers:
            reader.join(60)
        assert not any(reader.is_alive() for reader in readers)
        last = httpx.get(f"{address}/monitors/churn/columns.json").json()["columns"]
    assert mistakes == [], f"{len(mistakes)} of {len(answers)}"
    assert len(answers) >= 2 * READERS, "every reader was answered"
    shown = {each["distance"] for each in last if each["column"] in COLUMNS}
    assert shown == {0.3 + (ALONE + len(beside) - 1) / 1e6}, "what was written last is shown"
    assert len(beside) >= 10 and max(beside) < 5.0, "nothing waited for a reader"
    told = f"{len(answers)} pages in {SECONDS:.0f} s, {len(beside)} runs published"
    median = [1000 * statistics.median(times) for times in (alone, beside)]
    record_property("load", f"{told}; publishing took {median[0]:.0f} ms alone, {median[1]:.0f} ms beside the readers")
    print(f"{told}; publishing: {median[0]:.0f} ms alone, {median[1]:.0f} ms beside")
