"""What is told as a cause, by cases that are made for it; how often is in tests/simulation/cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.cause import Move
from sightline.alerts.causes import events, kinds
from sightline.alerts.causes.case import BrokenRule, Mark, is_metric
from sightline.alerts.causes.columns import MovedColumn, causes, feeds
from sightline.alerts.causes.kinds import binned
from sightline.alerts.causes.rank import KINDS, rank
from sightline.alerts.causes.reading import correlation_ratio
from sightline.results.upstream import SCHEMA
from tests.support.causes import BEFORE, DAY, START, draw, upstream_of


@pytest.fixture(scope="module")
def quiet():
    return draw(np.random.default_rng(931), "none").case


def test_no_cause_says_what_was_looked_at(quiet):
    [found] = rank(quiet)
    assert (found.kind, found.words, found.rank) == ("none", "no cause found", 1)
    assert "5 inputs" in found.evidence
    assert "5 segments" in found.evidence
    assert "0 marks" in found.evidence


def test_a_mark_counts_where_it_lies_near(quiet):
    def kinds_of(at):
        return [cause.kind for cause in rank(replace(quiet, marks=[Mark(at, "deployed 4.2", "ci")]))]

    assert kinds_of(START + timedelta(hours=7)) == ["marker"]
    assert kinds_of(START - 2 * DAY) == ["marker"]
    assert kinds_of(START - 3 * DAY) == ["none"]
    assert kinds_of(START + 2 * DAY) == ["none"]
    [found] = rank(replace(quiet, marks=[Mark(START + timedelta(hours=7), "deployed 4.2", "ci")]))
    assert found.words == "deployed 4.2 (ci)"
    assert found.evidence == "2026-03-01 07:00 UTC, in the window in which the change began"


def test_marks_that_come_every_day_say_little(quiet):
    daily = [Mark(START + day * DAY, "retrained", "ci") for day in range(-BEFORE, 2)]
    found = [cause for cause in rank(replace(quiet, marks=daily)) if cause.kind == "marker"]
    assert max(cause.score for cause in found) < 0.6
    assert "one lies near by chance" in found[0].evidence


def test_a_version_counts_when_it_is_first_seen_near_the_change(quiet):
    since = pl.col("window_start") >= START
    version = pl.when(since).then(pl.lit("2")).otherwise(pl.lit("1"))
    [found] = rank(replace(quiet, versions=quiet.versions.with_columns(model_version=version)))
    assert found.kind == "version"
    assert found.words == "a new model version answers: 2"
    assert "100 % of the rows since" in found.evidence
    early = pl.when(pl.col("window_start") >= START - 9 * DAY).then(pl.lit("2")).otherwise(pl.lit("1"))
    assert rank(replace(quiet, versions=quiet.versions.with_columns(model_version=early)))[0].kind == "none"


def test_other_code_upstream_is_told_with_both_versions(quiet):
    [found] = rank(replace(quiet, upstream=upstream_of()))
    assert found.kind == "upstream"
    assert found.words == "warehouse/orders was made by other code: version 2, before 1"


def test_an_asset_upstream_that_fell_silent_or_was_not_renewed_is_told(quiet):
    same = upstream_of().with_columns(code_version=pl.lit("1"))
    assert rank(replace(quiet, upstream=same))[0].kind == "none"
    silent = same.filter(pl.col("materialized_at") < START)
    [found] = events.events(replace(quiet, upstream=silent))
    assert "was not made for" in found.words
    stale = same.with_columns(
        data_version=pl.when(pl.col("materialized_at") >= START).then(pl.lit("v-1")).otherwise("data_version")
    )
    [found] = events.events(replace(quiet, upstream=stale))
    assert "the same data as before" in found.words


def test_a_broken_rule_is_told_unless_it_was_broken_before(quiet):
    def broken(*days: int) -> list[BrokenRule]:
        return [BrokenRule(START + day * DAY, "rule", "contract_rate", "a", "a breaks its contract") for day in days]

    [found] = rank(replace(quiet, broken=broken(-20, 1, 2)))
    assert (found.kind, found.column) == ("rule", "a")
    assert found.evidence == "first 2026-03-02 00:00 UTC, 24 hours after the change began; 2 times"
    assert rank(replace(quiet, broken=broken(*range(-12, 3))))[0].kind == "none"
    assert rank(replace(quiet, broken=broken(-2)))[0].kind == "none"


def test_columns_are_one_feed_where_the_same_fault_rose_by_the_same_size():
    move = Move(0.0, 0.5, 20.0, 1e-9, 28, 3, is_single=False)

    def column(name: str, statistic: str, size: float) -> MovedColumn:
        return MovedColumn(name, statistic, move, 1e-9, size, name, is_member=False)

    found = feeds(
        [
            column("a", "null_rate", 0.50),
            column("b", "null_rate", 0.45),
            column("c", "null_rate", 0.10),
            column("d", "unseen_rate", 0.50),
            column("e", "location", 0.50),
        ]
    )
    assert [[item.column for item in group] for group in found] == [["a", "b"]]


@pytest.mark.parametrize(("z", "is_member"), [(0.8, True), (0.8, False), (9.0, True)])
def test_a_member_is_not_said_to_lie_a_fraction_of_an_error_away(quiet, z, is_member):
    move = Move(0.9, 0.5, z, 1e-9, 28, 1, is_single=True)
    item = MovedColumn("visib", "atom_rate:10", move, 1e-9, -0.4, "visib: fell", is_member=is_member)
    [cause] = causes(quiet, [item])
    told = "one window lies" in cause.evidence
    assert told is not (is_member and z < 1) and ("part of the incident" in cause.evidence) is is_member


def test_what_came_only_before_an_incident_joined_is_not_taken_for_its_confirmation():
    case = draw(np.random.default_rng(932), "none", "model_quality/brier", opened=3).case
    assert case.quality is not None
    known = replace(case, quality=replace(case.quality, known=START + 10 * DAY))
    found = kinds.moved_quality(known)
    assert found is not None
    assert found.first in (START, START + 4 * DAY)
    assert found.p_value > kinds.REAL_AT


def test_bins_of_numbers_are_named_and_nulls_have_one():
    before = pl.Series([float(x) for x in range(600)])
    code, words = binned(before, pl.Series([0.0, 1000.0, None, float("nan")]))
    assert [words[k].format("x") for k in code] == ["x up to 99.83", "x above 499.2", "x missing", "x missing"]
    code, words = binned(pl.Series(["{a}", "{a}", "b"]), pl.Series(["{a}", "new", None]))
    assert [words[k].format("x") for k in code] == ["x = {a}", "a rarer x", "x missing"]
    assert binned(pl.Series([None, None], dtype=pl.Float64), pl.Series([1.0]))[0].tolist() == [0]


def test_importance_is_the_share_of_the_variance_between_groups():
    rng = np.random.default_rng(933)
    code = rng.integers(0, 4, 20_000)
    y = code + rng.normal(0, 1, 20_000)
    assert correlation_ratio(code, y) == pytest.approx(1.25 / 2.25, abs=0.02)
    assert correlation_ratio(code, rng.normal(0, 1, 20_000)) == pytest.approx(0, abs=0.002)
    assert correlation_ratio(np.zeros(9, dtype=int), y[:9]) == 0.0


def test_every_kind_is_described_and_streams_of_labels_are_no_metrics():
    assert {"none", "feed", "concept"} <= set(KINDS)
    assert not is_metric("model_quality/@label/log_psi")
    assert not is_metric("model_quality/label_arrivals@7d")
    assert upstream_of().schema == SCHEMA
