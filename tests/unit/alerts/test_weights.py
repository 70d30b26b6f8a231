"""Which streams hold how much of the budget: failures of a language model's answers weigh as much as its quality."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import replay
from sightline.alerts import decisions

COLUMNS = {
    "prediction_id": "id",
    "timestamp": "at",
    "llm": {"response": "answer [raw]", "finish_reason": "end", "format": "json"},
}
START, DAYS, CHANGED = datetime(2026, 1, 5), 60, 50


@pytest.fixture
def spec(make_spec):
    def make(**weights: float):
        model = {"id": "assistant", "task": "text_generation"}
        return make_spec(model=model, columns=COLUMNS, labels=None, alerts={"budget": "1 per 90d", "weights": weights})

    return make


@pytest.mark.parametrize("measure", decisions.FAILURES)
def test_failures_of_answers_weigh_as_much_as_quality(spec, measure):
    config = decisions.config(spec())
    assert config.weight(f"drift/answer [raw].{measure}/true_rate") == config.weight("model_quality/roc_auc")
    assert config.weight(f"drift/answer [raw].{measure}/log_psi") == 1
    assert config.weight(f"drift/other.{measure}/true_rate") == 1


def test_what_the_file_says_comes_first(spec):
    config = decisions.config(spec(**{"drift/*": 2.0}))
    assert config.weight("drift/answer [raw].is_truncated/true_rate") == 2


def rows(stream: str, value: np.ndarray, variance: float) -> pl.DataFrame:
    starts = [START + timedelta(days=day) for day in range(DAYS)]
    asset, column, statistic = stream.split("/")
    frame = pl.DataFrame({"window_start": starts, "decided_at": starts, "value": value})
    named = {"stream": stream, "asset": asset, "column": column, "statistic": statistic, "variance": variance}
    return frame.with_columns(**{name: pl.lit(what) for name, what in named.items()})


def test_answers_that_are_cut_off_are_told_among_many_columns(spec):
    """From 1.5 % to 12 % of 300 answers a day, beside 120 streams that keep still: within three days."""
    rng = np.random.default_rng(4712)
    share = np.where(np.arange(DAYS) < CHANGED, 0.015, 0.12)
    cut = np.arcsin(np.sqrt((rng.binomial(300, share) + 0.375) / 300.75))
    calm = [rows(f"drift/x{k}/location", rng.normal(0, 0.06, DAYS), 1 / 300) for k in range(120)]
    stream = "drift/answer [raw].is_truncated/true_rate"
    log = decisions.log_of(spec(), pl.concat([*calm, rows(stream, cut, 1 / 1200)]))
    found = replay(log, decisions.config(spec()))
    [joined] = found.members.filter(stream=stream)["joined_at"]
    assert 0 <= (joined - START).days - CHANGED <= 2
    assert found.members["stream"].to_list() == [stream]
