"""Any table as a Polars frame, column by column: one column that cannot be read never stops the others."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeGuard, cast

import polars as pl

from metrics_py.comparison.csv_files import csv_frame, csv_shape, has_open_end
from metrics_py.comparison.folders import filled, fixed_part, is_hidden, partition_values
from metrics_py.comparison.parquet_files import parquet_frame
from metrics_py.comparison.text_files import FORMATS, format_of, text_pieces, unpacked
from metrics_py.profile.texts import Guess, guess_kind, kind_like, typed
from metrics_py.profile.values import column_of

SHAPES = {
    "parquet": "a Parquet file",
    "csv": "values in UTF-8 separated by commas (.tsv: tabs) with a header, as many in every line",
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
    notes : dict of str to str
        What was guessed of a column of a text format, by its name.
    perhaps_cut : dict of str to str
        By the name of the column: where its last value in a CSV file stands that ends in the middle of a line.
    """

    frame: pl.DataFrame
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    perhaps_cut: dict[str, str] = field(default_factory=dict[str, str])


def read_table(
    source: object,
    what: str = "table",
    *,
    like: pl.DataFrame | None = None,
    kinds: Mapping[str, str] | None = None,
    rows: int | None = None,
) -> Table:
    """Read a table from wherever it is.

    Parameters
    ----------
    source : object
        Polars DataFrame or LazyFrame, pandas DataFrame, Arrow table, record batch or anything with
        ``__arrow_c_stream__`` (a DuckDB relation), a mapping of columns, a list of mappings (rows), or the path of
        Parquet, CSV, TSV or NDJSON files (also a glob, a folder of them, or packed: ``.csv.gz``, ``.csv.zst``).
    what : str, default "table"
        How to call it in errors: ``reference``, ``current``.
    like : polars.DataFrame, optional
        The reference: a column of a text format is read as the column of the same name there.
    kinds : mapping of column to kind, optional
        Kinds that are declared: they decide before anything else.
    rows : int, optional
        So many rows at most, the first ones.

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
    table = _read(source, what, rows)
    frame = table.frame if rows is None else table.frame.head(rows)
    plain = Table(frame, table.unreadable, perhaps_cut=table.perhaps_cut)
    return _typed(plain, table.untyped, like, kinds or {})


@dataclass(frozen=True)
class _Raw(Table):
    """A table, and the columns whose values are texts because their format has nothing else."""

    untyped: frozenset[str] = frozenset()


def _typed(table: Table, untyped: frozenset[str], like: pl.DataFrame | None, kinds: Mapping[str, str]) -> Table:
    """Texts of CSV as values: by the declared kind, else that of the reference, else as all of them look."""
    columns: dict[str, pl.Series] = {}
    notes: dict[str, str] = {}
    for name in table.frame.columns:
        values = column_of(table.frame, name)
        if name in untyped:
            known = kinds.get(name) or (kind_like(like[name].dtype) if like is not None and name in like else None)
            guess = Guess("text") if known else guess_kind(values)
            values = typed(values, known or guess.kind)
            if guess.note:
                notes[name] = guess.note
        columns[name] = values
    return replace(table, frame=pl.DataFrame(columns), notes=notes) if untyped else table


def _read(source: object, what: str, rows: int | None) -> _Raw:
    """Any table as it is, texts of CSV as texts."""
    if isinstance(source, str | Path):
        return _read_files(str(source), what, rows)
    found = _read_object(source, what)
    return _Raw(found.frame, found.unreadable)


def _read_object(source: object, what: str) -> Table:
    """A table in memory."""
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


def _read_files(path: str, what: str, rows: int | None) -> _Raw:
    files = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 (an absolute pattern may be given)
    if not files and Path(path).exists():
        files = [path]  # a name that looks like a pattern
    root = fixed_part(path)
    if files and all(Path(f).is_dir() for f in files):
        below = ((folder, f) for folder in files for f in Path(folder).rglob("*") if format_of(f.name) and f.is_file())
        found = sorted(str(f) for folder, f in below if not any(map(is_hidden, f.relative_to(folder).parts)))
        if not found:
            raise ValueError(f"{what}: {path} is a folder without files that end in {', '.join(sorted(FORMATS))}")
        files = found
    elif glob.has_magic(path):  # what the pattern itself calls hidden is asked for
        files = [f for f in files if not any(map(is_hidden, Path(f).relative_to(root).parts))] or files
    files = [f for f in files if Path(f).is_file()]
    if not files:
        raise ValueError(f"{what}: {path} does not exist; give the path of a Parquet, CSV or NDJSON file")
    endings = {format_of(Path(f).name) or Path(f).suffix for f in files}
    if len(endings) > 1 or not endings <= set(FORMATS.values()):
        raise ValueError(
            f"{what}: {path}: the ending {' and '.join(sorted(map(repr, endings)))} is no single known format; "
            f"use one of {', '.join(sorted(FORMATS))}"
        )
    kind = endings.pop()
    parts: list[pl.DataFrame] = []
    folders: list[dict[str, str | None]] = []
    for file in files:
        try:
            parts.append(read_file(file, rows))
        except ValueError as error:
            raise ValueError(f"{what}: {file} cannot be read: {error}") from error
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{what}: {file} cannot be read: {reason}; it must be {SHAPES[kind]}") from error
        folders.append(partition_values(Path(file).relative_to(root)))
        if rows is not None and sum(part.height for part in parts) >= rows:
            break
    is_text = kind == "csv"
    table = _with_partitions(_stacked(filled(parts, folders, is_text=is_text)), parts, folders, is_text=is_text)
    return replace(table, perhaps_cut=_open_ends(files, parts)) if is_text and rows is None else table


def open_ends(source: str | Path) -> list[str]:
    """CSV files that end in the middle of a line.

    Parameters
    ----------
    source : str or Path
        A file, or a folder of files.

    Returns
    -------
    list of str
        What that may mean, one sentence per file.
    """
    path = Path(source)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    plain = [file for file in files if format_of(file.name) == "csv" and has_open_end(file)]
    return [f"the last line of {file.name} has no end: its last row may be cut" for file in plain]


def _open_ends(files: list[str], parts: list[pl.DataFrame]) -> dict[str, str]:
    """By the last column of CSV files that end in the middle of a line: what that may mean."""
    told: dict[str, list[str]] = {}
    for file, part in zip(files, parts, strict=False):
        if part.height and has_open_end(file):
            words = f"the last line of {Path(file).name} has no end: row {part.height:,} may be cut"
            told.setdefault(part.columns[-1], []).append(words)
    more = {column: f"; so of {len(words) - 1} other files" for column, words in told.items() if len(words) > 1}
    return {column: words[0] + more.get(column, "") for column, words in told.items()}


def _with_partitions(
    table: Table, parts: list[pl.DataFrame], folders: list[dict[str, str | None]], *, is_text: bool
) -> _Raw:
    """The table with the columns that its folders name; columns of the files come first."""
    names = [n for n in dict.fromkeys(n for folder in folders for n in folder) if n not in table.frame.columns]
    names = [name for name in names if name not in table.unreadable]
    added = [
        pl.concat(
            pl.Series(name, [folder.get(name)], dtype=pl.String).new_from_index(0, part.height)
            for part, folder in zip(parts, folders, strict=True)
        )
        for name in names
    ]
    untyped = [*(table.frame.columns if is_text else ()), *names]
    return _Raw(table.frame.with_columns(added), table.unreadable, untyped=frozenset(untyped))


def read_file(file: str | Path, rows: int | None = None) -> pl.DataFrame:
    """One file of a known format as it is; values of CSV are texts.

    Parameters
    ----------
    file : str or Path
        Its name tells the format (`metrics_py.comparison.text_files.FORMATS`).
    rows : int, optional
        So many rows at most.

    Returns
    -------
    polars.DataFrame
        Its columns.

    Raises
    ------
    ValueError
        A CSV file has a column twice or rows of another length than its header; the file grows as it is read.
    OSError, polars.exceptions.PolarsError
        It cannot be read.
    """
    path = Path(file)
    before = _state(path)
    kind = format_of(path.name)
    if kind == "parquet":
        frame = parquet_frame(file, rows)
    else:
        with unpacked(path) as plain:
            frame = _json_frame(plain, rows) if kind == "ndjson" else _csv_frame(plain, path.name, rows)
    if _state(path) != before:
        raise ValueError("it changed while it was read: wait until it is written")
    return frame


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _csv_frame(plain: Path, name: str, rows: int | None) -> pl.DataFrame:
    shape = csv_shape(plain, name)
    if shape.repeated:
        raise ValueError(f"the column name {shape.repeated[0]!r} occurs twice; rename one of them")
    return csv_frame(plain, shape, rows)


def _json_frame(plain: Path, rows: int | None) -> pl.DataFrame:
    """Objects of lines, or of one array."""
    if next((piece.lstrip()[:1] for piece in text_pieces(plain) if piece.strip()), b"") == b"[":
        frame = pl.read_json(plain, infer_schema_length=None)
        return frame if rows is None else frame.head(rows)
    with plain.open("rb") as lines:  # a name may look like a pattern
        return pl.read_ndjson(lines, infer_schema_length=None, n_rows=rows)


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
