"""The frozen reference of texts: vocabulary, copies and frequencies of words, kept beside the profile."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multivariate.random_features import NullLaw
from metrics_py.multivariate.window_sums import ReferenceSums
from metrics_py.reasons import ReasonCode
from metrics_py.text.copies import Fingerprints, KnownTexts
from metrics_py.text.window_texts import LAW_TEXTS, MOST_COPIES, Vocabulary, WordModel, fit_texts
from metrics_py.text.word_counts import WordCounts, read_texts
from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.store.schema import quote
from sightline.spec.model import MonitorSpec
from sightline.spec.words import text_columns
from sightline.warehouse.joint_rows import rows_by_window, window_vectors
from sightline.warehouse.pooling import frozen_poolings, grouped, pooled_since
from sightline.warehouse.reference import load_reference, reference_id
from sightline.warehouse.reference_data import file_data
from sightline.warehouse.row_samples import ORDER

FORMAT = 1
MOST_WINDOWS = 90
"""The newest so many windows (or stretches of them) of a longer reference."""
Array = NDArray[Any]


@dataclass(frozen=True)
class TextReference:
    """What is frozen of the texts.

    Attributes
    ----------
    id : str
        Of the profile it belongs to and what was fitted.
    models : dict of str to WordModel
        By column.
    lacking : dict of str to (code, reason)
        Why a column has none.
    """

    id: str
    models: dict[str, WordModel]
    lacking: dict[str, tuple[ReasonCode, str]]


def ensure_text_reference(
    spec: MonitorSpec, paths: MonitorPaths, con: duckdb.DuckDBPyConnection
) -> TextReference | None:
    """The frozen models, fitted if the reference is frozen and they are not.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.

    Returns
    -------
    TextReference or None
        None before the reference is frozen.

    Raises
    ------
    SightlineError
        The file that holds them is broken.
    """
    columns = text_columns(spec)
    profile = load_reference(paths)
    if profile is None:
        return None
    since = pooled_since(spec, profile.columns, frozen_poolings(spec, profile.columns))
    pooled = [name for name in columns if name in since]
    content: list[object] = [FORMAT, reference_id(paths, with_label=False), columns, *([pooled] if pooled else [])]
    mark = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    file = paths.reference / f"texts-{mark}.npz"
    if file.exists():
        return _read(file, mark)
    found = TextReference(mark, {}, {})
    for column in columns:
        try:
            if profile.kind == "file":
                keys, parts = [], [_file_texts(spec, paths, column)]
            else:
                assert profile.start is not None and profile.end is not None  # a reference without a span is a file
                counts = rows_by_window(con, spec.key(profile.start), spec.key(profile.end))
                groups = grouped(spec, list(counts), pooled=column in pooled)
                keys = list(groups)[-MOST_WINDOWS:]
                sizes = {key: sum(counts[each] for each in groups[key]) for key in keys}
                parts = (window_vectors(con, groups[key], column, sizes[key], MOST_COPIES) for key in keys)
            found.models[column] = _fit(keys, parts)
        except ValueError as error:
            told = str(error).partition(": ")[2].partition(": pass")[0] or str(error)
            found.lacking[column] = ("no_reference", f"the reference has too little to compare with: {told}")
    for older in file.parent.glob("texts-*.npz"):
        older.unlink(missing_ok=True)
    _write(file, found)
    return found


def _fit(keys: Sequence[str], parts: Iterator[pl.Series] | Sequence[pl.Series]) -> WordModel:
    """One window's texts are held at a time."""
    read: list[tuple[WordCounts, Fingerprints]] = []
    sample = [pl.Series([], dtype=pl.String)]
    for part in parts:
        texts = part.cast(pl.String)
        read.append(read_texts(texts))
        sample.append(texts.drop_nulls().head(-(-LAW_TEXTS // max(len(keys), 1))))
    return fit_texts(keys, [counts for counts, _ in read], [marks for _, marks in read], pl.concat(sample))


def _file_texts(spec: MonitorSpec, paths: MonitorPaths, column: str) -> pl.Series:
    rows = file_data(spec, Home(paths.home)).select(f'{quote(f"f_{column}")} AS value, {ORDER} AS "@drawn"', False)
    return rows.sort("@drawn").head(MOST_COPIES)["value"]


# ---------------------------------------------------------------- storage


def _write(file: Path, found: TextReference) -> None:
    arrays: dict[str, Array] = {}
    told: dict[str, Any] = {"format": FORMAT, "lacking": found.lacking, "columns": list(found.models)}
    for k, model in enumerate(found.models.values()):
        told[f"c{k}"] = {"keys": list(model.sums.keys), "n_missing": model.n_missing}
        own = {
            "words": np.frombuffer("\n".join(model.words).encode("utf-8", "surrogatepass"), dtype=np.uint8),
            "vocabulary": model.vocabulary.hashes, "vocabulary_window": model.vocabulary.window,
            "exact": model.texts.texts.exact, "signature": model.texts.texts.signature,
            "text_window": model.texts.window, "counts": model.counts, "weights": model.weights,
            "law": np.array([model.law.trace, model.law.square_trace]),
            **{f"whole/{name}": array for name, array in model.sums.whole.items()},
            **{f"windows/{name}": array for name, array in model.sums.windows.items()},
        }  # fmt: skip
        arrays |= {f"c{k}/{name}": array for name, array in own.items()}
    arrays["told"] = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)

    def save(beside: Path) -> None:
        with beside.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)

    replace_file(file, save)


def _read(file: Path, mark: str) -> TextReference:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays: dict[str, Array] = {name: stored[name] for name in stored.files}
        told = json.loads(arrays["told"].tobytes())
        models = {column: _model(f"c{k}", told[f"c{k}"], arrays) for k, column in enumerate(told["columns"])}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise SightlineError(
            f"the frozen reference of texts cannot be read: {str(error).splitlines()[0]}",
            where=str(file),
            fix="restore it, or remove it: it is made again from the reference's rows",
        ) from error
    return TextReference(mark, models, {name: (why[0], why[1]) for name, why in told["lacking"].items()})


def _model(at: str, told: Mapping[str, Any], arrays: Mapping[str, Array]) -> WordModel:
    own = {name.removeprefix(f"{at}/"): array for name, array in arrays.items() if name.startswith(f"{at}/")}
    sums = [
        {name.removeprefix(begin): array for name, array in own.items() if name.startswith(begin)}
        for begin in ("windows/", "whole/")
    ]
    return WordModel(
        Vocabulary(own["vocabulary"], own["vocabulary_window"]),
        KnownTexts(Fingerprints(own["exact"], own["signature"]), own["text_window"]),
        tuple(own["words"].tobytes().decode("utf-8", "surrogatepass").split("\n")),
        own["counts"],
        int(told["n_missing"]),
        own["weights"],
        NullLaw(*(float(x) for x in own["law"])),
        ReferenceSums(tuple(told["keys"]), sums[0], sums[1]),
    )
