"""Any table as a Polars frame, column by column: one column that cannot be read never stops the others."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard, cast

import polars as pl

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
"""File endings and the formats they stand for; text formats may end in .gz besides."""
SEPARATORS = (";", "\t", "|")
SHAPES = {
    "parquet": "a Parquet file",
    "csv": "comma-separated values in UTF-8 with a header, as many in every line",
    "tsv": "tab-separated values in UTF-8 with a header, as many in every line",
    "ndjson": "one JSON object per line",
}


class _Relation(Protocol):
    """A DuckDB relation."""

    def to_arrow_table(self) -> object: ...


class _ArrowTable(Protocol):
    """An Arrow table or record batch."""

    @property
    def column_names(self) -> list[str]: ...

    def column(self, i: int) -> object: ...


@dataclass(frozen=True)
class Table:
    """A frame and the columns that could not be read, with the reason.

    Attributes
    ----------
    frame : polars.DataFrame
        What was read.
    unreadable : dict of str to str
        Reason by the name of the column.
    """

    frame: pl.DataFrame
    unreadable: dict[str, str] = field(default_factory=dict[str, str])


def read_table(source: object, what: str = "table") -> Table:
    """Read a table from wherever it is.

    Parameters
    ----------
    source : object
        Polars DataFrame or LazyFrame, pandas DataFrame, Arrow table, record batch or anything with
        ``__arrow_c_stream__`` (a DuckDB relation), a mapping of columns, a list of mappings (rows), or the path of
        Parquet, CSV, TSV or NDJSON files (also a glob, a folder of them, or compressed: ``.csv.gz``).
    what : str, default "table"
        How to call it in errors: ``reference``, ``current``.

    Returns
    -------
    Table
        Files below each other, columns by their names.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a file does not exist, has an unknown ending, or cannot be read.

    Examples
    --------
    >>> read_table([{"x": 1}, {"x": 2, "y": "a"}]).frame.to_dicts()
    [{'x': 1, 'y': None}, {'x': 2, 'y': 'a'}]
    """
    if isinstance(source, str | Path):
        return _read_files(str(source), what)
    if _is_from(source, "pandas") and hasattr(source, "columns"):
        return _from_pandas(source, what)
    if _is_rows(source):
        source = {name: [row.get(name) for row in source] for name in dict.fromkeys(n for row in source for n in row)}
    if isinstance(source, Mapping):
        return _from_columns(cast("Mapping[Any, Any]", source), what)
    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        return Table(source.lazy().collect())
    if hasattr(source, "to_arrow_table"):  # a DuckDB relation
        source = cast("_Relation", source).to_arrow_table()
    if hasattr(source, "column_names") and hasattr(source, "column"):  # an Arrow table or record batch
        arrow = cast("_ArrowTable", source)
        columns = {name: arrow.column(i) for i, name in enumerate(_unrepeated(arrow.column_names, what))}
        return _from_columns(columns, what, convert=_series_from_arrow)
    if hasattr(source, "__arrow_c_stream__"):
        return Table(_checked(_from_arrow(source), what))
    raise TypeError(
        f"{what}: a {type(source).__name__} is no table; pass a Polars or pandas frame, an Arrow table, "
        "a DuckDB relation, a mapping of columns, or the path of a Parquet, CSV or NDJSON file"
    )


def _is_rows(source: object) -> TypeGuard[list[Mapping[Any, Any]]]:
    rows = cast("list[object]", source) if isinstance(source, list) else []
    return bool(rows) and all(isinstance(row, Mapping) for row in rows)


def _is_from(source: object, package: str) -> bool:
    return type(source).__module__.partition(".")[0] == package


def _checked(frame: object, what: str) -> pl.DataFrame:
    if isinstance(frame, pl.DataFrame):
        return frame
    raise TypeError(
        f"{what}: the Arrow data have one column without a name; pass a table, e.g. pa.table({{'x': array}})"
    )


def _read_files(path: str, what: str) -> Table:
    files = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 (an absolute pattern may be given)
    if not files and Path(path).exists():
        files = [path]  # a name that looks like a pattern
    if files and all(Path(f).is_dir() for f in files):
        found = sorted(str(f) for folder in files for f in Path(folder).rglob("*") if _format(f) and f.is_file())
        if not found:
            raise ValueError(f"{what}: {path} is a folder without files that end in {', '.join(sorted(FORMATS))}")
        files = found
    files = [f for f in files if Path(f).is_file()]
    if not files:
        raise ValueError(f"{what}: {path} does not exist; give the path of a Parquet, CSV or NDJSON file")
    endings = {_format(Path(f)) or Path(f).suffix for f in files}
    if len(endings) > 1 or not endings <= set(FORMATS.values()):
        raise ValueError(
            f"{what}: {path}: the ending {' and '.join(sorted(map(repr, endings)))} is no single known format; "
            f"use one of {', '.join(sorted(FORMATS))}"
        )
    kind = endings.pop()
    parts: list[pl.DataFrame] = []
    for file in files:
        try:
            parts.append(_read_file(kind, file, what))
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{what}: {file} cannot be read: {reason}; it must be {SHAPES[kind]}") from error
    return _stacked(parts)


def _format(file: Path) -> str | None:
    """Format of a file by its ending."""
    name = file.name.lower()
    packed = name.endswith(".gz")
    kind = FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    return None if packed and kind == "parquet" else kind


def _read_file(kind: str, file: str, what: str) -> pl.DataFrame:
    if kind == "parquet":
        return pl.read_parquet(file, glob=False, hive_partitioning=False)
    if kind == "ndjson":
        return pl.read_ndjson(file, infer_schema_length=None)
    separator = "\t" if kind == "tsv" else ","
    header = _header(file, separator)
    if len(header) == 1:  # exports of spreadsheets often take another sign
        separator = next((sign for sign in SEPARATORS if sign in header[0]), separator)
        header = _header(file, separator)
    _unrepeated(header, what)
    return pl.read_csv(file, separator=separator, try_parse_dates=True, infer_schema_length=None, glob=False)


def _header(file: str, separator: str) -> list[str]:
    row = pl.read_csv(file, separator=separator, has_header=False, n_rows=1, infer_schema=False, glob=False).row(0)
    return [str(name) for name in row if name is not None]


def _stacked(parts: list[pl.DataFrame]) -> Table:
    """The rows of all files, column by column; null where a file lacks it, no column where the types cannot be one."""
    if len(parts) == 1:
        return Table(parts[0])
    read: dict[str, pl.Series] = {}
    unreadable: dict[str, str] = {}
    for name in dict.fromkeys(name for part in parts for name in part.columns):
        columns = [part.select(name) if name in part.columns else _nothing(name, part.height) for part in parts]
        try:
            read[name] = pl.concat(columns, how="vertical_relaxed").to_series()
        except pl.exceptions.PolarsError:
            types = sorted({str(column.dtypes[0]) for column in columns})
            unreadable[name] = f"the files do not agree on its type: {', '.join(types)}; cast it to one of them"
    return Table(pl.DataFrame(read), unreadable)


def _nothing(name: str, rows: int) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series([None] * rows, dtype=pl.Null)})


def _from_pandas(source: Any, what: str) -> Table:
    names = _unrepeated([str(name) for name in source.columns], what)
    columns = {name: source.iloc[:, position] for position, name in enumerate(names)}
    return _from_columns(columns, what, convert=_series_from_pandas)


def _unrepeated(names: list[str], what: str) -> list[str]:
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{what}: the column name {sorted(repeated)[0]!r} occurs twice; rename one of them")
    return names


def _series_from_pandas(name: str, values: Any) -> pl.Series:
    values = values.sparse.to_dense() if type(values.dtype).__name__ == "SparseDtype" else values
    return cast("pl.Series", pl.from_pandas(values, nan_to_null=True)).alias(name)


def _series_from_arrow(name: str, values: Any) -> pl.Series:
    return pl.Series(name, _from_arrow(values))


def _from_arrow(data: object) -> Any:
    return pl.from_arrow(cast("Any", data))  # pyright: ignore[reportUnknownMemberType]  # pyarrow has no types


def _series_of(name: str, values: Any) -> pl.Series:
    return values.alias(name) if isinstance(values, pl.Series) else pl.Series(name, values)


def _from_columns(columns: Mapping[Any, Any], what: str, convert: Any = _series_of) -> Table:
    read: list[pl.Series] = []
    unreadable: dict[str, str] = {}
    for name, values in columns.items():
        try:
            read.append(convert(str(name), values))
        except (Exception, pl.exceptions.PanicException) as error:
            # pyarrow and pandas raise errors of their own here, and a mixed column must not stop the others
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            unreadable[str(name)] = f"cannot be read: {why}; cast the column to numbers, texts or times"
    lengths = {series.name: series.len() for series in read}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{what}: columns differ in length: {', '.join(f'{k} {v}' for k, v in list(lengths.items())[:5])}"
        )
    return Table(pl.DataFrame({series.name: series for series in read}), unreadable)  # a list would rename ''
