"""One budget over a team's monitors: the shares, the words, and mistakes of the file."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from sightline.alerts import decisions
from sightline.spec import plan
from sightline.spec.loader import SpecError, load_monitor, load_monitors
from sightline.spec.teams import load_teams, teams_file

MONITOR = """
model: {{id: {id}, task: binary_classification}}
columns: {{prediction_id: id, timestamp: at, score: p, features: {{age: numeric}}}}
labels: {{column: y}}
reference: {{kind: window, start: 2026-01-01, end: 2026-03-01}}
{more}
"""


@pytest.fixture
def write(home):
    def made(teams: str = "", **monitors: str):
        home.monitors.mkdir(parents=True, exist_ok=True)
        for name, more in monitors.items():
            (home.monitors / f"{name}.yaml").write_text(MONITOR.format(id=name, more=more))
        if teams:
            teams_file(home).parent.mkdir(exist_ok=True)
            teams_file(home).write_text(teams)
        return load_monitors(home)[0]

    return made


def windows(spec) -> float:
    return decisions.config(spec).threshold_windows


def test_shares_add_up_to_the_budget_of_the_team(write):
    specs = write(
        "teams: {money: {monitors: [a, b, c], budget: 1 per 30d, weights: {a: 2}}}", a="", b="", c="", other=""
    )
    assert windows(specs["a"]) == pytest.approx(60)
    assert windows(specs["b"]) == pytest.approx(120)
    assert windows(specs["other"]) == 90
    assert sum(1 / windows(specs[name]) for name in "abc") == pytest.approx(1 / 30)
    assert "its share of the budget of the team money: 1 false incident per 30d over 3 monitors" in plan.promise(
        specs["a"]
    )
    assert "team" not in plan.promise(specs["other"])


def test_the_strictest_budget_holds(write):
    specs = write(
        "teams:\n  all: {monitors: [a, b], budget: 1 per 30d}\n  one: {monitors: [a], budget: 1 per 100d}\n",
        a="alerts: {budget: 1 per 10d}",
        b="alerts: {budget: 1 per 365d}",
    )
    assert windows(specs["a"]) == 100
    assert windows(specs["b"]) == 365
    assert "stricter than" in plan.promise(specs["b"])


def test_a_share_of_more_than_one_incident_per_window_is_no_budget_to_promise(write):
    specs = write("teams: {x: {monitors: [a, b], budget: 100 per 30d}}", a="", b="alerts: {budget: 1 per 10d}")
    assert [windows(specs[name]) for name in "ab"] == [90, 10]
    assert "more than one per window" in plan.promise(specs["a"])


def test_warnings_follow_the_share(write):
    spec = write("teams: {all: {monitors: [a, b], budget: 1 per 90d}}", a="", b="")["a"]
    assert spec.alerts.budget.per == timedelta(days=180)
    assert spec.warnings.windows(spec.window) == pytest.approx(18)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("teams: {x: {monitors: [a, nobody], budget: 1 per 9d}}", "there is no monitor 'nobody'"),
        ("teams: {x: {monitors: [a, a], budget: 1 per 9d}}", "a second time"),
        ("teams: {x: {monitors: [a], budget: 1 per 9d, weights: {b: 1}}}", "has no monitor 'b'"),
        ("teams: {x: {monitors: [a], budget: 1 per 9d, weights: {a: -1}}}", "is not positive"),
        ("teams: {x: {monitors: [a, b], budget: 1 per 9d, weights: {a: 1.0e-300}}}", "the share of 'a'"),
        ("teams: {x: {monitors: [a, b], budget: 1 per 9d, weights: {a: 1.0e+308, b: 1.0e+308}}}", "the share of 'a'"),
        ("teams: {x: {monitors: [a, b], budget: 1 per 30000d}}", "the share of 'a'"),
        ("teams: {x: {monitors: [a], budget: often}}", "is no alert budget"),
        ("teams: {x: {monitor: [a], budget: 1 per 9d}}", "monitors"),
        ("teams: [", "teams.yaml"),
    ],
)
def test_mistakes_are_told_and_stop_no_monitor(write, home, text, told):
    specs = write(text, a="", b="")
    assert set(specs) == {"a", "b"}
    assert windows(specs["a"]) == 90
    assert "no team's budget is in force" in plan.promise(specs["a"])
    with pytest.raises((SpecError, Exception), match=r"teams\.yaml") as caught:
        load_teams(home)
    assert told in str(caught.value)


def test_a_team_keeps_its_budget_in_a_simulation(write):
    """Three monitors without any change for two years: incidents of all of them stay below the team's budget."""
    from metrics_py.alerting import replay
    from tests.support.alerting import log

    specs = write("teams: {money: {monitors: [a, b, c], budget: 1 per 60d}}", a="", b="", c="")
    rng = np.random.default_rng(4127)
    days, repeats, incidents = 2 * 365, 4, 0
    for spec in [specs[name] for name in "abc"] * repeats:
        config = decisions.config(spec)
        found = replay(log(rng.standard_normal((days + 28, 30))), config)
        incidents += len(found.incidents)
    assert incidents / repeats <= 1.3 * days / 60


def test_a_single_file_is_read_under_its_share_too(write, home):
    write("teams: {money: {monitors: [a, b], budget: 1 per 90d}}", a="", b="")
    assert windows(load_monitor(home.monitors / "a.yaml")) == 180
