"""Rehearsed changes of texts, vectors and columns together: sums with other rows in them are those of changed rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting.rehearsal import alerts_after, starts_of
from metrics_py.multivariate.embeddings import fit_embeddings
from metrics_py.multivariate.injected import vector_of_new_kind, with_others
from metrics_py.multivariate.vectors import Vectors
from metrics_py.text.injected import in_unknown_words, sent_again
from metrics_py.text.window_texts import fit_texts
from metrics_py.text.word_counts import read_texts
from sightline.alerts import decisions
from sightline.alerts.rehearsal.injections import Aggregates, Injection, planned
from sightline.alerts.rehearsal.whole_rows import MOVED, read_whole_rows
from sightline.judging.evidence import stream_name
from sightline.results.window_sums import read_window_sums
from sightline.spec.multivariate import JOINT
from sightline.warehouse import connect, load_reference
from tests.support.small_days import DAYS, FIRST, World, key

KINDS = {"words": "note", "copies": "note", "vectors": "v", "together": JOINT}
START = (FIRST + timedelta(days=66)).replace(tzinfo=None)
"""A Thursday: the stretch of its Sunday holds four changed days."""


def vectors(rows: np.ndarray) -> Vectors:
    return Vectors(rows.astype(np.float32), len(rows), 0, 0, {rows.shape[1]: len(rows)})


def test_sums_with_vectors_of_a_new_kind_are_those_of_such_rows():
    rng = np.random.default_rng(61)
    parts = [rng.normal(1, 1, (400, 5)) for _ in range(10)]
    model = fit_embeddings(np.concatenate(parts), [str(k) for k in range(10)], [vectors(part) for part in parts])
    new = vector_of_new_kind(model, np.random.default_rng(62))
    away = new["total"] - model.center
    assert float(away @ away) == pytest.approx(model.spread, rel=1e-5)
    rows = rng.normal(1, 1, (4000, 5))
    replaced = np.concatenate([rows[:3000], np.repeat(new["total"][None], 1000, axis=0)])
    found, truth = with_others(model.window(vectors(rows)), "n", 1000, new), model.window(vectors(replaced))
    assert float(found["n"]) == 4000
    for name in ("norm", "total", "features"):
        assert found[name] / 4000 == pytest.approx(truth[name] / 4000, abs=0.03), name


def test_sums_with_unknown_words_and_copies_are_those_of_such_texts():
    rng = np.random.default_rng(63)
    words = [f"word{i}" for i in range(300)]
    texts = [pl.Series([" ".join(rng.choice(words, 12)) for _ in range(1000)]) for _ in range(4)]
    read = [read_texts(part) for part in texts[:3]]
    model = fit_texts(["a", "b", "c"], [counts for counts, _ in read], [marks for _, marks in read], texts[0])

    def sums(part: pl.Series) -> dict[str, np.ndarray]:
        return model.window(*read_texts(part, model.vocabulary.knows))

    plain = sums(texts[3])
    foreign = sums(pl.concat([texts[3][:800], pl.Series([f"neu{i} anders{i}" for i in range(200)])]))
    found = in_unknown_words(plain, 200)
    for name in ("n", "n_spelled", "n_unknown", "unknown_squares"):
        assert float(found[name]) == pytest.approx(float(foreign[name])), name
    assert found["present"].sum() == pytest.approx(foreign["present"].sum(), rel=0.02)
    again, twice = sent_again(plain, 100), sums(pl.concat([texts[3][:900], texts[3][:100]]))
    assert float(again["n_copies"]) == float(twice["n_copies"]) == 100


@pytest.fixture
def world(home, make_spec):
    """A monitor whose days are judged each (by 20 rows and more) or by the week."""

    def make(**sections):
        world = World(home, make_spec, **sections)
        [judged] = world.judge([key(k) for k in range(DAYS)])
        evidence = judged.evidence.with_columns(stream=stream_name(), decided_at=pl.col("window_start"))
        evidence = evidence.with_columns(window_key=pl.col("window_start").dt.strftime("%Y-%m-%d"))
        return world, decisions.log_of(world.spec, evidence)

    return make


def whole_rows(world: World, log: pl.DataFrame):
    reference = load_reference(world.paths)
    assert reference is not None
    with connect(world.paths, read_only=True) as con:
        return read_whole_rows(world.spec, world.paths, con, reference, log)


@pytest.mark.parametrize("sections", [{"drift": {"min_rows": 20}}, {}], ids=["by day", "by week"])
def test_a_change_of_nothing_is_the_published_evidence_and_one_of_half_is_far_from_it(world, sections):
    rows = whole_rows(*world(**sections))
    for kind, column in KINDS.items():
        assert rows.targets(kind) == [column]
        same = rows.changed(kind, column, 0.0, START, np.random.default_rng(1))
        joined = same.join(rows.log, on=["stream", "window_start"], suffix="_published")
        own = rows.log.filter(pl.col("stream").str.contains("|".join(MOVED[kind])), pl.col("window_start") >= START)
        assert 0 < len(joined) == len(own.filter(pl.col("value").is_not_null(), column=column))
        for name in ("value", "variance"):
            far = (joined[name].fill_null(0) - joined[f"{name}_published"].fill_null(0)).abs().max()
            assert far < 1e-9, (kind, name)
        half = rows.changed(kind, column, 0.5, START, np.random.default_rng(1))
        away = half.join(rows.log, on=["stream", "window_start"], suffix="_published")
        moved = away.filter((pl.col("value") - pl.col("value_published")).abs() > 0.3)["stream"].unique()
        assert any(f"/{name}" in stream for stream in moved for name in MOVED[kind]), kind


def test_a_stretch_is_changed_by_as_many_of_its_days_as_the_change_has(world):
    rows = whole_rows(*world())
    [first, *later] = rows.changed("copies", "note", 0.4, START, np.random.default_rng(3)).sort("window_start").filter(
        pl.col("stream").str.contains("/duplicate_text_rate")
    )["value"].to_list()  # fmt: skip
    shares = [float(np.sin(value) ** 2) for value in (first, *later)]
    assert shares[0] == pytest.approx(0.4 * 4 / 7, abs=0.06)
    assert shares[1:] == pytest.approx([0.4] * len(later), abs=0.08)


def test_windows_without_sums_are_not_rehearsed(world):
    made, log = world(drift={"min_rows": 20})
    (made.paths.results / "texts" / f"window={key(70)}.parquet").unlink()
    rows = whole_rows(made, log)
    assert (rows.targets("words"), rows.targets("vectors")) == ([], ["v"])
    assert sorted(read_window_sums(made.paths, [key(69), key(70)], folder="texts")["note"]) == [key(69)]


def test_changes_of_whole_rows_are_planned_and_told(world):
    made, log = world(drift={"min_rows": 20})
    aggregates = Aggregates(made.spec, {}, {}, {}, log, whole_rows(made, log))
    assert {each.kind for each in planned(made.spec, aggregates.profiles) if aggregates.targets(each)} >= set(KINDS)
    config = decisions.config(made.spec)
    [start] = starts_of(log, config, [START])
    for kind, column in KINDS.items():
        changed, streams = aggregates.changed(Injection(kind, 0.5, ""), column, START, np.random.default_rng(2))
        assert {stream.split("/")[1] for stream in streams} == {column}
        alerts, _ = alerts_after(
            changed, config, start, 18, dict.fromkeys(streams, (FIRST + timedelta(days=400)).replace(tzinfo=None))
        )
        is_told = bool(set(alerts) & streams)
        assert is_told == (kind != "together"), "the columns of this world have nothing to do with each other"
