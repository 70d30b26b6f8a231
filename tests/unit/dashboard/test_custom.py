"""Users' own pages: panels, what a query may and may not do, and mistakes with their place."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from click.testing import CliRunner

from demo.dashboard_file import TEXT, write_dashboard
from sightline.commands.validate import command
from sightline.dashboard.charts.drawn import rows_chart
from sightline.dashboard.custom import sandbox
from sightline.dashboard.custom.tables import TABLES
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.results.judgements import append_judgements
from sightline.spec.dashboards import load_dashboard, panels_of
from sightline.spec.loader import SpecError
from sightline.spec.schema import DASHBOARD_FILE, dashboard_schema, dashboard_schema_text
from sightline.spec.yaml_lines import read_yaml
from tests.support.dashboard import served
from tests.support.published import HOSTILE, World, frame_schema, make_published, row

START = datetime(2026, 1, 1)
ROOT = Path(__file__).resolve().parents[3]
PAGE = """\
title: Both models
description: "What is <b>looked</b> at on Mondays."
rows:
  - title: Quality
    panels:
      - {kind: metric, monitor: churn, metric: roc_auc}
      - {kind: metric, monitor: churn, metric: psi, column: age, title: Age moves}
  - panels:
      - {kind: segments, monitor: churn, metric: roc_auc, by: plan}
      - {kind: column, monitor: churn, column: age}
      - {kind: text, title: How, text: "One.\\n\\nTwo <script>alert(1)</script>."}
  - panels:
      - kind: sql
        title: Volume
        show: line
        x: day
        y: [churn, price]
        sql: |
          SELECT window_start AS day, max(value) FILTER (monitor = 'churn') AS churn,
                 max(value) FILTER (monitor = 'price') AS price
          FROM judgements WHERE metric = 'n_rows' AND model_version = 'all'
            AND window_start >= $from AND window_start < $to
          GROUP BY day ORDER BY day
      - {kind: sql, title: Open, show: number, unit: incidents, sql: "SELECT count(*) AS n FROM incidents"}
      - {kind: sql, title: Wrong, sql: "SELECT nothing FROM judgements"}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_published(tmp_path_factory.mktemp("custom") / "home", ("churn", "price"))
    world.home.dashboards.mkdir()
    (world.home.dashboards / "monday.yaml").write_text(PAGE, encoding="utf-8")
    (world.home.dashboards / "broken.yaml").write_text("title: x\nrows: []\n", encoding="utf-8")
    return world


@pytest.fixture(scope="module")
def client(world):
    with served(world.home) as client:
        yield client


def ask(world: World, text: str, **more: float) -> sandbox.Found:
    monitors = [world.home.monitor(name) for name in ("churn", "price")]
    return sandbox.run(sandbox.read(text), monitors, world.day(10), world.day(20), **more)


def test_every_kind_of_panel_is_shown_and_a_wrong_one_stops_no_other(client):
    page = client.get("/dashboards/monday.json")
    assert page.status_code == 200
    rows = page.json()["rows"]
    assert [[panel["kind"] for panel in each["panels"]] for each in rows] == [
        ["metric", "metric"],
        ["segments", "column", "text"],
        ["sql", "sql", "sql"],
    ]
    wrong = rows[2]["panels"][2]
    assert "nothing" in wrong["error"] and wrong["where"].endswith("monday.yaml:25")
    assert [panel["error"] for each in rows for panel in each["panels"]][:-1] == [None] * 7
    charts = {chart["title"]: chart for chart in page.json()["charts"]}
    assert set(charts) == {"churn: roc_auc", "Age moves", "Volume"}
    assert len(charts["Volume"]["rows"]) == 60 and charts["Volume"]["columns"] == ["day", "churn", "price"]
    assert rows[1]["panels"][0]["rows"][0][0] == f"plan={HOSTILE}"
    assert rows[2]["panels"][1]["numbers"] == [["n", "2"]]


