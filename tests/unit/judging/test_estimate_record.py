"""The record of the estimates: when they cease to be validated, what then says so, and that it recovers."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.judging.estimate_audit import audit
from sightline.judging.estimate_record import BEGINS, LATEST, REACH, caveats, outdated, record, with_caveats
from sightline.judging.frames import conform
from sightline.judging.published import read_published
from sightline.judging.verdicts import verdicts
from sightline.results.judgements import read_judgements
from sightline.spec import plan

FIRST = datetime(2026, 1, 5)
HALF = 0.02
DAY = timedelta(days=1)


def rows(metric: str, values: np.ndarray, *, first: int = 0, **columns: object) -> pl.DataFrame:
    """Judgements of one metric, a window each."""
    starts = [FIRST + timedelta(days=first + k) for k in range(len(values))]
    frame = pl.DataFrame({"window_start": starts, "value": values}).with_columns(
        model_version=pl.lit("all"),
        segment=pl.lit("all"),
        column=pl.lit(""),
        metric=pl.lit(metric),
        ci_low=pl.col("value") - HALF,
        ci_high=pl.col("value") + HALF,
        n=pl.lit(500),
        status=pl.lit("ok"),
        reason=pl.lit("estimated"),
        reason_code=pl.lit("estimated"),
    )
    return conform(frame.with_columns(pl.lit(value).alias(name) for name, value in columns.items()))


@pytest.fixture
def spec(make_spec):
    return make_spec(
        columns={"score": "p", "features": {"age": "numeric"}}, labels={"column": "y", "expected_delay": "2d"}
    )


@pytest.fixture
def audited(home, spec, publish):
    """Publishes the audits of some windows; estimates are .8 throughout."""

    def write(values: np.ndarray, first: int = 0) -> None:
        publish("model_quality", audit(spec, home.monitor(spec.id), rows("roc_auc", values, first=first)).judgements)

    return write


def day(number: int) -> datetime:
    return FIRST + number * DAY


def told(home, spec, first: int, last: int) -> dict[int, str]:
    found = caveats(spec, home.monitor(spec.id), [day(k) for k in range(first, last)])
    return {(start - FIRST).days: words for start, words in found.iter_rows()}


def test_a_record_is_that_of_the_latest_windows_within_reach(home):
    """Beside a plain loop over the windows, with gaps of some of them."""
    rng = np.random.default_rng(4)
    days = np.sort(rng.choice(400, 150, replace=False))
    missed = rng.random(150) < np.where(np.arange(150) < 75, 0.05, 0.5)
    frame = pl.DataFrame({"window_start": [day(int(k)) for k in days], "ci_low": np.where(missed, 0.1, -0.1)})
    found = record(frame.with_columns(ci_high=pl.lit(0.2)).sample(fraction=1, shuffle=True, seed=1), DAY)
    for k, (start, misses, windows, is_bad) in enumerate(found.iter_rows()):
        within = [j for j in range(k + 1) if days[k] - days[j] < REACH][-LATEST:]
        n_missed = int(missed[within].sum())
        assert (start, misses, windows) == (day(int(days[k])), n_missed, len(within))
        # 3 of 10, 4 of 13 to 20, 5 of 26 ... 6 of 30 are beyond 1 % of a binomial of 5 %
        assert is_bad == (len(within) >= 10 and _beyond(n_missed, len(within)))
    assert found["is_bad"].any() and not found["is_bad"].all()


def _beyond(misses: int, windows: int) -> bool:
    from math import comb

    return sum(comb(windows, k) * 0.05**k * 0.95 ** (windows - k) for k in range(misses, windows + 1)) < 0.01


def test_estimates_say_how_often_they_held_from_the_window_after_a_failed_audit_on_and_recover(
    home, spec, audited, publish
):
    publish("estimated_quality", rows("estimated_roc_auc", np.full(120, 0.8)))
    values = np.full(80, 0.805)
    values[20:35] = 0.7
    audited(values)
    bad = told(home, spec, 0, 120)
    first, last = min(bad), max(bad)
    assert 23 <= first <= 26 and list(bad) == list(range(first, last + 1))
    assert bad[36] == f"{BEGINS}the estimated roc auc held in 15 of the last 30 windows that labels tell of"
    # six misses of thirty are too many, five are not: those of days 30 to 34 are the last of them
    assert last == 29 + LATEST


def test_windows_whose_labels_are_still_to_come_go_by_the_latest_that_have_some_however_long_ago(
    home, spec, audited, publish
):
    publish("estimated_quality", rows("estimated_roc_auc", np.full(40, 0.8)))
    audited(np.full(30, 0.7))
    assert set(told(home, spec, 30, 33).values()) == {
        f"{BEGINS}the estimated roc auc held in 0 of the last 30 windows that labels tell of"
    }
    assert list(told(home, spec, 1_000, 1_003)) == [1_000, 1_001, 1_002], "no word since, and no better"
    assert told(home, spec, 0, 1) == {}


def test_every_estimate_of_the_window_warns_and_keeps_its_value_and_what_it_assumes(home, spec, audited, publish):
    publish("estimated_quality", rows("estimated_roc_auc", np.full(30, 0.8)))
    audited(np.full(30, 0.7))
    nothing = dict.fromkeys(("value", "ci_low", "ci_high"))
    gone = rows("estimated_f1", np.zeros(2), first=29, status="insufficient_data", reason="few", **nothing)
    parts = [rows(f"estimated_{name}", np.full(2, 0.6), first=29) for name in ("roc_auc", "accuracy")]
    segment = rows("estimated_recall", np.full(2, 0.6), first=29, segment="plan=max", status="warn", reason="above")
    found = with_caveats(spec, home.monitor(spec.id), pl.concat([*parts, segment, gone]))
    kept = found.filter(pl.col("status") == "insufficient_data")
    assert kept["reason"].to_list() == ["few", "few"] and set(kept["reason_code"]) == {"estimated"}
    warned = found.filter(pl.col("status") != "insufficient_data")
    assert set(warned["status"]) == {"warn"} and set(warned["reason_code"]) == {"unvalidated"}
    assert set(warned["value"]) == {0.6}
    assert set(warned["reason"].str.split("; ").list.last()) == {"estimated", "above"}
    publish("estimated_quality", found)
    checks = [check for check in plan.checks(spec) if check.metric == "estimated_accuracy"]
    keys = [spec.key(day(30))]
    published = read_published(spec, home.monitor(spec.id), "estimated_quality", keys)
    [verdict] = [v for _, start, v in verdicts("estimated_quality", checks, published) if start == day(30)]
    assert verdict.level == "ok", "a report, as all of these"
    assert verdict.text.startswith(
        "Not validated: the estimated roc auc held in 0 of the last 30 windows that labels tell of; estimated. "
    )


def test_published_estimates_are_outdated_where_the_audits_make_something_else_of_them(home, spec, audited, publish):
    paths = home.monitor(spec.id)
    publish("estimated_quality", rows("estimated_roc_auc", np.full(50, 0.8)))
    keys = [spec.key(day(k)) for k in range(50)]
    assert outdated(spec, paths, keys[:1]) == []
    audited(np.full(20, 0.7))
    stale = outdated(spec, paths, keys[:20])
    assert stale == keys[3 + 7 :], "ten windows tell"
    assert outdated(spec, paths, keys[30:31]) == keys[31:], "only those after the ones that were audited"
    publish("estimated_quality", with_caveats(spec, paths, rows("estimated_roc_auc", np.full(50, 0.8))))
    assert outdated(spec, paths, keys[:20]) == []
    audited(np.full(20, 0.8))
    assert outdated(spec, paths, keys[:20]) == keys[10:], "it was the labels: they hold"


def test_what_is_said_does_not_depend_on_the_order_of_the_labels(home, spec, publish, make_spec):
    """Audited one by one, shuffled, each twice: as when all of them are audited at once."""
    publish("estimated_quality", rows("estimated_roc_auc", np.full(60, 0.8)))
    rng = np.random.default_rng(8)
    values = np.where(rng.random(60) < 0.35, 0.7, 0.8)
    paths = home.monitor(spec.id)
    at_once = audit(spec, paths, rows("roc_auc", values)).judgements
    for k in rng.permutation(np.repeat(np.arange(60), 2)):
        publish("model_quality", audit(spec, paths, rows("roc_auc", values[k : k + 1], first=int(k))).judgements)
    one_by_one = read_judgements(paths, asset="model_quality").select(at_once.columns)
    assert one_by_one.equals(at_once.sort("window_start"))
    assert {"audited", "unvalidated"} == set(at_once["reason_code"])
