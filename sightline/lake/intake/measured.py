"""Measures of a language model's answers, computed once per row on its way into the lake: each is a lake column."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from sightline.spec.llm import THUMBS, terms_of
from sightline.spec.model import MonitorSpec


def measured(
    spec: MonitorSpec, columns: Mapping[str, pl.Series], failed: dict[str, str] | None = None
) -> dict[str, pl.Series]:
    """Compute the measures of a monitor's answers.

    Parameters
    ----------
    spec : MonitorSpec
        Names columns and measures.
    columns : mapping of str to polars.Series
        Lake columns: ``f_<column>`` of the roles, ``latency_ms``, ``model_version`` and ``is_error``.
    failed : dict, optional
        Takes each feature that could not be computed, and why; its values are null.

    Returns
    -------
    dict of str to polars.Series
        ``f_<response>.<measure>`` -> values.
    """
    llm, wanted = spec.columns.llm, spec.columns.measured
    if llm is None or not wanted or f"f_{llm.response}" not in columns:
        return {}
    from metrics_py.text.generation import measure_answers  # only such monitors pay for it

    roles = {role: columns[f"f_{name}"] for role, name in llm.named.items() if f"f_{name}" in columns}
    roles |= {name: columns[name] for name in ("latency_ms", "is_error") if name in columns}
    if "model_version" in columns:
        roles["model"] = columns["model_version"]
    lost = dict[str, str]()
    found = measure_answers(roles, tuple(wanted.values()), terms_of(llm), lost)
    if failed is not None:
        failed.update({feature: lost[measure] for feature, measure in wanted.items() if measure in lost})
    return {f"f_{feature}": found[measure].alias(f"f_{feature}") for feature, measure in wanted.items()}


def json_texts(raw: pl.Series) -> pl.Series:
    """Retrieved documents as text: lists and objects as JSON, all else as it is.

    Examples
    --------
    >>> json_texts(pl.Series([["a", "b"], None, []])).to_list()
    ['["a","b"]', None, '[]']
    """
    if not (raw.dtype == pl.Object or raw.dtype.is_nested()):
        return raw
    encode = msgspec.json.Encoder(enc_hook=str).encode
    values = [encode(v).decode() if isinstance(v, list | dict) else v for v in raw.to_list()]
    texts = [v if v is None or isinstance(v, str) else str(v) for v in values]
    return pl.Series(raw.name, texts, dtype=pl.String)


def thumbs(words: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Thumbs as 1 (up) and 0 (down), and which words are neither.

    Parameters
    ----------
    words : polars.Series of String
        As `convert` reads categories.

    Examples
    --------
    >>> values, unknown = thumbs(pl.Series(["Thumbs up", "0", "maybe", None]))
    >>> values.to_list(), unknown.to_list()
    ([1.0, 0.0, None, None], [False, False, True, False])
    """
    plain = words.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")
    plain = plain.set(words.str.strip_chars() == "-1", "-1")
    values = plain.replace_strict(THUMBS, default=None, return_dtype=pl.Float64)
    return values, values.is_null() & (plain.is_not_null() & (plain != "")).fill_null(value=False)