def test_a_page_follows_the_range_and_is_escaped_and_in_the_navigation(client, world):
    text = client.get("/dashboards/monday").text
    assert "&lt;b&gt;looked" in text and "<script>alert" not in text
    assert '<a href="/dashboards/monday" aria-current="page">Both models</a>' in text
    assert '<a href="/dashboards/monday">Both models</a>' in client.get("/monitors/churn").text
    first, last = (f"{world.day(k):%Y-%m-%d}" for k in (10, 20))
    found = client.get(f"/dashboards/monday.json?from={first}&to={last}").json()
    volume = next(chart for chart in found["charts"] if chart["title"] == "Volume")
    assert [cells[0] for cells in volume["rows"]] == [f"{world.day(k):%Y-%m-%d}" for k in range(10, 20)]


def test_a_broken_page_says_where_and_is_told_on_the_overview(client):
    assert client.get("/dashboards/broken").status_code == 400
    assert "broken.yaml" in client.get("/").text
    missing = client.get("/dashboards/munday.json")
    assert missing.status_code == 404 and missing.json()["fix"] == "Did you mean 'monday'?"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        "COPY (SELECT 1) TO '{other}'",
        "ATTACH '{other}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "DELETE FROM judgements",
        "SELECT 1; SELECT 2",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM secret_frame",
        "SELECT repeat('x', 1000000000)",
        "SELECT $other",
    ],
)
def test_a_query_reaches_published_tables_and_nothing_else(world, tmp_path, text):
    other = tmp_path / "other.parquet"
    secret_frame = frame_schema()  # a name of this process that a query must not see
    assert secret_frame
    with pytest.raises(SightlineError) as caught:
        ask(world, text.format(other=other))
    assert caught.value.what and not other.exists()


def test_every_table_is_there_with_and_without_files(world):
    for name in TABLES:
        found = ask(world, f"SELECT * FROM {name}")
        empty = sandbox.run(sandbox.read(f"SELECT * FROM {name}"), [], world.first, world.first)
        assert "monitor" in found.columns and empty.rows == () and set(empty.columns) <= set(found.columns)
    assert ask(world, "SELECT DISTINCT monitor FROM judgements ORDER BY ALL").rows == (("churn",), ("price",))


def test_of_revisions_the_newest_counts_and_withdrawn_ones_do_not(tmp_path):
    world = make_published(tmp_path / "home")
    count = "SELECT value, status FROM judgements WHERE metric = 'roc_auc' AND window_start = '{}' AND {}"
    newest = count.format(world.day(59), "segment = 'all' AND model_version = 'all'")
    assert ask(world, newest).rows == ((0.61, "provisional"),)
    gone = row(world, "churn", 59, "roc_auc", None, status="insufficient_data", reason_code="withdrawn")
    frame = pl.DataFrame([gone], schema=frame_schema())
    append_judgements(world.home.monitor("churn"), "model_quality", frame, "r3", datetime.now(UTC) + timedelta(days=1))
    assert ask(world, newest).rows == ()


def test_time_memory_and_rows_have_limits(world):
    endless = "SELECT sum(a.i * b.i) FROM range(10000000000) a(i), range(1000) b(i)"
    with pytest.raises(SightlineError, match=r"longer than 0\.5 seconds"):
        ask(world, endless, seconds=0.5)
    with pytest.raises(SightlineError, match="memory"):
        ask(world, "SELECT list(i) FROM range(10000000000) t(i)", seconds=60)
    found = ask(world, "SELECT i FROM range(5000) t(i)")
    assert len(found.rows) == sandbox.MOST_ROWS and found.is_cut
    assert not ask(world, f"SELECT i FROM range({sandbox.MOST_ROWS}) t(i)").is_cut


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ("title: x\nrows: [{panels: [{kind: metric, monitor: churn}]}]", 2, "needs `metric`", "metric:"),
        ("title: x\nrows: [{panels: [{kind: text, text: a, sql: b}]}]", 2, "has no 'sql'", "remove"),
        ("title: x\nrows:\n  - panels:\n      - {kind: metric, monitr: churn}", 4, "unknown key 'monitr'", "'monitor'"),
        ("title: x\nrows: [{panels: [{kind: sql, sql: SELECT 1, show: line}]}]", 2, "needs `x` and `y`", "columns"),
        ("title: x\nrows: [{panels: [{kind: pie}]}]", 2, "'pie'", "metric"),
        ("rows: [{panels: [{kind: text, text: a}]}]", 1, "title", ""),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, text, line, what, fix):
    file = tmp_path / "page.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_dashboard(file)
    told = str(caught.value)
    assert f"page.yaml:{line}:" in told and what in told and fix in told


