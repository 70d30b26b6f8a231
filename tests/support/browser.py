"""A real browser on the real UI: how the lineage looks, by the colour of its boxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sightline.home import Home
from sightline.judging import board
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from tests.support.dagster_server import ROOT, Server

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
OFFLINE = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ARTIFACTS, IMAGES = ROOT / "tests" / ".artifacts", ROOT / "docs" / "images"
PATIENCE_MS = 120_000
BOXES = """() => Object.fromEntries([...document.querySelectorAll('[class*=minimalAssetNodeBox]')].map(
    box => [box.innerText.trim(), getComputedStyle(box).borderTopColor]))"""
"""Name of every box in sight -> the colour of its edge. Far enough away, Dagster draws an asset as a coloured box."""


@contextmanager
def open_page() -> Iterator[Any]:
    """An empty page of a headless Chromium; without playwright the test is skipped, without Chromium it fails."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no Chromium at {CHROMIUM}: install it (apt-get install chromium) or name it with CHROMIUM=")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        opened = browser.new_page(viewport={"width": 1500, "height": 900})
        opened.set_default_timeout(PATIENCE_MS)
        yield opened
        browser.close()


def picture(page: Any, name: str) -> None:
    """Keep a screenshot; with SIGHTLINE_UPDATE_PICTURES=1 it is the README's, too."""
    folders = [ARTIFACTS, *([IMAGES] if os.environ.get("SIGHTLINE_UPDATE_PICTURES") else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")


def hue(colour: str) -> str:
    """`red`, `green`, `blue` (under way), `grey` (something is missing) or `pale` (not asked yet) for ``rgb(...)``.

    Examples
    --------
    >>> [hue(c) for c in ("rgb(199, 42, 28)", "rgb(46, 204, 129)", "rgb(93, 103, 125)", "rgb(194, 199, 208)")]
    ['red', 'green', 'grey', 'pale']
    """
    channels = [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    if max(channels) - min(channels) < 50:
        return "pale" if min(channels) > 150 else "grey"
    return ("red", "green", "blue")[channels.index(max(channels))]


def lineage_colours(page: Any, server: Server, address: str) -> dict[str, str]:
    """Names and colours of the assets that the lineage at an address shows at its default zoom, once all are known."""
    page.goto(f"{server.url}{address}")

    def drawn() -> dict[str, str] | None:
        found = {name: hue(colour) for name, colour in page.evaluate(BOXES).items()}
        return found if found and not {"pale", "blue"} & set(found.values()) else None

    return server.wait("the lineage", drawn)


def red_assets(spec: MonitorSpec, home: Home) -> set[str]:
    """Assets with a check that fails in the last window of which it says anything, asked without Dagster."""
    paths = home.monitor(spec.id)
    keys = sorted({spec.key(start) for start in read_judgements(paths)["window_start"].unique()})
    checks = list(plan.checks(spec))
    found: set[str] = set()
    for asset in {check.asset for check in checks}:
        of_asset = [check for check in checks if check.asset == asset]
        told = sorted(board.evaluate(spec, paths, asset, of_asset, keys), key=lambda item: item[1])
        last = {check.name: verdict for check, _, verdict in told}
        found |= {asset} if any(verdict.level == "error" for verdict in last.values()) else set()
    return found
