"""Folders that name values, as Hive and Spark write them: ``country=DE/part.parquet``."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from metrics_py.profile.texts import kind_like, typed

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name holds no data, as Spark, Hive and Delta have it.

    Parameters
    ----------
    name : str
        Of a file or folder, without its path.

    Returns
    -------
    bool
        True for names that begin with a dot, or with an underscore and name no value.

    Examples
    --------
    >>> [is_hidden(name) for name in ("_temporary", ".part.crc", "_SUCCESS", "_year=2026", "a.csv")]
    [True, True, True, False, False]
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def fixed_part(path: str) -> Path:
    """The folder of a path or pattern below which folders may name values.

    Parameters
    ----------
    path : str
        Of a file or folder, or a pattern.

    Returns
    -------
    Path
        Without the parts that have wildcards.
    """
    found = Path(path)
    if found.is_dir() or not glob.has_magic(path):
        return found if found.is_dir() else found.parent
    while glob.has_magic(str(found)):
        found = found.parent
    return found


def partition_values(path: Path) -> dict[str, str | None]:
    """Values that folders of a path name: ``country=DE/part.parquet`` holds the rows of country DE.

    Parameters
    ----------
    path : Path
        Of a file.

    Returns
    -------
    dict of str to str or None
        Value by column; None is Hive's word for null.

    Examples
    --------
    >>> partition_values(Path("country=DE/day=2026-01-31/part-0.parquet"))
    {'country': 'DE', 'day': '2026-01-31'}
    """
    pairs = (folder.partition("=") for folder in path.parts[:-1])
    named = {unquote(name): unquote(value) for name, sign, value in pairs if sign and name}
    return {name: None if value == HIVE_NULL else value for name, value in named.items()}


def filled(
    parts: Sequence[pl.DataFrame], folders: Sequence[Mapping[str, str | None]], *, is_text: bool
) -> list[pl.DataFrame]:
    """Files that lack a column which others of them hold, with the value that their own folders name.

    Parameters
    ----------
    parts : sequence of polars.DataFrame
        One per file.
    folders : sequence of mapping of str to str or None
        What `partition_values` tells of each.
    is_text : bool
        All values are texts (CSV).

    Returns
    -------
    list of polars.DataFrame
        Values of the type that the column has in the first of the files that hold it.

    Examples
    --------
    >>> parts = pl.DataFrame({"x": [1, 2], "k": [5, 6]}), pl.DataFrame({"x": [3]})
    >>> filled(parts, [{"k": "5"}, {"k": "7"}], is_text=False)[1].rows()
    [(3, 7)]
    """
    done = list(parts)
    for name in dict.fromkeys(name for folder in folders for name in folder):
        types = [part[name].dtype for part in parts if name in part.columns]
        kind = "text" if is_text or not types else kind_like(types[0])
        for i, (part, folder) in enumerate(zip(done, folders, strict=True)):
            if types and name in folder and name not in part.columns:
                value = typed(pl.Series(name, [folder[name]], dtype=pl.String), kind or "text")
                done[i] = part.with_columns(value.new_from_index(0, part.height))
    return done
