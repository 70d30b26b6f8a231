"""The frozen reference of several columns at once and of embeddings: fitted once, kept beside the profile.

What is kept are maps, directions, frequencies and the sums of the reference's windows, as plain arrays.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multivariate.embeddings import EmbeddingModel, fit_embeddings
from metrics_py.multivariate.joint import JointModel, fit_joint
from metrics_py.multivariate.normal_scores import ScoreMap
from metrics_py.multivariate.random_features import NullLaw, RandomFeatures
from metrics_py.multivariate.text_vectors import Embedded, TextModel, fit_texts
from metrics_py.multivariate.told_apart import DomainSample
from metrics_py.multivariate.vectors import Vectors, read_vectors
from metrics_py.multivariate.window_sums import ReferenceSums
from metrics_py.reasons import ReasonCode
from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import BUILTIN, JOINT, embedding_columns, joint_columns, text_embeddings
from sightline.warehouse.joint_rows import (
    MOST_ROWS,
    MOST_VECTORS,
    as_columns,
    numbers,
    rows_by_window,
    window_columns,
    window_vectors,
)
from sightline.warehouse.pooling import frozen_poolings, grouped, pooled_since
from sightline.warehouse.reference import ReferenceProfile, load_reference, reference_id
from sightline.warehouse.reference_data import file_data
from sightline.warehouse.row_samples import ORDER

FORMAT = 2
MOST_WINDOWS = 90
"""The newest so many windows (or stretches of them) of a longer reference."""
FIT_ROWS = 20_000
FIT_TEXTS = 10_000
MOST_TEXTS, REFERENCE_TEXTS = 5_000, 50_000
"""Texts of a window, and of the whole reference, that the built-in model reads."""
MOST_ASKED, REFERENCE_ASKED = 1_000, 20_000
"""Texts that a function of the user's is asked for."""
Array = NDArray[Any]


Embed = Callable[[str, TextModel | None, Sequence[pl.Series]], list[Embedded]]
"""Makes vectors of the parts of a text column, by name of the embedding; a model of None: the user's function."""


@dataclass(frozen=True)
class JointReference:
    """What is frozen of several columns at once.

    Attributes
    ----------
    id : str
        Of the profile it belongs to and what was fitted.
    joint : JointModel or None
        The numeric features together.
    embeddings : dict of str to EmbeddingModel
    texts : dict of str to TextModel or None
        Those of them that are made of texts; None: by a function of the user's.
    lacking : dict of str to (code, reason)
        Why a column (`JOINT`: the features together) has none.
    """

    id: str
    joint: JointModel | None
    embeddings: dict[str, EmbeddingModel]
    lacking: dict[str, tuple[ReasonCode, str]]
    texts: dict[str, TextModel | None] = field(default_factory=dict[str, "TextModel | None"])

    def __iter__(self) -> Iterator[str]:
        """What has a model: the features together (`JOINT`) and the embeddings."""
        yield from [JOINT] * (self.joint is not None)
        yield from self.embeddings

    def model(self, column: str) -> JointModel | EmbeddingModel:
        """The model of one of them."""
        if column == JOINT and self.joint is not None:
            return self.joint
        return self.embeddings[column]


def ensure_joint_reference(
    spec: MonitorSpec, paths: MonitorPaths, con: duckdb.DuckDBPyConnection, embed: Embed | None = None
) -> JointReference | None:
    """The frozen models, fitted if the reference is frozen and they are not.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    embed : callable, optional
        Makes vectors of texts; without it embeddings of texts are lacking.

    Returns
    -------
    JointReference or None
        None before the reference is frozen.

    Raises
    ------
    SightlineError
        The file that holds them is broken.
    """
    profile = load_reference(paths)
    if profile is None:
        return None
    names = (JOINT, *embedding_columns(spec))
    since = pooled_since(spec, profile.columns, frozen_poolings(spec, profile.columns))
    pooled = [name for name in names if name in since]
    content: list[object] = [
        FORMAT,
        reference_id(paths, with_label=False),
        joint_columns(spec),
        embedding_columns(spec),
    ]
    content += [*sorted(text_embeddings(spec).items()), *([pooled] if pooled else [])]
    mark = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    file = paths.reference / f"multivariate-{mark}.npz"
    if file.exists():
        return _read(file, mark)
    by_cadence = {is_pooled: _rows_of(spec, paths, con, profile, pooled=is_pooled) for is_pooled in (False, True)}
    rows = {name: by_cadence[name in pooled] for name in names}
    found = _fit(spec, rows, mark, embed)
    for older in file.parent.glob("multivariate-*.npz"):
        older.unlink(missing_ok=True)
    _write(file, found)
    return found


