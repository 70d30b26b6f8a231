"""CSV files as columns of texts, and the rows of them that have more or fewer fields than the header has columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.comparison.text_files import packing_of, text_pieces, unpacked_name
from metrics_py.profile.texts import separator_line

SEPARATORS = (";", "\t", "|")
HEADER_BYTES = 1_000_000
MORE, NUMBER = "\0more", "\0number"
"""Columns that a frame has besides those of its file."""


@dataclass(frozen=True)
class CsvShape:
    """How a CSV file is to be read.

    Attributes
    ----------
    names : tuple of str
        Of the header, as they stand there.
    separator : str
        One character.
    before : int
        Records up to and with the header: blank ones, and Excel's line ``sep=;``.
    """

    names: tuple[str, ...]
    separator: str
    before: int

    @property
    def repeated(self) -> list[str]:
        """Names that occur more than once, in order."""
        return sorted(name for name, n in Counter(self.names).items() if n > 1)

    @property
    def columns(self) -> list[str]:
        """The names, each once: a later column of the same name has a number besides."""
        found: dict[str, None] = {}
        for name in self.names:
            others = (f"{name}_duplicated_{i}" for i in count())
            free = next(other for other in others if other not in self.names and other not in found)
            found[free if name in found else name] = None
        return list(found)


def csv_shape(file: str | Path, name: str | None = None) -> CsvShape:
    """Header and separator of a CSV file: exports of spreadsheets often take another sign than the comma.

    Parameters
    ----------
    file : str or Path
        Plain or packed.
    name : str, optional
        What the file is called, by which values are separated by tabs or commas; default its own name.

    Returns
    -------
    CsvShape
        The separator is that of Excel's line ``sep=;``; else the usual one, unless the header lacks it.

    Raises
    ------
    ValueError
        There is no header, or lines end in a carriage return alone.
    """
    start = next(text_pieces(file), b"")[:HEADER_BYTES].decode("utf-8-sig", errors="replace")
    if "\r" in start and "\n" not in start:
        raise ValueError("its lines end in a carriage return alone: end them in a line feed")
    usual = "\t" if Path(unpacked_name(name or Path(file).name)[0]).suffix == ".tsv" else ","
    lines = start.split("\n")
    n_blank = next((i for i, line in enumerate(lines) if line.strip("\r")), None)
    if n_blank is None:
        raise ValueError("it has no header")
    told = separator_line(lines[n_blank])
    text = "\n".join(lines[n_blank + (told is not None) :])
    n_more, header = _header(text, told or usual)
    separator = told or usual
    if told is None and len(header) == 1:
        separator = next((sign for sign in SEPARATORS if sign in header[0]), usual)
        n_more, header = _header(text, separator)
    return CsvShape(tuple(header), separator, n_blank + (told is not None) + n_more)


def _header(text: str, separator: str) -> tuple[int, list[str]]:
    """Records up to the first that has fields, and its fields."""
    try:
        for n, row in enumerate(csv.reader(io.StringIO(text), delimiter=separator), 1):
            if row:
                return n, row
    except csv.Error as error:
        if "new-line character" in str(error):
            raise ValueError("its lines end in a carriage return alone: end them in a line feed") from error
        raise ValueError(f"its header cannot be read: {error}") from error
    raise ValueError("it has no header")


def scan_csv(file: str | Path, shape: CsvShape, encoding: Literal["utf8", "utf8-lossy"] = "utf8") -> pl.LazyFrame:
    """A plain CSV file as text columns, and in `MORE` the first field of a row that has no column.

    Parameters
    ----------
    file : str or Path
        Not packed.
    shape : CsvShape
        Of the file.
    encoding : {"utf8", "utf8-lossy"}
        Whether bytes that are no UTF-8 are an error, or become the sign that stands for them.

    Returns
    -------
    polars.LazyFrame
        Columns as of `CsvShape.columns`; too few fields are null, and a blank line is a row of nulls.
    """
    return pl.scan_csv(
        file,
        has_header=False,
        skip_rows=shape.before,
        schema=dict.fromkeys([*shape.columns, MORE], pl.String),
        missing_columns="insert",
        truncate_ragged_lines=True,
        glob=False,
        encoding=encoding,
        separator=shape.separator,
    )


def has_open_end(file: str | Path) -> bool:
    """Whether a CSV file ends in the middle of a line, as one does that is cut or still being written.

    Parameters
    ----------
    file : str or Path
        A file that is there.

    Returns
    -------
    bool
        False of an empty one and of packed ones, which end with a sum of their bytes.
    """
    if packing_of(file):
        return False
    with Path(file).open("rb") as plain:
        size = plain.seek(0, 2)
        plain.seek(max(size - 1, 0))
        return plain.read(1) not in (b"", b"\n")


class FieldCounts:
    """Fields of each record of a plain CSV file, counted when they are asked for first.

    Parameters
    ----------
    file : str or Path
        Not packed.
    shape : CsvShape
        Of the file.
    """

    def __init__(self, file: str | Path, shape: CsvShape) -> None:
        self.file, self.shape = file, shape
        self._counted: NDArray[np.int32] | None = None

    def uneven(self, texts: pl.DataFrame, numbers: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Rows that are nothing but a blank line, and rows with fewer fields than the header has columns.

        Parameters
        ----------
        texts : polars.DataFrame
            Rows of `scan_csv` without `MORE`.
        numbers : polars.Series of int
            Their places in the file.

        Returns
        -------
        blank, short : polars.Series of Boolean
            Of the length of the rows; a column that stands alone has neither.

        Raises
        ------
        ValueError
            Quotes are open where a line ends, so that the file can be read in more than one way.
        """
        none = pl.Series([False]).new_from_index(0, len(texts))
        if texts.width < 2 or not texts[:, -1].null_count():  # a short row lacks the last field
            return none, none
        if self._counted is None:
            self._counted = count_fields(self.file, self.shape)
        places = numbers.to_numpy()
        if len(places) and int(places.max()) >= len(self._counted):
            raise ValueError("its quotes are open where a line ends: close them")
        fields = pl.Series(self._counted[places])
        first = texts[:, 0].alias("values").str.strip_chars().fill_null("")
        blank = (fields == 1) & (first == "")
        return blank, (fields < texts.width) & ~blank


