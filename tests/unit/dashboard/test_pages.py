"""Every page and its twin over a small published world: what they say, that they escape, that they cost no lock."""

from __future__ import annotations

import re
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest

from sightline.dashboard.pages.column import distance_title
from sightline.dashboard.pages.page import newest_judged
from sightline.dashboard.pages.segments import compared
from sightline.dashboard.server.app import PAGES
from sightline.home import Home
from sightline.results.actions import read_actions
from tests.support.dashboard import served
from tests.support.published import HOSTILE, make_published

BASE = "/monitors/churn"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return make_published(tmp_path_factory.mktemp("published") / "home", ("churn", "price"))


@pytest.fixture(scope="module")
def client(world):
    with served(world.home) as client:
        yield client


def addresses(world) -> list[str]:
    own = {
        "column": f"?column={quote(HOSTILE)}",
        "metric": "?metric=roc_auc",
        "incident": f"?incident={world.incident}",
    }
    return ["/", *(f"{BASE}/{name}{own.get(name, '')}" if name else BASE for name in PAGES)]


def test_every_page_and_its_twin_answer(client, world):
    for address in addresses(world):
        page = client.get(address)
        assert page.status_code == 200, address
        assert "text/html" in page.headers["content-type"]
        path, _, query = address.partition("?")
        twin = client.get(("/index" if path == "/" else path) + ".json" + (f"?{query}" if query else ""))
        assert twin.status_code == 200 and twin.json()["title"], address


def test_hostile_names_are_escaped_everywhere(client, world):
    seen = 0
    for address in addresses(world):
        text = client.get(address).text
        assert HOSTILE not in text and "<b>leaves</b>" not in text, address
        scripts = re.findall(r"<script(?![^>]*(?:src=|application/json))[^>]*>", text)
        assert scripts == [], address
        seen += "&lt;script&gt;" in text or "\\u003cscript" in text
    assert seen >= 3


def test_no_script_style_or_event_stands_in_a_page(client, world):
    for address in addresses(world):
        text = client.get(address).text
        assert not re.search(r"<style|\sstyle=|\son\w+=", text), address


def test_the_overview_names_what_needs_a_look(client, world):
    found = client.get("/index.json").json()
    (row,) = [row for row in found["monitors"] if row["monitor"] == "churn"]
    assert row["level"] == "bad" and row["open_incidents"] == 1
    assert row["reasons"][0].startswith("open incident since") and "age: the mean" in row["reasons"][0]
    assert (row["quality_metric"], row["quality_status"], row["n_provisional"]) == ("roc_auc", "provisional", 1)
    assert row["drifting"] == 1


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("psi", "Distance from the reference (psi)"),
        ("rff_distance", "Distance from the reference (rff distance)"),
        ("duplicate_text_rate", "Duplicate text rate"),
        ("unknown_word_share", "Unknown word share"),
        ("zero_vector_rate", "Zero vector rate"),
        ("moved_words", "Moved words"),
    ],
)
def test_a_share_is_not_called_a_distance(metric, title):
    assert distance_title(metric) == title


def test_a_metric_tells_its_revisions_beside_the_final_value(client):
    found = client.get(f"{BASE}/metric.json?metric=roc_auc").json()
    (revised,) = found["revisions"]
    assert [step["status"] for step in revised["steps"]] == ["ok", "provisional"]
    assert found["latest"]["shown_naive_value"] == "0.66" and found["latest"]["maturity"] == 0.5
    table = found["charts"][0]
    assert table["columns"][:3] == ["window", "value", "95 % interval"]
    assert table["rows"][0][1] == "0.61" and table["rows"][0][5] == "provisional"


def test_a_window_without_a_value_says_so_and_why(client):
    found = client.get(f"{BASE}/metric.json?metric=f1").json()
    assert found["latest"]["status"] == "insufficient_data" and found["latest"]["shown_value"] == "–"
    assert {tuple(row[5:7]) for row in found["charts"][0]["rows"]} == {("insufficient data", "too few")}


def test_segments_are_compared_with_each_other_worst_first(client):
    found = client.get(f"{BASE}/segments.json?metric=roc_auc").json()["segments"]
    assert [row["segment"] for row in found] == [f"plan={HOSTILE}", "plan=basic"]
    assert [row["is_worse"] for row in found] == [True, False]
    assert found[0]["is_different"] and abs(found[0]["difference"] + 0.075) < 0.01


def test_a_metric_of_a_column_tells_what_the_engine_makes_of_it(client, world):
    found = client.get(f"{BASE}/metric.json?metric=psi&column=age").json()
    (stream,) = found["streams"]
    assert (stream["stream"], stream["incident_id"]) == ("drift/age/location", world.incident)
    assert client.get(f"{BASE}/metric?metric=psi&column=age").status_code == 200


@pytest.mark.parametrize(
    ("rows", "named", "untested"),
    [
        (np.full(30, 200.0), 0.16, 0.0),
        (np.linspace(20.0, 5000.0, 30), 0.16, 0.0),
        (np.array([10_000.0] + [20.0] * 9), 0.0, 1.0),
    ],
)
def test_segments_that_do_not_differ_are_seldom_named(rows, named, untested):
    rng, times, false, without = np.random.default_rng(41), 200, 0, 0
    for _ in range(times):
        values = rng.standard_normal((4, len(rows))) / np.sqrt(rows)
        frame = pl.DataFrame(
            {
                "window_start": list(range(len(rows))) * 4,
                "segment": [f"s={k}" for k in range(4) for _ in rows],
                "value": values.ravel(),
                "n": np.tile(rows, 4),
            }
        )
        found = compared(frame)
        false += any(row["is_different"] for row in found)
        without += all(row["p_value"] is None for row in found)
    assert false / times <= named and without / times == untested