def test_validate_tells_what_no_monitor_has_and_queries_that_fail(world, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(world.home.root))
    page = world.home.dashboards / "lost.yaml"
    panels = [
        "{kind: metric, monitor: chrun, metric: roc_auc}",
        "{kind: column, monitor: churn, column: agee}",
        "{kind: segments, monitor: churn, metric: roc_auc, by: plant}",
    ]
    page.write_text("title: x\nrows:\n  - panels:\n" + "".join(f"      - {p}\n" for p in panels), encoding="utf-8")
    try:
        told = CliRunner().invoke(command, []).output
    finally:
        page.unlink()
    assert "lost.yaml:4: there is no monitor 'chrun'" in told and "Did you mean 'churn'?" in told
    assert "lost.yaml:5: churn has no column 'agee'" in told and "lost.yaml:6: churn has no segments of 'plant'" in told
    assert "monday.yaml:25: the query fails" in told and "broken.yaml:2" in told


def test_the_schema_file_is_that_of_the_model():
    text = (ROOT / "schemas" / DASHBOARD_FILE).read_text(encoding="utf-8")
    assert text == dashboard_schema_text(), "run `python -m sightline.spec.docs`"
    jsonschema.Draft202012Validator.check_schema(dashboard_schema())


def test_the_example_is_valid_and_fits_the_schema(tmp_path):
    file = tmp_path / "page.yaml"
    file.write_text(PAGE, encoding="utf-8")
    assert len(load_dashboard(file).rows) == 3
    assert list(jsonschema.Draft202012Validator(dashboard_schema()).iter_errors(read_yaml(file).value)) == []
    assert Home(tmp_path).dashboards == tmp_path / "dashboards"


def test_the_demo_has_the_page_that_the_documentation_shows(tmp_path):
    text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    assert f"```yaml\n{TEXT}```" in text
    page = load_dashboard(write_dashboard(Home(tmp_path)))
    assert page.title == "Both models"
    empty = [sandbox.run(sandbox.read(str(p.sql)), [], START, START) for _, _, p in panels_of(page) if p.kind == "sql"]
    assert [found.columns for found in empty] == [("day", "flights", "bookings"), ("monitor", "column", "days")]


def test_a_point_without_neighbours_is_marked_and_the_last_known_value_is_told():
    days = [f"2026-01-{k:02}" if k < 32 else f"2026-02-{k - 31:02}" for k in range(1, 71)]
    rows = [(at, 0.5 + k, 0.25 if k % 7 == 3 else None, None) for k, at in enumerate(days)]
    chart = rows_chart(
        "c", "Both", ["day", "daily", "weekly", "none"], rows, show="line", x="day", y=("daily", "weekly", "none")
    )
    daily, weekly, none = chart.option["series"]
    assert not daily["showSymbol"] and daily["data"][:2] == [0.5, 1.5]
    assert (
        weekly["showSymbol"]
        and weekly["showAllSymbol"]
        and weekly["data"][2:4] == [None, {"value": 0.25, "symbol": "circle"}]
    )
    assert set(map(str, none["data"])) == {"None"} and not none["showSymbol"]
    assert chart.summary == f"Both: 70 rows; latest: daily 69.5 ({days[-1]}); weekly 0.25 ({days[66]}); none: no value."


def test_the_link_to_a_panels_page_stands_in_its_card(client):
    text = client.get("/dashboards/monday").text
    cards = re.findall(r"<(?:figure|section)[^>]*>.*?</(?:figure|section)>", text, re.DOTALL)
    assert text.count(">its page</a>") == sum(card.count(">its page</a>") for card in cards) == 4
