"""Descriptors of text columns, computed once per row on its way into the lake: each is a lake column of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from sightline.spec.columns import TextDescriptor
from sightline.spec.model import MonitorSpec

if TYPE_CHECKING:
    from metrics_py.text.descriptors import OwnDescriptor

TEXT_CUT = "text_cut"
"""Texts longer than what descriptors look at."""
FAILED = "descriptor_failed"
"""A function of the user's could not be asked."""


@dataclass
class Described:
    """Derived lake columns, and what is to be told of them.

    Attributes
    ----------
    columns : dict of str to polars.Series
        ``f_<column>.<descriptor>`` -> values.
    cut : dict of str to polars.Series
        Text column -> rows whose text was cut.
    failed : dict of str to str
        Derived feature -> why it could not be computed; its values are null.
    """

    columns: dict[str, pl.Series] = field(default_factory=dict[str, pl.Series])
    cut: dict[str, pl.Series] = field(default_factory=dict[str, pl.Series])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def described(spec: MonitorSpec, texts: Mapping[str, pl.Series]) -> Described:
    """Compute the descriptors of a monitor's text columns.

    Parameters
    ----------
    spec : MonitorSpec
        Names columns and descriptors.
    texts : mapping of str to polars.Series of String
        Lake column (``f_<column>``) -> its texts; text columns that are not there are left out.

    Returns
    -------
    Described
    """
    wanted: dict[str, list[TextDescriptor]] = {}
    for column, entry in spec.columns.derived.values():
        if f"f_{column}" in texts:
            wanted.setdefault(column, []).append(entry)
    done = Described()
    if not wanted:
        return done
    from metrics_py.text.descriptors import MAX_CHARACTERS, describe  # only monitors with texts pay for it

    for column, entries in wanted.items():
        values, failed = texts[f"f_{column}"], dict[str, str]()
        chosen: list[str | OwnDescriptor] = []
        for entry in entries:
            try:
                chosen.append(_descriptor(spec, entry))
            except Exception as error:  # as of a function that fails: it is told and stops no window
                failed[entry.name] = str(error)
                dtype = {"numeric": pl.Float64, "categorical": pl.String}.get(entry.kind or "", pl.Boolean)
                empty = pl.Series(entry.name, [None], dtype=dtype).new_from_index(0, len(values))
                done.columns[f"f_{column}.{entry.name}"] = empty
        for name, found in describe(values, chosen, failed).items():
            done.columns[f"f_{column}.{name}"] = found
        done.failed |= {f"{column}.{name}": reason for name, reason in failed.items()}
        is_cut = (values.str.len_chars() > MAX_CHARACTERS).fill_null(value=False)
        if is_cut.any():
            done.cut[column] = is_cut
    return done


def _descriptor(spec: MonitorSpec, entry: TextDescriptor) -> str | OwnDescriptor:
    from metrics_py.text.descriptors import OwnDescriptor

    if not entry.is_own:
        return entry.name
    if entry.python is None:
        return OwnDescriptor(entry.name, regex=entry.regex, words=entry.words or ())
    from sightline.user_metrics.python_functions import load
    from sightline.user_metrics.python_metrics import importable

    with importable(spec.home_folder) if spec.home_folder is not None else nullcontext():
        function = load(entry.python)
    return OwnDescriptor(entry.name, function=function, kind=entry.kind or "boolean")
