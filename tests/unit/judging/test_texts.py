"""Judgements, evidence and published words of text columns, from rows in a lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.judging import texts
from sightline.judging.frames import Judged, Work
from sightline.judging.longer_windows import volume_warnings
from sightline.lake.intake.load import intake
from sightline.results.words import read_words
from sightline.spec.words import TEXT_METRICS
from sightline.warehouse import connect, ensure_reference, prepare
from tests.support.marts import create_marts

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, ROWS = 14, 300
LAST = DAYS - 1
NOW = FIRST + timedelta(days=60)
WORDS = [f"word{i}" for i in range(400)]
"""Beyond ROWS texts of ten of them hardly any two are alike."""


def day_rows(k: int, change: str = "") -> pl.DataFrame:
    rng = np.random.default_rng([23, k])
    chance = 1 / np.arange(3, len(WORDS) + 3)
    drawn = [" ".join(rng.choice(WORDS, 12, p=chance / chance.sum())) for _ in range(ROWS)]
    found: list[str | None] = [*drawn]
    if change == "words":
        found[:90] = [f"{text} refund" for text in drawn[:90]]
    elif change == "unknown":
        found = [f"{text} {' '.join(f'new{rng.integers(10**9)}' for _ in range(4))}" for text in drawn]
    elif change == "copies":
        found[:60] = ["The  same TEXT again\n", "the same text again"] * 30
    elif change == "near":
        long = " ".join(WORDS[100:200])
        found[:40] = [f"{long} number{i}" for i in range(40)]
    elif change == "replayed":
        found[:150] = day_rows(2)["note"].to_list()[:150]
    elif change == "none":
        found = [None] * ROWS
    elif change == "without words":
        found = ["?!", "", " "] * (ROWS // 3)
    return pl.DataFrame(
        {
            "id": [f"{k}-{i}" for i in range(ROWS)],
            "at": [FIRST.replace(tzinfo=None) + timedelta(days=k, seconds=i) for i in range(ROWS)],
            "p": rng.random(ROWS),
            "note": pl.Series(found, dtype=pl.String),
        }
    )


@pytest.fixture
def judge(home, make_spec):
    """Judges a world whose last day has changed."""

    def run(change: str = "", personal: bool = False, **sections) -> Judged:
        note = {"kind": "text", "personal": personal}
        columns = {"prediction_id": "id", "timestamp": "at", "score": "p", "features": {"note": note}}
        spec = make_spec(**{"columns": columns, "start": FIRST.isoformat(), **sections})
        paths = home.monitor(spec.id)
        paths.landing_inferences.mkdir(parents=True, exist_ok=True)
        for k in range(DAYS):
            day_rows(k, change if k == LAST else "").write_parquet(paths.landing_inferences / f"{k}.parquet")
        intake(spec, paths, "inferences", home, now=NOW)
        with connect(paths) as con:
            prepare(con, spec, paths)
            create_marts(con)
            profile = ensure_reference(spec, paths, home, now=NOW, con=con)
            keys = [spec.key(FIRST + timedelta(days=k)) for k in range(DAYS)]
            return texts.judge(Work(spec, paths, con, keys, profile.columns if profile else {}, NOW))

    return run


def of(judged: Judged, metric: str, k: int = LAST) -> dict:
    start = (FIRST + timedelta(days=k)).replace(tzinfo=None)
    found = judged.judgements.filter(column="note", metric=metric, window_start=start)
    assert len(found) == 1
    return found.row(0, named=True)


def words(home) -> pl.DataFrame:
    return read_words(home.monitor("churn"), [f"{FIRST + timedelta(days=k):%Y-%m-%d}" for k in range(DAYS)])


def test_quiet_days_are_usual_and_each_stream_has_evidence(judge, home):
    found = judge()
    assert set(found.judgements["status"]) == {"ok"}
    assert found.judgements.filter(metric="moved_words")["value"].sum() <= 0.3 * DAYS
    names = found.evidence.group_by("column", "statistic").len().sort("statistic").rows()
    assert names == [("note", name, DAYS) for name in sorted(set(TEXT_METRICS) - {"moved_words"})]
    assert found.evidence["value"].null_count() == 0
    variance = found.evidence.filter(statistic="unknown_word_share")["variance"]
    assert variance.max() < 0.2 / (4 * ROWS)  # of a mean over texts of twelve words, not of a rate
    held = words(home)
    n = held.filter(window_key=f"{FIRST:%Y-%m-%d}", word="word0")["n"].item()
    assert n == sum("word0" in text.split() for text in day_rows(0)["note"].to_list())


def test_a_word_that_rose_is_told_with_its_row(judge, home):
    found = judge("words")
    row = of(found, "word_distance")
    assert 'texts with "refund" 0 % -> 30 %' in row["reason"]
    assert of(found, "unknown_word_share")["reason"] == 'above what is usual for a day: texts with "refund" 30 %'
    assert of(found, "moved_words")["value"] == 1
    moved = words(home).filter("is_moved", window_key=f"{FIRST + timedelta(days=LAST):%Y-%m-%d}").row(0, named=True)
    assert (moved["word"], moved["n"], moved["n_texts"], moved["n_reference"]) == ("refund", 90, ROWS, 0)
    assert moved["ci_low"] < 0.3 < moved["ci_high"]
    assert "refund" in moved["example"]
    texts_of = dict(day_rows(LAST, "words").select("id", "note").iter_rows())
    assert texts_of[moved["example_id"]].endswith("refund")


def test_words_of_personal_data_are_counted_and_not_shown(judge, home):
    found = judge("words", personal=True)
    assert of(found, "moved_words")["value"] == 1
    assert of(found, "moved_words")["reason"] == "1 word moved"
    assert "refund" not in " ".join(found.judgements["reason"].drop_nulls())
    assert words(home).is_empty()


@pytest.mark.parametrize(
    ("change", "metric", "value"),
    [
        ("unknown", "unknown_word_share", 4 / 16),
        ("copies", "duplicate_text_rate", 59 / ROWS),
        ("near", "near_duplicate_text_rate", 39 / ROWS),
        ("replayed", "reference_copy_rate", 150 / ROWS),
    ],
)
def test_a_share_is_told_where_it_rose(judge, change: str, metric: str, value: float):
    found = judge(change)
    row = of(found, metric)
    assert row["value"] == pytest.approx(value, abs=1e-9)
    assert (row["status"], row["reason_code"]) == ("warn", "drift")
    others = {"duplicate_text_rate", "near_duplicate_text_rate", "reference_copy_rate"} - {metric}
    assert {of(found, name)["status"] for name in others} == {"ok"}


@pytest.mark.parametrize("change", ["none", "without words"])
def test_a_window_without_words_has_no_verdict(judge, change: str):
    found = judge(change)
    for metric in TEXT_METRICS:
        row = of(found, metric)
        assert (row["status"], row["value"]) == ("insufficient_data", None)
        assert row["reason"] == "0 texts with words in the window, 200 needed"


def test_days_with_too_few_texts_say_which_setting_judges_them(judge, home, make_spec):
    found = judge(drift={"min_rows": 14 * ROWS + 1})  # of which a week holds less than half, too
    fix = "`schedule: weekly` gives longer windows; a lower `drift.min_rows` judges fewer, less surely"
    assert of(found, "word_distance")["reason"] == f"{ROWS} texts with words in the window, 4201 needed: {fix}"
    assert found.evidence["value"].null_count() == len(found.evidence)
    paths, features = home.monitor("churn"), {"note": {"kind": "text"}}
    thin, enough = (
        make_spec(columns={"score": "p", "features": features}, drift={"min_rows": n}) for n in (14 * ROWS + 1, ROWS)
    )
    [told] = volume_warnings(thin, paths)
    assert told.startswith(f"{ROWS} rows in a day of the reference, drift.min_rows is 4201: words and copies of")
    assert told.endswith(f"are not judged ({fix})")
    assert not list(volume_warnings(enough, paths))


def test_the_frozen_reference_is_read_as_it_was_written(judge, home, make_spec):
    judge()
    paths = home.monitor("churn")
    [file] = paths.reference.glob("texts-*.npz")
    stored = file.read_bytes()
    first = judge().judgements
    assert file.read_bytes() == stored
    file.unlink()
    again = judge().judgements
    assert again.equals(first)
    [file] = paths.reference.glob("texts-*.npz")
    file.write_bytes(stored[:100])
    with pytest.raises(SightlineError, match="the frozen reference of texts cannot be read"):
        judge()


def test_a_reference_file_has_no_days(judge, home, tmp_path):
    pl.concat([day_rows(k) for k in range(10)]).write_parquet(tmp_path / "reference.parquet")
    found = judge("words", reference={"kind": "file", "path": str(tmp_path / "reference.parquet")})
    row = of(found, "word_distance")
    assert (
        '"refund" 0 % -> 30 % (by texts alone): the reference has too few windows to tell what is usual'
        in row["reason"]
    )
    assert row["bound_high"] is None


def test_a_reference_of_few_texts_is_told(judge, home, tmp_path):
    day_rows(0).head(20).write_parquet(tmp_path / "reference.parquet")
    found = judge(reference={"kind": "file", "path": str(tmp_path / "reference.parquet")})
    row = of(found, "word_distance")
    assert (row["status"], row["reason_code"]) == ("insufficient_data", "no_reference")
    assert "20 texts with words in the reference" in row["reason"]