def _fit(
    spec: MonitorSpec, rows: Mapping[str, _LakeRows | _FileRows], mark: str, embed: Embed | None
) -> JointReference:
    texts, made = dict[str, TextModel | None](), text_embeddings(spec)
    joint, embeddings, lacking = None, dict[str, EmbeddingModel](), dict[str, tuple[ReasonCode, str]]()
    columns = joint_columns(spec)
    if columns:
        try:
            parts = rows[JOINT].columns(columns)
            joint = fit_joint(_mixed(parts, columns), rows[JOINT].keys, parts)
        except ValueError as error:
            lacking[JOINT] = ("no_reference", _why(error))
    for name in embedding_columns(spec):
        try:
            if name in made:
                texts[name], parts = _of_texts(rows[name], name, *made[name], embed)
            else:
                parts = rows[name].vectors(name)
            sample = np.concatenate([part.rows for part in parts])
            chosen = np.random.Generator(np.random.PCG64(FORMAT)).permutation(len(sample))[:FIT_ROWS]
            embeddings[name] = fit_embeddings(sample[chosen], rows[name].keys, parts)
        except ValueError as error:
            lacking[name] = ("no_reference", _why(error))
    return JointReference(mark, joint, embeddings, lacking, {n: m for n, m in texts.items() if n in embeddings})


def _of_texts(
    rows: _LakeRows | _FileRows, name: str, column: str, source: str, embed: Embed | None
) -> tuple[TextModel | None, list[Vectors]]:
    """The frozen model of a text column, and the vectors of the reference's windows."""
    if embed is None:
        raise ValueError("texts: no function to ask: pass some")
    is_builtin = source == BUILTIN
    most, whole = (MOST_TEXTS, REFERENCE_TEXTS) if is_builtin else (MOST_ASKED, REFERENCE_ASKED)
    parts = rows.texts(column, most, whole)
    model = fit_texts(_mixed_texts(parts)) if is_builtin else None
    found = embed(name, model, parts)
    if not any(len(each.vectors.rows) for each in found):
        why = sum((Counter(each.failed) for each in found), Counter[str]()).most_common(1)
        raise ValueError(
            f"texts: the function gave no vector of the reference's texts ({why[0][0] if why else 'none'})"
        )
    return model, [each.vectors for each in found]


def _mixed_texts(parts: Sequence[pl.Series]) -> pl.Series:
    """At most `FIT_TEXTS` texts of all parts, mixed."""
    whole = pl.concat([part.drop_nulls() for part in parts])
    return whole.gather(np.random.Generator(np.random.PCG64(FORMAT)).permutation(len(whole))[:FIT_TEXTS])


def _why(error: ValueError) -> str:
    told = str(error).partition(": ")[2].partition(": pass")[0] or str(error)
    return f"the reference has too little to compare with: {told}"


