"""The answers of a language model in two tables: what is measured of each answer, as columns of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from metrics_py.comparison.reading import Reading, reading_of
from metrics_py.comparison.tables import Table
from metrics_py.profile.values import column_of
from metrics_py.text.generation import MEASURES, Terms, allowed_measures, measure_answers

TEXTS = ("response", "prompt", "context", "documents")
NUMBERS = ("output_tokens", "latency_ms")
ROLES = (*TEXTS, "finish_reason", *NUMBERS)
"""Parts that a column can play; measures that need others (prices, a format) are those of a monitor."""


def checked_roles(answers: Mapping[str, str] | None, old: Table) -> dict[str, str]:
    """Which column plays which part, checked.

    Parameters
    ----------
    answers : mapping of role to column, or None
        As for `metrics_py.compare`.
    old : Table
        The reference's rows.

    Returns
    -------
    dict of str to str
        Empty where nothing is named.

    Raises
    ------
    ValueError
        A part is unknown, ``response`` is missing, or the reference does not have the column.
    """
    named = dict(answers or {})
    for role, column in named.items():
        if role not in ROLES:
            raise ValueError(f"compare: answers: there is no part {role!r}; one of {', '.join(ROLES)}")
        if column not in old.frame.columns:
            raise ValueError(f"compare: answers: the reference has no column {column!r} to be {role}")
    if named and "response" not in named:
        raise ValueError("compare: answers: name the column of the answers as response")
    return named


def readings(named: Mapping[str, str], old: Table) -> dict[str, Reading]:
    """How the columns of texts are read: an answer is one however short it is.

    Parameters
    ----------
    named : mapping of role to column
        From `checked_roles`.
    old : Table
        The reference's rows.

    Returns
    -------
    dict of str to Reading
        Lists of documents are left out: they are counted, not read.
    """
    columns = [named[role] for role in TEXTS if role in named]
    return {name: reading_of("text") for name in columns if old.frame.schema[name] == pl.String}


def measured(tables: tuple[Table, Table], named: Mapping[str, str]) -> tuple[Table, Table]:
    """Both tables with the measures of their answers as columns ``<response>.<measure>`` behind all others.

    Parameters
    ----------
    tables : tuple of Table
        Reference and current rows.
    named : mapping of role to column
        From `checked_roles`.

    Returns
    -------
    tuple of Table
        A measure whose columns are missing in a table is missing there; a column of its name stays as it is.
    """
    if not named:
        return tables
    return _measured(tables[0], named), _measured(tables[1], named)


def _measured(table: Table, named: Mapping[str, str]) -> Table:
    held = {role: column_of(table.frame, name) for role, name in named.items() if name in table.frame.columns}
    if "response" not in held:
        return table
    columns = {role: _as_number(values) if role in NUMBERS else _as_text(values) for role, values in held.items()}
    found = measure_answers(columns, allowed_measures(frozenset(held)), Terms())
    added = {f"{named[MEASURES[name].of]}.{name}": values for name, values in found.items()}
    new = [values.alias(name) for name, values in added.items() if name not in table.frame.columns]
    return replace(table, frame=table.frame.with_columns(new))


def _as_number(values: pl.Series) -> pl.Series:
    return values.cast(pl.Float64, strict=False)


def _as_text(values: pl.Series) -> pl.Series:
    """Lists and objects as JSON, all else as text."""
    if not values.dtype.is_nested():
        return values.cast(pl.String)
    found = [None if v is None else json.dumps(v, default=str, ensure_ascii=False) for v in values.to_list()]
    return pl.Series(values.name, found, dtype=pl.String)
