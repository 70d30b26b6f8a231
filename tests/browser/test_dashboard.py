"""The dashboard in a real browser: every page drawn without a complaint, in both themes, on a phone, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from metrics_py import compare
from sightline.dashboard.server.app import PAGES
from sightline.reports.comparison import comparison_html
from tests.support.browser import open_page
from tests.support.dashboard import served
from tests.support.published import HOSTILE, World, make_published

pytestmark = pytest.mark.browser

OWN = {"column": "?column=age", "metric": "?metric=roc_auc", "incident": "?incident=2026-02-20-abc123"}
PANELS = """\
title: Both
rows:
  - panels:
      - {kind: metric, monitor: churn, metric: roc_auc}
      - {kind: segments, monitor: churn, metric: roc_auc, by: plan}
  - panels:
      - {kind: text, title: How, text: "Words."}
      - {kind: sql, title: Days, show: bar, x: monitor, y: [n],
         sql: "SELECT monitor, count(*) AS n FROM evidence GROUP BY ALL"}
      - {kind: sql, title: Wrong, sql: "SELECT nothing FROM evidence"}
"""
ADDRESSES = [
    "/",
    "/dashboards/both",
    "/monitors/churn?granularity=week",
    *(f"/monitors/churn/{name}{OWN.get(name, '')}".rstrip("/") for name in PAGES),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_published(tmp_path_factory.mktemp("dashboard") / "home", ("churn", "price"))
    world.home.dashboards.mkdir()
    (world.home.dashboards / "both.yaml").write_text(PANELS, encoding="utf-8")
    return world


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx.Client]:
    with served(world.home) as found:
        yield found


@dataclass
class Watched:
    """A page, and what its browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def visit(self, address: str) -> None:
        self.page.goto(address, wait_until="load")
        for chart in self.page.locator("[data-chart]").all():
            chart.locator("svg").first.wait_for()


@pytest.fixture
def watched(client: httpx.Client) -> Iterator[Watched]:
    with open_page() as page:
        found = Watched(page)
        host = client.base_url.netloc.decode()
        page.on("console", lambda m: found.complaints.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("dialog", lambda dialog: found.complaints.append(f"dialog: {dialog.message}"))

        def request(asked) -> None:
            parts = urlsplit(asked.url)
            if parts.scheme != "data" and parts.netloc != host:
                found.complaints.append(f"asked {asked.url}")

        page.on("request", request)
        page.on("requestfailed", lambda asked: found.complaints.append(f"failed {asked.url}"))
        yield found


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_drawn_without_a_complaint_in_both_themes_and_on_a_phone(watched, client, address):
    page = watched.page
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 380)):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 800})
        watched.visit(str(client.base_url.join(address)))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{theme} {width}"
        found = Axe().run(page)
        serious = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        told = [(each["id"], [node["html"][:160] for node in each["nodes"][:3]]) for each in serious]
        assert told == [], f"{theme} {width}"
    assert watched.complaints == []


def test_charts_draw_what_their_tables_say(watched, client):
    page = watched.page
    watched.visit(f"{client.base_url}/monitors/churn/metric?metric=roc_auc")
    figure = page.locator("figure.chart").first
    assert figure.locator("svg path").count() > 60
    words = figure.locator(".plot").get_attribute("aria-label")
    assert "60 of 60 windows have a value" in words and "latest 0.61" in words
    figure.locator("details summary").click()
    rows = figure.locator("tbody tr")
    assert rows.count() == 60 and "provisional" in rows.first.inner_text()


def test_hostile_names_are_text(watched, client):
    watched.visit(f"{client.base_url}/monitors/churn/column?column={quote(HOSTILE)}")
    assert watched.page.locator("h1").inner_text() == HOSTILE
    assert watched.complaints == []


def test_the_theme_is_switched_and_kept_by_keyboard(watched, client):
    page = watched.page
    page.emulate_media(color_scheme="light")
    watched.visit(f"{client.base_url}/monitors/churn")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    watched.visit(f"{client.base_url}/monitors/churn/columns")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert watched.complaints == []


def test_a_person_follows_an_alert_to_its_end_by_keyboard(watched, client, world):
    page = watched.page
    watched.visit(str(client.base_url))
    page.get_by_role("link", name="churn", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="since").first.focus()
    page.keyboard.press("Enter")
    page.locator("select[name=action]").select_option("note")
    page.locator("input[name=note]").fill("the feed was moved")
    page.locator("input[name=by]").fill("eve")
    page.keyboard.press("Enter")
    page.locator(".timeline", has_text="the feed was moved").wait_for()
    assert "eve" in page.locator(".timeline li").last.inner_text()
    assert watched.complaints == []


def test_a_comparison_is_drawn_from_its_file_alone(watched, tmp_path):
    rng = np.random.default_rng(77)
    old = {f"x{k}": rng.normal(0, 1, 1500) for k in range(15)}
    new = {name: values + (name == "x3") for name, values in old.items()}
    file = tmp_path / "report.html"
    file.write_text(comparison_html(compare(old, new)), encoding="utf-8")
    page = watched.page
    page.goto(file.as_uri())
    page.locator("[data-drawn=yes]").first.wait_for()
    assert page.locator("h1").inner_text() == "1 of 15 columns drifted"
    assert page.locator("[data-drawn=yes]").count() == 1
    page.get_by_text("14 columns without drift").click()
    page.locator("[data-chart]").last.scroll_into_view_if_needed()
    page.locator("[data-chart]").last.locator("svg").wait_for()
    assert [c for c in watched.complaints if not c.startswith("asked file:")] == []