def _mixed(
    parts: Sequence[Mapping[str, NDArray[np.float64]]], columns: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """At most `FIT_ROWS` rows of all parts, mixed."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    n = len(whole[columns[0]])
    chosen = np.random.Generator(np.random.PCG64(FORMAT)).permutation(n)[:FIT_ROWS]
    return {name: values[chosen] for name, values in whole.items()}


class _LakeRows:
    """Rows of the reference's windows in the lake; pooled: of its stretches, under the keys of their last windows."""

    def __init__(
        self, spec: MonitorSpec, con: duckdb.DuckDBPyConnection, profile: ReferenceProfile, *, pooled: bool
    ) -> None:
        assert profile.start is not None and profile.end is not None  # a reference without a span is a file
        self.con = con
        counts = rows_by_window(con, spec.key(profile.start), spec.key(profile.end))
        self.groups = grouped(spec, list(counts), pooled=pooled)
        self.keys = list(self.groups)[-MOST_WINDOWS:]
        self.counts = {key: sum(counts[each] for each in keys) for key, keys in self.groups.items()}
        if not self.keys:
            raise ValueError("reference: no rows in the lake any more: pass some")

    def columns(self, columns: Sequence[str]) -> list[dict[str, NDArray[np.float64]]]:
        return [window_columns(self.con, self.groups[key], columns, self.counts[key]) for key in self.keys]

    def vectors(self, column: str) -> list[Vectors]:
        samples = [window_vectors(self.con, self.groups[key], column, self.counts[key]) for key in self.keys]
        dimension = _dimension(pl.concat(samples))
        return [read_vectors(sample, dimension) for sample in samples]

    def texts(self, column: str, most: int, whole: int) -> list[pl.Series]:
        share = max(min(most, whole // len(self.keys)), 1)
        return [window_vectors(self.con, self.groups[key], column, self.counts[key], share) for key in self.keys]


class _FileRows:
    """Rows of a reference file: it has no windows."""

    def __init__(self, spec: MonitorSpec, paths: MonitorPaths) -> None:
        self.keys: list[str] = []
        self.data = file_data(spec, Home(paths.home))

    def columns(self, columns: Sequence[str]) -> list[dict[str, NDArray[np.float64]]]:
        rows = self.data.select(f'{numbers(columns)}, {ORDER} AS "@drawn"', False)
        return [as_columns(rows.sort("@drawn").head(20 * MOST_ROWS), columns)]

    def vectors(self, column: str) -> list[Vectors]:
        name = f"f_{column}".replace('"', '""')
        rows = self.data.select(f'"{name}" AS value, {ORDER} AS drawn', False)
        held = rows.sort("drawn").head(2 * MOST_VECTORS)["value"]
        return [read_vectors(held, _dimension(held))]

    def texts(self, column: str, most: int, whole: int) -> list[pl.Series]:
        name = f"f_{column}".replace('"', '""')
        rows = self.data.select(f'"{name}" AS value, {ORDER} AS drawn', False)
        return [rows.sort("drawn").head(min(2 * most, whole))["value"]]


def _dimension(column: pl.Series) -> int:
    """Length of most vectors."""
    counts = column.drop_nulls().list.len().value_counts().sort(["count", column.name], descending=True)
    if counts.is_empty():
        raise ValueError("reference: no vectors of this column, which may have been named later: pass some")
    return int(counts[column.name][0])


def _rows_of(
    spec: MonitorSpec, paths: MonitorPaths, con: duckdb.DuckDBPyConnection, profile: ReferenceProfile, *, pooled: bool
) -> _LakeRows | _FileRows:
    return _FileRows(spec, paths) if profile.kind == "file" else _LakeRows(spec, con, profile, pooled=pooled)


# ---------------------------------------------------------------- storage


def _write(file: Path, found: JointReference) -> None:
    arrays: dict[str, Array] = {}
    told: dict[str, Any] = {"format": FORMAT, "lacking": found.lacking, "embeddings": list(found.embeddings)}
    if found.joint is not None:
        model = found.joint
        told["joint"] = list(model.columns)
        told["joint_windows"] = list(model.sums.keys)
        arrays |= {"joint/frequencies": model.features.frequencies, "joint/basis": model.basis}
        arrays |= {"joint/sample": model.sample.rows, "joint/sample_window": model.sample.window}
        arrays["joint/law"] = np.array([model.law.trace, model.law.square_trace])
        for k, mapping in enumerate(model.maps):
            arrays |= {f"joint/knots/{k}": mapping.knots, f"joint/scores/{k}": mapping.scores}
        arrays |= _packed("joint", model.sums)
    for k, model in enumerate(found.embeddings.values()):
        at = f"embedding{k}"
        told[at] = list(model.sums.keys)
        numbers_of = [model.law.trace, model.law.square_trace, model.spread, model.norm_sd]
        arrays |= {f"{at}/frequencies": model.features.frequencies, f"{at}/basis": model.basis}
        arrays |= {f"{at}/center": model.center, f"{at}/numbers": np.array(numbers_of)}
        arrays |= {f"{at}/sample": model.sample.rows, f"{at}/sample_window": model.sample.window}
        arrays |= _packed(at, model.sums)
    told["texts"] = {name: model is not None for name, model in found.texts.items()}
    for k, model in enumerate(found.texts.values()):
        arrays |= {f"text{k}/idf": model.idf, f"text{k}/basis": model.basis} if model is not None else {}
    arrays["told"] = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)

    def save(beside: Path) -> None:
        with beside.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **arrays)

    replace_file(file, save)


def _packed(at: str, sums: ReferenceSums) -> dict[str, Array]:
    return {f"{at}/whole/{name}": array for name, array in sums.whole.items()} | {
        f"{at}/windows/{name}": array for name, array in sums.windows.items()
    }


def _read(file: Path, mark: str) -> JointReference:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays: dict[str, Array] = {name: stored[name] for name in stored.files}
        told = json.loads(arrays["told"].tobytes())
        joint = _joint(told, arrays) if "joint" in told else None
        embeddings = {
            name: _embedding(f"embedding{k}", told[f"embedding{k}"], arrays)
            for k, name in enumerate(told["embeddings"])
        }
        texts = {
            name: TextModel(arrays[f"text{k}/idf"], arrays[f"text{k}/basis"]) if is_frozen else None
            for k, (name, is_frozen) in enumerate(told["texts"].items())
        }
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise SightlineError(
            f"the frozen reference of several columns at once cannot be read: {str(error).splitlines()[0]}",
            where=str(file),
            fix="restore it, or remove it: it is made again from the reference's rows",
        ) from error
    lacking: dict[str, tuple[ReasonCode, str]] = {name: (why[0], why[1]) for name, why in told["lacking"].items()}
    return JointReference(mark, joint, embeddings, lacking, texts)


def _joint(told: Mapping[str, Any], arrays: Mapping[str, Array]) -> JointModel:
    columns = tuple(told["joint"])
    maps = tuple(ScoreMap(arrays[f"joint/knots/{k}"], arrays[f"joint/scores/{k}"]) for k in range(len(columns)))
    law = NullLaw(*(float(x) for x in arrays["joint/law"]))
    features = RandomFeatures(arrays["joint/frequencies"])
    sums = _sums("joint", told["joint_windows"], arrays)
    return JointModel(columns, maps, features, law, arrays["joint/basis"], _sample("joint", arrays), sums)


def _embedding(at: str, keys: Sequence[str], arrays: Mapping[str, Array]) -> EmbeddingModel:
    trace, square, spread, norm_sd = (float(x) for x in arrays[f"{at}/numbers"])
    center = arrays[f"{at}/center"]
    features = RandomFeatures(arrays[f"{at}/frequencies"])
    sums = _sums(at, keys, arrays)
    basis = arrays[f"{at}/basis"]
    law, sample = NullLaw(trace, square), _sample(at, arrays)
    return EmbeddingModel(len(center), features, law, center, basis, spread, norm_sd, sample, sums)


def _sample(at: str, arrays: Mapping[str, Array]) -> DomainSample:
    return DomainSample(arrays[f"{at}/sample"], arrays[f"{at}/sample_window"])


def _sums(at: str, keys: Sequence[str], arrays: Mapping[str, Array]) -> ReferenceSums:
    found: list[dict[str, Array]] = []
    for part in ("whole", "windows"):
        begin = f"{at}/{part}/"
        found.append({name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)})
    return ReferenceSums(tuple(keys), found[1], found[0])