def test_a_metric_without_direction_has_no_worse_segment():
    rng = np.random.default_rng(42)
    frame = pl.DataFrame(
        {
            "window_start": [*range(20)] * 2,
            "segment": ["s=a"] * 20 + ["s=b"] * 20,
            "value": np.concatenate([rng.normal(0, 0.1, 20), rng.normal(1, 0.1, 20)]),
            "n": 100,
        }
    )
    assert [(row["is_different"], row["is_worse"]) for row in compared(frame)] == [(True, None)] * 2
    assert [row["is_worse"] for row in compared(frame, direction="lower_is_better")] == [True, False]


def test_windows_whose_labels_are_not_due_hide_no_judged_one():
    due, waits, few = None, "labels_not_due", "too_few_rows"
    rows = [
        *(("roc_auc", k, value, why) for k, value, why in [(0, 0.7, due), (1, 0.8, due), (2, None, waits)]),
        *(("recall", k, value, why) for k, value, why in [(0, 0.4, due), (1, None, few), (2, None, waits)]),
        ("f1", 2, None, waits),
        ("n_rows", 2, 800.0, None),
    ]
    frame = pl.DataFrame(rows, schema=["metric", "window_start", "value", "reason_code"], orient="row")
    for seed in (1, 2):
        found = newest_judged(frame.sample(fraction=1, shuffle=True, seed=seed))
        assert found.rows() == [("f1", 2, None, waits), ("n_rows", 2, 800.0, None), ("recall", 1, None, few), rows[1]]


def test_the_selection_stays_in_the_addresses(client, world):
    first = f"{world.day(10):%Y-%m-%d}"
    text = client.get(f"{BASE}?from={first}&version=2.0").text
    assert f"/monitors/churn/columns?from={first}&amp;version=2.0" in text
    rows = client.get(f"{BASE}/versions.json").json()["versions"]
    assert [row["model_version"] for row in rows] == ["2.0", "1.0"]


def test_a_version_shows_its_own_numbers(client):
    whole = client.get(f"{BASE}/metric.json?metric=roc_auc").json()["charts"][0]["rows"]
    own = client.get(f"{BASE}/metric.json?metric=roc_auc&version=1.0").json()["charts"][0]["rows"]
    assert len(whole) == 60 and len(own) == 30


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/monitors/chrn", 404, "there is no monitor"),
        (f"{BASE}/nothing", 404, "there is no page"),
        (f"{BASE}/metric?metric=roc_auk", 404, "roc_auc"),
        (f"{BASE}/column?column=aeg", 404, "age"),
        (f"{BASE}/incident?incident=x", 404, "has no incident"),
        (f"{BASE}?from=yesterday", 400, "no date or time"),
        (f"{BASE}?to=0001-01-01", 400, "this year cannot be shown"),
        (f"{BASE}?to=9999-12-31T23:59:59-14:00", 400, "this year cannot be shown"),
        (f"{BASE}?version=3.0", 404, "2.0"),
        (f"{BASE}/columns?segment=plan%3Dx", 404, "plan=basic"),
        (f"{BASE}?from=2026-02-01&to=2026-01-01", 400, "does not lie after"),
        (f"{BASE}?from=1990-01-01&to=2026-01-01", 400, "longer than three years"),
    ],
)
def test_what_cannot_be_shown_is_told(client, address, status, words):
    answer = client.get(address)
    assert answer.status_code == status and words in answer.text


def test_a_broken_monitor_stops_no_other(tmp_path):
    world = make_published(tmp_path / "home")
    (world.home.monitors / "odd.yaml").write_text("version: 1\nmodel: {id: odd, tusk: x}\n", encoding="utf-8")
    with served(world.home) as client:
        assert client.get(BASE).status_code == 200
        assert "odd.yaml" in client.get("/").text and "tusk" in client.get("/").text
        assert "tusk" in client.get("/monitors/odd").text


def test_an_empty_home_says_how_to_begin(tmp_path):
    with served(Home(tmp_path)) as client:
        assert "sightline init" in client.get("/").text


def test_a_word_is_said_from_the_page(tmp_path):
    world = make_published(tmp_path / "home")
    with served(world.home) as client:
        text = client.get(f"{BASE}/incident?incident={world.incident}").text
        key = re.search(r'name="key" value="([0-9a-f]{64})"', text)
        assert key is not None
        form = {
            "key": key[1],
            "incident": world.incident,
            "action": "assign",
            "person": "bob",
            "by": "eve",
            "note": "yours",
        }
        answer = client.post(f"{BASE}/say", data=form)
        assert answer.status_code == 303
        (action,) = read_actions(world.home.monitor("churn"))
        assert (action["kind"], action["to"], action["user"], action["note"]) == ("assign", "bob", "eve", "yours")
        assert "assigned to bob" in client.get(answer.headers["location"]).text
