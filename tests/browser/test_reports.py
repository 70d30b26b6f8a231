"""Reports in a real browser, from a disk: no request, no complaint, both themes, a phone, by keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe

import sightline
from metrics_py import Check, Suite
from sightline.dashboard.charts.chart import shown
from tests.support.browser import open_page
from tests.support.published import HOSTILE, make_published

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    rng = np.random.default_rng(91)
    names = [HOSTILE, "$accent", "Oslo"]
    old = pl.DataFrame({"age": rng.normal(40, 10, 2000), "city": rng.choice(names, 2000), "z": rng.normal(0, 1, 2000)})
    new = old.with_columns(
        age=pl.Series(rng.normal(46, 10, 2000)), city=pl.Series(rng.choice(names, 2000, p=[0.6, 0.3, 0.1]))
    )
    suite = Suite((Check("psi", ("age",), le=0.1), Check("null_rate", ("age", "z"), le=0.1)))
    world = make_published(folder / "home")
    found = {
        "compare": sightline.compare(old, new),
        "segments": sightline.compare(old, new, by="city"),
        "test": sightline.test(suite, old, new),
        "report": sightline.report(world.home.root, "churn"),
    }
    return {name: each.save(folder / f"{name}.html") for name, each in found.items()}


@pytest.fixture
def watched() -> Iterator[tuple]:
    with open_page() as page:
        complaints: list[str] = []
        page.on("console", lambda m: complaints.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        yield page, complaints


def visit(page, file: Path) -> None:
    page.goto(file.as_uri(), wait_until="load")
    page.locator("[data-drawn=yes] svg").first.wait_for()


@pytest.mark.parametrize("name", ["compare", "segments", "test", "report"])
def test_a_report_opens_from_a_disk_without_a_complaint(watched, files, name):
    page, complaints = watched
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 380)):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        visit(page, files[name])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{theme} {width}"
        found = Axe().run(page)
        serious = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        told = [(each["id"], [node["html"][:160] for node in each["nodes"][:3]]) for each in serious]
        assert told == [], f"{theme} {width}"
    assert complaints == []


def test_the_numbers_on_the_page_are_those_of_the_json_in_it(watched, files):
    page, _ = watched
    visit(page, files["report"])
    facts = json.loads(page.locator("#report").text_content())
    for row in facts["drift"]:
        line = page.locator("#drift tr", has=page.get_by_role("rowheader", name=row["column"], exact=True))
        assert shown(row["value"]) in line.inner_text() and shown(row["times_tolerance"], 3) in line.inner_text()
    first = facts["quality"][0]
    line = page.locator("#quality tbody tr").first.inner_text()
    assert first["metric"] in line and shown(first["realised"]["value"]) in line and "provisional" in line
    assert facts["incidents"][0]["what"] in page.locator("#incident-0").inner_text()


def test_a_category_that_is_called_like_a_colour_is_drawn_by_its_name(watched, files):
    page, complaints = watched
    visit(page, files["compare"])
    figure = page.locator("figure.chart", has_text="city, % of rows")
    figure.scroll_into_view_if_needed()
    figure.locator("svg text", has_text="$accent").first.wait_for()
    assert complaints == []


def test_a_column_is_reached_by_keyboard(watched, files):
    page, complaints = watched
    visit(page, files["compare"])
    page.get_by_role("region", name="All columns").get_by_role("link", name="z", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Metrics of z").wait_for(state="visible")
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert complaints == []
