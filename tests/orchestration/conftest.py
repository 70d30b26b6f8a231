"""Monitors and homes for the orchestration tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.home import Home
from tests.support.workshop import DAYS, HOURS, Workshop, make_workshop


@pytest.fixture(scope="session", autouse=True)
def parsed_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One parse of dbt's project for all homes of a worker: every test has a home of its own."""
    from orchestration import resources

    parse, kept = resources._parse, tmp_path_factory.mktemp("parsed_project")

    def parse_once(project_dir: Path, folder: Path) -> None:
        if project_dir != resources.PROJECT_DIR:
            return parse(project_dir, folder)
        if not (kept / "manifest.json").exists():
            parse(project_dir, kept)
        for name in ("manifest.json", resources.PARSED):
            shutil.copyfile(kept / name, folder / name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "_parse", parse_once)
        yield


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workshop:
    """Both monitors with all their windows worked up by ranged runs; made once for all workers. Do not change it."""
    from orchestration.backfill import materialize_range

    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "orchestration_history"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            made = make_workshop(shared / "home")
            materialize_range(made.home, made.churn, made.day(0), made.day(DAYS - 1))
            materialize_range(made.home, made.price, made.hour(0), made.hour(HOURS - 1))
            (shared / "done").touch()
    return _load(Home(shared / "home"))


@pytest.fixture
def workshop(history: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A copy of `history` of one's own, with its Dagster instance as the current one."""
    shutil.copytree(history.home.root, tmp_path / "home", symlinks=True)
    home = Home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    yield replace(history, home=home)


def _load(home: Home) -> Workshop:
    from sightline.spec.loader import load_monitor

    churn, price = (load_monitor(home.monitors / f"{name}.yaml", home=home) for name in ("churn", "price"))
    return Workshop(home, churn, price)
