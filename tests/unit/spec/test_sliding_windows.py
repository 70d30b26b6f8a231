"""`quality.windows`: what a file may say, the names it gives, and which windows are blocks."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest

from metrics_py.alerting.config import MONDAY as ENGINE_MONDAY
from sightline.alerts import decisions
from sightline.errors import SightlineError
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from sightline.spec.stretches import MONDAY, STRETCHES, SlidingWindow, ending, sliding_windows, strides

FILE = """\
model: {{id: m, task: {task}}}
columns: {{score: p, features: {{age: numeric}}}}
reference: {{start: 2026-01-01, end: 2026-02-01}}
schedule: {schedule}
{labels}
quality: {{windows: {windows}}}
{more}
"""


def load(tmp_path, windows: str, schedule="daily", labels="labels: {}", more="", task="binary_classification"):
    file = tmp_path / "m.yaml"
    file.write_text(FILE.format(windows=windows, schedule=schedule, labels=labels, more=more, task=task))
    return load_monitor(file)


@pytest.mark.parametrize(
    ("windows", "settings", "what", "fix"),
    [
        ("[36h]", {}, "1.5d|36h is no multiple of the schedule's window of 1d", "write a multiple of 1d"),
        ("[1h]", {}, "1h is no multiple of the schedule's window of 1d", "write a multiple of 1d"),
        ("[7d, 168h]", {}, "a length of 7d is named twice", "name it once"),
        ("[93d]", {}, "93d is longer than 92 windows", "write at most 92d"),
        ("[2d, 3d, 4d, 5d, 6d]", {}, "5 lengths beside the schedule's own", "name at most 4"),
        ("[7d]", {"labels": ""}, "there are no labels to judge quality by", "add a section `labels`"),
        ("[10d]", {"schedule": "weekly"}, "10d is no multiple", "write a multiple of 7d"),
        ("[28d]", {"schedule": "hourly"}, "longer than 92 windows", "write at most 92h"),
        ("[7d]", {"more": "metrics: [{name: f1_7d, sql: score, needs_label: true}]"}, "share its check", "rename"),
        ("[-3d]", {}, "is no duration", ""),
    ],
)
def test_what_cannot_be_summed_is_refused(tmp_path, windows, settings, what, fix):
    with pytest.raises(SightlineError) as caught:
        load(tmp_path, windows, **settings)
    text = str(caught.value)
    assert any(part in text for part in what.split("|")) and fix in text and "m.yaml:6: " in text


def test_names_of_what_there_is(tmp_path):
    spec = load(tmp_path, "[28d, 1d, 7d]")
    assert sliding_windows(spec) == [SlidingWindow(7, "@7d"), SlidingWindow(28, "@28d")]
    assert strides(spec) == {"@7d": 7, "@28d": 28}
    metrics = {check.name: check for check in plan.checks(spec) if check.asset == "model_quality"}
    assert metrics["quality__roc_auc_28d"].metric == "roc_auc@28d"
    assert metrics["quality__roc_auc_28d"].description == "Realised roc auc of the last 28 days, with every window."
    assert {"quality__roc_auc", "quality__roc_auc_7d"} <= set(metrics)
    assert not {"quality__labelled_rate_7d", "quality__label_arrivals_7d"} & set(metrics)
    assert decisions.config(spec).pace("model_quality/roc_auc@28d").stride == 28
    assert decisions.matches("model_quality/roc_auc", "model_quality/roc_auc@28d"), "weights by the metric's name"


def test_a_threshold_may_name_one(tmp_path):
    spec = load(tmp_path, "[7d]", more="alerts: {thresholds: [{metric: roc_auc@7d, fail_below: 0.6}]}")
    assert spec.alerts.thresholds[0].metric == "roc_auc@7d"
    with pytest.raises(SightlineError, match="no check judges a metric 'roc_auc@8d'"):
        load(tmp_path, "[7d]", more="alerts: {thresholds: [{metric: roc_auc@8d, fail_below: 0.6}]}")


def test_without_it_nothing_changes(make_spec):
    assert sliding_windows(make_spec()) == [] and strides(make_spec()) == {"@7d": 7}
    named_alone = make_spec(quality={"windows": ["1d"]})
    assert sliding_windows(named_alone) == []


@pytest.mark.parametrize(
    ("schedule", "lengths", "endings"),
    [
        ("hourly", ["24h", "36h", "3d"], ["@24h", "@36h", "@3d"]),
        ("daily", ["2d", "4w"], ["@2d", "@28d"]),
        ("weekly", ["4w", "13w"], ["@28d", "@91d"]),
    ],
)
def test_every_length_has_a_name_and_blocks_that_do_not_overlap(make_spec, schedule, lengths, endings):
    spec = make_spec(schedule=schedule, quality={"windows": lengths})
    found = sliding_windows(spec)
    assert [over.ending for over in found] == endings == [ending(over.n * spec.window) for over in found]
    first = spec.floor(datetime(2026, 1, 1)).replace(tzinfo=None)
    starts = [first + k * spec.window for k in range(400)]
    for over in found:
        ends = pl.DataFrame({"at": starts}).filter(over.ends_block(spec, pl.col("at")))["at"].to_list()
        assert {b - a for a, b in pairwise(ends)} == {over.n * spec.window}


def test_blocks_are_the_stretches_of_columns(make_spec):
    """So a column and the quality over seven days are decided in the same window."""
    assert MONDAY.weekday() == 0 and ENGINE_MONDAY.weekday() == 0
    for schedule, stretch in STRETCHES.items():
        spec = make_spec(schedule=schedule, quality={"windows": [f"{stretch.n}{'h' if schedule == 'hourly' else 'd'}"]})
        (over,) = sliding_windows(spec)
        assert over.ending == stretch.ending
        at = pl.DataFrame({"at": [datetime(2026, 1, 1) + k * spec.window for k in range(3 * stretch.n)]})
        both = at.with_columns(
            block=over.ends_block(spec, pl.col("at")), stretch=stretch.last(spec, pl.col("at")) == pl.col("at")
        )
        assert both["block"].to_list() == both["stretch"].to_list() and both["block"].sum() == 3


def test_a_window_begins_so_many_windows_earlier(make_spec):
    spec = make_spec(quality={"windows": ["7d"]})
    (over,) = sliding_windows(spec)
    assert over.begins(spec, datetime(2026, 1, 11)) == datetime(2026, 1, 5)
    assert spec.window * over.n == timedelta(days=7)


def test_validate_says_when_a_longer_window_can_alarm(make_spec, home):
    from sightline.alerts import decisions
    from sightline.commands.validate import SLIDING_WARMUP, summarise

    spec = make_spec(quality={"windows": ["1d", "7d", "28d"]})
    told = [text for text in summarise(spec, home.monitors / "churn.yaml", home)["warnings"] if "may alarm" in text]
    assert told == [
        "quality over 7d may alarm after 84d: it is known by 12 values of its own",
        "quality over 28d may alarm after 336d: it is known by 12 values of its own",
    ]
    assert decisions.config(spec).pace("model_quality/roc_auc@28d").taught == SLIDING_WARMUP
