"""Texts: words that the reference does not know, copies, how far the words are from the reference's, and which moved.

Every distance and share is a stream of the alert engine; as a report it is beside what is usual for a window of the
reference. The words themselves are published (`sightline.results.words`) and fail no check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import Stream
from metrics_py.reasons import ReasonCode
from metrics_py.text.copies import NO_WINDOW, IntArray
from metrics_py.text.day_words import day_scatter, day_words
from metrics_py.text.window_texts import MOST_COPIES, WordModel, text_streams
from metrics_py.text.word_counts import WordCounts, read_texts
from metrics_py.text.words import DocumentFrequencies, example_rows
from metrics_py.wording import percent
from sightline.judging.frames import EVIDENCE, Judged, Work, conform
from sightline.judging.longer_windows import with_fix
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.periods import Cadences, Periods
from sightline.judging.reference_bounds import MIN_REFERENCE_WINDOWS
from sightline.judging.usual_range import NOT_KNOWN, usual_range
from sightline.results.window_sums import write_window_sums
from sightline.results.words import WORDS_SCHEMA, write_words
from sightline.spec.model import MonitorSpec
from sightline.spec.words import LEAST_PUBLISHED, MOST_EXAMPLES, TEXT_METRICS, text_columns
from sightline.warehouse.joint_rows import window_texts
from sightline.warehouse.text_reference import TextReference, ensure_text_reference

FloatArray = NDArray[np.float64]
ASSET = "drift"
OF_ALL_TEXTS = ("duplicate_text_rate", "near_duplicate_text_rate", "reference_copy_rate")
TOO_MANY = f"copies are looked for among at most {MOST_COPIES:,} texts of a window: judge shorter windows"
MOST_PUBLISHED, MOST_TOLD = 20_000, 5
"""Words of a window that are published, and named in a text."""


def judge(work: Work) -> Judged:
    """Judgements and evidence of every window of a run with rows.

    Parameters
    ----------
    work : Work
        Texts are read from the lake; words of the windows are published.
    """
    frames, evidence = [conform(pl.DataFrame({"window_start": []}))], [pl.DataFrame(schema=EVIDENCE)]
    columns = text_columns(work.spec)
    reference = ensure_text_reference(work.spec, work.paths, work.con) if work.profiles and columns else None
    if reference is None:
        return Judged(frames[0], evidence[0])
    cadences = Cadences(work)
    periods = {column: [each for each in cadences.periods(column) if each.keys] for column in reference.models}
    read: dict[tuple[str, str], _Read] = {}
    for key in sorted({key for each in periods.values() for one in each for key in one.keys} | set(cadences.keys)):
        for column, model in reference.models.items():
            for one in periods[column]:
                if key in one.keys:
                    windows = one.windows(key)
                    read[column, key] = _read_period(work, model, column, windows, cadences.n(windows))
        found = {column: read[column, key] for column in reference.models if (column, key) in read}
        sums = {column: each.sums for column, each in found.items()}
        write_window_sums(work.paths, key, reference.id, sums, "texts")
        told = [each.words for column, each in found.items() if column not in work.spec.columns.personal]
        held = [frame.with_columns(model=pl.lit(reference.id)) for frame in told]
        write_words(work.paths, key, pl.concat([pl.DataFrame(schema=WORDS_SCHEMA), *held]))
    for column, model in reference.models.items():
        for one in periods[column]:
            rows = list(_judgements(work, model, column, one, {key: read[column, key] for key in one.keys}))
            frames.append(_frame(column, [row for row, _ in rows]))
            evidence += [frame for _, frame in rows if frame is not None]
        waiting = cadences.between(column, "texts")
        frames.append(_frame(column, [{"metric": TEXT_METRICS[0], **row} for row in waiting]))
    lacking = [column for column in columns if column in reference.lacking]
    frames += [_lacking(work.spec, column, cadences.keys, reference) for column in lacking]
    return Judged(pl.concat(frames), pl.concat(evidence))


@dataclass(frozen=True)
class _Read:
    """Rows of a period, sums of its texts, its words, and those that the reference does not know."""

    n: int
    sums: dict[str, FloatArray]
    words: pl.DataFrame
    unknown: pl.DataFrame


def _read_period(work: Work, model: WordModel, column: str, keys: Sequence[str], n: int) -> _Read:
    rows, key = window_texts(work.con, keys, column, n, MOST_COPIES), keys[-1]
    at = model.sums.keys.index(key) if key in model.sums.keys else None
    number = NO_WINDOW if at is None else at
    counts, marks = read_texts(rows["value"].cast(pl.String), partial(model.vocabulary.knows, window=number))
    unknown = _unknown(model, number, counts)
    return _Read(n, model.window(counts, marks, number), _words(model, column, key, at, counts, rows), unknown)


def _unknown(model: WordModel, number: int, counts: WordCounts) -> pl.DataFrame:
    """Words with letters that the reference lacks, in `LEAST_PUBLISHED` texts or more: ``word, share`` of the texts."""
    often = counts.words.filter(pl.col("n") >= LEAST_PUBLISHED, pl.col("word").str.contains(r"\p{L}"))
    is_known = model.vocabulary.knows(often["hash"].to_numpy(), window=number)
    found = often.filter(pl.Series(~is_known, dtype=pl.Boolean)).sort(["n", "word"], descending=[True, False])
    return found.select("word", share=pl.col("n") / max(counts.n, 1))


def _words(
    model: WordModel, column: str, key: str, at: int | None, counts: WordCounts, rows: pl.DataFrame
) -> pl.DataFrame:
    """Words of a period against those of the reference, without itself where it is one of them."""
    own = model.sums.windows["n"] if model.sums.keys else model.sums.whole["n"][None]
    others = np.ones(len(model.counts), dtype=np.bool_)
    if at is not None and len(others) > 1:
        others[at] = False
    kept: IntArray = model.counts[others]
    sizes: IntArray = own[others].astype(np.int64)
    names = pl.Series("word", model.words)
    held = pl.DataFrame({"word": names, "n": kept.sum(axis=0)}).filter(pl.col("n") > 0)
    if model.n_missing:  # a word that was too rare to be kept stands in at most so many: what rose from there moved
        is_more = pl.col("n") / max(counts.n, 1) > model.n_missing / float(sizes.sum())
        rare = counts.words.filter(is_more).join(pl.DataFrame({"word": names}), on="word", how="anti")
        held = pl.concat([held, rare.select("word", n=pl.lit(model.n_missing, dtype=pl.Int64))])
    before = DocumentFrequencies(int(sizes.sum()), held, model.n_missing)
    now = DocumentFrequencies(counts.n, counts.words.select("word", "n"), counts.n_missing)
    tested = day_words(before, now, day_scatter(kept, sizes) if model.sums.keys else None, names)
    common = counts.words.filter(pl.col("n") >= LEAST_PUBLISHED).sort(["n", "word"], descending=[True, False])
    moved = tested.filter("is_moved").select("word")
    shown = pl.concat([common.select("word").head(MOST_PUBLISHED), moved]).unique(maintain_order=True)
    found = shown.join(counts.words.select("word", "n"), on="word", how="left", maintain_order="left")
    found = found.join(tested.drop("n_current"), on="word", how="left", maintain_order="left").join(
        _examples(moved.head(MOST_EXAMPLES)["word"].to_list(), rows), on="word", how="left", maintain_order="left"
    )
    whole = {"window_key": pl.lit(key), "column": pl.lit(column), "n_texts": pl.lit(counts.n, dtype=pl.Int64)}
    return found.with_columns(
        pl.col("n").fill_null(0),
        pl.col("is_moved").fill_null(value=False),
        n_texts_reference=pl.when(pl.col("n_reference").is_not_null()).then(pl.lit(before.n_units, dtype=pl.Int64)),
        model=pl.lit(None, dtype=pl.String),
        **whole,
    ).select(WORDS_SCHEMA.names())


def _examples(words: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    """The first row of the window with each word; null where a word is gone."""
    found = example_rows(rows["value"].cast(pl.String), words)
    ids, pieces = rows["prediction_id"].cast(pl.String).to_list(), list[tuple[str, str | None, str | None]]()
    for word in words:
        row, piece = next(iter(found[word]), (None, None))
        pieces.append((word, None if row is None else ids[row], piece))
    return pl.DataFrame(pieces, schema={"word": pl.String, "example_id": pl.String, "example": pl.String}, orient="row")


# ---------------------------------------------------------------- judgements


def _judgements(
    work: Work,
    model: WordModel,
    column: str,
    periods: Periods,
    read: Mapping[str, _Read],
) -> Iterator[tuple[dict[str, Any], pl.DataFrame | None]]:
    """Rows of judgements, and with the first of each stream its evidence."""
    profile, keys, pooled = work.profiles.get(column), periods.keys, periods.stretch is not None
    design = profile.design_effect if profile is not None else 1.0
    sums = [read[key].sums for key in keys]
    found = text_streams(model, keys, sums, min_rows=periods.least, design_effect=design, period=periods.name)
    own = [with_fix(work.spec, stream, pooled=pooled) for stream in found]
    ordinary: dict[str, FloatArray] = {}
    if len(model.sums.keys) >= MIN_REFERENCE_WINDOWS:
        unstacked = [
            {name: array[k] for name, array in model.sums.windows.items()} for k in range(len(model.sums.keys))
        ]
        least = periods.least if pooled else 1
        before = text_streams(model, model.sums.keys, unstacked, min_rows=least, design_effect=design)
        ordinary = {stream.statistic: stream.display for stream in before}
    for stream in own:
        reasons = [
            why or (TOO_MANY if stream.statistic in OF_ALL_TEXTS and read[key].n > MOST_COPIES else None)
            for key, why in zip(keys, stream.reason, strict=True)
        ]
        evidence: pl.DataFrame | None = periods.evidence(_evidence(work.spec, column, keys, stream, reasons))
        limits = usual_range(ordinary.get(stream.statistic, np.empty(0))).columns()
        for t, key in enumerate(keys):
            row = {"metric": stream.statistic, "n": int(stream.n[t]), **limits}
            row |= {"window_start": work.spec.window_start(key).replace(tzinfo=None)}
            value = float(stream.display[t])
            told = _told_of(work.spec, column, stream.statistic, read[key], is_far=_is_far(value, limits))
            judged = row | _status(periods, value, limits, reasons[t], told)
            yield periods.told(judged, "texts"), evidence
            evidence = None
    for t, key in enumerate(keys):
        counted = _count(work.spec, column, key, read[key].words, int(sums[t]["n"]), own[0].reason[t])
        yield periods.told(counted, "texts"), None


def _count(spec: MonitorSpec, column: str, key: str, words: pl.DataFrame, n: int, few: str | None) -> dict[str, Any]:
    """How many words moved: a report."""
    start = {"window_start": spec.window_start(key).replace(tzinfo=None), "metric": "moved_words", "n": n}
    if few:
        return {**start, "status": "insufficient_data", "reason": few, "reason_code": "too_few_rows"}
    told = _told(spec, column, words)
    why = {"reason": told, "reason_code": "usual"} if told else {}
    return {**start, "value": float(words["is_moved"].sum()), "status": "ok", **why}


def _told_of(spec: MonitorSpec, column: str, statistic: str, read: _Read, *, is_far: bool) -> str:
    """Words that explain a statistic: those that moved; where more are unknown than is usual, the commonest of them."""
    if statistic == "word_distance":
        return _told(spec, column, read.words)
    is_told = statistic == "unknown_word_share" and is_far and column not in spec.columns.personal
    if not is_told or read.unknown.is_empty():
        return ""
    parts = [f'"{word}" {percent(share)}' for word, share in read.unknown.head(MOST_TOLD).iter_rows()]
    more = f" and {read.unknown.height - MOST_TOLD} more" if read.unknown.height > MOST_TOLD else ""
    return f"texts with {', '.join(parts)}{more}"


def _told(spec: MonitorSpec, column: str, words: pl.DataFrame) -> str:
    """The words that moved most, with their shares; of personal data their number."""
    if column in spec.columns.personal:
        n = words["is_moved"].sum()
        return f"{n} {'word' if n == 1 else 'words'} moved" if n else ""
    moved = words.filter("is_moved").sort(pl.col("z").abs(), descending=True)
    shares = moved.head(MOST_TOLD).select(
        "word", pl.col("n_reference") / pl.col("n_texts_reference"), now=pl.col("n") / pl.col("n_texts")
    )
    parts = [f'"{word}" {percent(old)} -> {percent(new)}' for word, old, new in shares.iter_rows()]
    more = f" and {moved.height - MOST_TOLD} more" if moved.height > MOST_TOLD else ""
    return f"texts with {', '.join(parts)}{more}" if parts else ""


def _is_far(value: float, limits: Mapping[str, float | None]) -> bool:
    """Whether a value lies beyond what is usual, where that is known."""
    high = limits["bound_high"]
    return high is not None and value > high


def _status(
    periods: Periods, value: float, limits: Mapping[str, float | None], why: str | None, words: str
) -> dict[str, Any]:
    """Whether a value lies beyond what is usual: a report; incidents come from the streams."""
    if why or not np.isfinite(value):
        return {"status": "insufficient_data", "reason": why or "undefined", "reason_code": _code(why)}
    high = limits["bound_high"]
    if _is_far(value, limits):
        told = f"above what is usual for {periods.noun}"
        reason = f"{told}: {words}" if words else told
        return {"value": value, "status": "warn", "reason": reason, "reason_code": "drift"}
    if high is None:
        reason = f"{words} (by texts alone): {NOT_KNOWN}" if words else NOT_KNOWN
        return {"value": value, "status": "ok", "reason": reason, "reason_code": "unclear"}
    if words:
        reason = f"{words} (no farther than is usual)"
        return {"value": value, "status": "ok", "reason": reason, "reason_code": "usual"}
    return {"value": value, "status": "ok"}


def _code(why: str | None) -> ReasonCode:
    return "undefined" if not why or why.startswith("undefined") else "too_few_rows" if why != TOO_MANY else "undefined"


def _frame(column: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    names = ("window_start", "metric", "value", "n", "reference_value", "bound_low", "bound_high", "status", "reason")
    shape = {name: [row.get(name) for row in rows] for name in (*names, "reason_code")}
    numbers = dict.fromkeys(("value", "reference_value", "bound_low", "bound_high"), pl.Float64)
    texts = {"reason": pl.String, "reason_code": pl.String}
    frame = pl.DataFrame(shape, schema_overrides={**numbers, **texts, "n": pl.Int64, "window_start": pl.Datetime("us")})
    whole = {"model_version": pl.lit(ALL_VERSIONS), "segment": pl.lit("all"), "column": pl.lit(column)}
    return conform(frame.with_columns(**whole))


def _lacking(spec: MonitorSpec, column: str, keys: Sequence[str], reference: TextReference) -> pl.DataFrame:
    code, reason = reference.lacking[column]
    told = {"metric": TEXT_METRICS[0], "status": "insufficient_data", "reason": reason, "reason_code": code}
    return _frame(column, [{"window_start": spec.window_start(key).replace(tzinfo=None), **told} for key in keys])


def _evidence(
    spec: MonitorSpec, column: str, keys: Sequence[str], stream: Stream, reasons: Sequence[str | None]
) -> pl.DataFrame:
    is_known = pl.Series([why is None for why in reasons])
    numbers = {"value": stream.value, "display_value": stream.display, "variance": stream.variance}
    return pl.DataFrame(
        {
            "asset": [ASSET] * len(keys),
            "column": [column] * len(keys),
            "statistic": [stream.statistic] * len(keys),
            "window_start": [spec.window_start(key).replace(tzinfo=None) for key in keys],
            "n": stream.n,
            "reason": pl.Series(list(reasons), dtype=pl.String),
            "reason_code": pl.Series([why and _code(why) for why in reasons], dtype=pl.String),
            **{name: pl.Series(values, dtype=pl.Float64).fill_nan(None) for name, values in numbers.items()},
        }
    ).with_columns(pl.when(is_known).then(pl.col(name)).alias(name) for name in numbers).select(EVIDENCE.names()).cast(
        EVIDENCE
    )  # fmt: skip
