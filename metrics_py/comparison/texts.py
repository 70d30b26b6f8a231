"""Text columns of two tables: their descriptors as columns of their own, and the words that moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import polars as pl

from metrics_py.comparison.reading import Reading, infer_reading
from metrics_py.comparison.tables import Table
from metrics_py.profile.values import column_of
from metrics_py.text.descriptors import DEFAULTS, DESCRIPTORS, INSTALL, describe
from metrics_py.text.words import document_frequencies, examples, moved_words

MEASURED_ALREADY = "characters"
"""What a text column itself is compared by."""

MOST_EXAMPLES = 20
"""Words of a column with an example."""


def chosen_descriptors(names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of descriptors, checked.

    Parameters
    ----------
    names : sequence of str or None
        None: the default ones.

    Returns
    -------
    tuple of str
        Each once.

    Raises
    ------
    ValueError
        There is no such descriptor, or the package that it needs is not installed.
    """
    if names is None:
        return tuple(name for name in DEFAULTS if name != MEASURED_ALREADY)
    for name in names:
        if name not in DESCRIPTORS:
            raise ValueError(f"compare: there is no descriptor {name!r} of texts; one of {', '.join(DESCRIPTORS)}")
        if not DESCRIPTORS[name].is_available:
            raise ValueError(f"compare: the descriptor {name!r} needs {DESCRIPTORS[name].needs}: {INSTALL}")
    return tuple(dict.fromkeys(names))


def text_columns(old: Table, new: Table, given: Mapping[str, Reading]) -> list[str]:
    """Columns that both tables have as texts, by the kind that is given or by how the reference looks.

    Parameters
    ----------
    old, new : Table
        Reference and current rows.
    given : mapping of str to Reading
        How columns are to be read.

    Returns
    -------
    list of str
        In the order of the reference.
    """
    found: list[str] = []
    for name in old.frame.columns:
        if name not in new.frame.columns or name in old.unreadable or name in new.unreadable:
            continue
        if old.frame.schema[name] != pl.String or new.frame.schema[name] != pl.String:
            continue
        reading = given.get(name) or infer_reading(column_of(old.frame, name))
        if reading.kind == "text":
            found.append(name)
    return found


def described(old: Table, new: Table, columns: Sequence[str], descriptors: Sequence[str]) -> tuple[Table, Table]:
    """Both tables with the descriptors of their texts as columns ``<column>.<descriptor>``, each behind its text.

    Parameters
    ----------
    old, new : Table
        Reference and current rows.
    columns : sequence of str
        Text columns of both.
    descriptors : sequence of str
        Names of built-in descriptors.

    Returns
    -------
    tuple of Table
        A column that is called like a descriptor's already stays as it is.
    """
    return _described(old, columns, descriptors), _described(new, columns, descriptors)


def _described(table: Table, columns: Sequence[str], descriptors: Sequence[str]) -> Table:
    frame = table.frame.clone()
    for name in columns:
        place = frame.get_column_index(name) + 1
        for descriptor, values in describe(column_of(frame, name), descriptors).items():
            if f"{name}.{descriptor}" not in frame.columns:
                frame.insert_column(place, values.alias(f"{name}.{descriptor}"))
                place += 1
    return replace(table, frame=frame)


def with_default_descriptors(table: Table) -> Table:
    """A table with the default descriptors of its text columns, each behind its text.

    Parameters
    ----------
    table : Table
        Rows of a reference.

    Returns
    -------
    Table
        A column that is called like a descriptor's already stays as it is.
    """
    return _described(table, text_columns(table, table, {}), chosen_descriptors(None))


def with_named_descriptors(tables: tuple[Table, Table], names: Collection[str]) -> tuple[Table, Table]:
    """Both tables with those descriptors of texts that are named as columns and are none of theirs.

    Parameters
    ----------
    tables : tuple of Table
        Reference and current rows.
    names : collection of str
        Such as ``review.words``; others are left out.

    Returns
    -------
    tuple of Table
        A descriptor stands in each table that has its text.

    Raises
    ------
    ValueError
        The package that a descriptor needs is not installed.
    """
    found: list[Table] = []
    for table in tables:
        for name in dict.fromkeys(names):
            column, dot, descriptor = name.rpartition(".")
            is_text = table.frame.schema.get(column) == pl.String
            if dot and is_text and descriptor in DESCRIPTORS and name not in table.frame.columns:
                table = _described(table, [column], chosen_descriptors([descriptor]))  # noqa: PLW2901
        found.append(table)
    return found[0], found[1]


def words_that_moved(old: Table, new: Table, columns: Collection[str], entity: str | None) -> pl.DataFrame:
    """The words of some text columns that moved, with an example each, from the side where they are more frequent.

    Parameters
    ----------
    old, new : Table
        Reference and current rows.
    columns : collection of str
        Text columns of both.
    entity : str, optional
        Column with the author: then authors are counted.

    Returns
    -------
    polars.DataFrame
        ``column``, the columns of `metrics_py.text.words.moved_words`, and ``example`` (null beyond the first
        `MOST_EXAMPLES`).
    """
    found: list[pl.DataFrame] = []
    for name in columns:
        sides = [
            (column_of(t.frame, name), column_of(t.frame, entity) if entity in t.frame.columns else None)
            for t in (old, new)
        ]
        moved = moved_words(*(document_frequencies(texts, units) for texts, units in sides))
        if moved.is_empty():
            continue
        shown = moved.head(MOST_EXAMPLES)
        more = shown.filter(pl.col("z") > 0)["word"].to_list()
        fewer = shown.filter(pl.col("z") <= 0)["word"].to_list()
        told = {**examples(sides[1][0], more), **examples(sides[0][0], fewer)}
        pieces = [next(iter(told.get(word, ())), None) for word in moved["word"].to_list()]
        found.append(
            moved.select(pl.lit(name).alias("column"), pl.all(), pl.Series("example", pieces, dtype=pl.String))
        )
    return pl.concat(found) if found else pl.DataFrame()
