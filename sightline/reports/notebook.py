"""`sightline.compare` and `sightline.test`: the commands as functions; a notebook shows what they return.

Both take any table that `metrics_py.compare` takes. What they return prints as text, is drawn in a notebook's cell, and
is saved by `save` as a page, Markdown, JSON or Parquet, with the same numbers in each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from metrics_py.comparison import compare as comparing
from metrics_py.comparison.result import Comparison
from metrics_py.suite.checks import Suite, run_suite
from metrics_py.suite.result import SuiteResult
from sightline.errors import SightlineError
from sightline.reports.comparison import comparison_html
from sightline.reports.files import parquet_bytes, write_report
from sightline.reports.short import comparison_inline, comparison_markdown, suite_inline, suite_markdown
from sightline.reports.suite import bins_of_failed, suite_html
from sightline.suites import load_suite

ENDINGS = (".html", ".md", ".json", ".parquet")


class Saved(ABC):
    """What can be saved as a file by its ending."""

    frame: pl.DataFrame

    @abstractmethod
    def to_html(self) -> str:
        """One page with everything in it."""

    @abstractmethod
    def to_markdown(self) -> str:
        """A few lines for a chat."""

    @abstractmethod
    def to_json(self, indent: int | None = None) -> str:
        """All rows."""

    def save(self, file: Path | str) -> Path:
        """Write it to a file.

        Parameters
        ----------
        file : path
            Ending in ``.html``, ``.md``, ``.json`` or ``.parquet``: the format.

        Returns
        -------
        Path
            Of the file.

        Raises
        ------
        SightlineError
            Another ending, or the file cannot be written.
        """
        path = Path(file)
        shapes = {
            ".html": self.to_html,
            ".md": self.to_markdown,
            ".json": lambda: self.to_json(indent=1),
            ".parquet": lambda: parquet_bytes(self.frame),
        }
        if path.suffix.lower() not in shapes:
            raise SightlineError(
                f"the ending {path.suffix!r} is no format of a report",
                where=str(path),
                fix=f"use one of {', '.join(ENDINGS)}",
            )
        write_report(path, shapes[path.suffix.lower()]())
        return path


@dataclass(frozen=True, repr=False)
class Compared(Saved, Comparison):
    """How two tables differ; see `metrics_py.Comparison`.

    Parameters
    ----------
    reference, current : str
        What the tables are called.
    entity : str, optional
        Column by which rows depend on each other.
    """

    reference: str = "reference"
    current: str = "current"
    entity: str | None = None

    def to_html(self) -> str:
        """One page with everything in it."""
        return comparison_html(self, self.reference, self.current, self.entity)

    def to_markdown(self) -> str:
        """A few lines for a chat."""
        return comparison_markdown(self, self.reference, self.current)

    def to_json(self, indent: int | None = None) -> str:
        """All rows."""
        return Comparison.to_json(self, indent)

    def _repr_html_(self) -> str:
        return comparison_inline(self, self.reference, self.current)


@dataclass(frozen=True, repr=False)
class Tested(Saved, SuiteResult):
    """Outcome of a suite; see `metrics_py.suite.result.SuiteResult`.

    Parameters
    ----------
    bins : DataFrame
        Rows per bin of the columns of which a check did not pass.
    suite, reference, current : str
        What they are called.
    """

    bins: pl.DataFrame = field(default_factory=pl.DataFrame)
    suite: str = "suite"
    reference: str = "reference"
    current: str = "current"

    def to_html(self) -> str:
        """One page with everything in it."""
        return suite_html(self, self.bins, self.suite, self.reference, self.current)

    def to_markdown(self) -> str:
        """A few lines for a chat."""
        return suite_markdown(self, self.suite)

    def to_json(self, indent: int | None = None) -> str:
        """All rows."""
        return SuiteResult.to_json(self, indent)

    def _repr_html_(self) -> str:
        return suite_inline(self, self.suite)


def compare(reference: object, current: object, **options: Any) -> Compared:
    """Compare two tables column by column.

    Parameters
    ----------
    reference, current : table
        Frame, Arrow table, DuckDB relation, mapping of columns, or the path of Parquet, CSV or NDJSON files.
    **options
        As of `metrics_py.compare`: ``by``, ``entity``, ``columns``, ``kinds``, ``tolerance``, ...

    Returns
    -------
    Compared

    Raises
    ------
    SightlineError
        A table has no rows.
    TypeError, ValueError
        A table cannot be read, or an option names what does not exist.
    """
    found = comparing.compare(reference, current, **options)
    for whose, source, n in (("reference", reference, found.n_reference), ("current", current, found.n_current)):
        if n == 0:
            raise SightlineError(
                f"the {whose} table has no rows: there is nothing to compare",
                where=_name(source, whose),
                fix="check how it was made; a file with a header and no line is empty",
            )
    parts: dict[str, Any] = {each.name: getattr(found, each.name) for each in fields(found)}
    parts |= {"reference": _name(reference, "reference"), "current": _name(current, "current")}
    return Compared(**parts, entity=options.get("entity"))


def test(suite: Suite | Path | str, reference: object, current: object) -> Tested:
    """Check a table against a suite of bounds.

    Parameters
    ----------
    suite : Suite or path
        Or a suite file (YAML).
    reference, current : table
        As of `compare`.

    Returns
    -------
    Tested

    Raises
    ------
    SightlineError
        The suite file has mistakes.
    TypeError, ValueError
        A table cannot be read, or a check names what does not exist.
    """
    found = run_suite(suite if isinstance(suite, Suite) else load_suite(suite), reference, current)
    bins = bins_of_failed(found, reference, current)
    names = {"reference": _name(reference, "reference"), "current": _name(current, "current")}
    return Tested(found.frame, bins, "suite" if isinstance(suite, Suite) else str(suite), **names)


test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  # pytest takes its name for a test


def _name(source: object, otherwise: str) -> str:
    return str(source) if isinstance(source, str | Path) else otherwise
