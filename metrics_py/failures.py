"""What is told of an error in somebody's function over rows: its kind and place, never its words.

The words of an exception may quote a row (``could not convert string to float: '...'``), and what is told goes into
tables, alerts and pages that more people read than the rows.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from polars.exceptions import ColumnNotFoundError

OURS = (Path(__file__).parent, Path(__file__).parent.parent / "sightline")
LIBRARIES = frozenset({"numpy", "pandas", "polars", "scipy", "sklearn", "joblib"})
OF_THE_CODE = (ColumnNotFoundError, NameError, ImportError)
"""Errors whose words name what the code says: a column, a variable, a module."""
MOST_WORDS = 300


class AnswerError(TypeError, ValueError):
    """An answer of somebody's function has the wrong shape or type; its words quote no row and may be told."""


def told_failure(error: BaseException) -> str:
    """What failed and where, without words that may quote a row.

    Parameters
    ----------
    error : BaseException
        As it was caught.

    Returns
    -------
    str
        The words of an `AnswerError`; else the type, and the last line that is neither of this package nor of a
        library. Names of unknown columns, variables and modules are told.

    Examples
    --------
    >>> told_failure(ValueError("could not convert 'a secret'")), told_failure(AnswerError("1 vector for 2 texts"))
    ('ValueError', '1 vector for 2 texts')
    """
    if isinstance(error, AnswerError):
        return str(error)
    place = _place(error)
    where = f" in line {place.lineno} of {Path(place.filename).name}" if place is not None else ""
    words = f": {_line(str(error))}" if isinstance(error, OF_THE_CODE) else ""
    return f"{type(error).__name__}{where}{words}"


def _place(error: BaseException) -> traceback.FrameSummary | None:
    """The last line of the function's own, else of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not (_is_ours(frame) or _is_library(frame))]
    ours = [frame for frame in frames if _is_ours(frame)]
    return next(iter(theirs[-1:] or ours[-1:]), None)


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return any(Path(frame.filename).is_relative_to(folder) for folder in OURS)


def _is_library(frame: traceback.FrameSummary) -> bool:
    file = Path(frame.filename)
    if "site-packages" in file.parts or "dist-packages" in file.parts:
        return not LIBRARIES.isdisjoint(file.parts)
    return file.is_relative_to(sysconfig.get_path("stdlib")) or frame.filename.startswith("<frozen ")


def _line(words: str) -> str:
    text = " ".join(words.split())
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 3]}..."
