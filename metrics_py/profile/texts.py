"""Values that are written as text (CSV): what is a number, a truth value, a time, no value at all; and the kind of all.

A kind that is declared, or that the reference has, decides before anything is parsed. Where neither is there, the
values of the whole column decide, and what is not plain is told: a text of digits that begins with 0 is a code, no
number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

TextKind = Literal["numeric", "boolean", "datetime", "time", "embedding", "text"]
MISSING_WORDS = ("", "NA", "N/A", "NULL", "null", "None", "none")
"""Spellings of "no value" in columns that hold numbers, booleans or times (a category may be called NA)."""
TRUE_WORDS, FALSE_WORDS = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
PLAIN_BOOLEANS = ("true", "false")
LEADING_ZERO = r"^[+-]?0[0-9]+$"
INTEGER = r"^[+-]?[0-9]+$"
TIME_OF_DAY = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?$"
ISO_START = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}|$)"
OTHER_DATE = r"^([0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2,4}|[0-9]{4}[/.][0-9]{1,2}[/.][0-9]{1,2})( [0-9:]+)?$"
COMMA_NUMBER = r"^[+-]?([0-9]+,[0-9]+|[0-9]{1,3}([., '\u00a0\u202f][0-9]{3})+([.,][0-9]+)?)$"
MOSTLY = 0.95


@dataclass(frozen=True)
class Guess:
    """What a column of texts is taken for, and what should be told of it.

    Attributes
    ----------
    kind : {"numeric", "boolean", "datetime", "time", "text"}
        ``text`` is any column that is no other.
    note : str
        Empty where the values leave no doubt.
    """

    kind: TextKind
    note: str = ""


def present(texts: pl.Series) -> pl.Series:
    """Texts without blanks around them; null where they spell that there is no value.

    Parameters
    ----------
    texts : polars.Series of String
        Any texts.

    Returns
    -------
    polars.Series of String
        Of the same length.

    Examples
    --------
    >>> present(pl.Series([" 1.5 ", "NA", "", None])).to_list()
    ['1.5', None, None, None]
    """
    stripped = texts.str.strip_chars()
    missing = stripped.is_in(MISSING_WORDS)
    return stripped.set(missing, None) if missing.any() else stripped


def numbers_in(texts: pl.Series) -> pl.Series:
    """Numbers that texts spell, null where they spell none.

    Parameters
    ----------
    texts : polars.Series of String
        As `present` gives them.

    Returns
    -------
    polars.Series of Float64
        Infinities and NaN as they are written.
    """
    return texts.cast(pl.Float64, strict=False)


def booleans_in(texts: pl.Series) -> pl.Series:
    """Truth values that texts spell, null where they spell none.

    Parameters
    ----------
    texts : polars.Series of String
        As `present` gives them.

    Returns
    -------
    polars.Series of Boolean
        True of `TRUE_WORDS`, False of `FALSE_WORDS`, in any case.
    """
    words = [*TRUE_WORDS, *FALSE_WORDS]
    truths = [True] * len(TRUE_WORDS) + [False] * len(FALSE_WORDS)
    return texts.str.to_lowercase().replace_strict(words, truths, default=None, return_dtype=pl.Boolean)


def times_in(texts: pl.Series) -> pl.Series:
    """UTC times that texts spell by ISO 8601, null where they spell none.

    Parameters
    ----------
    texts : polars.Series of String
        With ``T`` or a blank, with or without seconds, fraction and zone; or dates.

    Returns
    -------
    polars.Series of Datetime (microseconds)
        Without a zone.

    Examples
    --------
    >>> times_in(pl.Series(["2026-01-31", "2026-01-31T06:00+02:00", "yesterday"])).to_list()
    [datetime.datetime(2026, 1, 31, 0, 0), datetime.datetime(2026, 1, 31, 4, 0), None]
    """
    values = texts.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    rest = texts.is_not_null() & values.is_null()
    if not rest.any():
        return values
    normal = (
        texts.filter(rest)
        .str.strip_chars()
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
        .str.replace(r"(T\d{2}:\d{2})($|[Zz+-])", "${1}:00${2}")
        .str.replace(r"\s*(?:[zZ]|UTC)$", "+00:00")
        .str.replace(r"([+-]\d{2})(\d{2})?$", "${1}:${2}")
        .str.replace(r"([+-]\d{2}):$", "${1}:00")
        .str.replace(r"(T\d{2}:\d{2}:\d{2}(?:\.\d+)?)$", "${1}+00:00")
    )
    parsed = normal.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return values.scatter(rest.arg_true(), parsed.dt.replace_time_zone(None))


def times_of_day_in(texts: pl.Series) -> pl.Series:
    """Times of the day that texts spell, null where they spell none.

    Parameters
    ----------
    texts : polars.Series of String
        ``06:30``, with or without seconds and a fraction.

    Returns
    -------
    polars.Series of Time
        In nanoseconds.
    """
    return texts.str.replace(r"^([0-9]{2}:[0-9]{2})$", "${1}:00").str.to_time("%H:%M:%S%.f", strict=False)


def guess_kind(texts: pl.Series) -> Guess:
    """What a column of texts is, from all of its values.

    Parameters
    ----------
    texts : polars.Series of String
        As the file holds them.

    Returns
    -------
    Guess
        A column is numeric, boolean or a time only if every value is.

    Examples
    --------
    >>> [guess_kind(pl.Series(v)).kind for v in (["1", "2.5", "NA"], ["True", "False"], ["2026-01-31"], ["01", "12"])]
    ['numeric', 'boolean', 'datetime', 'text']
    >>> guess_kind(pl.Series(["01000", "85000"])).note
    "values that begin with 0, such as '01000', are codes: read as categories"
    >>> guess_kind(pl.Series(["1,5", "2,25"])).note
    "numbers written with a comma or blanks, such as '1,5': read as categories; write 1.5"
    """
    values = present(texts).drop_nulls()
    if not values.len():
        return Guess("text")
    numbers = numbers_in(values)
    if not numbers.null_count():
        codes = values.filter(values.str.contains(LEADING_ZERO))
        if not codes.len():
            return Guess("numeric")
        return Guess("text", f"values that begin with 0, such as {codes[0]!r}, are codes: read as categories")
    starts = values.str.contains(ISO_START)
    times = times_in(values) if starts.any() else pl.Series([None] * values.len(), dtype=pl.Datetime("us"))
    plain: dict[TextKind, bool] = {
        "boolean": bool(values.str.to_lowercase().is_in(PLAIN_BOOLEANS).all()),
        "time": bool(values.str.contains(TIME_OF_DAY).all()) and not times_of_day_in(values).null_count(),
        "datetime": bool(starts.all()) and not times.null_count(),
    }
    for kind, is_it in plain.items():
        if is_it:
            return Guess(kind)
    return Guess("text", _note(values, numbers, times))


def _note(values: pl.Series, numbers: pl.Series, times: pl.Series) -> str:
    """What is odd about texts that are almost numbers or times."""
    for kind, found in (("number", numbers), ("time", times)):
        odd = values.filter(found.is_null())
        if odd.len() <= (1 - MOSTLY) * values.len():
            verb = "is" if odd.len() == 1 else "are"
            return f"{odd.len()} of {values.len()} values {verb} no {kind}, such as {odd[0][:40]!r}: read as categories"
    return odd_spelling(values, numbers.is_not_null())


def odd_spelling(values: pl.Series, is_number: pl.Series | None = None) -> str:
    """What to tell of texts that are numbers or dates to a reader, but not by their spelling.

    Parameters
    ----------
    values : polars.Series of String
        Without nulls, at least one.
    is_number : polars.Series of Boolean, optional
        Which are plain numbers, if known.

    Returns
    -------
    str
        Empty if there is nothing to tell.
    """
    commas = values.str.contains(COMMA_NUMBER)
    if commas.any():
        plain = numbers_in(values).is_not_null() if is_number is None else is_number
        if (commas | plain).sum() >= MOSTLY * values.len():
            shown = values.filter(commas)[0][:40]
            return f"numbers written with a comma or blanks, such as {shown!r}: read as categories; write 1.5"
    if values.str.contains(OTHER_DATE).all():
        return f"dates that are not ISO 8601, such as {values[0][:40]!r}: read as categories; write 2026-01-31"
    return ""


def typed(texts: pl.Series, kind: str) -> pl.Series:
    """Texts as values of a kind; as they are where one of them is no such value.

    Parameters
    ----------
    texts : polars.Series of String
        As the file holds them.
    kind : str
        ``numeric, boolean, datetime, time, embedding``; any other leaves them as texts.

    Returns
    -------
    polars.Series
        Integers where all are whole numbers.

    Examples
    --------
    >>> typed(pl.Series(["1", "NA"]), "numeric").to_list(), typed(pl.Series(["1", "x"]), "numeric").to_list()
    ([1, None], ['1', 'x'])
    """
    if kind not in ("numeric", "boolean", "datetime", "time", "embedding"):
        return texts
    values = present(texts)
    if kind == "numeric":
        found = _integers(values)
        found = numbers_in(values) if found is None else found
    elif kind == "boolean":
        found = booleans_in(values)
    elif kind == "datetime":
        found = times_in(values)
    elif kind == "time":
        found = times_of_day_in(values)
    else:
        try:
            found = values.str.json_decode(pl.List(pl.Float64))
        except pl.exceptions.PolarsError:
            return texts
    return found if found.null_count() == values.null_count() else texts


def _integers(values: pl.Series) -> pl.Series | None:
    """Whole numbers of the narrowest sufficient type; None if there is another value."""
    if not values.str.contains(INTEGER).all():
        return None
    for dtype in (pl.Int64, pl.Int128):
        found = values.cast(dtype, strict=False)
        if found.null_count() == values.null_count():
            return found
    return None


def kind_like(dtype: pl.DataType) -> TextKind | None:
    """Kind of texts that belong to a column of a type; None if the type says nothing of it.

    Parameters
    ----------
    dtype : polars.DataType
        Of the reference's column.

    Returns
    -------
    {"numeric", "boolean", "datetime", "time", "embedding", "text"} or None
        None of a column without any value.
    """
    if dtype.is_numeric():
        return "numeric"
    if isinstance(dtype, pl.Date | pl.Datetime):
        return "datetime"
    if isinstance(dtype, pl.List | pl.Array):
        return "embedding"
    kinds: dict[type[pl.DataType], TextKind] = {
        pl.Boolean: "boolean", pl.Time: "time", pl.String: "text", pl.Categorical: "text", pl.Enum: "text"
    }  # fmt: skip
    return next((kind for known, kind in kinds.items() if isinstance(dtype, known)), None)


def separator_line(first: str) -> str | None:
    """The sign that Excel's line ``sep=;`` names; None if the line is another.

    Parameters
    ----------
    first : str
        First line of a file.

    Returns
    -------
    str or None
        One character.

    Examples
    --------
    >>> separator_line("sep=;"), separator_line("a;b")
    (';', None)
    """
    found = re.fullmatch(r'\ufeff?"?sep=(.)"?\r?', first.rstrip("\n"), re.IGNORECASE)
    return found[1] if found else None