def count_fields(file: str | Path, shape: CsvShape, size: int | None = None) -> NDArray[np.int32]:
    """Fields of each record after the header.

    Parameters
    ----------
    file : str or Path
        Plain or packed.
    shape : CsvShape
        Of the file.
    size : int, optional
        Count in the first so many bytes only.

    Returns
    -------
    ndarray of int, shape (records,)
        One more than there are separators outside of quotes; 1 for a blank line.
    """
    counts: list[NDArray[np.int32]] = []
    quotes, fields, left, is_open = 0, 1, size, False
    for piece in text_pieces(file):
        signs = np.frombuffer(piece if left is None else piece[:left], np.uint8)
        left = None if left is None else left - len(signs)
        if not len(signs):
            break
        is_open = bool(signs[-1] != ord("\n"))
        n_quotes = np.cumsum(signs == ord('"'), dtype=np.int64) + quotes
        quotes = int(n_quotes[-1])
        is_outside = n_quotes % 2 == 0
        n_separators = np.cumsum((signs == ord(shape.separator)) & is_outside, dtype=np.int64)
        ends = np.flatnonzero((signs == ord("\n")) & is_outside)
        at_ends = n_separators[ends]
        if len(ends):
            counts.append((np.diff(at_ends, prepend=0) + 1).astype(np.int32))
            counts[-1][0] += fields - 1
            fields = 1 + int(n_separators[-1] - at_ends[-1])
        else:
            fields += int(n_separators[-1])
    if is_open:
        counts.append(np.array([fields], np.int32))
    return np.concatenate([np.array([], np.int32), *counts])[shape.before :]


def csv_frame(file: str | Path, shape: CsvShape, rows: int | None = None) -> pl.DataFrame:
    """A plain CSV file, or its first rows, as columns of texts; blank lines are no rows.

    Parameters
    ----------
    file : str or Path
        Not packed.
    shape : CsvShape
        Of the file.
    rows : int, optional
        So many rows at most.

    Returns
    -------
    polars.DataFrame
        Columns as of `CsvShape.columns`.

    Raises
    ------
    ValueError
        A row has more or fewer fields than the header has columns, or quotes do not end.
    polars.exceptions.PolarsError
        The file cannot be read.
    """
    scan = scan_csv(file, shape).with_row_index(NUMBER)
    frame = (scan if rows is None else scan.head(rows)).collect()
    numbers, texts = frame[NUMBER], frame.drop(NUMBER, MORE)
    blank, short = FieldCounts(file, shape).uneven(texts, numbers)
    for told, wrong in (("more", frame[MORE].is_not_null()), ("fewer", short)):
        if wrong.any():
            first = int(numbers.filter(wrong)[0]) + 1
            raise ValueError(
                f"{wrong.sum()} of {len(frame)} rows, the first of them row {first}, have {told} fields than the "
                f"{texts.width} columns of the header"
            )
    return texts.filter(~blank) if blank.any() else texts
